"""A unit: up to ten members of one network under one training setting, measured, with their parameters."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bathymetry.core.errors import DamagedError, StorageError
from bathymetry.core.showing import readable
from bathymetry.core.storage import put
from bathymetry.store.sealed import Arrays, seal, unseal

UNIT_MEMBERS = 10
_RECORD, _SNAPSHOT = "record", "snapshot"
_FORMAT = 1  # how the words of a unit's file are laid out; a file that does not say has this one


@readable
class Unit:
    """Members that were trained and measured."""

    members: range
    record: xr.Dataset  # dims (member, …), the coordinate `member` being their numbers
    snapshots: Mapping[int, Mapping[str, NDArray[Any]]]  # epoch → parameter name → (member, *shape)
    provenance: Mapping[str, Any] = field(default_factory=dict)  # versions, threads, device, seconds

    def select(self, members: range) -> "Unit":
        """Take some of the members.

        Args:
            members: Numbers of members that the unit has.

        Returns:
            Their records and parameters.

        Raises:
            DamagedError: If the unit does not have them.
        """
        if members.start < self.members.start or members.stop > self.members.stop:
            have, want = (f"{one.start} to {one.stop - 1}" for one in (self.members, members))
            raise DamagedError(f"A unit is damaged: it holds members {have} where it should hold {want}.")
        start = members.start - self.members.start
        rows = slice(start, start + len(members))
        snapshots = {
            epoch: {name: array[rows] for name, array in arrays.items()} for epoch, arrays in self.snapshots.items()
        }
        return Unit(members, self.record.isel(member=rows), snapshots, self.provenance)


def join(units: Sequence[Unit]) -> Unit:
    """Put units of one setting together, in the order of their members.

    Args:
        units: Units whose members follow each other without a gap.

    Returns:
        One unit, with the machine of the last and the seconds of all; records that end early, because every member of
        theirs stopped, are filled up with NaN.
    """
    if len(units) == 1:
        return units[0]
    record = xr.concat(
        [unit.record for unit in units],
        dim="member",
        join="outer",
        data_vars="minimal",
        coords="minimal",
        compat="equals",
        combine_attrs="override",
    )
    epochs = sorted(set.intersection(*(set(unit.snapshots) for unit in units)))
    snapshots = {
        epoch: {
            name: np.concatenate([unit.snapshots[epoch][name] for unit in units]) for name in units[0].snapshots[epoch]
        }
        for epoch in epochs
    }
    provenance = {**units[-1].provenance, "seconds": sum(unit.provenance.get("seconds", 0.0) for unit in units)}
    return Unit(range(units[0].members.start, units[-1].members.stop), record, snapshots, provenance)


def write_unit(path: Path, unit: Unit) -> None:
    """Store a unit, whole or not at all.

    Args:
        path: Its place.
        unit: The unit.
    """
    arrays: dict[str, NDArray[Any]] = {}
    variables = {}
    for name, variable in unit.record.variables.items():
        values = variable.values
        if values.dtype.kind in "US":
            variables[str(name)] = {"dims": list(variable.dims), "text": values.tolist()}
        else:
            variables[str(name)] = {"dims": list(variable.dims)}
            arrays[f"{_RECORD}/{name}"] = values
    for epoch, snapshot in unit.snapshots.items():
        arrays |= {f"{_SNAPSHOT}/{epoch}/{name}": array for name, array in snapshot.items()}
    words = {
        "format": _FORMAT,
        "members": [unit.members.start, unit.members.stop],
        "variables": variables,
        "coordinates": [str(name) for name in unit.record.coords],
        "attributes": dict(unit.record.attrs),
        "provenance": dict(unit.provenance),
    }
    put(path, seal(arrays, words))


def read_unit(path: Path) -> Unit:
    """Read a unit and check that it is what was stored.

    Args:
        path: Its place.

    Returns:
        The unit.

    Raises:
        StorageError: If it is damaged, or another version of Bathymetry wrote it in another way.
    """
    arrays, words = unseal(path)
    try:
        return _unpacked(arrays, words)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        remedy = "use the version of Bathymetry that wrote it, or give another folder"
        raise StorageError(f"{path} is whole but no unit that this version understands: {remedy}.") from error


def _unpacked(arrays: Arrays, words: Mapping[str, Any]) -> Unit:
    if words.get("format", _FORMAT) != _FORMAT:
        raise ValueError(f"format {words['format']}")
    variables = {
        name: (tuple(one["dims"]), np.array(one["text"]) if "text" in one else arrays[f"{_RECORD}/{name}"])
        for name, one in words["variables"].items()
    }
    coordinates = {name: variables.pop(name) for name in words["coordinates"]}
    record = xr.Dataset(variables, coordinates, words["attributes"])
    snapshots: dict[int, dict[str, NDArray[Any]]] = {}
    for key, array in arrays.items():
        kind, _, rest = key.partition("/")
        if kind == _SNAPSHOT:
            epoch, _, name = rest.partition("/")
            snapshots.setdefault(int(epoch), {})[name] = array
    return Unit(range(*words["members"]), record, dict(sorted(snapshots.items())), words["provenance"])
