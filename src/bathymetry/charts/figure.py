"""A figure: a question or a finding, the panels that show it, and its drawing for print."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import wraps
from numbers import Real
from pathlib import Path
from typing import Any, ParamSpec

import altair as alt
from altair.utils.schemapi import debug_mode

from bathymetry.charts.sheet import Sheet, SheetPanel, draw, draw_svg
from bathymetry.charts.theme import HIDDEN, Entry, configuration
from bathymetry.core.errors import InputError, path_of
from bathymetry.core.system import put


@dataclass(frozen=True)
class Panel:
    """One chart of a figure.

    Args:
        chart: A single view, as wide as its container; a screen reader says its description.
        title: What stands above it.
    """

    chart: alt.Chart | alt.LayerChart
    title: str

    def __post_init__(self) -> None:
        if not isinstance(self.chart, alt.TopLevelMixin):
            raise InputError("chart", type(self.chart).__name__, "expected an Altair chart")

    @property
    def description(self) -> str:
        """What a screen reader says."""
        return self.chart.description if isinstance(self.chart.description, str) else self.title

    def _repr_svg_(self) -> str:
        return Figure("panel", self.title, (self,), "", "")._repr_svg_()


@dataclass(frozen=True)
class Figure:
    """A figure of a study.

    Args:
        name: Its file name after "figure-", and its anchor on the page, for example "01-loss-cos".
        title: The question or the finding, without the number.
        panels: Its charts; two or three stand side by side, more in rows.
        finding: One sentence, its numbers taken from the data.
        reading: How to read it.
        number: The number under which it is cited, or several; None for the others.
        stacked: Whether its panels stand above each other, because they share the horizontal axis.
    """

    name: str
    title: str
    panels: Sequence[Panel]
    finding: str
    reading: str
    number: int | tuple[int, ...] | None = None
    stacked: bool = False

    def sheet(self) -> Sheet:
        """Write it as plain words and specifications, as its charts are now."""
        with debug_mode(False):
            views = [panel.chart.to_dict(validate=False) for panel in self.panels]
        for view in views[:-1] if self.stacked else []:  # the lowest panel has the axis of all
            for layer in view.get("layer", []):
                if "axis" in layer.get("encoding", {}).get("x", {}):
                    layer["encoding"]["x"] |= {
                        "title": None,
                        "axis": layer["encoding"]["x"]["axis"] | {"labelOpacity": 0},
                    }
        panels = [SheetPanel(one.title, one.description, view) for one, view in zip(self.panels, views, strict=True)]
        return Sheet(self.name, self.title, tuple(panels), self.finding, self.reading, self.number, self.stacked)

    def __repr__(self) -> str:
        return f"Figure({self.name!r}, {self.title!r}, panels={len(self.panels)})"

    def _repr_svg_(self) -> str:
        return draw_svg(self.sheet())


class Figures(tuple[Figure, ...]):
    """A study's figures: a tuple that a notebook shows one below the other."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return "".join(f"<div>{one._repr_svg_()}</div>" for one in self)


Arguments = ParamSpec("Arguments")


def unchecked(chart: Callable[Arguments, list[Panel]]) -> Callable[Arguments, list[Panel]]:
    """Make a kind of chart without Altair's check of each step against its schema, which would take half the time."""

    @wraps(chart)
    def made(*args: Arguments.args, **kwargs: Arguments.kwargs) -> list[Panel]:
        with debug_mode(False):
            return chart(*args, **kwargs)

    return made


def view(
    title: str,
    layers: Sequence[alt.Chart],
    description: str,
    height: int,
    key: Sequence[Entry],
    marks: Sequence[Entry] = (),
    clipped: bool = False,
    epochs: Mapping[str, Any] | None = None,
) -> Panel:
    """Put layers together, from the back to the front, with a key that travels with the chart.

    `usermeta.epochs` says that the horizontal axis is linear and of epochs, and what it is if switched to logarithmic.
    """
    # The page shows the entries of `key`; a printed figure those of `marks` too, and is spared clipping, which is slow,
    # where nothing drawn leaves the plot.
    if isinstance(height, bool) or not isinstance(height, Real) or not 0 < height < 100_000:
        raise InputError("height", height, "expected a number of pixels above 0")
    meta = {"key": [asdict(one) for one in key], "marks": [asdict(one) for one in marks], "clipped": clipped}
    meta |= {"epochs": epochs} if epochs else {}
    # Vega names a layer's marks after the layer, and draws nothing at all where two have one name.
    names = [layer.name for layer in layers if isinstance(layer.name, str)]
    assert len(set(names)) == len(names), f"layers share a name: {names}"
    last = layers[-1].add_params(alt.param(name=HIDDEN, value=[]))
    chart = alt.layer(*layers[:-1], last, width="container", height=height, description=description, usermeta=meta)
    chart.config = alt.Config(**configuration())  # of this chart alone
    return Panel(chart, title)


def save(figure: Figure, folder: Path | str) -> tuple[Path, Path]:
    """Store a figure as `figure-NAME.svg` and `figure-NAME.png`, on white, with its title, key and caption.

    Args:
        figure: The figure.
        folder: Where to store it; the folder is made.

    Returns:
        The paths of the SVG and of the PNG.

    Raises:
        InputError: If it is no figure, or no folder.
    """
    if not isinstance(figure, Figure):
        raise InputError("figure", type(figure).__name__, "expected a charts.Figure")
    folder = path_of("folder", folder)
    svg, png = (folder / f"figure-{figure.name}.{kind}" for kind in ("svg", "png"))
    drawn, pixels = draw(figure.sheet())
    put(svg, drawn.encode())
    put(png, pixels)
    return svg, png
