"""A figure as plain words and Vega-Lite specifications, which travel to another process, and its drawing for print.

Neither Altair nor PyTorch is loaded here, so that a process that draws is small and starts at once.
"""

import copy
import json
import mmap
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

import vl_convert

from bathymetry.charts.theme import FONT, HOVER, INK, MUTED, PAPER, configuration, sample
from bathymetry.core.errors import StorageError
from bathymetry.core.showing import joined


@dataclass(frozen=True)
class SheetPanel:
    """One chart of a sheet."""

    title: str
    description: str  # what a screen reader says
    view: Mapping[str, Any]  # the Vega-Lite specification

    def copied(self) -> dict[str, Any]:
        """Copy the specification, to be changed; its rows are shared."""
        return {name: one if name == "datasets" else copy.deepcopy(one) for name, one in self.view.items()}


def cited_as(number: object) -> str:
    """Say a figure's number or numbers; empty where there is none."""
    several = list(number) if isinstance(number, list | tuple) else [number]
    if not all(isinstance(one, int) for one in several):
        return ""
    return f"Figure{'s' * (len(several) > 1)} {joined([*map(str, several)])}"


@dataclass(frozen=True)
class Sheet:
    """A figure as plain words and specifications: all that its drawing is made of."""

    name: str
    title: str
    panels: tuple[SheetPanel, ...]
    finding: str
    reading: str
    number: int | Sequence[int] | None = None
    stacked: bool = False

    @property
    def cited_as(self) -> str:
        """As what it is cited: "Figure 3", "Figures 3 and 4", or nothing."""
        return cited_as(self.number)

    @property
    def numbered_title(self) -> str:
        """The title with the number in front, where there is one."""
        return f"{self.cited_as}. {self.title}" if self.cited_as else self.title

    def to_json(self) -> str:
        """Write all of it in one line."""
        return json.dumps(vars(self) | {"panels": [vars(panel) for panel in self.panels]})

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what `to_json` wrote."""
        fields = json.loads(text)
        return cls(**fields | {"panels": tuple(SheetPanel(**panel) for panel in fields["panels"])})


_SVG = "{http://www.w3.org/2000/svg}"
_RESOLUTION = 2.0  # pixels of the PNG to one of the SVG
_WIDTH = 860  # pixels, all panels side by side together
_GAP = 36
_MARGIN = 20
_LINE = 1.4  # height of a line, in heights of its letters
_SAMPLE = 42  # pixels for an entry's sample, and the space behind it
_RESERVED = 64 << 30  # bytes of addresses that the engine behind the charts reserves when it starts
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")  # in any XML
_ESCAPED = re.compile(r"(?<!\\)((?:\\\\)*)\\u00(?:0[0-8bcef]|1[0-9a-f])")  # the same, as JSON writes them
# Many fonts lack these, and a renderer may then set the whole line in one that has them: they are drawn by shifting.
_RAISED, _LOWERED, _FIGURES = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "₀₁₂₃₄₅₆₇₈₉₋₊", "0123456789−+"
_SHIFTED = re.compile(f"([{_RAISED}]+|[{_LOWERED}]+)")
_PLAIN_FIGURES = str.maketrans(_RAISED + _LOWERED, 2 * _FIGURES)

_REFERENCE = re.compile(r"(^#|url\(#)([^)]*)")  # from inside an SVG

ElementTree.register_namespace("", _SVG[1:-1])


@cache  # once the engine has started, its addresses are its own
def check_addresses() -> None:
    """Refuse to draw under a limit of addresses (`ulimit -v`), at which the engine would abort without a word."""
    if not hasattr(mmap, "MAP_ANONYMOUS"):  # Windows has no such limit
        return
    try:
        mmap.mmap(-1, _RESERVED, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=0).close()
    except OSError as error:
        raise StorageError(
            f"Figures can't be drawn, because drawing reserves {_RESERVED / 1e9:.0f} GB of addresses: lift the limit "
            "(ulimit -v). What is stored stays; bathymetry report makes the page from it."
        ) from error


def draw(sheet: Sheet) -> tuple[str, bytes]:
    """Draw a figure for print: an SVG and the same as a PNG, on white, with its title, key and caption."""
    drawn = draw_svg(sheet)
    return drawn, vl_convert.svg_to_png(drawn, scale=_RESOLUTION)


def draw_svg(sheet: Sheet) -> str:
    """Draw a figure for print, as an SVG."""
    check_addresses()
    count = len(sheet.panels)
    columns = 1 if count == 1 or sheet.stacked else 2 if count in (2, 4) else 3
    width = (_WIDTH - _GAP * (columns - 1)) / columns
    common, keys = common_key([_whole_key(panel.view) for panel in sheet.panels])
    paper = _Paper(sheet)

    down = paper.write(sheet.numbered_title, 0, 0, _WIDTH, size=17, weight=600) + 8
    down = paper.key(common, 0, down, _WIDTH) + 14
    for first in range(0, count, columns):
        row = [(place, column * (width + _GAP)) for column, place in enumerate(range(count)[first : first + columns])]
        heads = []
        for place, left in row:
            head = down
            if count > 1:
                head = paper.write(sheet.panels[place].title, left, head, width, size=14, weight=600) + 4
            heads.append(paper.key(keys[place], left, head, width) + 8)
        views = [(sheet.panels[place].copied(), place, left) for place, left in row]
        down = max(paper.chart(*one, max(heads), width) for one in views) + 24
    down = paper.write(sheet.finding, 0, down, _WIDTH, size=13)
    down = paper.write(sheet.reading, 0, down + 4, _WIDTH, size=12.5, colour=MUTED)
    return paper.text(down)


@cache
def charting_library() -> str:
    """Make the script that draws charts in a browser."""
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")


Key = tuple[Mapping[str, Any], ...]


def common_key(keys: Sequence[Key]) -> tuple[Key, list[Key]]:
    """Give the key that all panels share, and what is left for each: nothing where no sample has two meanings."""
    entries = [one for place, key in enumerate(keys) for one in key if not any(one in other for other in keys[:place])]
    looks = [(one["colour"], one["shape"], one["dash"], one["width"], one["opacity"]) for one in entries]
    shared = tuple(entries) if all(looks.count(look) == 1 for look in looks) else ()
    return shared, [() if shared else key for key in keys]


def _whole_key(view: Mapping[str, Any]) -> Key:
    meta = view.get("usermeta", {})
    return (*meta.get("key", ()), *meta.get("marks", ()))


class _Paper:
    """An SVG that grows downwards; every method returns where the next thing may begin."""

    def __init__(self, sheet: Sheet) -> None:
        self._name = re.sub(r"[^A-Za-z0-9_-]", "-", sheet.name)
        self._root = ElementTree.Element(f"{_SVG}svg", {"role": "img", "font-family": FONT})
        self._add("title", sheet.title)
        self._add("desc", " ".join([*(panel.description for panel in sheet.panels), sheet.finding, sheet.reading]))
        self._paper = self._add("rect", fill=PAPER)
        self._body = self._add("g", transform=f"translate({_MARGIN},{_MARGIN})")

    def write(
        self, words: str, left: float, top: float, width: float, size: float, weight: int = 400, colour: str = INK
    ) -> float:
        """Write words in as many lines as they need."""
        for line in _wrapped(words, width, size * (1.06 if weight > 400 else 1)):
            top += size * _LINE
            at = {"x": left, "y": top - size * (_LINE - 1), "font-size": size, "font-weight": weight, "fill": colour}
            first, *rest = _SHIFTED.split(line)
            text = self._add("text", first, self._body, **at)
            for small, after in zip(rest[::2], rest[1::2], strict=True):
                down = (0.28 if small[0] in _LOWERED else -0.36) * size
                figures = small.translate(_PLAIN_FIGURES)
                self._add("tspan", figures, text, **{"dy": down, "font-size": 0.72 * size})
                self._add("tspan", after, text, dy=-down)
        return top

    def key(self, entries: Key, left: float, top: float, width: float) -> float:
        """Write a key, its entries one after another, in as many lines as they need."""
        across, size, height = 0.0, 12.5, 20.0
        for entry in entries:
            lines = _wrapped(entry["label"], width - _SAMPLE, size)
            needs = _SAMPLE + max((_length(line, size) for line in lines), default=0.0)
            if across and across + needs > width:
                across, top = 0.0, top + height
            drawn = f'<g xmlns="{_SVG[1:-1]}" opacity="{entry["opacity"]}">{sample(entry, entry["colour"])}</g>'
            group = ElementTree.fromstring(drawn)
            group.set("transform", f"translate({left + across:g},{top + 1.5:g})")
            self._body.append(group)
            self.write(entry["label"], left + across + _SAMPLE, top, width - _SAMPLE, size)
            across += needs + 22
            top += height * (max(len(lines), 1) - 1)
        return top + height if entries else top

    def chart(self, view: dict[str, Any], place: int, left: float, top: float, width: float) -> float:
        """Put a chart in its place, shrunk if it is wider than that."""
        still = json.dumps(_still(view, round(width)), ensure_ascii=False)
        # On control characters Vega's measuring of text ends the program.
        clean = _UNPRINTABLE.sub("\ufffd", _ESCAPED.sub("\\1\ufffd", still))
        drawn = ElementTree.fromstring(vl_convert.vegalite_to_svg(clean))
        across, down = (float(drawn.get(side, "0")) for side in ("width", "height"))
        scale = min(1.0, width / across) if across else 1.0
        _rename(drawn, f"{self._name}-{place}-")
        for name, value in {"x": left, "y": top, "width": across * scale, "height": down * scale}.items():
            drawn.set(name, f"{value:g}")
        self._body.append(drawn)
        return top + down * scale

    def text(self, bottom: float) -> str:
        """Give the whole as text."""
        size = {"width": f"{_WIDTH + 2 * _MARGIN}", "height": f"{bottom + 2 * _MARGIN:.0f}"}
        self._root.attrib.update(size, viewBox=f"0 0 {size['width']} {size['height']}")
        self._paper.attrib.update(size)
        return ElementTree.tostring(self._root, encoding="unicode")

    def _add(
        self, tag: str, text: str | None = None, parent: ElementTree.Element | None = None, **attributes: Any
    ) -> ElementTree.Element:
        written = {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in attributes.items()}
        one = ElementTree.SubElement(self._root if parent is None else parent, f"{_SVG}{tag}", written)
        one.text = None if text is None else _UNPRINTABLE.sub("\ufffd", text)
        return one


def _length(words: str, size: float) -> float:
    """Estimate how wide words are, in pixels, rather too wide than too narrow."""
    return size * sum(map(_letter, words))


def _letter(one: str) -> float:
    if one in "iljtfI.,:;'|! ()[]":
        return 0.31
    if one in "mwMW@%—…":
        return 0.92
    return 0.7 if one.isupper() else 0.59 if ord(one) < 0x1100 else 1.02


def _wrapped(words: str, width: float, size: float) -> list[str]:
    """Break words into lines, between words where that is possible."""
    lines: list[str] = []
    for word in words.split():
        if lines and _length(f"{lines[-1]} {word}", size) <= width:
            lines[-1] += f" {word}"
            continue
        lines.append("")
        for letter in word:
            if lines[-1] and _length(lines[-1] + letter, size) > width:
                lines.append("")
            lines[-1] += letter
    return lines


def _still(view: dict[str, Any], width: int) -> dict[str, Any]:
    """Leave out of a chart what only a screen can do, and the legends that the key stands for."""
    config = configuration()
    config["axis"]["titleLimit"] = 0.85 * width  # else long words would leave the plot no room
    config["text"]["limit"] = 0.6 * width
    meta = view.pop("usermeta", {})
    view |= {"config": config, "padding": 0}
    if "layer" not in view and "mark" not in view:
        return view
    view |= {"width": width, "autosize": {"type": "fit-x", "contains": "padding"}}
    view["params"] = [one for one in view.get("params", []) if "select" not in one]
    if "layer" in view:
        view["layer"] = [layer for layer in view["layer"] if layer.get("name") != HOVER]
    for layer in view.get("layer", [view]):
        if not meta.get("clipped", True) and isinstance(layer.get("mark"), dict):
            layer["mark"].pop("clip", None)  # which would take seconds
        for channel in layer.get("encoding", {}).values() if meta.get("key") else ():
            if isinstance(channel, dict) and channel.get("field") == "series":
                channel["legend"] = None
    return view


def _rename(drawn: ElementTree.Element, prefix: str) -> None:
    """Give what a chart refers to inside itself names that no other chart of a document has, the same each time."""
    # Vega counts such names on from one chart to the next.
    names = {one.get("id"): f"{prefix}{place}" for place, one in enumerate(drawn.iterfind(".//*[@id]"), start=1)}
    for one in drawn.iter():
        for name, value in one.attrib.items():
            if name == "id":
                one.set(name, names[value])
            elif "#" in value:
                one.set(name, _REFERENCE.sub(lambda found: found[1] + names.get(found[2], found[2]), value))
