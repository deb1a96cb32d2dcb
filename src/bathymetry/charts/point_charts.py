"""Charts of points: one dot per member by category, one against another, and paths in a plane."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import altair as alt
import numpy as np
import xarray as xr

from bathymetry.charts.axes import (
    Y_SCALES,
    Reference,
    YScale,
    drawable,
    leaves,
    natural,
    place_of,
    reference_layers,
    rows,
    text,
    y_axis,
)
from bathymetry.charts.checks import check_array, check_axis, check_ends, check_height, check_references, series_names
from bathymetry.charts.figure import Panel, panels, view
from bathymetry.charts.key import Entry, Shape, value
from bathymetry.charts.labels import along, labelled, long_name, num_examples, scale_of
from bathymetry.charts.labels import title as words_of
from bathymetry.charts.marks import Centre, centre
from bathymetry.charts.theme import INK, LINE, MUTED, SERIES
from bathymetry.core.errors import InputError

_ROW = 62  # pixels a category
_NAME, _DOTS, _SPREAD = -0.3, 0.12, 0.13  # where on its row a name stands, the dots lie, and how far they spread
_GOLDEN = 0.6180339887498949  # its multiples fill an interval evenly, and the same each time


def dot_chart(
    values: xr.DataArray,
    *,
    category: str,
    title: str,
    scale: YScale = "linear",
    domain: tuple[float, float] | None = None,
    possible: tuple[float, float] | None = None,
    bounds: xr.DataArray | None = None,
    bounds_label: str = "bound",
    references: Sequence[Reference] = (),
    never: str = "never",
    each: str = "member",
    missing: str = "diverged",
    examples: int | None = None,
) -> alt.LayerChart:
    """Draw every member as a dot on its category's row.

    Args:
        values: Dims (category, member), with a coordinate for the category. NaN where a member diverged, infinite where
            it never got there.
        category: The dimension whose entries are the rows.
        title: What the values are, with their unit.
        scale: "linear", "log" or "accuracy".
        domain: From where to where, in natural values, so that panels can share it.
        possible: Between what the values can lie on a linear scale, as shares between 0 and 1: intervals end there.
        bounds: One number a category, drawn as an upright stroke on its row.
        bounds_label: What that is.
        references: Labelled upright lines; their `axis` is not looked at.
        never: The words for infinite values; they are counted at the row's end, and such a row has no mean.
        each: What a dot is, for the key.
        missing: The word for values that are NaN; they are counted at the row's end.
        examples: Of how many examples an accuracy is a share.

    Returns:
        A single view as wide as its container, a row a category.
    """
    check_array("values", values, {"category": category})
    check_axis("", scale, Y_SCALES, domain)
    check_references(references)
    if possible is not None:
        check_ends("possible", possible)
    whole = values.transpose(category, "member")
    names = series_names(whole, category)
    raw = np.asarray(whole.values, dtype=float)
    drawn = drawable(raw, scale, examples)
    endless = np.isinf(raw)
    none = np.full(len(names), np.nan)
    limits = none if bounds is None else drawable(_bounds(bounds, category, names), scale, examples)
    lines = [Reference(place_of(line, scale, examples), line.label, "x") for line in references]
    centres = [
        _nothing(members) if gone.any() else centre(members[:, None], scale)
        for members, gone in zip(drawn, endless, strict=True)
    ]
    if possible is not None:
        centres = [replace(one, low=np.clip(one.low, *possible), high=np.clip(one.high, *possible)) for one in centres]

    every = np.concatenate([drawn.ravel(), limits, [line.value for line in lines], *(c.low for c in centres)])
    every = np.concatenate([every, *(c.high for c in centres)])
    x_channel = alt.X("x:Q", **y_axis(scale, title, every, domain, examples))
    top = -0.95 if references else -0.65
    y_channel = alt.Y("y:Q", scale=alt.Scale(domain=[len(names) - 0.6, top], nice=False, zero=False), axis=None)
    row = np.arange(len(names))
    fill = [SERIES[place % len(SERIES)] for place in row]
    colour = alt.Color("series:N", scale=alt.Scale(domain=names, range=fill), legend=None)

    spread = ((np.arange(drawn.shape[1]) * _GOLDEN) % 1 - 0.5) * 2 * _SPREAD
    layers: list[alt.Chart] = reference_layers(lines, x_channel, y_channel, "linear")
    member_data = rows(
        {
            "x": drawn,
            "y": row[:, None] + _DOTS + spread,
            "series": np.array(names)[:, None],
            "member": np.arange(drawn.shape[1])[None, :],
        }
    )
    layers.append(
        alt.Chart(member_data, name="members")
        .transform_filter("isValid(datum.x)")
        .transform_calculate(told=text("x", scale, examples))
        .mark_circle(size=46, fillOpacity=0.4, opacity=1, clip=True)
        .encode(
            x=x_channel,
            y=y_channel,
            color=colour,
            tooltip=["series:N", "member:O", alt.Tooltip("told:N", title=title)],
        )
    )
    summary = rows(
        {
            "x": np.array([line.middle[0] for line in centres]),
            "low": np.array([line.low[0] for line in centres]),
            "high": np.array([line.high[0] for line in centres]),
            "bound": limits,
            "y": row + _DOTS,
            "series": np.array(names),
        }
    )
    base = alt.Chart(summary).encode(y=y_channel)
    told = base.transform_filter("isValid(datum.x)").transform_calculate(
        told=text("x", scale, examples),
        interval=f"{text('low', scale, examples)} + ' to ' + {text('high', scale, examples)}",
    )
    tooltip = [
        "series:N", alt.Tooltip("told:N", title="mean"), alt.Tooltip("interval:N", title="95 % interval")
    ]  # fmt: skip
    whisker = told.transform_filter("isValid(datum.low)").mark_rule(color=INK, strokeWidth=1.6, clip=True)
    layers.append(whisker.encode(x=alt.X("low:Q", **y_axis(scale, title, every, domain, examples)), x2="high:Q"))
    diamond = told.mark_point(shape="diamond", size=90, filled=True, color=INK, opacity=1, clip=True)
    layers.append(diamond.encode(x=x_channel, tooltip=tooltip))
    if bounds is not None:
        bounded = base.transform_filter("isValid(datum.bound)").transform_calculate(told=text("bound", scale, examples))
        stroke = bounded.mark_tick(color=MUTED, thickness=2.5, size=34, orient="vertical", clip=True)
        bound_channel = alt.X("bound:Q", **y_axis(scale, title, every, domain, examples))
        layers.append(stroke.encode(x=bound_channel, tooltip=["series:N", alt.Tooltip("told:N", title=bounds_label)]))
    notes = [_note(own, members, never, missing) for own, members in zip(raw, drawn, strict=True)]
    words = alt.Chart(rows({"y": row + _NAME, "series": np.array(names), "note": np.array(notes)})).encode(y=y_channel)
    name = words.mark_text(align="left", baseline="middle", color=INK, fontSize=12.5)
    layers.append(name.encode(x=alt.value(0), text="series:N"))
    note = words.mark_text(align="right", baseline="middle", color=MUTED, fontSize=12)
    layers.append(note.encode(x=alt.value("width"), text="note:N"))

    key = [Entry(f"one {each}", MUTED, (), series=False, shape="dot", opacity=0.6)]
    key.append(Entry("mean with 95 % interval", INK, (), series=False, shape="mean"))
    if bounds is not None:
        key.append(Entry(bounds_label, MUTED, (), series=False, shape="stroke"))
    return view(
        layers,
        key=key,
        height=round(_ROW * (len(names) - 0.6 - top)),
        clipped=leaves(every, scale, domain, examples),
        description=_words(title, each, names, centres, notes, limits, bounds_label, scale, examples),
    )


def _bounds(bounds: xr.DataArray, category: str, names: Sequence[str]) -> "np.ndarray":
    # Take each row's bound by its name.
    check_array("bounds", bounds, {"category": category}, fixed=())
    known = dict(zip(series_names(bounds, category), bounds.values.tolist(), strict=True))
    lacking = [name for name in names if name not in known]
    if lacking:
        raise InputError("bounds", f"none for {lacking[0]}", f"expected one for each {category}")
    return np.array([known[name] for name in names], dtype=float)


def _nothing(members: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> Centre:
    # Stand in for a mean that would leave out the members that never got there, and so mislead.
    gap = np.array([np.nan])
    return Centre(gap, gap, gap, ~np.isfinite(members))


def _note(
    raw: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    drawn: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    never: str,
    missing: str,
) -> str:
    # Count the members that have no dot; on a logarithmic axis zero has no place either.
    off = np.isfinite(raw) & ~np.isfinite(drawn)
    gone = ((np.isinf(raw), never), (np.isnan(raw), missing))
    counts = (*gone, (off & (raw == 0), "zero"), (off & (raw < 0), "negative"))
    return ", ".join(f"{int(one.sum())} of {len(raw)} {word}" for one, word in counts if one.any())


def _words(
    title: str,
    each: str,
    names: Sequence[str],
    centres: Sequence[Centre],
    notes: Sequence[str],
    limits: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    bounds_label: str,
    scale: YScale,
    examples: int | None,
) -> str:
    # Say what the rows show.
    sentences = [f"{title}, one dot for each of {len(centres[0].diverged)} {each}s."]
    for name, line, note, limit in zip(names, centres, notes, limits, strict=True):
        told = []
        if np.isfinite(line.middle[0]):
            told.append(f"mean {value(float(natural(line.middle, scale, examples)[0]), scale)}")
        if np.isfinite(line.low[0]):
            low, high = (value(float(natural(end, scale, examples)[0]), scale) for end in (line.low, line.high))
            told.append(f"95 % interval {low} to {high}")
        if np.isfinite(limit):
            told.append(f"{bounds_label} {value(float(natural(np.array(limit), scale, examples)), scale)}")
        sentences.append(f"{name}: {', '.join([*told, *([note] if note else [])])}.")
    return " ".join(sentences)


_SHAPES: tuple[Shape, ...] = ("dot", "diamond", "square", "triangle-up", "cross", "triangle-down")

_VEGA = {"dot": "circle"}  # where Vega has another name


def scatter_chart(
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


def path_chart(
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


def dots(
    values: xr.DataArray,
    rows: str,
    *,
    facet: str | None = None,
    scale: YScale | None = None,
    domain: tuple[float, float] | None = None,
    possible: tuple[float, float] | None = None,
    bounds: xr.DataArray | None = None,
    bounds_label: str = "bound",
    references: Sequence[Reference] = (),
    never: str = "never",
    each: str = "member",
    missing: str = "diverged",
    title: str | None = None,
) -> list[Panel]:
    """Draw one dot per member, category by category, with the mean and its 95 % interval.

    Titles and scales come from the attributes `long_name`, `units` and `scale` (see `attrs`).

    Args:
        values: Dims member, rows and facet. NaN where a member diverged, infinite where it never got there.
        rows: What gets a row for each of its values: a dimension, or a coordinate along one.
        facet: What gets a panel for each of its values.
        scale: "linear", "log" or "accuracy"; by default that of the attributes, or else linear.
        domain: Ends of the axis.
        possible: Ends that values cannot pass, for example (0, 1) for shares: intervals stop there.
        bounds: One number per row, drawn as an upright stroke.
        bounds_label: What that is.
        references: Labelled upright lines; their `axis` is ignored.
        never: Word for infinite values, which are counted at the row's end; such a row has no mean.
        each: What a dot is.
        missing: Word for values that are NaN, which are counted at the row's end.
        title: Title of the panel; by default what the values are.

    Returns:
        One panel, or one for each value of `facet`.
    """

    def draw(one: xr.DataArray, _: int) -> alt.LayerChart:
        whole = labelled(along(one, "rows", rows), rows)
        row_scale = scale or scale_of(whole)
        return dot_chart(
            whole, category=rows, title=words_of(one), scale=row_scale, domain=domain, possible=possible,
            bounds=None if bounds is None else labelled(along(bounds, "rows", rows), rows), bounds_label=bounds_label,
            references=references, never=never, each=each, missing=missing,
            examples=num_examples(one) if row_scale == "accuracy" else None,
        )  # fmt: skip

    return panels(values, facet, draw, title)


def scatter(
    x: xr.DataArray,
    y: xr.DataArray,
    series: str,
    *,
    facet: str | None = None,
    x_domain: tuple[float, float] | None = None,
    y_domain: tuple[float, float] | None = None,
    references: Sequence[Reference] = (),
    title: str | None = None,
    height: int = 340,
) -> list[Panel]:
    """Draw one point per member: two quantities against each other.

    Titles and scales come from the attributes `long_name`, `units` and `scale` of x and y (see `attrs`).

    Args:
        x: Dims member, series and facet; NaN where there is nothing to draw.
        y: The same dims.
        series: What differs in colour and shape: a dimension, or a coordinate along one.
        facet: What gets a panel for each of its values.
        x_domain: Ends of the horizontal axis.
        y_domain: Ends of the vertical axis.
        references: Labelled lines across the chart.
        title: Title of the panel; by default what y is.
        height: Height in pixels.

    Returns:
        One panel, or one for each value of `facet`.
    """
    beside = along(x, "facet", facet)

    def draw(one: xr.DataArray, place: int) -> alt.LayerChart:
        other = beside if facet is None else beside.isel({facet: place})
        across, up = (labelled(along(part, "series", series), series) for part in (other, one))
        return scatter_chart(
            across, up, group=series, x_title=words_of(other), y_title=words_of(one), x_scale=scale_of(other),
            y_scale=scale_of(one), x_domain=x_domain, y_domain=y_domain, references=references, height=height,
        )  # fmt: skip

    return panels(y, facet, draw, title)


def paths(
    points: xr.DataArray, colour: xr.DataArray, *, facet: str | None = None, title: str | None = None, height: int = 360
) -> list[Panel]:
    """Draw every member's path in a plane.

    Args:
        points: Dims member, snapshot, component (two, whose values title the axes if they are words) and facet; NaN
            where a member diverged.
        colour: Dims member, snapshot and facet: what colours the points, on a logarithmic scale.
        facet: What gets a panel for each of its values.
        title: Title of the panel; by default what the points are.
        height: Height in pixels.

    Returns:
        One panel, or one for each value of `facet`.
    """
    shades = along(colour, "facet", facet)

    def draw(one: xr.DataArray, place: int) -> alt.LayerChart:
        shade = shades if facet is None else shades.isel({facet: place})
        names = one["component"].values.tolist()
        first, second = (name if isinstance(name, str) else f"Component {name}" for name in names)
        words = long_name(shade).partition(" (")[0]
        return path_chart(one, shade, titles=(first, second), colour_title=words, height=height)

    return panels(points, facet, draw, title)
