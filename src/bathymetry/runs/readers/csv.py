"""CSV and TSV files: tidy tables with a row per run, or per run and step; or one file per run."""

import csv
from collections.abc import Sequence
from pathlib import Path, PurePath

import pandas as pd

from bathymetry.core.errors import DamagedError, StorageError, first_line
from bathymetry.runs.run import Format, Layout, Run, Unit
from bathymetry.runs.settings import from_name
from bathymetry.runs.table import runs_of

_SEPARATORS = {".csv": None, ".tsv": "\t"}


def _units(root: Path, files: Sequence[Path]) -> list[Unit]:
    return [Unit(str(one.relative_to(root)), (one,)) for one in files if one.suffix.lower() in _SEPARATORS]


def _read(unit: Unit, layout: Layout) -> list[Run]:
    (path,) = unit.files
    return runs_of(frame_of(path), unit.name, layout, from_name(str(PurePath(unit.name).with_suffix(""))))


def frame_of(path: Path) -> pd.DataFrame:
    """Read a CSV or TSV file; of a CSV the separator may be a comma or a semicolon."""
    separator = _SEPARATORS[path.suffix.lower()]
    try:
        with path.open(encoding="utf-8-sig", errors="strict", newline="") as file:
            if separator is None:
                head = file.readline()
                separator = ";" if head.count(";") > head.count(",") else ","
                file.seek(0)
            return pd.read_csv(file, sep=separator, low_memory=False)
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    except OSError as error:
        raise StorageError(f"{path} can't be read ({error.strerror or error}).") from error
    except (ValueError, csv.Error, OverflowError, pd.errors.ParserError) as error:
        raise DamagedError(f"{path} can't be read as a table ({first_line(error)}).") from error


FORMAT = Format("CSV", _units, _read, "*.csv or *.tsv", depends_on_layout=True)
