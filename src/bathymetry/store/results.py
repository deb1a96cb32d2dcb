"""Results of a study as one netCDF file: groups of labelled variables, and a schema version.

After the netCDF, where its readers do not look, follows the digest of all bytes before it. It is checked before the
HDF5 library sees the file, because that library can hang, crash or return other numbers when a file is damaged. A
digest shows damage, not forgery: who writes a file can write its digest.
"""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from bathymetry.core.errors import DamagedError, StorageError
from bathymetry.core.identity import digest
from bathymetry.core.system import get, put

SCHEMA_VERSION = 2  # 2: one group for each kind of ensemble, sets of examples along the axis `split`
_SCHEMA = "schema_version"
_SEAL = b"\nbathymetry digest "
_SEAL_BYTES = len(_SEAL) + 32
_MOST_BYTES = 2_000_000_000  # that a file may unpack to, beyond twenty times its own size
_AGAIN = "run the study again; chunks that are stored are not trained again"


class OutdatedError(StorageError):
    """Results whose layout an earlier version of Bathymetry wrote."""


def write_results(path: Path, results: xr.DataTree) -> None:
    """Store a study's results, groups of variables and attributes in plain JSON, whole or not at all."""
    tree = results.copy()
    tree.attrs = {_SCHEMA: SCHEMA_VERSION, **{name: json.dumps(value) for name, value in results.attrs.items()}}
    content = bytes(tree.to_netcdf(engine="h5netcdf"))  # in memory: HDF5 ends the process where a disk is full
    put(path, content + _SEAL + digest(content).encode())


def read_results(path: Path, *, earlier: bool = False) -> xr.DataTree:
    """Read a study's results into memory.

    Args:
        path: The file.
        earlier: Whether to return results of an earlier schema as they are.

    Returns:
        What was stored.

    Raises:
        DamagedError: If its content is not what was stored.
        OutdatedError: If an earlier version of Bathymetry wrote it, whose chunks can still be used.
        StorageError: If it is missing, can't be read, or a later version wrote it.
    """
    body = _checked(path, get(path))
    try:
        _check_inside(body)
        with xr.open_datatree(io.BytesIO(body), engine="h5netcdf") as opened:
            tree = opened.load()
        written: Mapping[str, Any] = {str(name): value for name, value in tree.attrs.items()}
        schema = int(written[_SCHEMA])
        tree.attrs = {name: json.loads(value) for name, value in written.items() if name != _SCHEMA}
    except Exception as error:
        if isinstance(error, MemoryError):
            raise
        raise StorageError(f"{path} is whole but no result that this version understands: {_AGAIN}.") from error
    if schema > SCHEMA_VERSION:
        raise StorageError(f"{path} has schema {schema}, this version reads up to {SCHEMA_VERSION}: update Bathymetry.")
    if schema < SCHEMA_VERSION and not earlier:
        raise OutdatedError(f"{path} was stored by an earlier version of Bathymetry: run the study again.")
    return tree


def _checked(path: Path, content: bytes) -> bytes:
    """The netCDF of a file whose digest is right."""
    body, seal = content[:-_SEAL_BYTES], content[-_SEAL_BYTES:]
    if seal == _SEAL + digest(body).encode():
        return body
    raise DamagedError(f"{path} is damaged: its content does not have the digest that it was stored with; {_AGAIN}.")


def _check_inside(body: bytes) -> None:
    """Refuse a file that leads to other files, or that holds far more numbers than its length has room for."""
    import h5py

    elsewhere, sizes = list[str](), [0]

    def visit_link(name: str, link: Any) -> None:
        if not isinstance(link, h5py.HardLink):
            elsewhere.append(name)

    def visit_item(name: str, one: Any) -> None:
        if isinstance(one, h5py.Dataset):
            sizes.append(one.nbytes)
            if one.is_virtual or one.external:
                elsewhere.append(name)

    with h5py.File(io.BytesIO(body), "r") as file:
        file.visititems_links(visit_link)
        file.visititems(visit_item)
    if elsewhere:
        raise ValueError(f"{elsewhere[0]} is in another file")
    if sum(sizes) > 20 * len(body) + _MOST_BYTES:
        raise ValueError(f"it would unpack to {sum(sizes):.1e} bytes")
