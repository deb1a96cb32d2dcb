"""A chart's key: which line is which, told by colour and by dash.

The key travels with the chart, so that the page can show it as buttons that anyone can reach and that wrap on a
narrow screen, and a printed figure can draw it whole. A notebook shows Vega's own legend, drawn from the same scale.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import altair as alt
import numpy as np
from jaxtyping import Bool, Float

from bathymetry.charts.axes import YScale
from bathymetry.charts.theme import DASHES, SERIES

# The names hidden by the page's buttons; Vega tests it for every line.
HIDDEN = "hidden"

Shape = Literal[
    "line", "dot", "ring", "mean", "stroke", "band", "shade", "diamond", "square", "triangle-up", "triangle-down",
    "cross",
]  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One line of a key."""

    label: str
    colour: str  # of the light palette
    dash: tuple[float, ...]
    series: bool = True  # whether it can be hidden
    width: float = 2.5
    opacity: float = 1.0
    shape: Shape = "line"
    printed: bool = True  # false where Vega's own legend says it on paper


def sample(entry: Mapping[str, Any], colour: str) -> str:
    """Draw what an entry looks like in the chart, 34 by 14 pixels.

    Args:
        entry: An entry as `usermeta` has it.
        colour: What to draw with: a colour, or a reference to one.

    Returns:
        The content of an SVG.

    Example:
        >>> sample({"shape": "dot"}, "black")
        '<circle cx="17" cy="7" r="4.5" fill="black"/>'
    """
    shape = entry["shape"]
    if shape == "line":
        broken = entry["dash"] and entry["dash"][1]
        dashes = f' stroke-dasharray="{" ".join(map(str, entry["dash"]))}"' if broken else ""
        return f'<path d="M1 7H33" stroke="{colour}" stroke-width="{entry["width"]}"{dashes}/>'
    return _SAMPLES[shape].format(colour)


_POLYGON = '<path d="{path}" fill="{{0}}"/>'
_SAMPLES: Mapping[str, str] = {
    "dot": '<circle cx="17" cy="7" r="4.5" fill="{0}"/>',
    "ring": '<circle cx="17" cy="7" r="5" fill="none" stroke="{0}" stroke-width="1.5"/>',
    "mean": '<path d="M5 7H29" stroke="{0}" stroke-width="1.6"/><path d="M17 1.5 22.5 7 17 12.5 11.5 7Z" fill="{0}"/>',
    "stroke": '<path d="M17 0V14" stroke="{0}" stroke-width="2.5"/>',
    "band": '<path d="M1 1H33V13H1Z" fill="{0}" fill-opacity="0.2"/>'
    '<path d="M1 7H33" stroke="{0}" stroke-width="2.5"/>',
    "shade": '<path d="M1 0H33V14H1Z" fill="{0}"/>',
    "diamond": _POLYGON.format(path="M17 1.5 22.5 7 17 12.5 11.5 7Z"),
    "square": _POLYGON.format(path="M12.5 2.5H21.5V11.5H12.5Z"),
    "triangle-up": _POLYGON.format(path="M17 2 22.5 11.5H11.5Z"),
    "triangle-down": _POLYGON.format(path="M17 12 22.5 2.5H11.5Z"),
    "cross": _POLYGON.format(path="M15.2 2H18.8V5.2H22V8.8H18.8V12H15.2V8.8H12V5.2H15.2Z"),
}


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


def usermeta(key: Sequence[Entry], marks: Sequence[Entry] = (), clipped: bool = False) -> dict[str, Any]:
    """Write a key where Vega-Lite keeps what is not its own.

    Args:
        key: Its entries.
        marks: What else the chart draws, such as a band; a printed figure's key has these too.
        clipped: Whether something drawn leaves the plot; else a printed figure is spared the clipping, which is slow.

    Returns:
        The chart's `usermeta`.
    """
    return {
        "key": [asdict(entry) for entry in key],
        "marks": [asdict(entry) for entry in marks],
        "clipped": clipped,
    }


def in_words(
    y_title: str,
    x_title: str,
    names: Sequence[str],
    middles: Sequence[Float[np.ndarray, " point"]],
    diverged: Sequence[Bool[np.ndarray, " member"]],
    places: Float[np.ndarray, " point"],
    scale: YScale,
) -> str:
    """Say what a chart of lines shows.

    Args:
        y_title: What the values are.
        x_title: What they are drawn against.
        names: The series; none if there is only one.
        middles: Each series' centre, in natural values.
        diverged: Which members of each series diverged.
        places: The x of every point.
        scale: The vertical axis.

    Returns:
        A few sentences: what is drawn, where each centre starts and ends, who diverged.
    """
    count = len(diverged[0])
    subject = f" for {', '.join(names)}" if names else ""
    sentences = [f"{y_title} against {x_title}{subject}, {count} member{'s' * (count != 1)} each with their mean."]
    for place, middle in enumerate(middles):
        if np.isfinite(middle).any():
            who = f"{names[place]}: " if names else ""
            ends = (
                f"from {value(middle[0], scale)} at {places[0]:,.6g} to {value(middle[-1], scale)} at {places[-1]:,.6g}"
            )
            sentences.append(f"{who}{ends}.")
    for place, gone in enumerate(diverged):
        if gone.any():
            who = f" of {names[place]}" if names else ""
            sentences.append(f"{gone.sum()} of {count} members{who} diverged and are left out of the mean.")
    return " ".join(sentences)


def value(number: float, scale: YScale) -> str:
    """Write one number as a reader would.

    Args:
        number: In natural values.
        scale: The axis it is on.

    Returns:
        Three digits, or a percentage.

    Example:
        >>> value(0.98765, "accuracy"), value(0.00012345, "log")
        ('98.77 %', '0.000123')
    """
    return f"{100 * number:.4g} %" if scale == "accuracy" else f"{number:.3g}"
