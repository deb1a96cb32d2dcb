"""The look of every chart, and the entries of its key.

`theme.json` has the palette, the dashes, the samples of keys and the Vega-Lite configuration. A chart is written in the
light palette; on a dark page each colour is exchanged for its twin. Series' colours differ under the common colour
blindnesses, with a contrast of at least 3:1 against their page and text of 4.5:1; dashes differ for print in black.
The page shows a chart's key as buttons, a printed figure draws it, and a notebook shows Vega's legend.
"""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

_THEME = json.loads(files("bathymetry.charts").joinpath("theme.json").read_text(encoding="utf-8"))
PALETTE: Mapping[str, tuple[str, str]] = {name: (light, dark) for name, (light, dark) in _THEME["palette"].items()}
INK, MUTED, LINE, SHADE, PAPER = (PALETTE[name][0] for name in ("ink", "muted", "line", "shade", "paper"))
SERIES = tuple(light for name, (light, _) in PALETTE.items() if name.startswith("series-"))
DASHES: Sequence[tuple[float, ...]] = [tuple(dash) for dash in _THEME["dashes"]]

FONT = str(_THEME["config"]["font"])
HIDDEN = "hidden"  # the parameter with the names hidden by the page's buttons; Vega tests it for every line
CENTRE = "centre"  # the name of the layer of means, which an answer card shows
SHAPES = ("circle", "diamond", "square", "triangle-up", "cross", "triangle-down")
HOVER = "hover"  # the name of the layer that a printed figure leaves out


def configuration() -> dict[str, Any]:
    """Make the Vega-Lite configuration of the light face; its colours are all in the palette."""
    return copy.deepcopy(_THEME["config"])


def twins() -> dict[str, str]:
    """Give each light colour's twin on a dark page."""
    return dict(PALETTE.values())


@dataclass(frozen=True)
class Entry:
    """One line of a key."""

    label: str
    colour: str  # of the light palette
    shape: str = "line"  # or the name of a sample
    dash: tuple[float, ...] = ()
    series: bool = False  # whether it can be hidden
    width: float = 2.5
    opacity: float = 1.0
    others: tuple[str, ...] = ()  # colours that share the sample, where it stands for every series


def series_entries(names: Sequence[str], points: bool = False) -> list[Entry]:
    """Give each series its colour and dash or shape by its place; after six the colours come round with another one."""
    return [
        Entry(
            name,
            SERIES[k % len(SERIES)],
            SHAPES[(k + k // len(SERIES)) % len(SHAPES)] if points else "line",
            dash=() if points else DASHES[(k + k // len(SERIES)) % len(DASHES)],
            series=True,
        )
        for k, name in enumerate(names)
    ]


def sample(entry: Mapping[str, Any], colour: str) -> str:
    """Draw what an entry of a chart's `usermeta` looks like in the chart: the content of an SVG, 34 by 14 pixels."""
    colours = [colour, *entry["others"]]
    if len(colours) == 1:
        return _sample(entry, colour)
    share, drawn = 1 / len(colours), ""
    for k, one in enumerate(colours):
        along = entry["shape"] in (
            "line",
            "band",
            "interval",
        )  # which may be cut into pieces; the others stand in a row
        place = (
            f"translate({34 * k * share:g}) scale({share:g},1)"
            if along
            else f"translate({34 * (k + 0.5) * share - 17:g})"
        )
        drawn += f'<g transform="{place}">{_sample(entry, one)}</g>'
    return drawn


def _sample(entry: Mapping[str, Any], colour: str) -> str:
    if entry["shape"] != "line":
        return str(_THEME["samples"][entry["shape"]]).replace("{colour}", colour)
    broken = entry["dash"] and entry["dash"][1]
    dashes = f' stroke-dasharray="{" ".join(map(str, entry["dash"]))}"' if broken else ""
    return f'<path d="M1 7H33" stroke="{colour}" stroke-width="{entry["width"]}"{dashes}/>'
