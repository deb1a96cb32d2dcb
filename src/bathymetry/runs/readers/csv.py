"""CSV and TSV files: tidy tables with a row per run, or per run and step; or one file per run."""

import csv
from collections.abc import Sequence
from pathlib import Path, PurePath

import numpy as np
import pandas as pd

from bathymetry.core.errors import DamagedError, StorageError, first_line
from bathymetry.runs.run import Format, Layout, Run, Unit
from bathymetry.runs.settings import from_name
from bathymetry.runs.table import Flags, runs_of

_NAN = ("nan", "1.#ind", "1.#qnan")  # anything else that pandas reads as NaN is a cell in which nothing was logged
_SEPARATORS = {".csv": None, ".tsv": "\t"}


def _units(root: Path, files: Sequence[Path]) -> list[Unit]:
    return [Unit(str(one.relative_to(root)), (one,)) for one in files if one.suffix.lower() in _SEPARATORS]


def _read(unit: Unit, layout: Layout) -> list[Run]:
    (path,) = unit.files
    frame, spelled = frame_of(path)
    return runs_of(
        frame, unit.name, layout, from_name(str(PurePath(unit.name).with_suffix(""))), spelled, has_empty=True
    )


def frame_of(path: Path) -> tuple[pd.DataFrame, dict[str, Flags]]:
    """Read a CSV or TSV file, and say where NaN is written out; a CSV may have commas or semicolons."""
    separator = _SEPARATORS[path.suffix.lower()]
    try:
        with path.open(encoding="utf-8-sig", errors="strict", newline="") as file:
            if separator is None:
                head = file.readline()
                separator = ";" if head.count(";") > head.count(",") else ","
                file.seek(0)
            frame = pd.read_csv(file, sep=separator, low_memory=False)
            gaps = [k for k, one in enumerate(frame.dtypes) if one.kind == "f"]
            gaps = [k for k in gaps if np.isnan(frame.iloc[:, k].to_numpy()).any()]
            if not gaps or not isinstance(frame.index, pd.RangeIndex):
                return frame, {}
            file.seek(0)
            written = pd.read_csv(file, sep=separator, usecols=gaps, dtype=str, keep_default_na=False, na_filter=False)
            spelled = {
                str(frame.columns[k]): written.iloc[:, place].str.strip(" +-").str.lower().isin(_NAN).to_numpy()
                for place, k in enumerate(gaps)
            }
            return frame, spelled
    except pd.errors.EmptyDataError:
        return pd.DataFrame(), {}
    except OSError as error:
        raise StorageError(f"{path} can't be read ({error.strerror or error}).") from error
    except (ValueError, csv.Error, OverflowError, pd.errors.ParserError) as error:
        raise DamagedError(f"{path} can't be read as a table ({first_line(error)}).") from error


FORMAT = Format("CSV", _units, _read, "*.csv or *.tsv", depends_on_layout=True)
