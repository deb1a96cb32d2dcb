"""The look of every chart: one palette with a light and a dark face, one configuration, and the entries of keys.

A chart is written in the light palette and stands by itself. Its dark face is the same chart with each colour
exchanged for its twin, so nothing about a chart has to be decided twice.

A chart's key travels with it, so that the page can show it as buttons that anyone can reach and that wrap on a narrow
screen, and a printed figure can draw it whole. A notebook shows Vega's own legend, drawn from the same scale.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

# Each colour and its twin on a dark page. The series' colours are told apart under the common colour blindnesses and
# have at least 3:1 against their page; text has at least 4.5:1.
PALETTE: Mapping[str, tuple[str, str]] = {
    "ink": ("#17222d", "#e9eff5"),
    "muted": ("#55626f", "#a3b1bf"),
    "line": ("#c6ced6", "#44525f"),
    "grid": ("#e8ecf0", "#263340"),
    "shade": ("#eef1f4", "#1f2a35"),
    "paper": ("#ffffff", "#131c25"),
    "series-1": ("#0a64ad", "#62b4ff"),
    "series-2": ("#c44d08", "#ff9c5c"),
    "series-3": ("#007a5c", "#44d3a4"),
    "series-4": ("#99408a", "#e898d6"),
    "series-5": ("#866800", "#e6c245"),
    "series-6": ("#1f7f9c", "#8edcf2"),
}

INK, MUTED, LINE, GRID, SHADE, PAPER = (PALETTE[name][0] for name in ("ink", "muted", "line", "grid", "shade", "paper"))
SERIES = tuple(light for name, (light, _) in PALETTE.items() if name.startswith("series-"))
# Dashes say the same as the colours, for print in black and for eyes that see colours alike.
DASHES: tuple[tuple[float, ...], ...] = ((1, 0), (8, 3), (2, 2.5), (9, 3, 2, 3), (14, 3), (5, 2, 1.5, 2, 1.5, 2))

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Liberation Sans', 'DejaVu Sans', sans-serif"
HIDDEN = "hidden"  # the parameter with the names hidden by the page's buttons; Vega tests it for every line
HOVER = "hover"  # the name of the layer that a printed figure leaves out

_LABELS = 48  # pixels left of a plot for its axis's labels, the same in all so that stacked plots align


def configuration() -> dict[str, Any]:
    """Make the Vega-Lite configuration of the light face; its colours are all in the palette."""
    colours = {"domainColor": LINE, "gridColor": GRID, "labelColor": MUTED, "tickColor": LINE, "titleColor": INK}
    sizes = {"domainWidth": 1, "gridWidth": 1, "labelFontSize": 12, "labelPadding": 6, "tickSize": 4}
    axis_title = {"titleFontSize": 12.5, "titleFontWeight": 500, "titlePadding": 10}
    # The vertical axis's title lies above it, where it is read without turning the head and costs no width.
    above = {"titleAlign": "left", "titleAngle": 0, "titleAnchor": "start", "titleBaseline": "bottom"}
    place = {"orient": "top", "direction": "horizontal", "offset": 34, "columnPadding": 24}  # clear of that title
    labels = {"labelColor": INK, "labelFontSize": 12.5, "labelLimit": 400}
    legend_title = {"titleColor": MUTED, "titleFontSize": 12.5, "titleFontWeight": 400}
    heading = {"anchor": "start", "color": INK, "fontSize": 14, "fontWeight": 600, "offset": 12}
    return {
        "background": PAPER,
        "font": FONT,
        "view": {"stroke": None, "continuousHeight": 300},
        "axis": colours | sizes | axis_title,
        "axisX": {"grid": False, "labelSeparation": 6},
        "axisY": {"domain": False, "ticks": False, "minExtent": _LABELS, "titleX": -_LABELS, "titleY": -10} | above,
        "legend": place | labels | legend_title | {"symbolSize": 500, "symbolStrokeWidth": 2.5},
        "title": heading | {"subtitleColor": MUTED, "subtitleFontSize": 12.5},
        "range": {"category": list(SERIES)},
        "line": {"strokeCap": "butt", "strokeJoin": "round"},
        "text": {"color": MUTED, "fontSize": 12},
        "rule": {"color": MUTED},
    }


def twins() -> dict[str, str]:
    """Give each light colour's twin on a dark page."""
    return dict(PALETTE.values())


@dataclass(frozen=True)
class Entry:
    """One line of a key."""

    label: str
    colour: str  # of the light palette
    shape: str = "line"  # or another that `sample` draws
    dash: tuple[float, ...] = ()
    series: bool = False  # whether it can be hidden
    width: float = 2.5
    opacity: float = 1.0
    printed: bool = True  # false where Vega's own legend says it on paper


def series_entries(names: Sequence[str]) -> list[Entry]:
    """Give each series its colour and dash by its place; after six the colours come round again with another dash."""
    return [
        Entry(name, SERIES[k % len(SERIES)], dash=DASHES[(k + k // len(SERIES)) % len(DASHES)], series=True)
        for k, name in enumerate(names)
    ]


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


def sample(entry: Mapping[str, Any], colour: str) -> str:
    """Draw what an entry of a chart's `usermeta` looks like in the chart: the content of an SVG, 34 by 14 pixels."""
    if entry["shape"] != "line":
        return _SAMPLES[entry["shape"]].format(colour)
    broken = entry["dash"] and entry["dash"][1]
    dashes = f' stroke-dasharray="{" ".join(map(str, entry["dash"]))}"' if broken else ""
    return f'<path d="M1 7H33" stroke="{colour}" stroke-width="{entry["width"]}"{dashes}/>'


def shown(opacity: float) -> Any:
    """Make a stroke or fill vanish when its series is hidden; an opacity of the whole mark would be far slower."""
    return alt.condition(f"indexof({HIDDEN}, datum.series) >= 0", alt.value(0), alt.value(opacity))
