"""JSON Lines, an object on each line, and JSON files that are one list of objects: tidy tables, or one file per run."""

import json
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePath

import numpy as np
import pandas as pd

from bathymetry.core import system
from bathymetry.core.errors import DamagedError, first_line
from bathymetry.runs.run import Format, Layout, Run, Scalar, Unit, flat
from bathymetry.runs.settings import from_name
from bathymetry.runs.table import runs_of

_NUMBERS: dict[str, Scalar] = {
    "NaN": math.nan,
    "Infinity": math.inf,
    "-Infinity": -math.inf,
}  # in quotes, as JSON has none
_HEAD = 64  # bytes, in which a list begins
_SUFFIXES = (".jsonl", ".ndjson")


def _units(root: Path, files: Sequence[Path]) -> list[Unit]:
    found = [one for one in files if one.suffix.lower() in _SUFFIXES or _is_list(one)]
    return [Unit(str(one.relative_to(root)), (one,)) for one in found]


def _is_list(path: Path) -> bool:
    """Whether a JSON file holds a list, as a table that was exported does and a file of settings does not."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    with suppress(OSError), path.open("rb") as file:
        return file.read(_HEAD).lstrip().startswith(b"[")
    return False


def _read(unit: Unit, layout: Layout) -> list[Run]:
    (path,) = unit.files
    rows, broken = rows_of(path)
    config = from_name(str(PurePath(unit.name).with_suffix("")))
    if len(rows) > 1 and not any(rows[0].keys() & row.keys() for row in rows[1:]):
        config |= rows.pop(0)  # a first line of settings
    names = dict.fromkeys(name for row in rows for name in row)
    spelled = {name: np.array([_is_nan(row.get(name)) for row in rows]) for name in names}
    has_null = any(value is None for row in rows for value in row.values())
    runs = runs_of(pd.DataFrame(rows), unit.name, layout, config, spelled, has_empty=has_null)
    note = (f"the last line of {unit.name} is incomplete",) if broken else ()
    return [replace(one, notes=(*one.notes, *note)) for one in runs]


def _is_nan(value: Scalar) -> bool:
    return isinstance(value, float) and math.isnan(value)


def rows_of(path: Path) -> tuple[list[dict[str, Scalar]], bool]:
    """Read the objects of a file, nested ones as dotted names, and whether its last line is incomplete."""
    content = system.get(path)
    rows: list[dict[str, Scalar]] = []
    if path.suffix.lower() == ".json":
        try:
            whole = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise DamagedError(f"{path} is no JSON ({first_line(error)}).") from error
        for row in whole:
            if not isinstance(row, dict):
                raise DamagedError(f"{path} lists {type(row).__name__}; expected objects with names.")
            rows.append(_row(row))
        return rows, False
    lines = content.split(b"\n")
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
        rows.append(_row(row))
    return rows, False


def _row(fields: dict[str, object]) -> dict[str, Scalar]:
    return {name: _NUMBERS.get(one, one) if isinstance(one, str) else one for name, one in flat(fields).items()}


FORMAT = Format("JSON Lines", _units, _read, "*.jsonl, *.json with a list", depends_on_layout=True)
