"""A unit: up to ten members of one network under one training config, measured, with their parameters."""

import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bathymetry.core.errors import DamagedError, StorageError
from bathymetry.core.identity import Description, canonical, digest
from bathymetry.core.showing import readable
from bathymetry.core.storage import names, put
from bathymetry.store.results import Arrays, seal, unseal

CHUNK_MEMBERS = 10
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
    """Put units of one config together, in the order of their members.

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


_NAME = re.compile(r"(\d+)-(\d+)\.safetensors")


def config_hash(description: Description) -> str:
    """Name a config by the digest of its description.

    Args:
        description: All that decides the numbers, as `describe` gives it.

    Returns:
        32 hexadecimal digits.
    """
    return digest(canonical(description))


def unit_path(out: Path, config: str, members: range) -> Path:
    """Say where a unit stands.

    Args:
        out: The output folder.
        config: The hash of its config.
        members: Its members.

    Returns:
        The path, whether or not it exists.
    """
    return out / "units" / config / f"{members.start}-{members.stop - 1}.safetensors"


def stored(out: Path, config: str) -> list[range]:
    """List the ranges of members that are stored.

    Args:
        out: The output folder.
        config: The hash of their config.

    Returns:
        Ranges in the order of their first member, the longest first among equals.
    """
    found = [_NAME.fullmatch(name) for name in names(out / "units" / config)]
    ranges = [range(int(one[1]), int(one[2]) + 1) for one in found if one]
    return sorted((one for one in ranges if len(one)), key=lambda one: (one.start, -one.stop))


def gaps(have: Sequence[range], wanted: range) -> list[range]:
    """Find what is still to be trained.

    Args:
        have: Ranges that are stored.
        wanted: The members wanted.

    Returns:
        Ranges of at most ten members that together with `have` cover what is wanted.

    Example:
        >>> gaps([range(0, 6)], range(0, 10))
        [range(6, 10)]
        >>> gaps([], range(0, 25))
        [range(0, 10), range(10, 20), range(20, 25)]
    """
    covered = {member for one in have for member in one}
    missing: list[range] = []
    for member in wanted:
        if member in covered:
            continue
        last = missing[-1] if missing else range(0)
        if len(last) and last.stop == member and len(last) < CHUNK_MEMBERS:
            missing[-1] = range(last.start, member + 1)
        else:
            missing.append(range(member, member + 1))
    return missing


def sound(out: Path, config: str) -> tuple[list[range], list[str]]:
    """List the stored ranges that are whole; set aside those that are damaged.

    Args:
        out: The output folder.
        config: The hash of their config.

    Returns:
        The ranges that are whole, and a sentence for each file that was set aside. A file that can't be read, or that
        another version wrote, is no damaged one: it stays where it is, and a StorageError says why it is in the way.
    """
    whole, said = [], []
    for members in stored(out, config):
        path = unit_path(out, config, members)
        try:
            read_unit(path).select(members)
            whole.append(members)
        except DamagedError as error:
            said.append(f"{error} It was moved to {set_aside(out, path)} and its members are computed again.")
    return whole, said


def set_aside(out: Path, path: Path) -> Path:
    """Move a file that can't be used out of the way; nothing is deleted.

    Args:
        out: The output folder.
        path: The file.

    Returns:
        Where it is now.

    Raises:
        StorageError: If there is no place for it.
    """
    place = out / "damaged" / f"{path.parent.name}-{path.stem}-{time.strftime('%Y%m%d-%H%M%S')}{path.suffix}"
    copy, first = 1, place
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        while os.path.lexists(place):
            copy += 1
            place = first.with_name(f"{first.stem}-{copy}{first.suffix}")
        return path.rename(place)
    except OSError as error:
        remedy = f"move {path} away, or what stands in the way"
        raise StorageError(f"{place} can't be made ({error.strerror or error}): {remedy}.") from error


def keep(out: Path, config: str, description: Description, unit: Unit) -> Path:
    """Store a unit under its name, with the config in words beside it.

    Args:
        out: The output folder.
        config: The hash of the config.
        description: The config.
        unit: The unit.

    Returns:
        Its path.
    """
    path = unit_path(out, config, unit.members)
    words = path.with_name("config.json")
    if not words.exists():
        put(words, json.dumps(description, indent=1, sort_keys=True).encode())
    write_unit(path, unit)
    return path


def collect(out: Path, config: str, wanted: range) -> Unit:
    """Read the members wanted from the units that have them.

    Args:
        out: The output folder.
        config: The hash of their config.
        wanted: The members.

    Returns:
        One unit with these members.

    Raises:
        StorageError: If some are not stored, or a unit is damaged.
    """
    pieces, member = [], wanted.start
    for have in stored(out, config):
        if have.start <= member < have.stop and member < wanted.stop:
            taken = range(member, min(have.stop, wanted.stop))
            pieces.append(read_unit(unit_path(out, config, have)).select(taken))
            member = taken.stop
    if member < wanted.stop:
        raise StorageError(f"{out / 'units' / config} has no member {member}: run the study again.")
    return join(pieces)


_CONFIG, _STATE = "config", "state"


def checkpoint_path(unit: Path) -> Path:
    """Say where a unit's checkpoint stands.

    Args:
        unit: The unit's place.

    Returns:
        The path.
    """
    return unit.with_suffix(".checkpoint")


def write_checkpoint(unit: Path, arrays: Arrays, state: Mapping[str, Any]) -> None:
    """Store a unit's checkpoint in place of the one before.

    Args:
        unit: The unit's place.
        arrays: Its numbers.
        state: Its words, plain JSON.
    """
    put(checkpoint_path(unit), seal(arrays, {_CONFIG: unit.parent.name, _STATE: state}))


def read_checkpoint(unit: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
    """Read a unit's checkpoint.

    Args:
        unit: The unit's place.

    Returns:
        Its numbers and words; None if there is none.

    Raises:
        DamagedError: If it is not what was stored, or was stored for other units.
    """
    path = checkpoint_path(unit)
    if not path.exists() and not path.is_symlink():
        return None
    if path.is_dir():
        raise DamagedError(f"{path} is no checkpoint: it is a folder.")
    arrays, words = unseal(path)
    if _CONFIG not in words or _STATE not in words:
        raise DamagedError(f"{path} is no checkpoint of this version.")
    if words[_CONFIG] != unit.parent.name:
        raise DamagedError(f"{path} is a checkpoint of another config, {words[_CONFIG]}.")
    return arrays, words[_STATE]
