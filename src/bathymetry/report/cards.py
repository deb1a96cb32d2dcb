"""The small chart of an answer card: the centres of one chart, thinned, with names on the lines and no key or grid.

It is made from a figure's chart, so that a card can't show what its figure does not. That of the reference run is small
enough to ship with the package, and is drawn in a browser as the page's other charts are.
"""

import json
import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from bathymetry.charts.sheet import SheetPanel
from bathymetry.charts.theme import CENTRE, HOVER
from bathymetry.report.columns import columns

_HEIGHT, _WIDTH = 74, 310  # pixels, with the axis
_PLOT = 52  # pixels of the height, without it
_SIZE = {"height": _HEIGHT, "width": _WIDTH, "padding": {"left": 2, "right": 2, "top": 3, "bottom": 4}}
_MOST = 48  # points of a line
_LETTER = 6.2  # pixels, of a name on a line
_ROOM = 13  # pixels above or below a line that a name takes
_SCREEN = ("tooltip", "strokeOpacity", "fillOpacity")  # channels that only a figure on the page has
_LONGEST = 22  # letters of an axis's name
_LONGEST_TOGETHER = 40
Rows = list[dict[str, Any]]


def card_chart(panel: SheetPanel, only: Sequence[int] = ()) -> dict[str, Any]:
    """Make the Vega-Lite specification of a card from a chart, or of some of its series; its data stand in it."""
    view = panel.copied()
    datasets: Mapping[str, Rows] = view.pop("datasets", {})
    layers = [one for one in view.get("layer", [view]) if one.get("name") != HOVER]
    centres = [one for one in layers if one.get("name") == CENTRE]
    if not centres:
        return _points(layers, datasets, view.get("data", {}))
    _share_title(layers)
    kept = [_layer(one, datasets, None, True) for one in centres]
    for one in kept if only else []:
        names = [one["encoding"]["color"]["scale"]["domain"][place] for place in only]
        one["data"]["values"] = [row for row in one["data"]["values"] if row["series"] in names]
    rules = [
        _layer(one, datasets, None, True) for one in layers if _kind(one) == "rule" and "y2" not in one["encoding"]
    ]
    for one in rules:
        if "x" in one["encoding"]:
            one["encoding"]["x"]["axis"] = kept[0]["encoding"]["x"]["axis"]
    levels = [row["y"] for one in rules for row in one["data"]["values"] if "y" in row]
    return {**_SIZE, "layer": [*rules, *kept, *_names(kept[0], levels)]}


def _share_title(layers: Sequence[dict[str, Any]]) -> None:
    """Name the vertical axis in every layer, where layers share one that is named once."""
    titles = [one["encoding"].get("y", {}).get("title") for one in layers]
    for one in layers:
        if "y" in one["encoding"]:
            one["encoding"]["y"]["title"] = next(filter(None, titles), None)


def packed(card: Mapping[str, Any]) -> dict[str, Any]:
    """The same card with its data by column."""
    data = {"data": columns(card["data"]["values"])} if "data" in card else {}
    return {**card, **data, **({"layer": [packed(one) for one in card["layer"]]} if "layer" in card else {})}


def _points(
    layers: Sequence[dict[str, Any]], datasets: Mapping[str, Rows], shared: Mapping[str, Any]
) -> dict[str, Any]:
    """A chart without centres: its layers as they are, with all fields, which they may filter by."""
    kept = []
    for one in layers:
        if _kind(one) == "text" or (_kind(one) == "rule" and ("x" in one["encoding"] or "y2" in one["encoding"])):
            continue  # what is left of the rules are reference lines along the axis
        rows = datasets.get(one.get("data", shared).get("name", ""), [])
        drawn = _layer(one, datasets, shared, False)
        own = {"data": {"values": _rounded(rows)}} if "data" in one else {}
        plain = {name: one[name] for name in ("transform",) if name in one}
        kept.append({name: drawn[name] for name in ("mark", "encoding")} | own | plain)
    data = {"data": {"values": _rounded(datasets.get(shared.get("name", ""), []))}} if shared else {}
    return {**_SIZE, **data, "layer": kept}


def _rounded(rows: Rows) -> Rows:
    return [{name: _short(value) for name, value in row.items()} for row in rows]


def _kind(layer: Mapping[str, Any]) -> str:
    mark = layer["mark"]
    return str(mark if isinstance(mark, str) else mark.get("type"))


def _layer(layer: dict[str, Any], datasets: Mapping[str, Rows], shared: Any, is_line: bool) -> dict[str, Any]:
    """One layer with its own data, and the ends of its horizontal axis as all that is written."""
    encoding = {name: dict(one) for name, one in layer["encoding"].items() if name not in _SCREEN}
    source = layer.get("data") or shared or {}
    rows = datasets.get(source.get("name", ""), source.get("values", []))
    fields = [one["field"] for one in encoding.values() if "field" in one]
    rows = [{name: _short(row.get(name)) for name in fields} for row in rows]
    rows = [row for row in rows if all(value is not None for value in row.values())]
    if is_line and "x" in encoding and "series" in encoding.get("color", {}).get("field", ""):
        rows = _thin(rows)
    for name, channel in encoding.items():
        if "legend" in channel:
            channel["legend"] = None
        if name in ("x", "y"):
            channel.pop("title", None)
            if any(isinstance(end, dict) for end in channel.get("scale", {}).get("domain", ())):
                channel["scale"] = {"zero": False, "nice": False, "padding": 8}  # a card is too flat for equal scales
            if name == "y":
                channel["axis"] = None
                if not is_line and "scale" in channel:  # marks at the ends would be cut
                    channel["scale"] = {"padding": 5, **channel["scale"]}
                if is_line:
                    channel["scale"] = {key: one for key, one in channel.get("scale", {}).items() if key != "domain"}
                    channel["scale"] |= {"nice": False, "padding": 3}
                    if channel["scale"].get("type", "linear") == "linear":
                        channel["scale"]["zero"] = False
    x = layer["encoding"].get("x", {})
    if "field" in x and rows:
        encoding["x"]["axis"] = _ends(x, [row[x["field"]] for row in rows], layer["encoding"].get("y", {}))
    mark = layer["mark"]
    return {"data": {"values": rows}, "mark": mark, "encoding": encoding}


def _ends(x: Mapping[str, Any], values: Sequence[float], y: Mapping[str, Any]) -> dict[str, Any]:
    """An axis with both ends, the first after the names of both quantities: "↑ training loss → epoch 0"."""
    axis, (title, upright) = x.get("axis") or {}, map(_axis_name, (x, y))
    name = f"↑ {upright} → {title}" if upright and title and len(upright + title) <= _LONGEST_TOGETHER else title
    low, high = x.get("scale", {}).get("domain") or (min(values), max(values))
    if isinstance(low, dict):
        low, high = min(values), max(values)
    is_log = x.get("scale", {}).get("type") == "log"
    if is_log and (low % 1 or high % 1):  # the ends of the axis have air around the values
        low, high = (float(f"{end(values):.2g}") for end in (min, max))
    elif high > low and (low % 1 or high % 1):  # a card has room for two digits, inside the axis
        step = 10.0 ** (math.floor(math.log10(high - low)) - 1)
        inside = round(math.ceil(low / step) * step, 9) + 0.0, round(math.floor(high / step) * step, 9)
        low, high = inside if inside[0] < inside[1] else (low, high)
    words = axis.get("labelExpr") or f"format(datum.value, '{axis.get('format', ',~r')}')"
    expression = f"(datum.value == {json.dumps(low)} ? {json.dumps(name and f'{name} ')} : '') + ({words})"
    return {
        "values": [low, high],
        "labelExpr": expression,
        "labelAlign": {"condition": {"test": "datum.index === 0", "value": "left"}, "value": "right"},
        "labelFontSize": 11,
        "labelLimit": 270,
        "labelPadding": 3,
        "title": None,
        "grid": False,
        "ticks": False,
    }


def _axis_name(channel: Mapping[str, Any]) -> str:
    """What a channel shows, without its unit; nothing where that is long."""
    title = str(channel.get("title") or "").partition(" (")[0]
    return f"{title[:1].lower()}{title[1:]}" if len(title) <= _LONGEST else ""


def _short(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) and math.isfinite(value) else value


def _thin(rows: Rows) -> Rows:
    """Every so many points of each series, with its first and last."""
    thinned: Rows = []
    for name in dict.fromkeys(row["series"] for row in rows):
        own = [row for row in rows if row["series"] == name]
        chosen = np.unique(np.linspace(0, len(own) - 1, min(_MOST, len(own))).round().astype(int))
        thinned += [own[index] for index in chosen]
    return thinned


def _names(lines: Mapping[str, Any], levels: Sequence[float]) -> list[dict[str, Any]]:
    """The name of each line, where it is farthest from the other lines and names; `levels` also extend the axis."""
    rows, encoding = lines["data"]["values"], lines["encoding"]
    series = list(dict.fromkeys(row["series"] for row in rows))
    if not len(encoding["color"]["scale"]["domain"]) > 1 or not 0 < len(series) <= 4:
        return []
    across = _pixels([row["x"] for row in rows], encoding["x"].get("scale", {}), _WIDTH)
    heights = _pixels([*levels, *(row["y"] for row in rows)], encoding["y"].get("scale", {}), _PLOT)
    down = _PLOT - heights[len(levels) :]
    which = np.array([series.index(row["series"]) for row in rows])
    offset = 9 if _kind(lines) == "point" else 0  # pixels between a point and its name
    # Names stay clear of what joins points too.
    drawn = [
        _joined(np.stack([across, down])[:, which == one], 0 if offset else _WIDTH // 4) for one in range(len(series))
    ]
    line_x, line_y = np.concatenate(drawn, axis=1)
    line_of = np.repeat(range(len(series)), [one.shape[1] for one in drawn])
    placed: list[tuple[float, float, float]] = []  # middle, height, half of the width
    layers = []
    for name in series:
        half = _LETTER * len(name) / 2
        found: list[tuple[float, int, str, int, float, float]] = []
        for place, row in enumerate(rows):
            if row["series"] != name:
                continue
            others_here = (abs(line_x - across[place]) < half) & (line_of != series.index(name))
            apart = float(np.abs(line_y[others_here] - down[place]).min(initial=_ROOM))  # from other names' lines
            for (align, middle), side in product(_aligned(across[place], half, offset), (0,) if offset else (-1, 1)):
                height = down[place] + side * _ROOM / 2
                near = abs(line_x - middle) < half + 4
                gap = float(np.abs(line_y[near] - height).min(initial=_ROOM))
                others = [abs(other - height) for at, other, wide in placed if abs(at - middle) < wide + half]
                outside = min(height - 4, _PLOT - 4 - height, 0)
                crowded = min(gap - _ROOM / 2, 0) + 2 * min([*(one - _ROOM for one in others), 0])
                worth = apart + 2 * crowded + 2 * outside + middle / 1000
                found.append((worth, place, align, side, middle, height))
        _, place, align, side, middle, height = max(found)
        placed.append((middle, height, half))
        layers.append(_name(rows[place], align, side, offset, encoding))
    return layers


def _joined(points: "np.ndarray[Any, Any]", count: int) -> "np.ndarray[Any, Any]":
    """At least so many points along the line through some."""
    places = np.arange(points.shape[1])
    between = np.linspace(0, places[-1], max(len(places), count))
    return np.stack([np.interp(between, places, one) for one in points])


def _aligned(x: float, half: float, offset: float) -> list[tuple[str, float]]:
    """How a name at a point may be aligned so that it stays inside, and where its middle is then."""
    if offset:
        return [("left", x + offset + half) if x < _WIDTH / 2 else ("right", x - offset - half)]
    options = [("center", x), ("left", x + half), ("right", x - half)]
    return [one for one in options if half <= one[1] <= _WIDTH - half] or options[:1]


def _pixels(values: Sequence[float], scale: Mapping[str, Any], length: float) -> "np.ndarray[Any, Any]":
    numbers = np.asarray(values, float)
    if scale.get("type") == "log":
        numbers = np.log(np.maximum(numbers, 1e-300))
    elif scale.get("type") == "symlog":
        numbers = np.sign(numbers) * np.log1p(np.abs(numbers) / scale.get("constant", 1))
    spread, padding = np.ptp(numbers), scale.get("padding", 0)
    return np.asarray((numbers - numbers.min()) / (spread or 1) * (length - 2 * padding) + padding)


def _name(row: Mapping[str, Any], align: str, side: int, offset: float, encoding: Mapping[str, Any]) -> dict[str, Any]:
    mark = {"type": "text", "fontSize": 11, "fontWeight": 600, "baseline": "middle", "align": align}
    at = {name: encoding[name] for name in ("x", "y", "color")}
    return {
        "data": {"values": [dict(row)]},
        "mark": mark | {"dy": round(side * _ROOM / 2), "dx": offset if align == "left" else -offset},
        "encoding": {**at, "text": {"field": "series"}},
    }
