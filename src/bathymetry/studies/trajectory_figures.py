"""The figures of `trajectory`, and what they show in words."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from bathymetry.charts import Figure, Panel, panel
from bathymetry.charts.explicit import dot_chart as dots
from bathymetry.charts.explicit import path_chart as paths
from bathymetry.studies.legacy import group_of
from bathymetry.studies.wording import joined, number

_FIGURES = {"layer 2": (7, "layer-2"), "network": (8, "network")}
_NAMES = {"layer 2": "the second layer's weights", "network": "all weights of the network"}


def figures(results: xr.DataTree) -> Sequence[Figure]:
    """Draw the study's figures.

    Args:
        results: Its results.

    Returns:
        Figures 7 and 8, then what they are to be compared with.
    """
    short, long = _trainings(results)
    planes = [_plane(short, long, scope) for scope in _FIGURES]
    return (*planes, _variance(long), _distance(short, long), _plane_loss(short, long))


def seen(results: xr.DataTree) -> Sequence[str]:
    """Say what was seen.

    Args:
        results: The study's results.

    Returns:
        How much of the plane is motion, how far members went, and what a random walk would have shown.
    """
    short, long = _trainings(results)
    one, far = short.sel(scope="network"), long.sel(scope="network")
    walk = far["random_walk_spread"].sel(component=1)
    return (
        f"In the report's plane {_percent(one['within_share'])} of the variance lies within members; the rest is where "
        "they started.",
        f"Over {_epochs(short)} epochs a member's weights travel {number(float(one['distance'].median()))} (median), "
        f"over {_epochs(long)} epochs {number(float(far['distance'].median()))}.",
        f"Of the motion in the long training the first component explains "
        f"{_percent(far['explained_variance_ratio'].sel(component=1))}; of random walks of that length it explains "
        f"{_percent(walk.sel(end='2.5 %'))} to {_percent(walk.sel(end='97.5 %'))}.",
    )


def _trainings(results: xr.DataTree) -> tuple[xr.Dataset, xr.Dataset]:
    return results.to_dataset(), group_of(results, "long")


def _percent(share: xr.DataArray) -> str:
    return f"{number(100 * float(share))} %"


def _epochs(whole: xr.Dataset) -> str:
    return f"{int(whole['snapshot'].max()):,}"


def _plane(short: xr.Dataset, long: xr.Dataset, scope: str) -> Figure:
    figure_number, name = _FIGURES[scope]
    panels = tuple(_paths(whole.sel(scope=scope), words) for whole, words in (
        (short, f"The report's plane: {_epochs(short)} epochs"),
        (long, f"The plane of motion: {_epochs(long)} epochs, each member about its own mean"),
    ))  # fmt: skip
    shares = [_percent(whole["within_share"].sel(scope=scope)) for whole in (short, long)]
    return Figure(
        name=f"{figure_number:02d}-paths-{name}",
        title=f"Where do {_NAMES[scope]} go?",
        panels=panels,
        finding=f"Of the variance in the report's plane {shares[0]} lies within members, so it shows mostly where they "
        f"started; in the plane of motion it is {shares[1]} by construction.",
        reading="Points in the order of training, coloured by the loss there on a logarithmic scale.",
        number=figure_number,
    )


def _paths(one: xr.Dataset, words: str) -> Panel:
    ratio = one["explained_variance_ratio"].values * 100
    titles = (f"Component 1 ({ratio[0]:.0f} % of the variance)", f"Component 2 ({ratio[1]:.0f} %)")
    return panel(paths(one["projection"], one["loss"], titles=titles), words)


def _variance(long: xr.Dataset) -> Figure:
    panels, words = [], []
    for scope in _FIGURES:
        one = long.sel(scope=scope)
        names = [f"component {k}" for k in one["component"].values]
        walks = one["random_walk_ratios"].rename(walk="member").assign_coords(component=names)
        ratios = one["explained_variance_ratio"].assign_coords(component=names)
        chart = dots(
            walks, category="component", title="Share of the variance", domain=(0.0, 0.6), bounds=ratios,
            bounds_label="training", each="random walk",
        )  # fmt: skip
        panels.append(panel(chart, scope.capitalize()))
        ends = [one["random_walk_spread"].sel(component=1, end=end) for end in one["end"].values]
        words.append(
            f"{_percent(ratios[0])} in {_NAMES[scope]} (of random walks {_percent(ends[0])} to {_percent(ends[1])})"
        )
    return Figure(
        name="random-walk",
        title="Does the plane explain more than a random walk's would?",
        panels=tuple(panels),
        finding=f"The first component of the motion explains {joined(words)}.",
        reading="One dot a simulated random walk of the same length, dimension and number of members; the upright "
        "stroke is the training.",
    )


def _distance(short: xr.Dataset, long: xr.Dataset) -> Figure:
    names = [f"{_epochs(whole)} epochs" for whole in (short, long)]
    pieces = [whole["distance"].sel(scope="network", drop=True) for whole in (short, long)]
    distance = xr.concat(pieces, xr.Variable("training", names))
    turning = xr.concat([w["turning"].sel(scope="network", drop=True) for w in (short, long)], distance["training"])
    panels = (
        panel(dots(distance, category="training", title="Distance travelled", scale="log"), "Distance"),
        panel(
            dots(
                turning,
                category="training",
                title="Mean cosine between steps",
                domain=(-1.0, 1.0),
                possible=(-1.0, 1.0),
            ),
            "Turning",
        ),
    )
    medians = [f"{number(float(one.median()))} over {name}" for one, name in zip(pieces, names, strict=True)]
    return Figure(
        name="distance",
        title="How far do the weights travel, and how straight?",
        panels=panels,
        finding=f"The median distance between successive snapshots adds up to {joined(medians)}.",
        reading="Distance in all weights, summed over snapshots. A cosine of 1 is straight on, 0 a turn at random.",
    )


def _plane_loss(short: xr.Dataset, long: xr.Dataset) -> Figure:
    panels, words = [], []
    for whole in (short, long):
        plane = whole["plane_loss"].sel(scope="network", drop=True)
        last = xr.concat(
            [whole["loss"].isel(snapshot=-1, drop=True), plane.isel(snapshot=-1, drop=True)],
            xr.Variable("place", ["at the point", "at its projection"]),
        )
        panels.append(panel(dots(last, category="place", title="Loss", scale="log"), f"After {_epochs(whole)} epochs"))
        gap = np.abs(plane.values / whole["loss"].values - 1)
        median = float(np.median(gap[np.isfinite(gap)])) if np.isfinite(gap).any() else np.nan
        words.append(f"{number(100 * median)} % over {_epochs(whole)} epochs")
    return Figure(
        name="plane-loss",
        title="Is the loss in the plane the loss where the network is?",
        panels=tuple(panels),
        finding=f"The loss at a projection differs from that at its point by a median of {joined(words)}.",
        reading="A plane's loss is taken at the projections of the weights, each with its member's own biases. One dot "
        "a member.",
    )
