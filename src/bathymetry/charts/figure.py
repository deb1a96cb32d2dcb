"""A figure: one question asked of the data, its charts, and the sentence that says what was found."""

import json
import mmap
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import altair as alt
import vl_convert
import xarray as xr

from bathymetry.charts.key import HIDDEN, Entry, sample, usermeta
from bathymetry.charts.labels import along, heading, label
from bathymetry.charts.marks import HOVER
from bathymetry.charts.theme import FONT, INK, MUTED, PAPER, configuration
from bathymetry.core.errors import InputError, StorageError, path_of
from bathymetry.core.storage import put


@dataclass(frozen=True)
class Panel:
    """One chart of a figure, a single view as wide as the page lets it be."""

    chart: alt.Chart | alt.LayerChart
    title: str
    description: str  # what a screen reader says of it

    def _repr_svg_(self) -> str:
        """Show the panel in a notebook, as a figure of its own."""
        return Figure("panel", self.title, (self,), "", "")._repr_svg_()


@dataclass(frozen=True)
class Figure:
    """A figure of a study."""

    name: str  # "01-loss-cos": its file name after "figure-", and its anchor on the page
    title: str  # the question or the finding, without the number
    panels: tuple[Panel, ...]
    finding: str  # one plain sentence, its numbers taken from the data
    reading: str  # how to read it
    number: int | None = None  # the number under which it is cited; None for those beside

    def __repr__(self) -> str:
        return f"Figure({self.name!r}, {self.title!r}, panels={len(self.panels)})"

    def _repr_svg_(self) -> str:
        """Show the figure in a notebook, as it would be printed."""
        from bathymetry.charts.figure import drawing  # the other way round, a figure is drawn by what knows figures

        return drawing(self)


class Figures(tuple[Figure, ...]):
    """A study's figures: a tuple that a notebook shows one below the other."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return "".join(f"<div>{one._repr_svg_()}</div>" for one in self)


def panel(chart: alt.Chart | alt.LayerChart, title: str) -> Panel:
    """Make a panel of a chart that says in words what it shows.

    Args:
        chart: A chart of one of the kinds here.
        title: What stands above it.

    Returns:
        The panel; what a screen reader says of it is the chart's own description.

    Raises:
        InputError: If it is no chart.
    """
    if not isinstance(chart, alt.TopLevelMixin):
        raise InputError("chart", type(chart).__name__, "expected a chart, such as charts.curves makes")
    words = chart.description
    return Panel(chart=chart, title=title, description=words if isinstance(words, str) else title)


def panels(
    values: xr.DataArray,
    facet: str | None,
    draw: Callable[[xr.DataArray, int], alt.LayerChart],
    title: str | None = None,
) -> list[Panel]:
    """Draw one panel, or one for each value of a dimension or of a coordinate along one."""
    if not isinstance(values, xr.DataArray):
        raise InputError("values", type(values).__name__, "expected an xarray.DataArray")
    if facet is None:
        return [panel(draw(values, 0), heading(values) if title is None else title)]
    whole = along(values, "facet", facet)
    pieces = [whole.isel({facet: place}) for place in range(whole.sizes[facet])]
    heads = [heading(one) if facet == "split" else label(one[facet].item()) for one in pieces]
    return [panel(draw(one, place), head) for place, (one, head) in enumerate(zip(pieces, heads, strict=True))]


_SVG = "{http://www.w3.org/2000/svg}"
_WIDTH = 860  # pixels, all panels side by side together
_GAP = 36
_RESERVED = 64 << 30  # bytes of addresses that the engine behind the charts reserves when it starts
_MARGIN = 20
_LINE = 1.4  # height of a line, in heights of its letters
_SAMPLE = 42  # pixels for an entry's sample, and the space behind it
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")  # in any XML
_ESCAPED = re.compile(r"(?<!\\)((?:\\\\)*)\\u00(?:0[0-8bcef]|1[0-9a-f])")  # the same, as JSON writes them
# Many fonts lack these, and a renderer may then set the whole line in one that has them: they are drawn by shifting.
_RAISED, _LOWERED, _FIGURES = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "₀₁₂₃₄₅₆₇₈₉₋₊", "0123456789−+"
_SHIFTED = re.compile(f"([{_RAISED}]+|[{_LOWERED}]+)")
_PLAIN_FIGURES = str.maketrans(_RAISED + _LOWERED, 2 * _FIGURES)

ElementTree.register_namespace("", _SVG[1:-1])


@cache  # once the engine has started, its addresses are its own
def check_addresses() -> None:
    """Refuse to draw under a limit of addresses (`ulimit -v`) that would end the process without a word.

    The engine behind the charts reserves 64 GiB of addresses when it starts, of which it fills next to none, and aborts
    if it can't.

    Raises:
        StorageError: If they can't be reserved.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return
    try:
        mmap.mmap(-1, _RESERVED, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=0).close()
    except OSError as error:
        raise StorageError(
            f"Figures can't be drawn with {limit / 1e9:.3g} GB of addresses (ulimit -v), because drawing reserves "
            f"{_RESERVED / 1e9:.0f} GB: lift the limit. What is stored stays; bathymetry report makes the page from it."
        ) from error


def drawing(figure: Figure) -> str:
    """Draw a figure for print.

    Args:
        figure: The figure.

    Returns:
        An SVG.
    """
    check_addresses()
    count = len(figure.panels)
    columns = 1 if count == 1 else 2 if count in (2, 4) else 3
    width = (_WIDTH - _GAP * (columns - 1)) / columns
    keys = [_key_of(panel) for panel in figure.panels]
    common = keys[0] if keys and all(key == keys[0] for key in keys) else ()
    sheet = _Sheet(figure)

    title = f"Figure {figure.number}. {figure.title}" if figure.number is not None else figure.title
    down = sheet.write(title, 0, 0, _WIDTH, size=17, weight=600) + 8
    down = sheet.key(common, 0, down, _WIDTH) + 14
    for first in range(0, count, columns):
        places = range(first, min(first + columns, count))
        heads = []
        for column, place in enumerate(places):
            left, head = column * (width + _GAP), down
            if count > 1:
                head = sheet.write(figure.panels[place].title, left, head, width, size=14, weight=600) + 4
            heads.append(sheet.key(() if common else keys[place], left, head, width) + 8)
        feet = [
            sheet.chart(figure.panels[place], place, column * (width + _GAP), max(heads), width)
            for column, place in enumerate(places)
        ]
        down = max(feet) + 24
    down = sheet.write(figure.finding, 0, down, _WIDTH, size=13)
    down = sheet.write(figure.reading, 0, down + 4, _WIDTH, size=12.5, colour=MUTED)
    return sheet.text(down)


class _Sheet:
    """An SVG that grows downwards; every method returns where the next thing may begin."""

    def __init__(self, figure: Figure) -> None:
        self._name = re.sub(r"[^A-Za-z0-9_-]", "-", figure.name)
        self._root = ElementTree.Element(f"{_SVG}svg", {"role": "img", "font-family": FONT})
        self._add("title", figure.title)
        self._add("desc", " ".join([*(panel.description for panel in figure.panels), figure.finding, figure.reading]))
        self._paper = self._add("rect", fill=PAPER)
        self._body = self._add("g", transform=f"translate({_MARGIN},{_MARGIN})")

    def write(
        self, words: str, left: float, top: float, width: float, size: float, weight: int = 400, colour: str = INK
    ) -> float:
        """Write words in as many lines as they need."""
        for line in wrapped(words, width, size * (1.06 if weight > 400 else 1)):
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

    def key(self, entries: Sequence[Mapping[str, Any]], left: float, top: float, width: float) -> float:
        """Write a key, its entries one after another, in as many lines as they need."""
        across, size, height = 0.0, 12.5, 20.0
        for entry in entries:
            lines = wrapped(entry["label"], width - _SAMPLE, size)
            needs = _SAMPLE + max((length(line, size) for line in lines), default=0.0)
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

    def chart(self, panel: Panel, place: int, left: float, top: float, width: float) -> float:
        """Put a panel's chart in its place, shrunk if it is wider than that."""
        view = json.dumps(_still(panel, round(width)), ensure_ascii=False)
        clean = _UNPRINTABLE.sub("\ufffd", _ESCAPED.sub("\\1\ufffd", view))  # Vega's measuring of text ends the program
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
        below = self._root if parent is None else parent
        given = {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in attributes.items()}
        one = ElementTree.SubElement(below, f"{_SVG}{tag}", given)
        one.text = None if text is None else _UNPRINTABLE.sub("\ufffd", text)
        return one


def length(words: str, size: float) -> float:
    """Estimate how wide words are, rather too wide than too narrow.

    Args:
        words: One line.
        size: Of the letters, in pixels.

    Returns:
        Pixels.
    """
    return size * sum(
        0.31 if one in "iljtfI.,:;'|! ()[]" else 0.92 if one in "mwMW@%—…" else 0.7 if one.isupper() else 0.59
        if ord(one) < 0x1100 else 1.02 for one in words
    )  # fmt: skip


def wrapped(words: str, width: float, size: float) -> list[str]:
    """Break words into lines, between words where that is possible.

    Args:
        words: Any text.
        width: Of a line, in pixels.
        size: Of the letters, in pixels.

    Returns:
        The lines; none for an empty text.

    Example:
        >>> wrapped("one two three", width=50, size=10)
        ['one two', 'three']
    """
    lines: list[str] = []
    for word in words.split():
        if lines and length(f"{lines[-1]} {word}", size) <= width:
            lines[-1] += f" {word}"
            continue
        lines.append("")
        for letter in word:
            if lines[-1] and length(lines[-1] + letter, size) > width:
                lines.append("")
            lines[-1] += letter
    return lines


def _key_of(panel: Panel) -> tuple[Mapping[str, Any], ...]:
    meta = panel.chart.to_dict().get("usermeta", {})
    return tuple(one for one in (*meta.get("key", ()), *meta.get("marks", ())) if one["printed"])


def _still(panel: Panel, width: int) -> dict[str, Any]:
    """Take a panel's chart without what only a screen can do, and without the legends that the key stands for."""
    view: dict[str, Any] = panel.chart.to_dict()
    meta = view.pop("usermeta", {})
    config = configuration()
    config["axis"]["titleLimit"] = 0.85 * width  # else long words would leave the plot no room
    config["text"]["limit"] = 0.6 * width
    view |= {"config": config, "padding": 0}
    if "layer" not in view and "mark" not in view:
        return view
    view |= {"width": width, "autosize": {"type": "fit-x", "contains": "padding"}}
    view["params"] = [one for one in view.get("params", []) if "select" not in one]
    if "layer" in view:
        view["layer"] = [
            _printed(layer, meta.get("clipped", True)) for layer in view["layer"] if layer.get("name") != HOVER
        ]
    for layer in view.get("layer", [view]) if meta.get("key") else []:
        for channel in layer.get("encoding", {}).values():
            if isinstance(channel, dict) and channel.get("field") == "series":
                channel["legend"] = None
    return view


def _printed(layer: dict[str, Any], clipped: bool) -> dict[str, Any]:
    """Drop clipping that clips nothing but takes seconds."""
    if clipped or not isinstance(layer.get("mark"), dict):
        return layer
    return layer | {"mark": {name: value for name, value in layer["mark"].items() if name != "clip"}}


def _rename(drawn: ElementTree.Element, prefix: str) -> None:
    """Give what a chart refers to inside itself names that no other chart of a document has."""
    for one in drawn.iter():
        for name, value in one.attrib.items():
            if name == "id":
                one.set(name, prefix + value)
            elif "url(#" in value:
                one.set(name, value.replace("url(#", f"url(#{prefix}"))
            elif name.endswith("href") and value.startswith("#"):
                one.set(name, f"#{prefix}{value[1:]}")


_RESOLUTION = 2.0  # pixels of the PNG to one of the SVG


def save(figure: Figure, folder: Path | str) -> tuple[Path, Path]:
    """Store a figure as `figure-NAME.svg` and `figure-NAME.png`, on white, with its title, key and caption.

    Args:
        figure: The figure; two or three panels stand side by side, more in rows.
        folder: Where to; it is made.

    Returns:
        The paths of the SVG and of the PNG.

    Raises:
        InputError: If it is no figure, or no folder.
    """
    if not isinstance(figure, Figure):
        raise InputError("figure", type(figure).__name__, "expected a charts.Figure")
    folder = path_of("folder", folder)
    svg, png = (folder / f"figure-{figure.name}.{kind}" for kind in ("svg", "png"))
    drawn = drawing(figure)
    put(svg, drawn.encode())
    put(png, vl_convert.svg_to_png(drawn, scale=_RESOLUTION))
    return svg, png


def view(
    layers: Sequence[alt.Chart],
    *,
    key: Sequence[Entry],
    height: int,
    description: str,
    clipped: bool,
    marks: Sequence[Entry] = (),
) -> alt.LayerChart:
    """Put layers together.

    Args:
        layers: From the back to the front.
        key: What its key lists.
        height: In pixels.
        description: What a screen reader says of it.
        clipped: Whether something drawn leaves the plot.
        marks: What else a printed figure's key lists.

    Returns:
        A chart that shows itself the same in a notebook and on the page; no global setting is changed.
    """
    # Vega names a layer's marks after the layer, and draws nothing at all where two have one name.
    names = [layer.name for layer in layers if isinstance(layer.name, str)]
    assert len(set(names)) == len(names), f"layers share a name: {names}"
    chart = alt.layer(*layers, width="container", height=height, description=description)
    chart.usermeta = usermeta(key, marks, clipped)
    chart = cast(alt.LayerChart, chart.add_params(alt.param(name=HIDDEN, value=[])))
    chart.config = alt.Config.from_dict(configuration())
    return chart
