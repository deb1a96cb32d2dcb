"""A chart's key: which line is which, told by colour and by dash.

The key travels with the chart, so that the page can show it as buttons that anyone can reach and that wrap on a
narrow screen. A notebook and a printed figure show Vega's own legend, drawn from the same scale.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import altair as alt

from bathymetry.charts.theme import DASHES, SERIES

# The names hidden by the page's buttons; Vega tests it for every line.
HIDDEN = "hidden"


@dataclass(frozen=True)
class Entry:
    """One line of a key."""

    label: str
    colour: str  # of the light palette
    dash: tuple[float, ...]
    series: bool = True  # whether it can be hidden
    width: float = 2.5
    opacity: float = 1.0
    shape: Literal["line", "dot", "diamond", "stroke"] = "line"


def entries(names: Sequence[str]) -> tuple[Entry, ...]:
    """Give each series its colour and dash, by its place.

    Args:
        names: The series, in the order in which they are shown.

    Returns:
        One entry each; after six the colours come round again with another dash.

    Example:
        >>> [entry.label for entry in entries(["shallow", "deep"])]
        ['shallow', 'deep']
    """
    return tuple(
        Entry(name, SERIES[place % len(SERIES)], DASHES[(place + place // len(SERIES)) % len(DASHES)])
        for place, name in enumerate(names)
    )


def colour(key: Sequence[Entry], legend: bool) -> alt.Color:
    """Colour by series.

    Args:
        key: The entries that are series.
        legend: Whether Vega draws a legend for it; all layers must say the same.

    Returns:
        The colour channel of the field `series`.
    """
    scale = alt.Scale(domain=[entry.label for entry in key], range=[entry.colour for entry in key])
    return alt.Color("series:N", scale=scale, legend=_legend(key) if legend else None)


def dash(key: Sequence[Entry], legend: bool) -> alt.StrokeDash:
    """Dash by series.

    Args:
        key: The entries that are series.
        legend: Whether Vega draws a legend for it; all layers must say the same.

    Returns:
        The dash channel of the field `series`.
    """
    scale = alt.Scale(domain=[entry.label for entry in key], range=[list(entry.dash) for entry in key])
    return alt.StrokeDash("series:N", scale=scale, legend=_legend(key) if legend else None)


def _legend(key: Sequence[Entry]) -> alt.Legend:
    return alt.Legend(title=None, symbolType="stroke", symbolOpacity=1, columns=min(len(key), 3))


def shown(opacity: float) -> Any:
    """Make a mark vanish when its series is hidden.

    Args:
        opacity: Its opacity when it is not.

    Returns:
        A stroke or fill opacity. (An opacity of the whole mark would be many times slower to draw.)
    """
    return alt.condition(f"indexof({HIDDEN}, datum.series) >= 0", alt.value(0), alt.value(opacity))


def usermeta(key: Sequence[Entry], clipped: bool = False) -> dict[str, Any]:
    """Write a key where Vega-Lite keeps what is not its own.

    Args:
        key: All its entries.
        clipped: Whether something drawn leaves the plot; else a printed figure is spared the clipping, which is slow.

    Returns:
        The chart's `usermeta`.
    """
    return {"key": [asdict(entry) for entry in key], "clipped": clipped}
