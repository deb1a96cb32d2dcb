"""Charts of lines: members along one dimension with their mean or median."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast, get_args

import altair as alt
import numpy as np
import xarray as xr
from jaxtyping import Bool

from bathymetry.charts.axes import (
    Array,
    Axis,
    Centre,
    CentreKind,
    Horizontal,
    XScale,
    YScale,
    fixed,
    inline,
)
from bathymetry.charts.figure import Panel, unchecked, view
from bathymetry.charts.labels import (
    arranged,
    axis_of,
    check_ends,
    check_references,
    facets,
    horizontal_of,
    series_names,
)
from bathymetry.charts.references import Reference, along_lines, reference_layers
from bathymetry.charts.spread import spread_entries, spread_layer, with_lines
from bathymetry.charts.theme import (
    CENTRE,
    HIDDEN,
    HOVER,
    LINE,
    MUTED,
    SHADE,
    Entry,
    series_entries,
)
from bathymetry.core.errors import InputError
from bathymetry.stats.validation import one_of

_CROWD = 4  # of more series, members are thinner and bands lighter
_SPIKES = 40  # points beyond the axis that are marked, at most
_MEMBER = {"lines": "line", "dots": "dot"}  # what a key shows for one member


@unchecked
def lines(
    values: xr.DataArray,
    x: str,
    series: str | None = None,
    *,
    facet: str | None = None,
    scale: YScale | None = None,
    x_scale: XScale | None = None,
    domain: tuple[float, float] | None = None,
    references: Sequence[Reference] = (),
    behind: xr.DataArray | None = None,
    behind_label: str = "",
    members: Literal["lines", "dots"] = "lines",
    centre: CentreKind = "mean",
    interval: Literal["band", "end"] = "band",
    ends: bool = False,
    span: tuple[float, float] | None = None,
    muted: xr.DataArray | None = None,
    muted_label: str = "muted",
    title: str | None = None,
    height: int = 300,
) -> list[Panel]:
    """Draw members faintly and their mean or median with its pointwise 95 % interval, along one dimension.

    Titles and scales come from the attributes `long_name`, `units` and `scale` of the values and of x (see `attrs`);
    of how many examples an accuracy is a share comes from the coordinate `examples`. The mean is taken on the scale of
    the axis: of log loss, of logit accuracy. A member that diverged is drawn as far as it goes and left out of the
    mean. At most 200 points of a line are drawn; where x has few values, each has a mark. Of over 50 members, 10 are
    drawn and a band that holds 90 % of them. Panels share their vertical axis.

    Args:
        values: Dims member, x and, where given, series and facet; NaN where a member has diverged.
        x: What is on the horizontal axis: a dimension, or a coordinate along one.
        series: What has a colour and dash for each of its values.
        facet: What gets a panel for each of its values.
        scale: "log", "linear" or "accuracy"; by default that of the attributes, or else linear.
        x_scale: "epoch" (linear from 0; a reader can switch it to logarithmic), "log" or "linear"; by default that of
            the attributes.
        domain: Ends of the vertical axis; what lies above them is marked at the top.
        references: Labelled lines across the chart.
        behind: Something noisier to draw behind, without members: dims x and, if it has it, series.
        behind_label: What that is.
        members: "dots" where a line from one x to the next would mean nothing.
        centre: "median" where a mean would lie where no member is.
        interval: "end" for intervals at the end alone, where bands would cover each other.
        ends: Whether lines may end before the axis does: a centre goes as far as half of its members do.
        span: Part of the horizontal axis that a pale band sets off.
        muted: Which points are grey: true or false, with the dims x and, if it has it, series.
        muted_label: What these are, for example "hardly trained".
        title: Title of the panel; by default what the values are.
        height: Height in pixels.

    Returns:
        One panel, or one for each value of `facet`.
    """
    whole = arranged("values", values, {"facet": facet, "series": series, "member": "member", "x": x})
    across = horizontal_of(whole, x, x_scale)
    one_of("members", members, tuple(_MEMBER))
    one_of("centre", centre, get_args(CentreKind))
    one_of("interval", interval, ("band", "end"))
    check_references(references)
    noisy = None if behind is None else _along("behind", behind, whole, series, x)
    span = check_ends("span", span)
    members = members if len(across.positions) > 1 else "dots"  # a line of one point cannot be seen
    several, prepared, panels = series is not None, [], list[Panel]()
    reach = [np.array([])]
    for head, one in facets(whole, facet, title):
        axis = axis_of(one, scale, domain)
        names = [axis.title] if series is None else series_names(one, series)
        drawn = axis.drawn(one.values[..., across.indices]).reshape(len(names), -1, len(across.indices))
        centres = [axis.centre(line, centre, ends=ends) for line in drawn]
        reach += [drawn.ravel(), *(end for line in centres for end in (line.low, line.high))]
        reach.append(np.array([line.place(axis) for line in references if line.axis == "y"]))
        noise = None if noisy is None else axis.drawn(noisy.values[..., across.indices]).reshape(-1, drawn.shape[-1])
        if noise is not None and not np.isnan(noise).all():
            reach.append(np.nanquantile(noise, [0.02, 0.98]))  # it decides how far the axis goes without its rare peaks
        prepared.append((head, axis, names, drawn, centres, noise))
    every = np.concatenate(reach)
    for head, axis, names, drawn, centres, noise in prepared:
        at, band = channels(across, axis, every)
        key = series_entries(names, points=members == "dots")
        colour, dash, shape = by_series(key, columns=min(len(key), 3), legend=several)
        by_name, count = np.array(names)[:, None], drawn.shape[1]

        layers: list[alt.Chart] = []
        if span is not None:
            pale = alt.Chart(inline(x=np.array(span[:1]), end=np.array(span[1:]))).mark_rect(color=SHADE, clip=True)
            layers.append(pale.encode(x=at["x"], x2=alt.X2("end:Q")))
        if noise is not None:  # of one grey, as its entry of the key
            labels = by_name if len(noise) == len(names) else np.array([[behind_label]])
            jagged = alt.Chart(inline(x=across.positions, y=noise, series=labels), name="behind")
            jagged = jagged.mark_line(color=MUTED, strokeWidth=0.8, clip=True)
            half = shown(alt.StrokeOpacityValue, 0.5)
            layers.append(jagged.encode(detail=alt.Detail("series:N"), strokeOpacity=half, **at))
        lined = with_lines(count) if members == "lines" else np.arange(count)
        who = {"series": by_name[:, :, None], "member": whole["member"].values[lined, None]}
        faint = alt.Chart(inline(x=across.positions, y=drawn[:, lined], **who), name="members")
        faint = faint.encode(detail=alt.Detail("member:O"), color=colour, **at)
        grey = np.zeros((len(names), drawn.shape[-1]), dtype=bool)
        if muted is not None:
            grey |= _along("muted", muted, whole, series, x).values[..., across.indices] > 0
        data = centre_rows(across, centres, names, grey)
        opaque, filled = shown(alt.StrokeOpacityValue, 1), shown(alt.FillOpacityValue, 1)
        spread = alt.Chart(data).transform_filter("isValid(datum.low)").encode(color=colour)
        mark = alt.Chart(data).transform_filter("isValid(datum.y)").encode(fillOpacity=filled, **at)
        toned = alt.condition("datum.muted", alt.value(MUTED), colour) if grey.any() else colour
        if len(lined) < count:
            wide = spread_layer(across.positions, drawn, series=by_name).encode(color=colour, **band)
            layers.append(wide.encode(fillOpacity=shown(alt.FillOpacityValue, 0.1)))
        if members == "lines":  # faint enough that ten lie under the centre without becoming its rival
            strength = 1.0 if len(names) <= _CROWD else 0.6 * _CROWD / len(names)
            faded = shown(alt.StrokeOpacityValue, round(0.3 * strength, 3))
            layers.append(
                faint.mark_line(strokeWidth=1 if strength == 1 else 0.6, clip=True).encode(strokeOpacity=faded)
            )
            pale = shown(alt.FillOpacityValue, round(0.2 * strength, 3))
            area = spread.mark_area(clip=True).encode(fillOpacity=pale, **band)
            if interval == "end":
                layers += _whiskers(names, centres, colour, band)
            elif any(np.isfinite(one.low).any() for one in centres):  # Vega warns of a layer without a number
                layers.append(area)
            strong = alt.Chart(data, name=CENTRE).mark_line(strokeWidth=2.5, clip=True)
            layers.append(strong.encode(color=colour, strokeDash=dash, strokeOpacity=opaque, **at))
            if grey.any():
                layers += _greyed(across, drawn, np.stack([line.middle for line in centres]), names, grey, at)
            if across.has_marks:
                layers.append(mark.mark_point(size=36, filled=True, opacity=1, clip=True).encode(color=toned))
        else:
            layers.append(faint.mark_circle(size=22, clip=True).encode(fillOpacity=shown(alt.FillOpacityValue, 0.4)))
            layers.append(spread.mark_rule(strokeWidth=1.6, clip=True).encode(strokeOpacity=opaque, **band))
            strong = mark.mark_point(size=70, filled=True, opacity=1, clip=True).encode(color=toned, shape=shape)
            layers.append(strong.properties(name=CENTRE))
        crowd = along_lines(across, drawn)
        layers += reference_layers(references, at["x"], at["y"], {"x": across.axis, "y": axis}, crowd)
        spikes = _spikes(across, axis, drawn, names, colour)
        layers += [*spikes, hover_layer(data, names, across, axis)]

        tint, *others = [entry.colour for entry in key]
        whole_key = dict[str, Any](colour=tint, others=tuple(others))
        marks = [Entry(f"one of {count} members", shape=_MEMBER[members], width=1, opacity=0.6, **whole_key)]
        if np.isfinite([line.low for line in centres]).any():
            bar, when = ("band", "") if interval == "band" else ("interval", " at the end")
            bar = bar if members == "lines" else "mean"
            marks.append(Entry(f"{centre} with 95 % interval{when}", shape=bar, **whole_key))
        elif np.isfinite([line.middle for line in centres]).any():
            marks.append(Entry(centre, shape="line" if members == "lines" else "mean", **whole_key))
        if spikes:
            marks.append(Entry("above the axis", shape="triangle-up", **whole_key))
        key = key if several else []
        if noisy is not None and behind_label:
            key = [*key, Entry(behind_label, MUTED, dash=(1, 0), width=1, opacity=0.6)]
        if grey.any():
            key = [*key, Entry(muted_label, MUTED, "dot")]
        if len(lined) < count:
            key = [*key, *spread_entries(count, len(lined), tint)]
            marks = marks[1:]
        words = _in_words(axis, across, names if several else [], centres, centre, ends=ends)
        if grey.any():
            words += f" {int(grey.sum())} of {grey.size} points are grey: {muted_label}."
        clipped = noisy is not None or axis.clips(every)
        panel = view(head, layers, words, height, key, marks if count > 1 else [], clipped, across.epochs)
        if interval == "end":  # room for the bars, which stand outside the plot
            panel.chart.padding = {"left": 5, "top": 5, "bottom": 5, "right": 8 + 5 * len(names)}
        panels.append(panel)
    return panels


def _whiskers(
    names: Sequence[str], centres: Sequence[Centre], colour: alt.Color, band: dict[str, Any]
) -> list[alt.Chart]:
    """Draw the interval of each series where lines end, side by side at the right of the plot."""
    layers: list[alt.Chart] = []
    ends = {name: one for name, one in band.items() if name != "x"}
    for k, (name, line) in enumerate(zip(names, centres, strict=True)):
        if not np.isfinite(line.low[-1]):
            continue
        one = alt.Chart(inline(low=line.low[-1:], high=line.high[-1:], series=name), name=f"interval-{k}")
        opaque = shown(alt.StrokeOpacityValue, 1)
        rule = one.mark_rule(strokeWidth=2, xOffset=5 + 5 * k, clip=False)  # or an axis that zooms clips all
        layers.append(rule.encode(x=fixed(alt.XValue, "width"), color=colour, strokeOpacity=opaque, **ends))
    return layers


def _spikes(across: Horizontal, axis: Axis, drawn: Array, names: Sequence[str], colour: alt.Color) -> list[alt.Chart]:
    """Mark at the top where members leave the axis, with the value of the highest point."""
    if axis.domain is None or axis.scale == "accuracy":
        return []
    which, member, point = np.nonzero(drawn > axis.domain[1])
    if not 0 < len(point) <= _SPIKES:
        return []
    values, places = drawn[which, member, point], across.positions[point]
    rows = inline(x=places, value=values, series=np.array(names)[which], member=member)
    top, x = fixed(alt.YValue, 5), across.channel()
    tooltip = [alt.Tooltip("member:O"), alt.Tooltip("value:Q", title=axis.title, format=",.3~r")]
    mark = alt.Chart(rows, name="spikes").mark_point(shape="triangle-up", size=55, filled=True)
    mark = mark.encode(x=x, y=top, color=colour, fillOpacity=shown(alt.FillOpacityValue, 1), tooltip=tooltip)
    peak = alt.Chart(inline(x=places.max(keepdims=True), label=f"up to {float(f'{values.max():.2g}'):,.9g}"))
    peak = peak.mark_text(align="left", baseline="middle", dx=9)
    return [mark, peak.encode(x=x, y=top, text=alt.Text("label:N"))]


def _along(field: str, values: object, whole: xr.DataArray, series: str | None, x: str) -> xr.DataArray:
    """Arrange another array as the values are; it may lack the series."""
    several = series is not None and series in (*getattr(values, "dims", ()), *getattr(values, "coords", ()))
    other = arranged(field, values, {"series": series if several else None, "x": x})
    if other.sizes[x] != whole.sizes[x]:
        raise InputError(field, f"{other.sizes[x]} points along {x}", f"expected {whole.sizes[x]}, as values have")
    return other


def _greyed(
    across: Horizontal, drawn: Array, middle: Array, names: Sequence[str], grey: Array, at: Mapping[str, Any]
) -> list[alt.Chart]:
    """Draw what leads to grey points in grey, over the lines."""
    near = grey.copy()
    near[:, 1:] |= grey[:, :-1]
    near[:, :-1] |= grey[:, 1:]
    every = np.concatenate([drawn, middle[:, None]], axis=1)  # the centre as one more member
    number, last = np.arange(every.shape[1])[:, None], drawn.shape[1]
    data = inline(
        x=across.positions, y=np.where(near[:, None], every, np.nan), line=number, series=np.array(names)[:, None, None]
    )
    base = alt.Chart(data).encode(detail=[alt.Detail("line:O"), alt.Detail("series:N")], **at)
    thin = base.transform_filter(f"datum.line < {last}").mark_line(strokeWidth=1, color=LINE, clip=True)
    thick = base.transform_filter(f"datum.line == {last}").mark_line(strokeWidth=3, color=MUTED, clip=True)
    return [one.encode(strokeOpacity=shown(alt.StrokeOpacityValue, 1)) for one in (thin, thick)]


def channels(across: Horizontal, axis: Axis, every: Array) -> tuple[dict[str, Any], dict[str, Any]]:
    """Make the channels of lines, and those of a band between low and high."""
    x, y = across.channel(), axis.channel(every)
    return {"x": x, "y": alt.Y("y:Q", **y)}, {"x": x, "y": alt.Y("low:Q", **y), "y2": alt.Y2("high:Q")}


def shown(channel: type[Any], opacity: float) -> Any:
    """Make a stroke or fill vanish when its series is hidden; an opacity of the whole mark would be far slower."""
    return channel(**alt.condition(f"indexof({HIDDEN}, datum.series) >= 0", alt.value(0), alt.value(opacity)))


def by_series(key: Sequence[Entry], legend: bool = True, **more: Any) -> tuple[alt.Color, alt.StrokeDash, alt.Shape]:
    """Make the channels that tell series apart; all layers must have the same legend."""
    more = more if key[0].shape != "line" else more | {"symbolType": "circle", "symbolSize": 60}
    shown_as = alt.Legend(**{"title": None, "symbolType": "stroke", "symbolOpacity": 1, **more}) if legend else None
    names = [entry.label for entry in key]
    ranges = [entry.colour for entry in key], [list(entry.dash) for entry in key], [entry.shape for entry in key]
    colours, dashes, shapes = (alt.Scale(domain=names, range=one) for one in ranges)
    colour = alt.Color("series:N", scale=colours, legend=shown_as)
    dash = alt.StrokeDash("series:N", scale=dashes, legend=shown_as)
    return colour, dash, alt.Shape("series:N", scale=shapes, legend=None)


def centre_rows(
    across: Horizontal,
    centres: Sequence[Centre],
    names: Sequence[str],
    muted: Bool[np.ndarray, "series point"] | None = None,
) -> alt.InlineData:
    start, end = across.columns()
    parts = {"y": "middle", "low": "low", "high": "high"}
    stacked = {name: np.stack([getattr(line, part) for line in centres]) for name, part in parts.items()}
    more = {} if muted is None or not muted.any() else {"muted": muted}
    return inline(x=across.positions, start=start, end=end, series=np.array(names)[:, None], **stacked, **more)


def hover_layer(data: alt.InlineData, names: Sequence[str], across: Horizontal, axis: Axis) -> alt.Chart:
    """Shade the column under the pointer and show each series' centre and interval there; also holds the zoom."""
    under = alt.selection_point(name="under", on="pointerover", clear="pointerout", fields=["x"], empty=False)
    drag = "[pointerdown[event.pointerType === 'mouse'], window:pointerup] > window:pointermove!"
    wheel = "wheel![event.ctrlKey || event.metaKey]"
    zoom = alt.selection_interval(name="zoom", bind="scales", encodings=["x"], zoom=wheel, translate=drag)
    middle, low, high = map(axis.expression, ("y", "low", "high"))
    interval = f"isValid(datum.low) ? ' (' + {low} + ' to ' + {high} + ')' : ''"
    # A series may have any name; a field may not, so fields are numbered.
    slot = f"'slot' + indexof({json.dumps(list(names))}, datum.series)"
    tooltip = [alt.Tooltip("x:Q", title=across.title, format=",~r")]
    tooltip += [alt.Tooltip(f"slot{k}:N", title=name) for k, name in enumerate(names)]
    base = alt.Chart(data, name=HOVER).mark_rect(color=MUTED, clip=True)
    base = base.transform_calculate(shown=f"isValid(datum.y) ? {middle} + ({interval}) : 'no value'", slot=slot)
    base = base.transform_pivot("slot", value="shown", groupby=["x", "start", "end"], op="max")
    opacity = alt.FillOpacityValue(**alt.condition(under, alt.value(0.14), alt.value(0)))
    layer = base.encode(x=across.channel("start"), x2=alt.X2("end:Q"), fillOpacity=opacity, tooltip=tooltip)
    return cast(alt.Chart, layer.add_params(under, zoom))


def _in_words(
    axis: Axis, across: Horizontal, names: Sequence[str], centres: Sequence[Centre], centre: CentreKind, *, ends: bool
) -> str:
    """Say what is drawn, where each centre starts and ends, and who diverged."""
    count = len(centres[0].diverged)
    subject = f" for {', '.join(names)}" if names else ""
    members = f"{count} member{'s' * (count != 1)}"
    starts, gone = [f"{axis.title} against {across.title}{subject}, {members} with their {centre}"], []
    for place, line in enumerate(centres):
        name = names[place] if names else ""
        known = np.flatnonzero(np.isfinite(line.middle))
        if len(known):
            first, last = across.positions[known[[0, -1]]]
            start, end = (axis.words(line.middle[one]) for one in known[[0, -1]])
            starts.append(f"{name and f'{name}: '}from {start} at {first:,.6g} to {end} at {last:,.6g}")
        gone.append(left_out(line, centre, name and f" of {name}", "ended before others or diverged" if ends else ""))
    return " ".join([f"{'; '.join(starts)}.", *filter(None, gone)])


def left_out(line: Centre, centre: CentreKind, of: str = "", why: str = "") -> str:
    gone, why = line.diverged, why or "diverged"
    return f"{gone.sum()} of {len(gone)} members{of} {why} and are left out of the {centre}." if gone.any() else ""
