"""Parquet files: tidy tables with a row per run, or per run and step; or one file per run."""

from collections.abc import Callable, Sequence
from pathlib import Path, PurePath
from typing import Any, TypeVar

import pandas as pd

from bathymetry.core.errors import BathymetryError, DamagedError, first_line, not_installed
from bathymetry.runs.run import Format, Layout, Run, Unit
from bathymetry.runs.settings import from_name
from bathymetry.runs.table import runs_of

Rows = TypeVar("Rows")


def _units(root: Path, files: Sequence[Path]) -> list[Unit]:
    return [Unit(str(one.relative_to(root)), (one,)) for one in files if one.suffix.lower() == ".parquet"]


def _read(unit: Unit, layout: Layout) -> list[Run]:
    (path,) = unit.files
    frame: pd.DataFrame = read(path, lambda table: table.to_pandas())
    return runs_of(frame, unit.name, layout, from_name(str(PurePath(unit.name).with_suffix(""))))


def read(path: Path, convert: Callable[[Any], Rows]) -> Rows:
    """Read a Parquet file, of which pyarrow's table is converted."""
    try:
        from pyarrow import ArrowException, parquet  # type: ignore[import-untyped,unused-ignore]
    except ModuleNotFoundError as error:
        raise BathymetryError(f"Parquet files are read by pyarrow; {not_installed('pyarrow', 'parquet')}.") from error
    try:
        return convert(parquet.ParquetFile(path).read())
    except (ArrowException, OSError, ValueError) as error:
        raise DamagedError(f"{path} can't be read as Parquet ({first_line(error)}).") from error


FORMAT = Format("Parquet", _units, _read, "*.parquet", depends_on_layout=True)
