"""What a sweep measures at the end of training: probes by their name, one number for each member."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bathymetry import probes
from bathymetry.core.errors import InputError, did_you_mean
from bathymetry.models import MLPConfig
from bathymetry.models.mlp import module_of
from bathymetry.surface import LossSurface
from bathymetry.training import Measurement, TrainingConfig, TrainingState
from bathymetry.training.ensemble import build_members, constants

# name → (the probe's value, what it is called, its scale)
_PROBES: Mapping[str, tuple[Callable[[LossSurface, Tensor], Tensor], str, str]] = {
    "gradient_norm": (lambda s, t: probes.gradient_norm(s, t).value, "gradient norm", "log"),
    "sharpness": (lambda s, t: probes.sharpness(s, t).value, "sharpness", "log"),
    "noise_scale": (lambda s, t: probes.noise_scale(s, t).value, "gradient noise scale (examples)", "log"),
    "sensitivity": (lambda s, t: probes.sensitivity(s, t).value, "sensitivity of the loss to the input", "log"),
    "minimal_ratio": (lambda s, t: probes.curvature_index(s, t).minimal_ratio, "minimal ratio", "linear"),
    "largest_eigenvalue": (
        lambda s, t: probes.eigenvalues(s, t, k=1).values[..., 0],
        "largest eigenvalue of the Hessian",
        "log",
    ),
    "trace": (lambda s, t: probes.trace(s, t).value, "trace of the Hessian", "linear"),
}
PROBES: Sequence[str] = tuple(_PROBES)
_FIRST_ORDER = {"gradient_norm", "noise_scale", "sensitivity"}


def title_of(name: str) -> tuple[str, str]:
    """What a probe's value is called, and its scale."""
    return _PROBES[name][1:]


def check_measure(names: object) -> tuple[str, ...]:
    """The names of probes, each known and named once."""
    if isinstance(names, str):
        names = (names,)
    if not isinstance(names, tuple | list):
        raise InputError("measure", names, f"expected a list of {', '.join(PROBES)}")
    for name in names:
        if not isinstance(name, str) or name not in _PROBES:
            raise InputError("measure", name, f"{did_you_mean(name, PROBES)}expected {', '.join(PROBES)}")
    if len(set(names)) < len(names):
        raise InputError("measure", ", ".join(names), "name each only once")
    return tuple(names)


@dataclass(frozen=True)
class ProbeAtTheEnd:
    """A probe of the loss on the training examples, in float64, without dropout.

    The rest of its identity is that of the config.
    """

    name: str
    config: InitVar[TrainingConfig]

    version: ClassVar[int] = 2  # 1 took other frozen parameters than the members have

    def __post_init__(self, config: TrainingConfig) -> None:
        object.__setattr__(self, "_config", config)  # no field: it would be described twice

    def __call__(self, state: TrainingState) -> Float[Tensor, " member"]:
        """Measure every member at its own training targets, with its own frozen parameters and buffers."""
        config, theta = self._of(), state.parameters.vectors().cpu().double()
        probe = _PROBES[self.name][0]
        targets, networks = config.train_set(state.members).own_targets, _networks(config, state)
        if targets is None and networks is None:
            return probe(surface_of(config), theta).reshape(len(theta))
        rows = []
        for place in range(len(theta)):  # stacks of one member, which is NaN if it diverged
            own = None if networks is None else networks[place]
            surface = surface_of(config, own, None if targets is None else targets[place])
            rows.append(probe(surface, theta[place : place + 1]).reshape(1))
        return torch.cat(rows)

    def _of(self) -> TrainingConfig:
        return vars(self)["_config"]  # type: ignore[no-any-return]


def _networks(config: TrainingConfig, state: TrainingState) -> list[nn.Module] | None:
    """The networks as they were built, if they differ in more than what is trained."""
    if isinstance(config.network, MLPConfig) or not constants(module_of(config.network)):
        return None
    return build_members(config.network, state.members, state.seed, same_start=config.same_start)


def surface_of(config: TrainingConfig, network: nn.Module | None = None, targets: Tensor | None = None) -> LossSurface:
    """The surface of the loss on the training examples, or on other targets, in float64 and without dropout."""
    module = module_of(config.network) if network is None else network
    examples = (config.train_examples.x, config.train_examples.y if targets is None else targets)
    return LossSurface(module, config.loss, examples, dtype=torch.float64, mode="no_dropout")


def try_measuring(config: TrainingConfig, name: str) -> None:
    """Measure at the start what is quick to measure, or multiply by the Hessian once; what can't be is refused."""
    surface = surface_of(config)
    if name in _FIRST_ORDER:
        _PROBES[name][0](surface, surface.parameters.unsqueeze(0))
    else:
        surface.hvp(surface.parameters)


def measurements(config: TrainingConfig, names: Sequence[str]) -> TrainingConfig:
    """Add the probes to a config."""
    if not names:
        return config
    last = (config.num_epochs,)
    made = {name: Measurement(ProbeAtTheEnd(name, config), last, "last_epoch") for name in names}
    return replace(config, measurements=made)
