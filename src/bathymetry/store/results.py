"""Results of a study as one netCDF file: labelled variables, groups for what stands beside them, a schema version.

Behind the netCDF, where its readers do not look, stands the digest of all bytes before it. It is checked before the
HDF5 library sees the file, because that library can hang, crash or return other numbers when a file is damaged. A
digest shows damage, not forgery: who writes a file can write its digest.
"""

import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import safetensors
import xarray as xr
from numpy.typing import NDArray
from safetensors.numpy import load, save

from bathymetry.core.errors import DamagedError, InputError, StorageError
from bathymetry.core.identity import digest
from bathymetry.core.storage import get, put

SCHEMA_VERSION = 1
_SCHEMA = "schema_version"
_SEAL = b"\nbathymetry digest "
_SEAL_BYTES = len(_SEAL) + 32
_MOST_BYTES = 2_000_000_000  # that a file may unpack to, beyond twenty times its own size
_AGAIN = "run the study again; units that are stored are not trained again"
_WITHOUT_DIGEST = (
    "This result was stored by an earlier version of Bathymetry without a digest, so damage to the file would not be "
    "noticed. Running the study again stores it with one."
)


def write_results(path: Path, results: xr.DataTree) -> None:
    """Store a study's results, whole or not at all.

    Args:
        path: The file, usually `OUT/STUDY/result.nc`.
        results: Variables at the root, groups below; attributes in plain JSON.
    """
    tree = results.copy()
    tree.attrs = {_SCHEMA: SCHEMA_VERSION, **{name: json.dumps(value) for name, value in results.attrs.items()}}
    content = bytes(tree.to_netcdf(engine="h5netcdf"))  # in memory: HDF5 ends the process where a disk is full
    put(path, content + _SEAL + digest(content).encode())


def read_results(path: Path) -> xr.DataTree:
    """Read a study's results into memory.

    Args:
        path: The file.

    Returns:
        What was stored. A file of an earlier version, which has no digest, says so among its `notes`.

    Raises:
        DamagedError: If its content is not what was stored.
        StorageError: If it is missing, can't be read, or is of another version that this one does not understand.
    """
    content = get(path)
    body = _checked(path, content)
    sealed = len(body) < len(content)
    try:
        _check_inside(body)
        with xr.open_datatree(io.BytesIO(body), engine="h5netcdf") as opened:
            tree = opened.load()
        written: Mapping[str, Any] = {str(name): value for name, value in tree.attrs.items()}
        schema = int(written[_SCHEMA])
        attributes = {name: _plain(value) for name, value in written.items() if name != _SCHEMA}
    except Exception as error:
        if isinstance(error, MemoryError):
            raise
        if sealed:
            raise StorageError(f"{path} is whole but no result that this version understands: {_AGAIN}.") from error
        raise DamagedError(f"{path} is damaged: {_AGAIN}.") from error
    if schema > SCHEMA_VERSION:
        raise StorageError(f"{path} has schema {schema}, this version reads up to {SCHEMA_VERSION}: update Bathymetry.")
    if not sealed:
        notes = attributes.get("notes")
        attributes["notes"] = [*(notes if isinstance(notes, list) else []), _WITHOUT_DIGEST]
    tree.attrs = attributes
    return tree


def _checked(path: Path, content: bytes) -> bytes:
    """Give the netCDF of a file whose digest is right, or of one of an earlier version that is as long as it says."""
    body, seal = content[:-_SEAL_BYTES], content[-_SEAL_BYTES:]
    if seal == _SEAL + digest(body).encode():
        return body
    if _length_by_itself(content) == len(content):
        return content
    raise DamagedError(f"{path} is damaged: its content does not have the digest that it was stored with; {_AGAIN}.")


def _length_by_itself(content: bytes) -> int:
    """Read from the first bytes of an HDF5 file how long it says it is; 0 if it is none."""
    if not content.startswith(b"\x89HDF\r\n\x1a\n") or len(content) < 48:
        return 0
    start = {0: 40, 1: 44, 2: 28, 3: 28}.get(content[8], 0)  # by the version of the superblock, with 8-byte offsets
    return int.from_bytes(content[start : start + 8], "little") if start else 0


def _check_inside(body: bytes) -> None:
    """Refuse a file that leads to other files, or that holds far more numbers than its length has room for."""
    import h5py

    with h5py.File(io.BytesIO(body), "r") as file:
        sizes = [0]

        def check_link(name: str, link: Any) -> None:
            if not isinstance(link, h5py.HardLink):
                raise ValueError(f"{name} leads elsewhere")

        def check_dataset(name: str, one: Any) -> None:
            if isinstance(one, h5py.Dataset):
                if one.is_virtual or one.external:
                    raise ValueError(f"the numbers of {name} are elsewhere")
                sizes.append(one.nbytes)

        file.visititems_links(check_link)
        file.visititems(check_dataset)
    if sum(sizes) > 20 * len(body) + _MOST_BYTES:
        raise ValueError(f"it would unpack to {sum(sizes):.1e} bytes")


def _plain(value: Any) -> Any:
    """Read an attribute, which is JSON; one of another program is taken as it is."""
    if not isinstance(value, str):
        return value.tolist() if hasattr(value, "tolist") else value
    try:
        return json.loads(value)
    except ValueError:
        return value


Arrays = Mapping[str, NDArray[Any]]


def seal(arrays: Arrays, words: Mapping[str, Any]) -> bytes:
    """Pack arrays and words together with their digest.

    Args:
        arrays: Numbers, by name.
        words: What else is to be known, plain JSON.

    Returns:
        The bytes of a safetensors file.
    """
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    text = json.dumps(words, sort_keys=True)
    return save(whole, metadata={"words": text, "digest": _digest(whole, text)})


def unseal(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read a sealed file and check its digest.

    Args:
        path: The file.

    Returns:
        Its arrays and its words.

    Raises:
        DamagedError: If it is cut short, changed, or no such file.
    """
    content = get(path)
    try:
        arrays = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
        text, expected = header["words"], header["digest"]
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise DamagedError(f"{path} is damaged: it can't be read as what it should be.") from error
    if _digest(arrays, text) != expected:
        raise DamagedError(f"{path} is damaged: its content does not have the digest that it was stored with.")
    return arrays, json.loads(text)


def _digest(arrays: Arrays, text: str) -> str:
    state = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(arrays):
        array = arrays[name]
        state.update(f"{name}{array.dtype.str}{array.shape}".encode())
        state.update(np.ascontiguousarray(array).data if array.size else b"")
    return state.hexdigest()


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
        The files, named by group and dimensions: `function-network-member-epoch.csv`.

    Raises:
        InputError: If the format is unknown, or parquet is asked for and pyarrow is not installed.
    """
    if table_format not in get_args(TableFormat):
        raise InputError("format", table_format, f"give one of {', '.join(get_args(TableFormat))}")
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
