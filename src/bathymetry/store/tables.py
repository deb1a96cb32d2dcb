"""Results as plain tables, one row for each combination of coordinates."""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd
import xarray as xr

from bathymetry.core.errors import InputError
from bathymetry.core.system import put

TableFormat = Literal["csv", "parquet"]

_NO_FILE_NAME = r"[^\w .,()+=-]"  # what a name of a group or dimension may hold and a file's had better not
_FORMULA = re.compile(r"[=@\t\r\n]|[+-](?![\w.*/^+() -]*$)")  # begins a cell that a spreadsheet would run


def export(results: xr.DataTree, folder: Path, table_format: TableFormat) -> list[Path]:
    """Write results as tables, one row for each combination of coordinates.

    In a csv, text that a spreadsheet would run as a formula (`=1+1`, `@SUM(…)`, `-cmd|…`) has an apostrophe before it;
    plain terms such as `-x` stay as they are.

    Args:
        results: A study's results.
        folder: Where to.
        table_format: "csv" or "parquet".

    Returns:
        The files, named by group and dimensions: `main-function-network-member-epoch.csv`.

    Raises:
        InputError: If the format is unknown, or parquet is asked for and pyarrow is not installed.
    """
    if table_format not in get_args(TableFormat):
        raise InputError("format", table_format, f"expected one of {', '.join(get_args(TableFormat))}")
    paths = []
    for name, table in _tables(results):
        path = folder / f"{re.sub(_NO_FILE_NAME, '_', name)}.{table_format}"
        put(path, _csv(table) if table_format == "csv" else _parquet(table))
        paths.append(path)
    return paths


def _tables(results: xr.DataTree) -> Iterator[tuple[str, pd.DataFrame]]:
    for node in results.subtree:
        group = node.path.strip("/").replace("/", "-")
        dataset = node.to_dataset(inherit=False)
        for dims in dict.fromkeys(variable.dims for variable in dataset.data_vars.values()):
            chosen = dataset[[name for name, one in dataset.data_vars.items() if one.dims == dims]]
            frame = chosen.to_dataframe(dim_order=list(dims)).reset_index() if dims else _one_row(chosen)
            yield "-".join([*([group] if group else []), *(str(dim) for dim in dims or ("whole",))]), frame


def _one_row(dataset: xr.Dataset) -> pd.DataFrame:
    return pd.DataFrame({str(name): [variable.item()] for name, variable in dataset.data_vars.items()})


def _csv(table: pd.DataFrame) -> bytes:
    texts = [name for name in table if not pd.api.types.is_numeric_dtype(table[name])]
    safe = table.assign(**{str(name): table[name].map(_no_formula) for name in texts}).rename(columns=_no_formula)
    return safe.to_csv(index=False).encode(errors="replace")


def _no_formula(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell


def _parquet(table: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    try:
        table.to_parquet(buffer, index=False)
    except ImportError as error:
        raise InputError("format", "parquet", 'install it first: pip install "bathymetry[parquet]"') from error
    return buffer.getvalue()
