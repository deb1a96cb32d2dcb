"""Charts of points: one dot per member by category, one quantity against another, and paths in a plane."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import altair as alt
import numpy as np
import xarray as xr

from bathymetry.charts.axes import Array, Axis, CentreKind, YScale, ends_of, fixed, inline
from bathymetry.charts.figure import Panel, unchecked, view
from bathymetry.charts.labels import (
    arranged,
    axis_of,
    check_ends,
    check_references,
    facets,
    long_name,
    piece_of,
    series_names,
)
from bathymetry.charts.references import Reference, reference_layers
from bathymetry.charts.spread import with_points
from bathymetry.charts.theme import INK, LINE, MUTED, SERIES, Entry, series_entries
from bathymetry.core.errors import InputError
from bathymetry.stats.validation import one_of

_ROW = 62  # pixels a category
_NAME, _DOTS, _SPREAD = -0.3, 0.12, 0.13  # where on its row a name stands, the dots lie, and how far they spread
_GOLDEN = 0.6180339887498949  # its multiples fill an interval evenly, and the same each time
_AIR = 1.12  # how much longer than the paths a plane is
_SAME, _STEP, _STACK = 0.01, 0.02, 0.1  # of an axis: where points hide one another, and how far they are spread
_LOW, _HIGH = INK, SERIES[1]  # dark and light also in grey


@unchecked
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
    coloured: Literal["rows", "facet"] = "rows",
    muted: xr.DataArray | None = None,
    centre: CentreKind = "mean",
    title: str | None = None,
) -> list[Panel]:
    """Draw one dot per member, category by category, with the mean or median and its 95 % interval.

    Titles and scales come from the attributes `long_name`, `units` and `scale` (see `attrs`). Panels share their axis.

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
        never: Word for infinite values, which are open dots at the right edge; such a row has a median but no mean.
        each: What a dot is.
        missing: Word for values that are NaN, which are counted at the row's end.
        coloured: Whether each row or each panel has a colour.
        muted: Which rows are grey: true or false, one per row, as `bounds` are.
        centre: "mean" or "median".
        title: Title of the panel; by default what the values are.

    Returns:
        One panel, or one for each value of `facet`.
    """
    whole = arranged("values", values, {"facet": facet, "rows": rows, "member": "member"})
    check_references(references)
    one_of("centre", centre, get_args(CentreKind))
    names = series_names(whole, rows)
    one_of("coloured", coloured, ("rows", "facet"))
    limits, grey = (None if one is None else _bounds(one, rows, facet, names) for one in (bounds, muted))
    low, high = check_ends("possible", possible) or (-np.inf, np.inf)
    lines = [replace(line, axis="x", at="start") for line in references]
    top = -0.95 if references else -0.65
    y = alt.Y("y:Q", scale=alt.Scale(domain=[len(names) - 0.6, top], nice=False, zero=False), axis=None)
    row, labels, members = np.arange(len(names)), np.array(names), whole["member"].values
    column = "member" if each == "member" else "one"  # networks alone are highlighted
    spread = ((np.arange(len(members)) * _GOLDEN) % 1 - 0.5) * 2 * _SPREAD
    prepared, panels, reach = [], list[Panel](), [np.array([])]
    for place, (head, one) in enumerate(facets(whole, facet, title)):
        axis = axis_of(one, scale, domain)
        if np.isposinf(whole.values).any() and axis.scale != "accuracy":  # where it would be the end itself
            axis = axis.with_edge(axis.drawn(whole.values), never)
        late = np.where(np.isposinf(one.values), axis.edge[0] if axis.edge else np.nan, np.nan)
        drawn = axis.drawn(one.values)
        limit = axis.drawn(np.full(len(names), np.nan) if limits is None else piece_of(limits, facet, place).values)
        # A mean that left out the members that never got there would mislead.
        reached = np.where(np.isinf(one.values).any(axis=1, keepdims=True), np.nan, drawn)
        if centre == "median":  # to which they count as late as can be
            reached = np.where(np.isfinite(late), late, drawn)
        centres = [axis.centre(own[np.isfinite(own)][:, None], centre) for own in reached]
        means, lows, highs = (np.array([getattr(one, end)[0] for one in centres]) for end in ("middle", "low", "high"))
        if centre == "median" and axis.edge:  # half way to what never was is never
            known = (~np.isnan(one.values)).sum(axis=1)
            means = np.where(np.isfinite(means) & (2 * np.isfinite(late).sum(axis=1) >= known), axis.edge[0], means)
        lows, highs = np.clip(lows, low, high), np.clip(highs, low, high)
        reach += [drawn.ravel(), limit, np.array([line.place(axis) for line in lines]), lows, highs]
        fill = np.array(SERIES)[(row if coloured == "rows" else np.full_like(row, place)) % len(SERIES)]
        fill = fill if grey is None else np.where(piece_of(grey, facet, place).values > 0, MUTED, fill)
        prepared.append((head, one, axis, drawn, late, limit, means, lows, highs, fill.tolist()))
    every = np.concatenate(reach)
    for head, one, axis, drawn, late, limit, means, lows, highs, fill in prepared:
        described, clip = axis.channel(every), axis.clips(every)  # else a dot at the end of the axis would be cut
        x = alt.X("x:Q", **described)

        layers = reference_layers(lines, x, y, {"x": axis})
        who = {"y": row[:, None] + _DOTS + spread, "series": labels[:, None], column: members}
        data = inline(x=drawn, **who)
        dot = alt.Chart(data, name="members").transform_filter("isValid(datum.x)")
        dot = dot.transform_calculate(shown=axis.expression("x"))
        dot = dot.mark_circle(size=46, fillOpacity=0.4, opacity=1, clip=clip)
        colour = alt.Color("series:N", scale=alt.Scale(domain=names, range=fill), legend=None)
        tooltip = [
            alt.Tooltip("series:N"),
            alt.Tooltip(f"{column}:O", title=each),
            alt.Tooltip("shown:N", title=axis.title),
        ]
        layers.append(dot.encode(x=x, y=y, color=colour, tooltip=tooltip))
        if np.isfinite(late).any():
            ring = alt.Chart(inline(x=late, shown=never, **who), name="never").transform_filter("isValid(datum.x)")
            ring = ring.mark_point(size=40, filled=False, strokeWidth=1.4, opacity=0.9)
            layers.append(ring.encode(x=x, y=y, color=colour, tooltip=tooltip))
        base = alt.Chart(inline(x=means, low=lows, high=highs, bound=limit, y=row + _DOTS, series=labels)).encode(y=y)
        interval = f"{axis.expression('low')} + ' to ' + {axis.expression('high')}"
        mean = base.transform_filter("isValid(datum.x)")
        mean = mean.transform_calculate(shown=axis.expression("x"), interval=interval)
        whisker = mean.transform_filter("isValid(datum.low)").mark_rule(color=INK, strokeWidth=1.6, clip=clip)
        layers.append(whisker.encode(x=alt.X("low:Q", **described), x2=alt.X2("high:Q")))
        diamond = mean.mark_point(shape="diamond", size=90, filled=True, color=INK, opacity=1, clip=clip)
        ends = alt.Tooltip("interval:N", title="95 % interval")
        tooltip = [alt.Tooltip("series:N"), alt.Tooltip("shown:N", title=centre), ends]
        layers.append(diamond.encode(x=x, tooltip=tooltip))
        if limits is not None:
            bounded = base.transform_filter("isValid(datum.bound)").transform_calculate(shown=axis.expression("bound"))
            stroke = bounded.mark_tick(color=MUTED, thickness=2.5, size=34, orient="vertical", clip=clip)
            tooltip = [alt.Tooltip("series:N"), alt.Tooltip("shown:N", title=bounds_label)]
            layers.append(stroke.encode(x=alt.X("bound:Q", **described), tooltip=tooltip))
        notes = [_note(own, placed, never, missing) for own, placed in zip(one.values, drawn, strict=True)]
        words = alt.Chart(inline(y=row + _NAME, series=labels, note=np.array(notes))).encode(y=y)
        name = words.mark_text(align="left", baseline="middle", color=INK, fontSize=12.5)
        layers.append(name.encode(x=fixed(alt.XValue, 0), text=alt.Text("series:N")))
        note = words.mark_text(align="right", baseline="middle", color=MUTED, fontSize=12)
        layers.append(note.encode(x=fixed(alt.XValue, "width"), text=alt.Text("note:N")))

        key = [Entry(f"one {each}", MUTED, "dot", opacity=0.6), Entry(f"{centre} with 95 % interval", INK, "mean")]
        if axis.edge:  # on all panels, which share their key
            key.append(Entry(f"{never}, at the right edge", MUTED, "ring"))
        if limits is not None:
            key.append(Entry(bounds_label, MUTED, "stroke"))
        sentences = [f"{axis.title}, one dot for each of {len(members)} {each}s."]
        for k, name in enumerate(names):
            ends_there = axis.edge[0] if axis.edge else np.inf
            said = [never if one >= ends_there else axis.words(one) for one in (means[k], lows[k], highs[k])]
            clauses = [f"{centre} {said[0]}"] if np.isfinite(means[k]) else []
            if np.isfinite(lows[k]):
                clauses.append(f"95 % interval {said[1]} to {said[2]}")
            if np.isfinite(limit[k]):
                clauses.append(f"{bounds_label} {axis.words(limit[k])}")
            sentences.append(f"{name}: {', '.join([*clauses, *filter(None, [notes[k]])])}.")
        height = round(_ROW * (len(names) - 0.6 - top))
        panels.append(view(head, layers, " ".join(sentences), height, key, clipped=clip))
    return panels


def _bounds(bounds: object, rows: str, facet: str | None, names: Sequence[str]) -> xr.DataArray:
    """Take each row's bound by its name."""
    by_facet = facet if facet in (*getattr(bounds, "dims", ()), *getattr(bounds, "coords", ())) else None
    known = arranged("bounds", bounds, {"facet": by_facet, "rows": rows})
    positions = {name: position for position, name in enumerate(series_names(known, rows))}
    lacking = [name for name in names if name not in positions]
    if lacking:
        raise InputError("bounds", f"none for {lacking[0]}", f"expected one for each {rows}")
    return known.isel({rows: [positions[name] for name in names]})


def _note(values: Array, drawn: Array, never: str, missing: str) -> str:
    """Count the members that have no dot; on a logarithmic axis zero has no place either."""
    off = np.isfinite(values) & ~np.isfinite(drawn)
    gone = [(np.isinf(values), never), (np.isnan(values), missing)]
    gone += [(off & (values == 0), "zero"), (off & (values < 0), "negative")]
    return ", ".join(f"{int(one.sum())} of {len(values)} {word}" for one, word in gone if one.any())


@unchecked
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
    height: int = 300,
) -> list[Panel]:
    """Draw one point per member: two quantities against each other. Points at one place are spread upwards and down.

    Titles and scales come from the attributes `long_name`, `units` and `scale` of x and y (see `attrs`). Where members
    of several ensembles are drawn, a coordinate `point` of x along member tells them apart.

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
    dims = {"facet": facet, "series": series, "member": "member"}
    across, up = arranged("x", x, dims), arranged("y", y, dims)
    names = series_names(across, series)
    if across.sizes != up.sizes:
        raise InputError("y", f"sizes {dict(up.sizes)}", f"expected those of x, {dict(across.sizes)}")
    if series_names(up, series) != names:
        raise InputError("y", f"another {series}", f"expected the same {series} as in x, in the same order")
    check_references(references)
    key = [replace(entry, series=False) for entry in series_entries(names, points=True)]
    legend = alt.Legend(title=None, symbolSize=60) if len(names) > 1 else None
    colours = alt.Scale(domain=names, range=[entry.colour for entry in key])
    shapes = alt.Scale(domain=names, range=[entry.shape for entry in key])
    colour = alt.Color("series:N", scale=colours, legend=legend)
    shape = alt.Shape("series:N", scale=shapes, legend=legend)
    labels, members = np.array(names)[:, None], across["member"].values
    whose = {name: across[name].values for name in ("point", "member") if name in across.coords or name == "member"}
    panels = []
    for place, (head, one) in enumerate(facets(up, facet, title)):
        other = piece_of(across, facet, place)
        x_axis, y_axis = axis_of(other, None, x_domain, "x_"), axis_of(one, None, y_domain, "y_")
        points = np.stack([x_axis.drawn(other.values), y_axis.drawn(one.values)])
        points = np.where(np.isfinite(points).all(axis=0), points, np.nan)
        x_channel = alt.X("x:Q", **_with_air(x_axis, points[0]))
        spread = _spread(points[0], points[1], y_axis)
        described = _with_air(y_axis, spread)
        y_channel = alt.Y("y:Q", **described)
        layers = reference_layers(references, x_channel, y_channel, {"x": x_axis, "y": y_axis})
        data = inline(x=points[0], y=points[1], at=spread, series=labels, **whose)
        dot = alt.Chart(data, name="members").transform_filter("isValid(datum.x) && isValid(datum.y)")
        dot = dot.transform_calculate(across=x_axis.expression("x"), up=y_axis.expression("y"))
        dot = dot.mark_point(size=60, filled=True, fillOpacity=0.55, strokeOpacity=0.9, strokeWidth=0.8, clip=True)
        values = [alt.Tooltip("across:N", title=x_axis.title), alt.Tooltip("up:N", title=y_axis.title)]
        dot = dot.encode(x=x_channel, y=alt.Y("at:Q", **described), color=colour, shape=shape)
        who = [alt.Tooltip(f"{name}:O") for name in whose]
        layers.append(dot.encode(tooltip=[alt.Tooltip("series:N"), *who, *values]))

        counts, ranges = [], ""
        for name, own in zip(names, points.swapaxes(0, 1), strict=True):
            own = own[:, np.isfinite(own[0])]
            counts.append(f"{own.shape[1]} of {len(members)} {name}")
            if own.size:
                (left, down), (right, top) = own.min(axis=1), own.max(axis=1)
                ranges += f" {name}: from {left:.3g} to {right:.3g} across, from {down:.3g} to {top:.3g} up."
        words = f"{y_axis.title} against {x_axis.title}, one point per member: {', '.join(counts)} are drawn.{ranges}"
        clipped = x_domain is not None or y_domain is not None
        panels.append(view(head, layers, words, height, key if len(names) > 1 else [], clipped=clipped))
    return panels


def _with_air(axis: Axis, drawn: Array) -> dict[str, Any]:
    """The channel of an axis that cuts no mark at its ends, unless these were given."""
    channel = axis.channel(drawn)
    if axis.domain is None and axis.scale != "log":  # which has air
        channel["scale"].padding = 8
    return channel


def _spread(x: Array, y: Array, up: Axis) -> Array:
    """Spread points that would hide one another evenly around where they are."""
    log = up.scale == "log"
    heights, at = (np.log(y) if log else y), y.copy()
    (left, right), (low, high) = (ends_of(one) or (0.0, 1.0) for one in (x, heights))
    cells: dict[tuple[int, int], list[tuple[int, ...]]] = {}
    for place in zip(*np.nonzero(np.isfinite(x) & np.isfinite(heights)), strict=True):
        near = ((x[place] - left) / ((right - left) or 1), (heights[place] - low) / ((high - low) or 1))
        cells.setdefault((round(near[0] / _SAME), round(near[1] / _SAME)), []).append(place)
    for places in cells.values():
        step = min(_STEP, _STACK / len(places)) * ((high - low) or 1)
        for k, place in enumerate(places):
            height = heights[place] + (k - (len(places) - 1) / 2) * step
            at[place] = np.exp(height) if log else height
    return at


@unchecked
def paths(
    points: xr.DataArray, colour: xr.DataArray, *, facet: str | None = None, title: str | None = None, height: int = 360
) -> list[Panel]:
    """Draw every member's path in a plane, with the same scale on both axes. Over 50 members have fewer points each.

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
    dims = {"facet": facet, "member": "member", "snapshot": "snapshot"}
    plane = arranged("points", points, {**dims, "component": "component"})
    shades = arranged("colour", colour, dims)
    if plane.sizes["component"] != 2:
        raise InputError("points", f"{plane.sizes['component']} components", "expected two")
    for dim, count in shades.sizes.items():
        if count != plane.sizes[dim]:
            raise InputError("colour", f"{count} along {dim}", f"expected {plane.sizes[dim]}, as of points")
    names = plane["component"].values.tolist()
    first, second = (Axis(name if isinstance(name, str) else f"Component {name}") for name in names)
    what = long_name(shades).partition(" (")[0]
    count, kept = plane.sizes["snapshot"], with_points(plane.sizes["member"], plane.sizes["snapshot"])
    plane, shades = plane.isel(snapshot=kept), shades.isel(snapshot=kept)
    order = np.arange(len(kept))
    role = np.where(order == 0, "start", np.where(order == order[-1], "end", "between"))
    times, members = plane["snapshot"].values, plane["member"].values[:, None]
    panels = []
    for place, (head, one) in enumerate(facets(plane, facet, title)):
        x, y = first.drawn(one.values[..., 0]), second.drawn(one.values[..., 1])
        worth = Axis(what, "log").drawn(piece_of(shades, facet, place).values)
        data = inline(x=x, y=y, worth=worth, order=order, role=role, snapshot=times, member=members)
        base = alt.Chart(data).transform_filter("isValid(datum.x) && isValid(datum.y)")
        across, up = _equal_scales(x, y)
        at: dict[str, Any] = {
            "x": alt.X("x:Q", **first.channel(x) | {"scale": across}),
            "y": alt.Y("y:Q", **second.channel(y) | {"scale": up}),
        }
        known = ends_of(worth)
        low, high = known or (1.0, 1.0)
        scale = alt.Scale(type="log" if high > low else "linear", domain=[low, high], range=[_LOW, _HIGH])
        ticks = [low, (low * high) ** 0.5, high] if high > low else [low]
        bar = alt.Legend(title=what, gradientLength=160, values=ticks, format=".2~g", titleLimit=400)
        tooltip = [alt.Tooltip("member:O"), alt.Tooltip("snapshot:Q"), alt.Tooltip("worth:Q", title=what, format=".3g")]
        shaded: dict[str, Any] = {
            **at,
            "color": alt.Color("worth:Q", scale=scale, legend=bar if known else None),
            "tooltip": tooltip,
        }
        line = base.mark_line(color=LINE, strokeWidth=1.4, clip=True)
        line = line.encode(detail=alt.Detail("member:O"), order=alt.Order("order:Q"), **at)
        dot = base.mark_circle(size=34, opacity=1, clip=True).encode(**shaded).properties(name="members")
        begun = base.transform_filter("datum.role == 'start'")
        begun = begun.mark_point(shape="circle", size=120, filled=False, color=INK, strokeWidth=1.5, clip=True)
        ended = base.transform_filter("datum.role == 'end'")
        ended = ended.mark_point(
            shape="diamond", size=130, filled=True, opacity=1, stroke=INK, strokeWidth=1, clip=True
        )
        layers = [line, dot, begun.encode(**at), ended.encode(**shaded)]
        key = [Entry("start", INK, "ring"), Entry("end", INK, "diamond")]
        if len(order) < count:
            key.append(Entry(f"{len(order)} of {count} snapshots", MUTED, "dot"))
        spread = f"coloured by {what} from {low:.3g} to {high:.3g}" if known else f"without any {what}"
        axes = f"{first.title} against {second.title}"
        words = f"The paths of {len(members)} members over {count} snapshots, {axes}, {spread}."
        panels.append(view(head, layers, words, height, key))
    return panels


def _equal_scales(x: Array, y: Array) -> tuple[alt.Scale, alt.Scale]:
    """Scales on which a unit is as long across as up, whatever the size of the plot."""
    (left, right), (low, high) = (ends_of(one) or (0.0, 1.0) for one in (x, y))
    across, up = ((right - left) or 1.0, (high - low) or 1.0)
    unit = f"{_AIR} * max({across:.6g} / width, {up:.6g} / height)"  # of a pixel; width and height are the plot's
    scales = []
    for middle, length in (((left + right) / 2, "width"), ((low + high) / 2, "height")):
        ends = [alt.ExprRef(f"{middle:.6g} {sign} {length} / 2 * {unit}") for sign in "-+"]
        scales.append(alt.Scale(domain=ends, nice=False, zero=False))
    return scales[0], scales[1]
