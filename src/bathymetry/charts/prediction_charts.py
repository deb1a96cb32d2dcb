"""Charts of what networks learned of a function, over the function itself."""

from typing import Any

import altair as alt
import numpy as np
import xarray as xr

from bathymetry.charts.axes import Array, Centre, inline
from bathymetry.charts.figure import Panel, unchecked, view
from bathymetry.charts.labels import arranged, axis_of, check_ends, facets, horizontal_of
from bathymetry.charts.line_charts import by_series, centre_rows, channels, hover_layer, left_out, shown
from bathymetry.charts.spread import spread_entries, spread_layer, with_lines
from bathymetry.charts.theme import CENTRE, DASHES, INK, SERIES, SHADE, Entry
from bathymetry.core.errors import InputError

_MEDIAN = "median of members"
_TRUTH = (5.0, 3.0)  # the truth's dash


@unchecked
def predictions(
    values: xr.DataArray,
    truth: xr.DataArray,
    *,
    facet: str | None = None,
    x: str = "x",
    truth_label: str = "true function",
    trained_on: tuple[float, float] | None = None,
    domain: tuple[float, float] | None = None,
    title: str | None = None,
    height: int = 260,
) -> list[Panel]:
    """Draw what networks learned of a function: members, their median with its interval, and the function dashed.

    A mean of members that fit and members that do not would be a curve that no network has.

    Args:
        values: Dims member, x and facet; NaN where a member has diverged.
        truth: Dims (x), on the same grid.
        facet: What gets a panel and a colour for each of its values, usually the network.
        x: What is on the horizontal axis.
        truth_label: Name of the function, for example "cos(x)".
        trained_on: Interval of the training inputs; what lies outside is shaded.
        domain: Ends of the vertical axis; lines that leave it are clipped.
        title: Title of the panel; by default what the values are.
        height: Height in pixels.

    Returns:
        One panel, or one for each value of `facet`.
    """
    whole = arranged("values", values, {"facet": facet, "member": "member", "x": x})
    target = arranged("truth", truth, {"x": x})
    if target.sizes[x] != whole.sizes[x]:
        raise InputError("truth", f"{target.sizes[x]} values", f"expected one for each of {whole.sizes[x]} positions")
    if truth_label == _MEDIAN:
        raise InputError("truth_label", truth_label, "expected another name than that of the median")
    across = horizontal_of(whole, x, "linear")
    positions, names = across.positions, (_MEDIAN, truth_label)
    low, high = check_ends("trained_on", trained_on) or (positions[0], positions[-1])
    inside = (positions >= low) & (positions <= high)
    outside = [(start, end) for start, end in ((positions[0], low), (high, positions[-1])) if end > start]
    tint, *others = SERIES[: whole.sizes[facet] if facet else 1]  # the key stands for all panels
    whole_key, panels = dict[str, Any](colour=tint, others=tuple(others)), []
    for place, (head, one) in enumerate(facets(whole, facet, title)):
        axis, colour = axis_of(one, "linear", domain), SERIES[place % len(SERIES)]
        drawn, wanted = axis.drawn(one.values[:, across.indices]), axis.drawn(target.values[across.indices])
        middle, count = axis.centre(drawn, "median"), len(drawn)
        at, band = channels(across, axis, drawn)

        layers: list[alt.Chart] = []
        if outside:
            starts, ends = np.array(outside).T
            shade = alt.Chart(inline(x=starts, end=ends), name="outside").mark_rect(color=SHADE, clip=True)
            layers.append(shade.encode(x=at["x"], x2=alt.X2("end:Q")))
        lined = with_lines(count)
        if len(lined) < count:
            wide = spread_layer(positions, drawn).encode(color=alt.ColorValue(colour), **band)
            layers.append(wide.encode(fillOpacity=alt.FillOpacityValue(0.1)))
        members = alt.Chart(
            inline(x=positions, y=drawn[lined], member=whole["member"].values[lined, None]), name="members"
        )
        faint = members.mark_line(strokeWidth=1, color=colour, strokeOpacity=0.3, clip=True)
        layers.append(faint.encode(detail=alt.Detail("member:O"), **at))
        gap = np.full(len(positions), np.nan)
        data = centre_rows(across, (middle, Centre(wanted, gap, gap, middle.diverged)), names)
        area = alt.Chart(data).transform_filter("isValid(datum.low)")
        layers.append(area.mark_area(color=colour, fillOpacity=0.2, clip=True).encode(**band))
        truth_entry = Entry(truth_label, INK, dash=_TRUTH, series=True, width=1.6)
        by_colour, by_dash, _ = by_series([Entry(_MEDIAN, colour, dash=DASHES[0]), truth_entry])
        key = [Entry(_MEDIAN, dash=DASHES[0], series=True, **whole_key), truth_entry]
        width = alt.StrokeWidthValue(**alt.condition(alt.datum.series == truth_label, alt.value(1.6), alt.value(2.5)))
        strong = alt.Chart(data, name=CENTRE).mark_line(clip=True).encode(color=by_colour, strokeDash=by_dash, **at)
        layers.append(strong.encode(strokeWidth=width, strokeOpacity=shown(alt.StrokeOpacityValue, 1)))
        layers.append(hover_layer(data, names, across, axis))

        marks = [Entry(f"one of {count} members", width=1, opacity=0.6, **whole_key)] if count > 1 else []
        if len(lined) < count:
            marks, key = [], [*key, *spread_entries(count, len(lined), whole_key["colour"])]
        if count > 1 and np.isfinite(middle.low).any():
            marks.append(Entry("95 % interval of the median", shape="band", **whole_key))
        if outside:
            marks.append(Entry("outside the training inputs", SHADE, "shade"))
        words = f"{axis.title} against {across.title}: {count} members with their median, and {truth_label}."
        also = [_distances(np.abs(middle.middle - wanted), inside), left_out(middle, "median")]
        words = " ".join([words, *filter(None, also)])
        panels.append(view(head, layers, words, height, key, marks, axis.clips(drawn)))
    return panels


def _distances(distance: Array, inside: Array) -> str:
    """Say how far the median of members lies from the truth, inside and outside the training interval."""
    if not np.isfinite(distance).any() or not inside.any():
        return ""
    near = f"The median is at most {distance[inside].max():.2g} away from it where there was training data"
    return near + (f", and at most {distance[~inside].max():.2g} outside." if (~inside).any() else ".")
