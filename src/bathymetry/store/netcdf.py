"""Reading netCDF that `write_results` wrote: straight from HDF5, several times faster than xarray's own reader.

h5netcdf stores a group of variables as a group of HDF5 data sets. A data set that is a dimension has its number in
`_Netcdf4Dimid`, and every variable has the numbers of its dimensions in `_Netcdf4Coordinates`.
"""

import io
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np
import xarray as xr

_MOST_BYTES = 2_000_000_000  # that a file may unpack to, beyond twenty times its own size
_NUMBER, _DIMS = "_Netcdf4Dimid", "_Netcdf4Coordinates"
_OF_HDF5 = {"CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST", "_NCProperties", "_nc3_strict", _NUMBER, _DIMS}
_SIZE = b"This is a netCDF dimension but not a netCDF variable"  # the NAME of what only gives a size
_NOT_OF_ITS_DIMENSION = "_nc4_non_coord_"  # before the name of a variable that has the name of a dimension


def read_groups(content: bytes) -> xr.DataTree:
    """Read all groups of a netCDF file, one that leads to no other file and unpacks to no unbounded size."""
    with h5py.File(io.BytesIO(content), "r") as file:
        items = _checked_items(file, len(content))
        dims = {int(one.attrs[_NUMBER]): name.rpartition("/")[2] for name, one in items.items() if _is_dimension(one)}
        groups = {path: _group(items, path, dims) for path, one in items.items() if isinstance(one, h5py.Group)}
    return xr.DataTree.from_dict({f"/{path}": xr.decode_cf(group).load() for path, group in groups.items()})


def _checked_items(file: h5py.File, size: int) -> dict[str, Any]:
    """All groups and data sets, each once and before what is in it, unless one is elsewhere or they are too large."""
    items, elsewhere = dict[str, Any]({"": file}), list[str]()

    def visit_link(name: str, link: Any) -> None:
        if not isinstance(link, h5py.HardLink):
            elsewhere.append(name)

    file.visititems_links(visit_link)
    file.visititems(items.__setitem__)
    sets = {name: one for name, one in items.items() if isinstance(one, h5py.Dataset)}
    elsewhere += [name for name, one in sets.items() if one.is_virtual or one.external]
    if elsewhere:
        raise ValueError(f"{elsewhere[0]} is in another file")
    if (total := sum(one.nbytes for one in sets.values())) > 20 * size + _MOST_BYTES:
        raise ValueError(f"it would unpack to {total:.1e} bytes")
    return items


def _group(items: Mapping[str, Any], path: str, dims: Mapping[int, str]) -> xr.Dataset:
    """The variables of a group, in the order in which they were written."""
    variables = {}
    for name in items[path]:
        one = items.get(f"{path}/{name}" if path else name)
        is_variable = isinstance(one, h5py.Dataset) and not (_is_dimension(one) and one.attrs["NAME"].startswith(_SIZE))
        if is_variable:
            variables[name.removeprefix(_NOT_OF_ITS_DIMENSION)] = _variable(one, dims)
    return xr.Dataset(variables, attrs=_attributes(items[path]))


def _is_dimension(one: h5py.Group | h5py.Dataset) -> bool:
    return "CLASS" in one.attrs and one.attrs["CLASS"] == b"DIMENSION_SCALE"


def _variable(one: h5py.Dataset, dims: Mapping[int, str]) -> xr.Variable:
    own = [dims[number] for number in one.attrs[_DIMS].tolist()] if one.ndim else []
    values = np.asarray(one.asstr()[()], dtype=str) if one.dtype.kind == "O" else one[()]
    return xr.Variable(own, values, _attributes(one))


def _attributes(one: h5py.Group | h5py.Dataset) -> dict[str, Any]:
    """The attributes that are the netCDF's; a list of one is the one."""
    found = {name: one.attrs[name] for name in one.attrs if name not in _OF_HDF5}
    return {name: _plain(value) for name, value in found.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, h5py.Empty):
        return ""
    return value[0] if isinstance(value, np.ndarray) and value.shape == (1,) else value
