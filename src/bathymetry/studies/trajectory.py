from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import xarray as xr
from pydantic import Field, PositiveInt, field_validator

from bathymetry import probes, training
from bathymetry.charts import attrs, dots, paths
from bathymetry.charts.figure import Panel
from bathymetry.claims import claim, median_sign
from bathymetry.core.showing import joined
from bathymetry.stats import intervals
from bathymetry.stats.intervals import middle
from bathymetry.stats.wording import number
from bathymetry.studies.arrays import each, in_percent
from bathymetry.studies.base import Drawn, Groups, Planned, figure
from bathymetry.studies.families import FunctionStudy, surface_of
from bathymetry.studies.settings import Widths
from bathymetry.surface import LossSurface

COMPONENTS = 2
WALKS = 200  # simulated random walks
LEAST = 0.1  # of a plane's variance: what training must exceed for the plane to show it
SCOPES = {"layer 2": "layer 2", "network": "the network"}
SHARE = "share of variance within members"
# the share less a tenth, written in percent
PERCENT = intervals.Transform("less a tenth", lambda one: one / 100 - LEAST, lambda one: 100 * (one + LEAST))
PATHS = (
    "The plane is that of the first two principal components of all members' weights at all snapshots; a unit is as "
    "long on both axes. With each member's own mean subtracted, only the motion during training is left."
)
Indices = np.ndarray[tuple[int], np.dtype[np.int64]]
Values = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Parameters:
    """All parameters, (member, parameter)."""

    def __call__(self, state: training.TrainingState) -> torch.Tensor:
        return state.parameters.vectors()


class Trajectory(FunctionStudy):
    """Where do the weights go while a network learns?

    A network, by default with 23 weights, is trained on a function of one variable from several initialisations. Its
    weights are recorded during training, and the paths of all members are projected onto their first two principal
    components. At the report's settings a weight moves by a few hundredths, so a much longer training is shown as well,
    with each member centred on its own mean.
    """

    chapter = "Part 2: optimisation"
    reading = (
        "Each path is one member: its points are joined in order and coloured by loss, with a ring at the start and a "
        "diamond at the end."
    )
    over_members = ("scope",)
    answered_by = ("paths_network", "paths_network", 0)
    presets = {
        "full": {"members": 8},
        "quick": {"members": 8},
        "smoke": {"members": 6, "samples": 60, "long_epochs": 60},
    }
    variables = {
        "parameters": attrs("parameters"),
        "weights": attrs("weights"),
        "point_loss": attrs("loss (mean squared error)", "log"),
        "plane_loss": attrs("loss at the projection (mean squared error)", "log"),
        "projection": attrs("projection"),
        "explained_variance_ratio": attrs("share of the variance"),
        "random_walk_ratio": attrs("mean share of the variance of random walks"),
        "random_walk_spread": attrs("share of the variance of random walks"),
        "random_walk_ratios": attrs("share of the variance"),
        "within_share": attrs(SHARE),
        "distance": attrs("distance travelled", "log"),
        "displacement": attrs("distance from start to end", "log"),
        "turning": attrs("mean cosine between steps"),
    }

    members: PositiveInt = Field(8, le=100_000, description="networks in each ensemble; claims need at least 6")
    function: str = Field("cos", description="function to learn, by name or as an expression in x")
    network: Widths = Field((3, 5), description="hidden widths, for example 3,5")
    epochs: PositiveInt = Field(30, description="epochs of the short training, with 11 snapshots of the weights")
    long_epochs: PositiveInt = Field(3000, description="epochs of the long training, with 61 snapshots")

    @field_validator("network")
    @classmethod
    def _has_a_plane(cls, network: tuple[int, ...]) -> tuple[int, ...]:
        if network[0] * (*network, 1)[1] < COMPONENTS:
            raise ValueError("expected at least two weights in the second layer, as in 2 or 1,2: their plane is drawn")
        return network

    def plan(self) -> Planned:
        examples, network = self.examples(self.function), self.mlp(self.network)
        for group, epochs, count in (("main", self.epochs, 11), ("long", self.long_epochs, 61)):
            snapshots = tuple(sorted({round(epoch) for epoch in np.linspace(0, epochs, count)}))
            measurements = {"parameters": training.Measurement(Parameters(), snapshots, "snapshot", ("parameter",))}
            yield self.ensemble(
                {}, network, group=group, data=examples, epochs=epochs, record_at=snapshots, measurements=measurements
            )

    def _scopes(self) -> Mapping[str, Indices]:
        """Indices of the weights of layer 2 and of the whole network among all parameters."""
        indices, start = [], 0
        for below, here in pairwise((1, *self.network, 1)):
            indices.append(np.arange(start, start + below * here))
            start += (below + 1) * here
        return {"layer 2": indices[1], "network": np.concatenate(indices)}

    def derive(self, results: Groups) -> Groups:
        surface = surface_of(self.mlp(self.network), self.examples(self.function))
        return {group: self._with_planes(whole, surface, group == "long") for group, whole in results.items()}

    def _with_planes(self, r: xr.Dataset, surface: LossSurface, centred: bool) -> xr.Dataset:
        """Add the paths in the plane of each scope, `centred` on each member's mean, and losses at the points."""
        every = torch.from_numpy(r["parameters"].transpose("member", "snapshot", "parameter").values).double()
        anyone = bool(every.isfinite().flatten(1).all(1).any())  # else there is no plane, and its numbers are NaN
        known = every if anyone else torch.zeros_like(every)
        planes = []
        for name, indices in self._scopes().items():
            weights = known[..., torch.from_numpy(indices)]
            own_means = weights.mean(1, keepdim=True) if centred else torch.zeros_like(weights[:, :1])
            path = probes.trajectory(weights - own_means, components=COMPONENTS, walks=WALKS, seed=self.seed)
            flat = every.clone()
            flat[..., torch.from_numpy(indices)] = path.mean + path.projection @ path.components + own_means
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
            planes.append(plane if anyone else xr.full_like(plane, np.nan, dtype=float))
        kept = r["parameters"].isel(parameter=self._scopes()["network"]).rename(parameter="coordinate")
        point_loss = (("member", "snapshot"), _losses(surface, every))
        return r.assign(weights=kept, point_loss=point_loss).merge(xr.concat(planes, "scope"))

    @claim(
        "The plane of the first two principal components shows weights being optimised.",
        median_sign(
            "of each member's variance in the plane about the mean of all members, the share about its own mean",
            shown=PERCENT,
            unit=" %",
        ).for_each(scope=None),
    )
    def a(self, r: xr.Dataset) -> xr.DataArray:
        points, along = r["projection"], ("snapshot", "component")
        own = ((points - points.mean("snapshot", skipna=False)) ** 2).sum(along, skipna=False)
        whole = ((points - points.mean(("member", "snapshot"))) ** 2).sum(along, skipna=False)
        return (own / whole - LEAST).assign_attrs(attrs(SHARE))

    @figure(
        "Weights of the second layer, in the plane of their first two principal components",
        number=7,
        group=("main", "long"),
        reading=PATHS,
    )
    def paths_layer_2(self, short: xr.Dataset, long: xr.Dataset) -> Drawn:
        return self._paths(short.sel(scope="layer 2"), long.sel(scope="layer 2"))

    @figure(
        "All weights, in the plane of their first two principal components",
        number=8,
        group=("main", "long"),
        reading=PATHS,
        main_finding=True,
    )
    def paths_network(self, short: xr.Dataset, long: xr.Dataset) -> Drawn:
        return self._paths(short.sel(scope="network"), long.sel(scope="network"))

    def _paths(self, short: xr.Dataset, long: xr.Dataset) -> Drawn:
        panels: list[Panel] = []
        for one, plane in ((short, "weights as they are"), (long, "each member's own mean subtracted")):
            first, second = (f"{share:.0f} %" for share in 100 * one["explained_variance_ratio"].values)
            titles = [f"Component 1 ({first} of the variance)", f"Component 2 ({second})"]
            points = one["projection"].assign_coords(component=titles)
            panels += paths(points, one["point_loss"], title=f"{_epochs(one)}, {plane}")
        share = number(100 * float(short["within_share"]), 1)
        return panels, (
            f"In the PCA plane of {SCOPES[short['scope'].item()]} over {_epochs(short)}, training accounts for "
            f"{share} % of the variance; the rest is between initialisations."
        )

    @figure("Variance explained by two components, compared with random walks", group="long", main_finding=True)
    def random_walk(self, long: xr.Dataset) -> Drawn:
        """Each dot is a simulated random walk of the same length, dimension and number of members; the vertical stroke
        is the training.
        """
        components = [f"component {k}" for k in long["component"].values]
        r = long.assign_coords(component=components, scope=[SCOPES[one] for one in long["scope"].values.tolist()])
        walks, trained = in_percent(r["random_walk_ratios"].rename(walk="member")), r["explained_variance_ratio"]
        bounds = 100 * trained
        panels = dots(walks, "component", facet="scope", bounds=bounds, bounds_label="training", each="random walk")
        words: list[str] = []
        for scope, one in each(trained.isel(component=0), "scope"):
            low, high = 100 * r["random_walk_spread"].sel(scope=scope).isel(component=0)
            walk = "random walks " * (not words)
            words.append(f"{number(100 * float(one))} % in {scope} ({walk}{number(low)} to {number(high)} %)")
        return panels, f"Component 1 explains {joined(words)}."

    @figure("Distance travelled and cosine between steps", group=("main", "long"), main_finding=True)
    def distance(self, short: xr.Dataset, long: xr.Dataset) -> Drawn:
        """The distance is summed over snapshots of all weights. Successive steps have a cosine of 1 on a straight path
        and 0 if they are orthogonal.
        """
        r = _both(short, long)
        medians = [f"{middle(one)} over {name}" for name, one in each(r["distance"], "training")]
        turning = dots(r["turning"], "training", possible=(-1.0, 1.0))
        return [*dots(r["distance"], "training"), *turning], f"The weights travel a median of {joined(medians)}."

    @figure("Loss of the actual weights and of their projections onto the plane", group=("main", "long"))
    def plane_loss(self, short: xr.Dataset, long: xr.Dataset) -> Drawn:
        """Loss at the end of training. A projection keeps the biases of its member."""
        r = _both(short, long)
        ends = xr.concat([r["point_loss"], r["plane_loss"]], xr.Variable("place", ["actual", "projected"]))
        gaps = each(100 * abs(r["plane_loss"] / r["point_loss"] - 1), "training")
        words = [f"{middle(gap)} % after {name}" for name, gap in gaps]
        found = f"Projection onto the plane changes the loss by a median of {joined(words)}."
        return dots(ends.assign_attrs(r["point_loss"].attrs), "place", facet="training"), found


def _both(short: xr.Dataset, long: xr.Dataset) -> xr.Dataset:
    """Both trainings of the whole network, at their ends."""
    names = ["distance", "turning", "point_loss", "plane_loss"]
    ends = [one[names].sel(scope="network").isel(snapshot=-1).drop_vars(("scope", "snapshot")) for one in (short, long)]
    return xr.concat(ends, xr.Variable("training", [_epochs(short), _epochs(long)]))


def _losses(surface: LossSurface, parameters: torch.Tensor) -> Values:
    losses: Values = surface.loss(parameters.flatten(0, 1)).reshape(parameters.shape[:2]).numpy()
    return losses


def _epochs(r: xr.Dataset) -> str:
    return f"{int(r['snapshot'].max()):,} epochs"
