"""Figures as files: SVG and PNG for papers and slides, drawn without a browser and without the network."""

import mmap
from functools import cache
from pathlib import Path
from typing import Any

import vl_convert

from bathymetry.charts.figure import Figure, Panel
from bathymetry.charts.hover import HOVER
from bathymetry.charts.theme import PAPER, configuration
from bathymetry.core.errors import StorageError
from bathymetry.core.storage import put

_WIDTH = 860  # pixels, all panels side by side together
_GAP = 36
_RESERVED = 64 << 30  # bytes of addresses that the engine behind the charts reserves when it starts
_RESOLUTION = 2.0  # pixels of the PNG to one of the SVG


def save(figure: Figure, folder: Path | str) -> tuple[Path, Path]:
    """Store a figure as `figure-NAME.svg` and `figure-NAME.png`, on white, with its title.

    Args:
        figure: The figure; two or three panels stand side by side, more in rows.
        folder: Where to; it is made.

    Returns:
        The paths of the SVG and of the PNG.
    """
    svg, png = (Path(folder) / f"figure-{figure.name}.{kind}" for kind in ("svg", "png"))
    drawn = drawing(figure)
    put(svg, drawn.encode())
    put(png, vl_convert.svg_to_png(drawn, scale=_RESOLUTION))
    return svg, png


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
    svg: str = vl_convert.vegalite_to_svg(composed(figure))
    return svg


def composed(figure: Figure) -> dict[str, Any]:
    """Put a figure's panels together for print.

    Args:
        figure: The figure.

    Returns:
        A Vega-Lite specification of fixed width that only stands still: no hover, no zoom.
    """
    columns = 1 if len(figure.panels) == 1 else 2 if len(figure.panels) in (2, 4) else 3
    width = (_WIDTH - _GAP * (columns - 1)) / columns - 60
    datasets: dict[str, Any] = {}
    parameters: dict[str, Any] = {}
    views = [_still(panel, round(width), datasets, parameters, len(figure.panels) > 1) for panel in figure.panels]
    keys = [view.pop("key") for view in views]
    shared = "shared" if all(key == keys[0] for key in keys) else "independent"
    if shared == "independent":
        for view in views:
            _stack_legend(view)
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "config": configuration(),
        "background": PAPER,
        "padding": 20,
        "title": {"text": _title(figure), "fontSize": 17, "offset": 20},
        "datasets": datasets,
        "params": list(parameters.values()),
        "concat": views,
        "columns": columns,
        "spacing": _GAP,
        "resolve": {"scale": {"color": shared, "strokeDash": shared}},
    }


def _title(figure: Figure) -> list[str]:
    # Break a figure's title into lines that fit.
    words = f"Figure {figure.number}. {figure.title}" if figure.number is not None else figure.title
    lines = [""]
    for word in words.split():
        if len(lines[-1]) + len(word) > 95:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def _still(
    panel: Panel, width: int, datasets: dict[str, Any], parameters: dict[str, Any], titled: bool
) -> dict[str, Any]:
    # Take from a panel what only a screen can do, and hand its data and plain parameters to the whole.
    view: dict[str, Any] = panel.chart.to_dict()
    datasets.update(view.pop("datasets", {}))
    for parameter in view.pop("params", []):
        if "select" not in parameter:
            parameters[parameter["name"]] = parameter
    meta = view.pop("usermeta", {})
    clipped = meta.get("clipped", True)
    for key in ("$schema", "config", "description", "background", "padding"):
        view.pop(key, None)
    view["width"], view["key"] = width, meta.get("key")
    if titled:
        view["title"] = panel.title
    if "layer" in view:
        view["layer"] = [_printed(layer, clipped) for layer in view["layer"] if layer.get("name") != HOVER]
    return view


def _stack_legend(view: dict[str, Any]) -> None:
    # Keep a panel's own legend as narrow as the panel.
    for layer in view.get("layer", []):
        for channel in layer["encoding"].values():
            if isinstance(channel, dict) and isinstance(channel.get("legend"), dict):
                channel["legend"] = {**channel["legend"], "columns": 1}


def _printed(layer: dict[str, Any], clipped: bool) -> dict[str, Any]:
    # Drop a layer's name, which two panels may share, and clipping that clips nothing but takes seconds.
    mark = {name: value for name, value in layer["mark"].items() if clipped or name != "clip"}
    return {name: value for name, value in layer.items() if name != "name"} | {"mark": mark}
