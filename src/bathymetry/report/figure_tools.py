"""What a reader can do with the figures of the page: the menu of networks, a slider, and what exported files hold."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from bathymetry.charts.theme import CENTRE, sample

_FEWEST, _MOST = 4, 100  # positions that a slider steps through
Drawn = Mapping[str, Any]  # a figure as the page draws it: see page.py
Datasets = Mapping[str, Sequence[Mapping[str, Any]]]


def exported(drawn: Drawn) -> dict[str, Any]:
    """What stands around a figure's charts where it is saved: title, key and caption."""
    figure = drawn["figure"]
    panels = [
        {"chart": chart["id"], "title": chart["title"], "key": _entries([*chart["key"], *chart["marks"]])}
        for chart in drawn["charts"]
    ]
    words = {"title": figure.numbered_title, "finding": figure.finding, "reading": figure.reading}

    return words | {"stacked": figure.stacked, "key": _entries([*drawn["key"], *drawn["marks"]]), "panels": panels}


def _entries(key: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"label": entry["label"], "sample": sample(entry, entry["colour"]), "opacity": entry["opacity"]}
        for entry in key
    ]


def members_of(figures: Sequence[Drawn], charts: Mapping[str, Any], datasets: Datasets) -> list[tuple[int | None, int]]:
    """List the networks that a study's charts draw one by one, with their points; nothing where there is one only."""
    views = [charts[chart["id"]] for drawn in figures for chart in drawn["charts"]]
    names = {_data(view, layer) for view in views for layer in view.get("layer", [view])}
    found = {(row.get("point"), row["member"]) for name in names for row in datasets.get(name, ()) if "member" in row}
    are_numbered = len({point is None for point, _ in found}) == 1 and all(isinstance(one, int) for _, one in found)
    return sorted(found) if len(found) > 1 and are_numbered else []


def has_epochs(figures: Sequence[Drawn], charts: Mapping[str, Any]) -> bool:
    """Whether the epochs of a chart can be switched to their logarithm."""
    return any("epochs" in charts[chart["id"]] for drawn in figures for chart in drawn["charts"])


def slider_of(
    study: str, figures: Sequence[Drawn], charts: Mapping[str, Any], datasets: Datasets, start: float | None = None
) -> dict[str, Any] | None:
    """The charts of figures that have their lines over the same few positions, which a slider reads off.

    It starts nearest to a position, by default in the middle; of what has no value there, where the first line ends.
    """
    over = dict[str, tuple[str, list[float]]]()
    for drawn in figures:
        found = {chart["id"]: _centres(charts[chart["id"]], datasets) for chart in drawn["charts"]}
        axis = next((title for title, _ in found.values() if title), "")  # of stacked charts only the last has a title
        over |= {name: (title or axis, positions) for name, (title, positions) in found.items()}
    for title, positions in over.values():
        if title and not title.startswith("Epoch") and _FEWEST <= len(positions) <= _MOST:
            same = {
                chart["id"]: chart["title"] if len(drawn["charts"]) > 1 else drawn["figure"].title
                for drawn in figures
                for chart in drawn["charts"]
                if over[chart["id"]] == (title, positions)
            }
            begin = len(positions) // 2
            if start is not None:
                ends = [_last(charts[name], datasets) for name in same]
                begin = _nearest(positions, min(start, *ends, positions[-1]))
            marks = [one.get("marks", ()) for drawn in figures for one in (drawn, *drawn["charts"])]
            centres = [mark["label"] for some in marks for mark in some if mark["label"].startswith(("mean", "median"))]
            slider = {"study": study, "title": title, "positions": positions, "charts": same, "start": begin}
            return slider | {"centre": next(iter(centres), "")}
    return None


def _nearest(positions: Sequence[float], wanted: float) -> int:
    return min(range(len(positions)), key=lambda place: abs(positions[place] - wanted))


def _last(view: Mapping[str, Any], datasets: Datasets) -> float:
    """Where the first of a chart's lines ends."""
    ends = dict[str, float]()
    for layer in view.get("layer", [view]):
        if layer.get("name") == CENTRE:
            for row in datasets.get(_data(view, layer), ()):
                if row["y"] is not None:
                    ends[str(row["series"])] = max(row["x"], ends.get(str(row["series"]), row["x"]))
    return min(ends.values(), default=math.inf)


def _centres(view: Mapping[str, Any], datasets: Datasets) -> tuple[str, list[float]]:
    """What the lines of a chart go over: the title of their axis, if it has one, and the positions."""
    for layer in view.get("layer", [view]):
        encoding = layer.get("encoding", {})
        x = encoding.get("x", {})
        if layer.get("name") == CENTRE and x.get("field") == "x":
            rows = datasets.get(_data(view, layer), ())
            return str(x.get("title") or ""), sorted({row["x"] for row in rows if row["x"] is not None})
    return "", []


def _data(view: Mapping[str, Any], layer: Mapping[str, Any]) -> str:
    return str((layer.get("data") or view.get("data") or {}).get("name", ""))


def lines_of_code(code: str, name: str) -> str:
    """The Python that gives one figure: the lines that give the study's run, and those that pick and store it."""
    found = re.search(r"^(\w+) = bm\.", code, re.MULTILINE)
    run = found[1] if found else "run"
    begin = code.partition(f"\n{run}.")[0].rstrip()
    pick = f"figure = next(one for one in {run}.figures if one.name == {json.dumps(name)})"
    return f'{begin}\n{pick}\nbm.charts.save(figure, "figures")   # SVG and PNG' if begin else ""
