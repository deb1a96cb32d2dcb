"""Results of a study: one netCDF file of labelled variables in groups, and the same as plain tables.

After the netCDF, where its readers do not look, follows the digest of all bytes before it. It is checked before the
HDF5 library sees the file, because that library can hang, crash or return other numbers when a file is damaged. A
digest shows damage, not forgery: who writes a file can write its digest.
"""

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import pandas as pd
import xarray as xr

from bathymetry.core.errors import BathymetryError, DamagedError, InputError, StorageError, not_installed
from bathymetry.core.identity import describe, digest
from bathymetry.store import storage
from bathymetry.store.chunks import config_hash, quarantine
from bathymetry.store.netcdf import read_groups
from bathymetry.store.storage import Place

RESULT = "result.nc"
TableFormat = Literal["csv", "parquet"]

SCHEMA_VERSION = 2  # 2: one group for each kind of ensemble, sets of examples along the axis `split`
_SCHEMA = "schema_version"
_APART = re.compile(r"result-.*\.nc")  # results with other settings than the latest
_SEAL = b"\nbathymetry digest "
_SEAL_BYTES = len(_SEAL) + 32
_SMALL = 16_000  # bytes of a variable that compression would not make smaller
_AGAIN = "run the study again (chunks that are stored are not trained again), or merge again if it was merged"
_NO_FILE_NAME = r"[^\w .,()+=-]"  # what a name of a group or dimension may hold and a file's had better not
_FORMULA = re.compile(r"[=@\t\r\n]|[+-](?![\w.*/^+() -]*$)")  # begins a cell that a spreadsheet would run


@dataclass(frozen=True)
class Source:
    """Members of a merged result that come from one folder, in the order of their labels."""

    folder: str  # path of the folder that was merged, as it was given
    name: str  # of the folder that they were trained into, another one where a merged folder was merged again
    digest: str  # of the result that they were in
    settings: Mapping[str, int]  # its seed, and its settings that say how many members there are
    numbers: Sequence[int]  # of its members


class OutdatedError(StorageError):
    """Results whose layout an earlier version of Bathymetry wrote."""


def write_results(path: Place, results: xr.DataTree) -> None:
    """Store a study's results, groups of variables and attributes in plain JSON, whole or not at all."""
    tree = results.copy()
    tree.attrs = {_SCHEMA: SCHEMA_VERSION, **{name: json.dumps(value) for name, value in results.attrs.items()}}
    packed = {group.path: _packed(group.to_dataset(inherit=False)) for group in tree.subtree}
    # in memory: HDF5 ends the process where a disk is full
    content = bytes(tree.to_netcdf(engine="h5netcdf", encoding=packed))
    storage.write(path, content + _SEAL + digest(content).encode())


def _packed(group: xr.Dataset) -> dict[str, dict[str, Any]]:
    """The variables that are worth compressing."""
    large = [name for name, one in group.variables.items() if one.dtype.kind in "fiub" and one.nbytes > _SMALL]
    return {str(name): {"zlib": True, "complevel": 4, "shuffle": True} for name in large}


def read_results(path: Place, *, earlier: bool = False) -> xr.DataTree:
    """Read a study's results into memory; with `earlier`, also those of an earlier schema, as they are."""
    content = storage.read(path)
    body, seal = content[:-_SEAL_BYTES], content[-_SEAL_BYTES:]
    if seal != _SEAL + digest(body).encode():
        words = "is damaged: its content does not have the digest that it was stored with"
        raise DamagedError(f"{path} {words}; {_AGAIN}.")
    try:
        tree = read_groups(body)
        schema = int(tree.attrs.pop(_SCHEMA))
        tree.attrs = {name: json.loads(value) for name, value in tree.attrs.items()}
    except MemoryError:
        raise
    except Exception as error:
        raise StorageError(f"{path} is whole but no result that this version understands: {_AGAIN}.") from error
    if schema > SCHEMA_VERSION:
        raise StorageError(f"{path} has schema {schema}, this version reads up to {SCHEMA_VERSION}: update Bathymetry.")
    if schema < SCHEMA_VERSION and not earlier:
        raise OutdatedError(f"{path} was stored by an earlier version of Bathymetry: run the study again.")
    return tree


def keep_earlier_result(path: Place, attributes: Mapping[Any, Any]) -> str:
    """Rename the result at a path if one with these attributes would not contain all of it; say where it is now."""
    if not storage.exists(path):
        return ""
    try:
        earlier = read_results(path, earlier=True).attrs
    except StorageError as error:  # also one of a later version, or one that only its owner may read
        return f"{error} It was moved to {quarantine(path.parent.parent, path)}."
    if _contains(attributes, earlier):
        return ""
    apart = path.with_name(f"result-{config_hash(describe(_identity(earlier)))[:12]}.nc")
    storage.replace(path, apart)
    return (
        f"{attributes['study']}: an earlier result with other settings is now {apart.parent.name}/{apart.name}; "
        "the page shows the new one and the command that brings back the earlier one."
    )


def others(folder: Place, attributes: Mapping[Any, Any]) -> Sequence[xr.DataTree]:
    """The results in `OUT/STUDY` that the one with these attributes does not contain, as far as they can be read."""
    found = []
    for name in storage.names(folder):
        if not _APART.fullmatch(name):
            continue
        try:
            results = read_results(folder / name, earlier=True)
        except BathymetryError:
            continue
        if not _contains(attributes, results.attrs):
            found.append(results)
    return found


def sources_of(attributes: Mapping[Any, Any]) -> list[Source]:
    """Whose the members of a merged result are; nothing for any other, or where it can't be understood."""
    try:
        made = [
            Source(str(one["folder"]), str(one["name"]), str(one["digest"]), one["settings"], one["numbers"])
            for one in attributes["sources"]
        ]
        known = [
            one for source in made for one in (*source.numbers, *source.settings.values(), source.settings["seed"])
        ]
    except (KeyError, TypeError, AttributeError):
        return []
    return made if all(isinstance(one, int) and one >= 0 for one in known) else []


def _identity(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    # Data count by their digest, so that "auto" and the name that it stood for are the same.
    settings = {name: value for name, value in attributes.get("settings", {}).items() if name not in ("device", "data")}
    if settings.get("data_seed") == settings.get("seed"):  # as before there was a data seed
        settings.pop("data_seed", None)
    if sources := sources_of(attributes):  # whose members these are, instead of how many and of which seed
        settings = {name: value for name, value in settings.items() if name not in sources[0].settings}
        settings["sources"] = sorted({one.digest for one in sources})
    data = {name: origin.rpartition(", digest ")[2] for name, origin in attributes.get("data", {}).items()}
    return {"settings": settings, "data": data}


def _contains(new: Mapping[Any, Any], earlier: Mapping[Any, Any]) -> bool:
    """Whether a result has all of an earlier one: the same settings and data, and at least as many members."""
    one, other = _identity(new), _identity(earlier)
    enough = one["settings"].pop("members", 0) >= other["settings"].pop("members", 0)
    if "sources" in one["settings"] and "sources" in other["settings"]:
        enough = set(one["settings"].pop("sources")) >= set(other["settings"].pop("sources"))
    return enough and one == other


def export(results: xr.DataTree, folder: Place, table_format: TableFormat) -> list[Place]:
    """Write results as tables, one row for each combination of coordinates: `main-function-network-epoch.csv`.

    In a csv, text that a spreadsheet would run as a formula (`=1+1`, `@SUM(…)`, `-cmd|…`) has an apostrophe before it;
    plain terms such as `-x` stay as they are.
    """
    if table_format not in get_args(TableFormat):
        raise InputError("format", table_format, f"expected one of {', '.join(get_args(TableFormat))}")
    paths: list[Place] = []
    for name, table in _tables(results):
        path = folder / f"{re.sub(_NO_FILE_NAME, '_', name)}.{table_format}"
        storage.write(path, _csv(table) if table_format == "csv" else _parquet(table))
        paths.append(path)
    return paths


def _tables(results: xr.DataTree) -> Iterator[tuple[str, pd.DataFrame]]:
    for node in results.subtree:
        group = node.path.strip("/").replace("/", "-")
        dataset = node.to_dataset(inherit=False)
        for dims in dict.fromkeys(variable.dims for variable in dataset.data_vars.values()):
            chosen = dataset[[name for name, one in dataset.data_vars.items() if one.dims == dims]]
            if dims:
                frame = chosen.to_dataframe(dim_order=list(dims)).reset_index()
            else:
                frame = pd.DataFrame({str(name): [one.item()] for name, one in chosen.data_vars.items()})
            yield "-".join([*([group] if group else []), *(str(dim) for dim in dims or ("whole",))]), frame


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
        raise InputError("format", "parquet", not_installed("pyarrow", "parquet")) from error
    return buffer.getvalue()
