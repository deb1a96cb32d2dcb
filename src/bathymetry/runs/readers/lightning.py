"""Lightning's `CSVLogger`: folders "version_N" with metrics.csv and hparams.yaml.

A row has the metrics that were logged together; the cells of others are empty, which is not NaN.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bathymetry.core.errors import DamagedError, StorageError, first_line
from bathymetry.runs import settings
from bathymetry.runs.run import Format, History, Layout, Run, Unit, history

_METRICS, _SETTINGS, _STEP = "metrics.csv", "hparams.yaml", "step"
_VERSION = re.compile(r"version_\d+")


def _units(root: Path, files: Sequence[Path]) -> list[Unit]:
    known = set(files)
    found = []
    for path in sorted(files):
        said = path.parent / _SETTINGS
        if path.name == _METRICS and (said in known or _VERSION.fullmatch(path.parent.name)):
            name = path.parent.relative_to(root).as_posix()
            found.append(Unit(name, (path, said) if said in known else (path,)))
    return found


def _read(unit: Unit, _: Layout) -> list[Run]:
    """Read one folder."""
    metrics, texts, notes = read_metrics(unit.files[0])
    config, refused = settings.from_files(unit.files[1:])
    name = unit.files[0].resolve().parent.name if unit.name == "." else unit.name
    config = config or settings.from_name(unit.name)
    return [Run(name, config, metrics, notes=(*notes, *refused), texts=frozenset(texts))]


def read_metrics(path: Path) -> tuple[dict[str, History], set[str], list[str]]:
    """Read the histories, the names of columns that hold text, and notes."""
    notes = []
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(size - 1, 0))
            is_cut = file.read() not in (b"", b"\n")
        if not size:
            return {}, set(), []
        table = pd.read_csv(path, dtype=str, keep_default_na=False, na_filter=False)
    except OSError as error:
        raise StorageError(f"{path} can't be read: {error.strerror}.") from error
    except ValueError as error:  # also what pandas raises for a wrong number of cells, and for bytes that are no text
        raise DamagedError(f"{path} is no table of Lightning: {first_line(error)}.") from error
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes what is left of a longer row for its name
        raise DamagedError(f"{path} is damaged: its first row has more cells than its header.")
    if _STEP not in table:
        raise DamagedError(f"{path} is no table of Lightning: it has no column {_STEP}.")
    if is_cut and len(table):
        table = table.iloc[:-1]
        notes.append(f"{path.name} ends within a row, which is left out.")
    steps = _numbers(table[_STEP].to_numpy())
    if steps is None:
        raise DamagedError(f"{path} is damaged: its column {_STEP} has what is no number.")
    metrics, texts = dict[str, History](), set[str]()
    for name in table.columns:
        cells = table[name].to_numpy()
        logged = cells != ""
        values = _numbers(cells[logged])
        if name == _STEP or not logged.any():
            continue
        if values is None:
            texts.add(name)
        else:
            metrics[name] = history(steps[logged], values)
    return metrics, texts, notes


def _numbers(cells: np.ndarray) -> np.ndarray | None:
    try:
        return cells.astype(np.float64)
    except ValueError:
        return None


FORMAT = Format("Lightning", _units, _read, "version_N/metrics.csv")
