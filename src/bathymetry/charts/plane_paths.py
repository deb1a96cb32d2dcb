"""Paths in a plane: each member's points joined in order, coloured by what they are worth there."""

from typing import Any

import altair as alt
import numpy as np
import xarray as xr

from bathymetry.charts.checks import check_array, check_height
from bathymetry.charts.key import Entry
from bathymetry.charts.rows import rows
from bathymetry.charts.scale import drawable, y_axis
from bathymetry.charts.theme import INK, LINE, SERIES
from bathymetry.charts.view import view
from bathymetry.core.errors import InputError

_LOW, _HIGH = INK, SERIES[1]  # dark and light also in grey


def paths(
    points: xr.DataArray,
    colour: xr.DataArray,
    *,
    titles: tuple[str, str],
    colour_title: str = "loss",
    height: int = 360,
) -> alt.LayerChart:
    """Draw every member's path in a plane.

    Args:
        points: Dims (member, snapshot, component) with two components. NaN where a member diverged.
        colour: Dims (member, snapshot): what the points are coloured by, on a logarithmic scale; positive.
        titles: What the two axes are.
        colour_title: What the colour is.
        height: In pixels.

    Returns:
        A single view as wide as its container.

    Raises:
        InputError: If the arrays do not fit each other.
    """
    check_array("points", points, {}, ("member", "snapshot", "component"))
    check_array("colour", colour, {}, ("member", "snapshot"))
    if points.sizes["component"] != 2:
        raise InputError("points", f"{points.sizes['component']} components", "expected two")
    for dim in ("member", "snapshot"):
        if colour.sizes[dim] != points.sizes[dim]:
            raise InputError(
                "colour", f"{colour.sizes[dim]} along {dim}", f"expected {points.sizes[dim]}, as of points"
            )
    check_height(height)
    placed = drawable(points.transpose("member", "snapshot", "component").values, "linear")
    worth = drawable(colour.transpose("member", "snapshot").values, "log")
    members, snapshots, _ = placed.shape
    order = np.arange(snapshots)[None, :]
    role = np.where(order == 0, "start", np.where(order == snapshots - 1, "end", "between"))
    snapshot = np.asarray(points["snapshot"].values)
    data = rows({
        "x": placed[..., 0], "y": placed[..., 1], "worth": worth, "order": order, "role": role,
        "snapshot": snapshot[None, :], "member": np.arange(members)[:, None],
    })  # fmt: skip
    x_channel = alt.X("x:Q", **_axis(titles[0], placed[..., 0]))
    y_channel = alt.Y("y:Q", **_axis(titles[1], placed[..., 1]))
    base = alt.Chart(data).transform_filter("isValid(datum.x) && isValid(datum.y)")
    lines = base.mark_line(color=LINE, strokeWidth=1.4, clip=True).encode(
        x=x_channel, y=y_channel, detail="member:O", order="order:Q"
    )
    known = worth[np.isfinite(worth)]
    told = "without any {0}" if not known.size else "coloured by {0} from {1:.3g} to {2:.3g}"
    low, high = (float(known.min()), float(known.max())) if known.size else (1.0, 1.0)
    scale = alt.Scale(type="log" if high > low else "linear", domain=[low, high], range=[_LOW, _HIGH])
    ticks = [low, (low * high) ** 0.5, high] if high > low else [low]
    legend = alt.Legend(title=colour_title, gradientLength=160, values=ticks, format=".2~g") if known.size else None
    shade = alt.Color("worth:Q", scale=scale, legend=legend)
    tooltip = ["member:O", "snapshot:Q", alt.Tooltip("worth:Q", title=colour_title, format=".3g")]
    dots = (
        base.mark_circle(size=34, opacity=1, clip=True)
        .encode(x=x_channel, y=y_channel, color=shade, tooltip=tooltip)
        .properties(name="members")
    )
    begun = base.transform_filter("datum.role == 'start'").mark_point(
        shape="circle", size=120, filled=False, color=INK, strokeWidth=1.5, clip=True
    )
    ended = base.transform_filter("datum.role == 'end'").mark_point(
        shape="diamond", size=130, filled=True, opacity=1, stroke=INK, strokeWidth=1, clip=True
    )
    key = [
        Entry(f"{colour_title} {low:.2g}", _LOW, (), series=False, shape="dot", printed=False),
        Entry(f"{colour_title} {high:.2g}", _HIGH, (), series=False, shape="dot", printed=False),
        Entry("start", INK, (), series=False, shape="ring"),
        Entry("end", INK, (), series=False, shape="diamond"),
    ]
    layers = [
        lines, dots, begun.encode(x=x_channel, y=y_channel),
        ended.encode(x=x_channel, y=y_channel, color=shade, tooltip=tooltip),
    ]  # fmt: skip
    return view(
        layers,
        key=key,
        height=height,
        clipped=False,
        description=f"The paths of {members} members over {snapshots} snapshots, {titles[0]} against {titles[1]}, "
        f"{told.format(colour_title, low, high)}.",
    )


def _axis(title: str, values: "np.ndarray") -> dict[str, Any]:
    return y_axis("linear", title, values)
