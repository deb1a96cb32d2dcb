"""Exports: results as plain tables, one for all variables that share their dimensions."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

import pandas as pd
import xarray as xr

from bathymetry.core.errors import InputError
from bathymetry.core.storage import put

TableFormat = Literal["csv", "parquet"]


def export(results: xr.DataTree, folder: Path, table_format: TableFormat) -> list[Path]:
    """Write results as tables, one row for each combination of coordinates.

    Args:
        results: A study's results.
        folder: Where to.
        table_format: "csv" or "parquet".

    Returns:
        The files, named by group and dimensions: `function-network-member-epoch.csv`.

    Raises:
        InputError: If the format is unknown, or parquet is asked for and pyarrow is not installed.
    """
    if table_format not in get_args(TableFormat):
        raise InputError("format", table_format, f"give one of {', '.join(get_args(TableFormat))}")
    paths = []
    for name, table in _tables(results):
        path = folder / f"{name}.{table_format}"
        put(path, table.to_csv(index=False).encode() if table_format == "csv" else _parquet(table))
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


def _parquet(table: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    try:
        table.to_parquet(buffer, index=False)
    except ImportError as error:
        raise InputError("format", "parquet", 'install it first: pip install "bathymetry[parquet]"') from error
    return buffer.getvalue()
