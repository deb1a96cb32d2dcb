"""JSON Lines: an object on each line, a row of a tidy table; or one file per run."""

import json
from collections.abc import Sequence
from pathlib import Path, PurePath

import pandas as pd

from bathymetry.core import system
from bathymetry.core.errors import DamagedError, first_line
from bathymetry.runs.run import Format, Layout, Run, Unit, flat
from bathymetry.runs.settings import from_name
from bathymetry.runs.table import runs_of

_SUFFIXES = (".jsonl", ".ndjson")


def _units(root: Path, files: Sequence[Path]) -> list[Unit]:
    return [Unit(str(one.relative_to(root)), (one,)) for one in files if one.suffix.lower() in _SUFFIXES]


def _read(unit: Unit, layout: Layout) -> list[Run]:
    (path,) = unit.files
    rows, broken = rows_of(path)
    runs = runs_of(pd.DataFrame(rows), unit.name, layout, from_name(str(PurePath(unit.name).with_suffix(""))))
    note = (f"the last line of {unit.name} is incomplete",) if broken else ()
    return [Run(one.id, one.config, one.metrics, one.status, note, one.texts) for one in runs]


def rows_of(path: Path) -> tuple[list[dict[str, object]], bool]:
    """Read the objects of a file, nested ones as dotted names, and whether its last line is incomplete."""
    lines = system.get(path).split(b"\n")
    rows: list[dict[str, object]] = []
    for place, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            if place == len(lines):  # nothing follows, not even an end of line: it is still being written
                return rows, True
            raise DamagedError(f"{path}, line {place}, is no JSON ({first_line(error)}).") from error
        if not isinstance(row, dict):
            raise DamagedError(f"{path}, line {place}, is {type(row).__name__}; expected an object with names.")
        rows.append(dict(flat(row)))
    return rows, False


FORMAT = Format("JSON Lines", _units, _read, "*.jsonl", depends_on_layout=True)
