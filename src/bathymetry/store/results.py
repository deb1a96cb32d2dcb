"""Results of a study as one netCDF file: labelled variables, groups for what stands beside them, a schema version."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from bathymetry.core.errors import StorageError
from bathymetry.core.storage import put

SCHEMA_VERSION = 1
_SCHEMA = "schema_version"


def write_results(path: Path, results: xr.DataTree) -> None:
    """Store a study's results, whole or not at all.

    Args:
        path: The file, usually `OUT/STUDY/result.nc`.
        results: Variables at the root, groups below; attributes in plain JSON.
    """
    tree = results.copy()
    tree.attrs = {_SCHEMA: SCHEMA_VERSION, **{name: json.dumps(value) for name, value in results.attrs.items()}}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "result.nc"
        tree.to_netcdf(file, engine="h5netcdf")
        put(path, file.read_bytes())


def read_results(path: Path) -> xr.DataTree:
    """Read a study's results into memory.

    Args:
        path: The file.

    Returns:
        What was stored.

    Raises:
        StorageError: If it is missing, damaged, or of a later schema.
    """
    if not path.is_file():
        raise StorageError(f"{path} is missing: run the study again; units that are stored are not trained again.")
    try:
        with xr.open_datatree(path, engine="h5netcdf") as opened:
            tree = opened.load()
        written: Mapping[str, Any] = {str(name): value for name, value in tree.attrs.items()}
        schema = int(written[_SCHEMA])
        attributes = {name: json.loads(value) for name, value in written.items() if name != _SCHEMA}
    except Exception as error:
        message = f"{path} is damaged: run the study again; units that are stored are not trained again."
        raise StorageError(message) from error
    if schema > SCHEMA_VERSION:
        raise StorageError(f"{path} has schema {schema}, this version reads up to {SCHEMA_VERSION}: update Bathymetry.")
    tree.attrs = attributes
    return tree
