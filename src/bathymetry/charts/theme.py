"""The look of every chart: one palette with a light and a dark face, one configuration.

A chart is written in the light palette and stands by itself. Its dark face is the same chart with each colour
exchanged for its twin, so nothing about a chart has to be decided twice.
"""

from collections.abc import Mapping
from typing import Any

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

LABELS = 48  # pixels left of a plot for its axis's labels, the same in all so that stacked plots align


def configuration() -> dict[str, Any]:
    """Give the Vega-Lite configuration of the light face.

    Returns:
        A fresh configuration; its colours are all in the palette, so that `twins` turns it dark.

    Example:
        >>> configuration()["axis"]["gridColor"] == GRID
        True
    """
    return {
        "background": PAPER,
        "font": FONT,
        "view": {"stroke": None, "continuousHeight": 300},
        "axis": {
            "domainColor": LINE,
            "domainWidth": 1,
            "gridColor": GRID,
            "gridWidth": 1,
            "labelColor": MUTED,
            "labelFontSize": 12,
            "labelPadding": 6,
            "tickColor": LINE,
            "tickSize": 4,
            "titleColor": INK,
            "titleFontSize": 12.5,
            "titleFontWeight": 500,
            "titlePadding": 10,
        },
        "axisX": {"grid": False, "labelSeparation": 6},
        # Its title lies above the axis, where it is read without turning the head and costs no width.
        "axisY": {
            "domain": False,
            "ticks": False,
            "minExtent": LABELS,
            "titleAlign": "left",
            "titleAngle": 0,
            "titleAnchor": "start",
            "titleBaseline": "bottom",
            "titleX": -LABELS,
            "titleY": -10,
        },
        "legend": {
            "orient": "top",
            "direction": "horizontal",
            "labelColor": INK,
            "labelFontSize": 12.5,
            "labelLimit": 400,
            "symbolSize": 500,
            "symbolStrokeWidth": 2.5,
            "titleColor": MUTED,
            "titleFontSize": 12.5,
            "titleFontWeight": 400,
            "offset": 34,  # clear of the vertical axis's title
            "columnPadding": 24,
        },
        "title": {
            "anchor": "start",
            "color": INK,
            "fontSize": 14,
            "fontWeight": 600,
            "subtitleColor": MUTED,
            "subtitleFontSize": 12.5,
            "offset": 12,
        },
        "range": {"category": list(SERIES)},
        "line": {"strokeCap": "butt", "strokeJoin": "round"},
        "text": {"color": MUTED, "fontSize": 12},
        "rule": {"color": MUTED},
    }


def twins() -> dict[str, str]:
    """Give each light colour's twin on a dark page.

    Returns:
        Light colour to dark colour, both as six hexadecimal digits.

    Example:
        >>> twins()["#ffffff"]
        '#131c25'
    """
    return dict(PALETTE.values())
