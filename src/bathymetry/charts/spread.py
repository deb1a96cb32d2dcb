"""Many members in one chart: a sample of them has lines, and a band holds 90 % of them at each point."""

from typing import Any, cast

import altair as alt
import numpy as np

from bathymetry.charts.axes import Array, inline, thin
from bathymetry.charts.theme import Entry

_MOST_LINES, _SAMPLE = 50, 10  # members that each have a line, and those that have one where there are more
_MOST_POINTS, _FEWEST_POINTS = 1_500, 5  # of the paths of more members than that, and of one of them
_ENDS = (0.05, 0.95)


def with_lines(count: int) -> Array:
    """Which members have a line: all, or a sample where there are many."""
    return np.arange(count) if count <= _MOST_LINES else np.rint(np.linspace(0, count - 1, _SAMPLE)).astype(int)


def with_points(count: int, length: int) -> Array:
    """Which points of its path a member has: all, or a few from end to end where there are many members."""
    most = length if count <= _MOST_LINES else max(_FEWEST_POINTS, _MOST_POINTS // count)
    return thin(length, most, logarithmic=False)


def spread_layer(positions: Array, drawn: Array, **columns: Any) -> alt.Chart:
    """Draw the band; `drawn` has dims (…, member, point), and what has no member with a value has no band."""
    lacking = np.asarray(~np.isfinite(drawn).any(axis=-2))
    ends = np.nanquantile(np.where(np.expand_dims(lacking, -2), 0.0, drawn), _ENDS, axis=-2)
    low, high = np.where(lacking, np.nan, ends)
    chart = alt.Chart(inline(x=positions, low=low, high=high, **columns), name="spread")
    return cast(alt.Chart, chart.transform_filter("isValid(datum.low)").mark_area(clip=True))


def spread_entries(count: int, lined: int, colour: str) -> list[Entry]:
    """Say in the key how many members are drawn, and what the band is."""
    lines = Entry(f"{lined} of {count} members", colour, width=1, opacity=0.6)
    return [lines, Entry(f"90 % of {count} members", colour, "shade", opacity=0.15)]
