"""Where do the weights go while a network learns?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from bathymetry import data, models, probes, stats, training
from bathymetry.studies.legacy import Claim, Study, StudySettings, group_of, later, put_group
from bathymetry.studies.plan import Plan, PlannedEnsemble
from bathymetry.studies.settings import Widths
from bathymetry.studies.surfaces import surface_of
from bathymetry.studies.wording import joined, number

if TYPE_CHECKING:
    import torch
    import xarray as xr

    from bathymetry.data import Data

_COMPONENTS = 2
_WALKS = 200
_LEAST = 0.1  # of a plane's variance: what motion must exceed for the plane to show it


class Settings(StudySettings):
    """What can be varied."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "full": {"members": 8},
        "quick": {"members": 8},
        "smoke": {"members": 6, "samples": 60, "long_epochs": 60},
    }

    members: PositiveInt = Field(8, description="networks in each ensemble; claims need at least 6")
    function: str = Field("cos", description="function to learn, by name or as an expression in x")
    network: Widths = Field((3, 5), description="hidden widths, for example 3,5")
    low: float = Field(-10.0, description="lower end of the inputs")
    high: float = Field(10.0, description="upper end of the inputs")
    samples: PositiveInt = Field(1000, description="training inputs, and as many for testing")
    learning_rate: PositiveFloat = Field(1e-3, description="of Adam")
    epochs: PositiveInt = Field(30, description="of the report's training, with 11 snapshots of the weights")
    long_epochs: PositiveInt = Field(3000, description="of the training that shows the motion, with 61 snapshots")

    @field_validator("network")
    @classmethod
    def _has_a_plane(cls, network: tuple[int, ...]) -> tuple[int, ...]:
        if network[0] * (*network, 1)[1] < _COMPONENTS:
            raise ValueError(
                "expected at least two weights in the second layer, whose plane is drawn, such as 2 or 1,2"
            )
        return network


@dataclass(frozen=True)
class Parameters:
    """All parameters, as they are."""

    def __call__(self, moment: "training.TrainingState") -> "torch.Tensor":
        """Take them.

        Args:
            moment: The moment of training.

        Returns:
            (member, parameter), in the order of the network's own.
        """
        return moment.parameters.vectors()


def plan(settings: Settings) -> Plan:
    """Plan the report's training and the long one, from the same starts.

    Args:
        settings: The study's settings.

    Returns:
        The plan.
    """
    examples = examples_of(settings)
    ensembles = []
    for group, epochs, count in (("main", settings.epochs, 11), ("long", settings.long_epochs, 61)):
        shots = tuple(sorted({round(epoch) for epoch in np.linspace(0, epochs, count)}))
        config = training.TrainingConfig(
            network=network_of(settings),
            data=examples,
            seed=settings.seed,
            optimizer=training.Adam(lr=settings.learning_rate),
            epochs=epochs,
            record_at=shots,
            measurements={"parameters": training.Measurement(Parameters(), shots, "snapshot", ("parameter",))},
        )
        ensembles.append(PlannedEnsemble({}, config, range(settings.members), group))
    return Plan(tuple(ensembles), data={settings.function: examples.origin})


def examples_of(settings: Settings) -> "Data":
    """Draw the function's examples.

    Args:
        settings: The study's settings.

    Returns:
        The examples.
    """
    return data.function(settings.function, settings.low, settings.high, settings.samples, settings.seed)


def network_of(settings: Settings) -> "models.MLPConfig":
    """Give the network.

    Args:
        settings: The study's settings.

    Returns:
        One input, one output.
    """
    return models.MLPConfig((1, *settings.network, 1))


def scopes(settings: Settings) -> dict[str, "np.ndarray[tuple[int], np.dtype[np.int64]]"]:
    """Tell which parameters each plane is about: weights only, biases apart.

    Args:
        settings: The study's settings.

    Returns:
        Places among all parameters, for the second layer and for the whole network.
    """
    widths = (1, *settings.network, 1)
    places, start = [], 0
    for below, here in pairwise(widths):
        places.append(np.arange(start, start + below * here))
        start += (below + 1) * here
    return {"layer 2": places[min(1, len(places) - 1)], "network": np.concatenate(places)}


def derive(settings: Settings, records: "xr.DataTree") -> "xr.DataTree":
    """Put the paths into planes, and take the loss at the points and at their projections.

    Args:
        settings: The study's settings.
        records: What the ensembles recorded.

    Returns:
        The results, with the long training's motion in the group `long`.
    """
    records.dataset = _planes(settings, records.to_dataset(), centred=False)
    put_group(records, "long", _planes(settings, group_of(records, "long"), centred=True))
    return records


def _planes(settings: Settings, whole: "xr.Dataset", *, centred: bool) -> "xr.Dataset":
    import torch
    import xarray as xr

    every = torch.from_numpy(whole["parameters"].transpose("member", "snapshot", "parameter").values).double()
    surface = surface_of(network_of(settings), examples_of(settings))
    anyone = bool(every.isfinite().flatten(1).all(1).any())  # else there is no plane, and all numbers of it are NaN
    known = every if anyone else torch.zeros_like(every)
    pieces = []
    for name, places in scopes(settings).items():
        weights = known[..., torch.from_numpy(places)]
        own_means = weights.mean(1, keepdim=True) if centred else torch.zeros_like(weights[:, :1])
        path = probes.trajectory(weights - own_means, components=_COMPONENTS, walks=_WALKS, seed=settings.seed)
        flat = every.clone()
        flat[..., torch.from_numpy(places)] = path.mean + path.projection @ path.components + own_means
        plane = xr.Dataset(
            {
                "projection": (("member", "snapshot", "component"), path.projection),
                "explained_variance_ratio": ("component", path.explained_variance_ratio),
                "random_walk_ratio": ("component", path.random_walk_ratio),
                "random_walk_spread": (("end", "component"), path.random_walk_spread),
                "random_walk_ratios": (("walk", "component"), path.random_walk_ratios),
                "within_share": path.within_share,
                "distance": ("member", path.distance),
                "displacement": ("member", path.displacement),
                "turning": ("member", path.turning),
                "plane_loss": (("member", "snapshot"), _losses(surface, flat)),
            },
            {"component": [1, 2], "end": ["2.5 %", "97.5 %"]},
        ).expand_dims(scope=[name])
        pieces.append(plane if anyone else xr.full_like(plane, np.nan, dtype=float))
    kept = whole["parameters"].isel(parameter=scopes(settings)["network"]).rename(parameter="coordinate")
    loss = (("member", "snapshot"), _losses(surface, every))
    return whole.assign(weights=kept, loss=loss).merge(xr.concat(pieces, "scope"))


def _losses(surface: Any, parameters: "torch.Tensor") -> "np.ndarray[Any, Any]":
    rows = parameters.flatten(0, 1)
    losses: np.ndarray[Any, Any] = surface.loss(rows).reshape(parameters.shape[:2]).numpy()
    return losses


def _shows_motion(results: "xr.DataTree") -> "Sequence[stats.Part]":
    return [_motion(weights, scope) for scope, weights in _weights(results).items()]


def _without_jackknife(results: "xr.DataTree") -> str:
    shares = {scope: 100 * (_share(one) + _LEAST) for scope, one in _weights(results).items() if len(one)}
    plain = joined([f"{number(share)} % ({scope})" for scope, share in shares.items()])
    return f"Without the jackknife, which takes off the bias of so few members, it is {plain}." if plain else ""


def _weights(results: "xr.DataTree") -> "dict[str, np.ndarray[Any, Any]]":
    whole = results.to_dataset()
    weights = whole["weights"].transpose("member", "snapshot", "coordinate").values.astype(float)
    finite = weights[np.isfinite(weights).all((1, 2))]
    places = scopes(Settings.model_validate(results.attrs["settings"]))
    inside = {name: np.searchsorted(places["network"], own) for name, own in places.items()}
    return {name: finite[..., own] for name, own in inside.items()}


def _share(weights: "np.ndarray[Any, Any]") -> float:
    import torch

    return probes.trajectory(torch.from_numpy(weights), components=_COMPONENTS, walks=1).within_share - _LEAST


def _motion(weights: "np.ndarray[Any, Any]", scope: str) -> "stats.Part":
    values = stats.jackknife(weights, _share).pseudo_values if len(weights) > 2 else np.full(len(weights), np.nan)
    # told in per cent of the variance, where the tenth is what decides
    shown = stats.Transform("less a tenth", lambda one: one / 100 - _LEAST, lambda one: 100 * (one + _LEAST))
    return stats.mean_sign(
        values, expected="above", quantity="share of the plane's variance within members", shown=shown, unit=" %",
        bounds=(-_LEAST, 1 - _LEAST), coordinates={"scope": scope},
    )  # fmt: skip


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "a", "The plane of the first two principal components shows weights being optimised.", "mean_sign",
        "the share of the plane's variance that lies within members, its bias and interval by the jackknife over "
        "members; for each scope", _shows_motion, beside=_without_jackknife,
    ),
)  # fmt: skip

STUDY = Study(
    name="trajectory",
    part="Part 2: optimisation",
    question="Where do the weights go while a network learns?",
    about="A network with 23 weights learns a function of one variable, from several starts. Its weights are kept as "
    "it goes, and all members' paths are put into the plane in which they vary most. At the report's settings a weight "
    "moves by a few hundredths, so a much longer training is shown beside it, each member about its own mean.",
    reading="One path a member, its points joined in order and coloured by loss, the start ringed, the end a diamond. "
    "In the report's plane members share one centre; in the plane of motion each has its own.",
    shows=(
        "Figure 7: paths of the second layer's weights, in the report's plane and in the plane of motion",
        "Figure 8: the same for all weights of the network",
        "explained variance beside a random walk's",
        "distance travelled",
        "loss at the points and at their projections",
    ),
    settings=Settings,
    plan=plan,
    derive=derive,
    claims=CLAIMS,
    figures=later("bathymetry.studies.trajectory_figures", "figures"),
    seen=later("bathymetry.studies.trajectory_figures", "seen"),
)
