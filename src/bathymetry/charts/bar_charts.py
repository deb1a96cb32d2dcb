"""Charts of bars: the parts of a whole, stacked, one bar per member."""

import altair as alt
import numpy as np
import xarray as xr

from bathymetry.charts.axes import inline
from bathymetry.charts.figure import Panel, unchecked, view
from bathymetry.charts.labels import arranged, axis_of, facets, series_names
from bathymetry.charts.theme import PAPER, SERIES, Entry


@unchecked
def stacks(
    values: xr.DataArray,
    parts: str,
    *,
    facet: str | None = None,
    title: str | None = None,
    missing: str = "diverged",
    height: int = 240,
) -> list[Panel]:
    """Draw one bar per member with its parts stacked, members with most of the first part first.

    Args:
        values: Dims member, parts and facet; NaN where a member has no bar.
        parts: What is stacked, the first lowest.
        facet: What gets a panel for each of its values.
        title: Title of the panel; by default what the values are.
        missing: Word for members without a bar, which are counted.
        height: Height in pixels.

    Returns:
        One panel, or one for each value of `facet`.
    """
    whole = arranged("values", values, {"facet": facet, "member": "member", "parts": parts})
    names = series_names(whole, parts)
    key = [Entry(name, SERIES[k % len(SERIES)], "square") for k, name in enumerate(names)]
    colours = alt.Scale(domain=names, range=[entry.colour for entry in key])
    members = whole["member"].values
    totals = np.where(np.isfinite(whole.values).all(axis=-1), whole.values.sum(axis=-1), 0)
    panels = []
    for head, one in facets(whole, facet, title):
        axis, sound = axis_of(one), np.isfinite(one.values).all(axis=1)
        ranked = np.lexsort(one.values[sound].T[::-1])[::-1]  # the last key sorts first
        ends = np.cumsum(one.values[sound][ranked], axis=1)
        starts = np.concatenate([np.zeros((len(ends), 1)), ends[:, :-1]], axis=1)
        gone = f" ({len(members) - len(ends)} {missing})" if len(ends) < len(members) else ""
        rank, who = np.arange(len(ends))[:, None], members[sound][ranked][:, None]
        data = inline(rank=rank, low=starts, high=ends, part=ends - starts, series=np.array(names), member=who)
        x = alt.X("rank:O", title=f"{len(ends)} members{gone}", axis=alt.Axis(labels=False, ticks=False))
        y = alt.Y("low:Q", title=axis.title, scale=alt.Scale(domain=[0, float(totals.max()) or 1.0], nice=False))
        bar = alt.Chart(data, name="members").mark_bar(stroke=PAPER, strokeWidth=0.5)
        shown = [
            alt.Tooltip("member:O"),
            alt.Tooltip("series:N"),
            alt.Tooltip("part:Q", title=axis.title, format=".3~g"),
        ]
        colour = alt.Color("series:N", scale=colours, legend=alt.Legend(title=None))
        bar = bar.encode(x=x, y=y, y2=alt.Y2("high:Q"), color=colour, tooltip=shown)
        means = [f"{name} {axis.words(part)}" for name, part in zip(names, (ends - starts).mean(axis=0), strict=True)]
        words = f"{axis.title}, one bar for each of {len(ends)} members{gone}"
        panels.append(
            view(head, [bar], f"{words}; on average {', '.join(means)}." if len(ends) else f"{words}.", height, key)
        )
    return panels
