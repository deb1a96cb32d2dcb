"""What a sweep measures at the end of training: probes by their name, one number for each member."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from bathymetry import probes
from bathymetry.core.errors import InputError, did_you_mean
from bathymetry.models.mlp import module_of
from bathymetry.surface import LossSurface
from bathymetry.training import Measurement, TrainingConfig, TrainingState

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
    """A probe of the loss on the training examples, in float64; the rest of its identity is that of the config."""

    name: str
    config: InitVar[TrainingConfig]

    version: ClassVar[int] = 1

    def __post_init__(self, config: TrainingConfig) -> None:
        object.__setattr__(self, "_config", config)  # no field: it would be described twice

    def __call__(self, state: TrainingState) -> Float[Tensor, " member"]:
        """Measure every member at its own training targets."""
        config, theta = self._of(), state.parameters.vectors().cpu().double()
        probe = _PROBES[self.name][0]
        own = config.train_set(state.members).own_targets
        if own is None:
            return probe(self._surface(config.train_examples.y), theta).reshape(len(theta))
        rows = [probe(self._surface(targets), one).reshape(()) for targets, one in zip(own, theta, strict=True)]
        return torch.stack(rows)

    def _of(self) -> TrainingConfig:
        return vars(self)["_config"]  # type: ignore[no-any-return]

    def _surface(self, targets: Tensor) -> LossSurface:
        config = self._of()
        module: Any = module_of(config.network)  # type: ignore[arg-type]
        return LossSurface(module, config.loss, (config.train_examples.x, targets), dtype=torch.float64)


def measurements(config: TrainingConfig, names: Sequence[str]) -> TrainingConfig:
    """Add the probes to a config."""
    if not names:
        return config
    last = (config.num_epochs,)
    made = {name: Measurement(ProbeAtTheEnd(name, config), last, "last_epoch") for name in names}
    return replace(config, measurements=made)
