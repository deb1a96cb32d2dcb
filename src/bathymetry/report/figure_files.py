"""The files of a study's figures: drawn side by side, and kept where nothing that they are drawn from has changed.

`page.json` holds a key for each figure: the digest of its words and specifications, which contain all data and what
Altair made of them, and of what draws them: Vega's version, the drawing code, the theme and the fonts. Files with
another key, or without the digest that they were stored with, are drawn again.
"""

import json
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from bathymetry.charts.drawing import DrawingPool
from bathymetry.charts.sheet import Sheet
from bathymetry.core.errors import StorageError
from bathymetry.core.identity import digest
from bathymetry.report import page_json
from bathymetry.report.page_json import FIGURES, MOST_BYTES
from bathymetry.store import storage
from bathymetry.store.storage import Place

_FILE = re.compile(r"figure-.*\.(svg|png)")
_CODE = ("sheet.py", "theme.py", "theme.json")  # in charts/: what turns a sheet into an SVG
_FONTS = (  # where the renderer looks for fonts
    *("/usr/share/fonts", "/usr/local/share/fonts", "~/.fonts", "~/.local/share/fonts"),
    *("/System/Library/Fonts", "/Library/Fonts", "~/Library/Fonts"),
)


@dataclass(frozen=True)
class Drawing:
    """A figure on its way into its files."""

    name: str
    key: str  # "" where the specification leads to data elsewhere, which may change
    kept: Mapping[str, Any]  # what is stored of it, if that is still right
    drawn: Future[tuple[bytes, bytes]] | None  # otherwise its SVG and PNG, once they are drawn


def begin(folder: Place, sheets: Sequence[Sheet], pool: DrawingPool) -> list[Drawing]:
    """Begin to draw those of a study's figures whose files are not there as they would be drawn."""
    before = page_json.stored_figures(folder)
    drawer = _drawer()
    drawings = []
    for sheet in sheets:
        written = sheet.to_json()
        key = "" if '"url":' in written else digest(f"{drawer}\n{written}".encode())
        stored = before.get(sheet.name, {})
        kept = key != "" and stored.get("drawing") == key and _whole(folder / FIGURES, sheet.name, stored.get("files"))
        drawings.append(Drawing(sheet.name, key, stored if kept else {}, None if kept else pool.draw(sheet)))
    return drawings


def store(folder: Place, drawings: Sequence[Drawing]) -> dict[str, Mapping[str, Any]]:
    """Store what was drawn, delete other figures, and return what `page.json` keeps of each figure."""
    stored: dict[str, Mapping[str, Any]] = {}
    for one in drawings:
        if one.drawn is None:
            stored[one.name] = {name: one.kept[name] for name in ("drawing", "files")}
            continue
        contents = dict(zip(_names(one.name), one.drawn.result(), strict=True))
        for name, content in contents.items():
            storage.write(folder / FIGURES / name, content)
        digests = {name: digest(content) for name, content in contents.items()}
        stored[one.name] = {"files": digests} | ({"drawing": one.key} if one.key else {})
    written = {name for one in stored.values() for name in one["files"]}
    for name in storage.names(folder / FIGURES):
        if _FILE.fullmatch(name) and name not in written:  # of an earlier run with other settings
            storage.delete(folder / FIGURES / name)
    return stored


def _names(figure: str) -> tuple[str, str]:
    return f"figure-{figure}.svg", f"figure-{figure}.png"


def _whole(folder: Place, figure: str, expected: object) -> bool:
    """Whether both files of a figure have the digests that they were stored with."""
    if not isinstance(expected, dict) or expected.keys() != {*_names(figure)}:
        return False
    digests = {folder / name: known for name, known in expected.items()}
    with suppress(OSError, StorageError):
        return all(storage.size(one) <= MOST_BYTES and digest(storage.read(one)) == digests[one] for one in digests)
    return False


def _drawer() -> str:
    """Describe what draws: versions, the code and theme, fonts, and the time zone in which times are written."""
    code = [files("bathymetry.charts").joinpath(name).read_text(encoding="utf-8") for name in _CODE]
    versions = [version(name) for name in ("bathymetry", "vl-convert-python")]
    described = [*versions, *code, *_fonts(), os.environ.get("TZ", ""), *time.tzname]
    return digest(json.dumps(described).encode())


def _fonts() -> Iterator[tuple[str, int, int]]:
    for place in _FONTS:
        for path in sorted(Path(place).expanduser().rglob("*")):
            with suppress(OSError):
                about = path.stat()
                yield str(path), about.st_size, about.st_mtime_ns
