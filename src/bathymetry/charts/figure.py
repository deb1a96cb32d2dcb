"""A figure: one question asked of the data, its charts, and the sentence that says what was found."""

from dataclasses import dataclass

import altair as alt


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
        from bathymetry.charts.sheet import drawing  # the other way round, a figure is drawn by what knows figures

        return drawing(self)


class Figures(tuple[Figure, ...]):
    """A study's figures: a tuple that a notebook shows one below the other."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return "".join(f"<div>{one._repr_svg_()}</div>" for one in self)
