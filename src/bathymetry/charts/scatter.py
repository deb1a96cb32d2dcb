"""One point a member: two numbers against each other, groups told apart by colour and by shape."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import xarray as xr

from bathymetry.charts.axes import Y_SCALES, Reference, YScale, drawable, reference_layers, rows, text, y_axis
from bathymetry.charts.checks import check_array, check_axis, check_height, check_references, series_names
from bathymetry.charts.figure import view
from bathymetry.charts.key import Entry, Shape
from bathymetry.charts.theme import INK, LINE, SERIES
from bathymetry.core.errors import InputError

_SHAPES: tuple[Shape, ...] = ("dot", "diamond", "square", "triangle-up", "cross", "triangle-down")

_VEGA = {"dot": "circle"}  # where Vega has another name


def scatter(
    x: xr.DataArray,
    y: xr.DataArray,
    *,
    group: str,
    x_title: str,
    y_title: str,
    x_scale: YScale = "linear",
    y_scale: YScale = "linear",
    x_domain: tuple[float, float] | None = None,
    y_domain: tuple[float, float] | None = None,
    references: Sequence[Reference] = (),
    height: int = 340,
) -> alt.LayerChart:
    """Draw every member as a point.

    Args:
        x: Dims (group, member), with a coordinate for the group. NaN where there is nothing to draw.
        y: The same dims.
        group: The dimension whose entries are told apart.
        x_title: What is on the horizontal axis, with its unit.
        y_title: What is on the vertical axis, with its unit.
        x_scale: "linear" or "log".
        y_scale: "linear" or "log".
        x_domain: From where to where, so that panels can share it.
        y_domain: The same for the vertical axis.
        references: Labelled lines to read the points against.
        height: In pixels.

    Returns:
        A single view as wide as its container.

    Raises:
        InputError: If the arrays do not fit each other.
    """
    check_array("x", x, {"group": group})
    check_array("y", y, {"group": group})
    if x.sizes != y.sizes:
        raise InputError("y", f"sizes {dict(y.sizes)}", f"expected those of x, {dict(x.sizes)}")
    check_axis("x_", x_scale, Y_SCALES, x_domain)
    check_axis("y_", y_scale, Y_SCALES, y_domain)
    check_references(references)
    check_height(height)
    names = series_names(x, group)
    if series_names(y, group) != names:
        raise InputError("y", f"another {group}", f"expected the same {group} as in x, in the same order")
    across = drawable(np.asarray(x.transpose(group, "member").values, dtype=float), x_scale)
    up = drawable(np.asarray(y.transpose(group, "member").values, dtype=float), y_scale)
    drawn = np.isfinite(across) & np.isfinite(up)
    across, up = np.where(drawn, across, np.nan), np.where(drawn, up, np.nan)
    shapes = [_SHAPES[place % len(_SHAPES)] for place in range(len(names))]
    colours = [SERIES[place % len(SERIES)] for place in range(len(names))]
    x_channel = alt.X("x:Q", **y_axis(x_scale, x_title, across, x_domain))
    y_channel = alt.Y("y:Q", **y_axis(y_scale, y_title, up, y_domain))
    drawn_as = [_VEGA.get(shape, shape) for shape in shapes]
    legend = alt.Legend(title=None, symbolSize=60) if len(names) > 1 else None
    data = rows(
        {"x": across, "y": up, "series": np.array(names)[:, None], "member": np.arange(across.shape[1])[None, :]}
    )
    points = (
        alt.Chart(data, name="members")
        .transform_filter("isValid(datum.x) && isValid(datum.y)")
        .transform_calculate(across=text("x", x_scale), up=text("y", y_scale))
        .mark_point(size=60, filled=True, fillOpacity=0.55, strokeOpacity=0.9, strokeWidth=0.8, clip=True)
        .encode(
            x=x_channel,
            y=y_channel,
            color=alt.Color("series:N", scale=alt.Scale(domain=names, range=colours), legend=legend),
            shape=alt.Shape("series:N", scale=alt.Scale(domain=names, range=drawn_as), legend=legend),
            tooltip=[
                "series:N", "member:O", alt.Tooltip("across:N", title=x_title), alt.Tooltip("up:N", title=y_title)
            ],
        )
    )  # fmt: skip
    key = [
        Entry(name, colour, (), series=False, shape=shape)
        for name, colour, shape in zip(names, colours, shapes, strict=True)
    ]
    counts = [f"{int(own.sum())} of {len(own)} {name}" for name, own in zip(names, drawn, strict=True)]
    return view(
        [*reference_layers(references, x_channel, y_channel, y_scale), points],
        key=key if len(names) > 1 else [],
        height=height,
        clipped=x_domain is not None or y_domain is not None,
        description=f"{y_title} against {x_title}, one point a member: {', '.join(counts)} are drawn."
        + "".join(_ranges(name, a[own], b[own]) for name, own, a, b in zip(names, drawn, across, up, strict=True)),
    )


def _ranges(name: str, across: "np.ndarray", up: "np.ndarray") -> str:
    if not across.size:
        return ""
    return f" {name}: from {across.min():.3g} to {across.max():.3g} across, from {up.min():.3g} to {up.max():.3g} up."


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
