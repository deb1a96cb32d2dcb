"""Figures as files: SVG and PNG for papers and slides, drawn without a browser and without the network."""

from pathlib import Path

import vl_convert

from bathymetry.charts.figure import Figure
from bathymetry.charts.sheet import drawing
from bathymetry.core.checks import path_of
from bathymetry.core.errors import InputError
from bathymetry.core.storage import put

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
