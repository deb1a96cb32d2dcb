"""Units by name: which members of a setting are stored, which are missing, and how to get them together.

A unit stands in `OUT/units/HASH/FIRST-LAST.safetensors`, HASH being the digest of all that decides its numbers; beside
it `setting.json` says what that was. Ranges may overlap; a member is read from the first unit that has it.
"""

import json
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

from bathymetry.core.errors import DamagedError, StorageError
from bathymetry.core.identity import Description, canonical, digest
from bathymetry.core.storage import names, put
from bathymetry.store.unit import UNIT_MEMBERS, Unit, join, read_unit, write_unit

_NAME = re.compile(r"(\d+)-(\d+)\.safetensors")


def setting_hash(description: Description) -> str:
    """Name a setting by the digest of its description.

    Args:
        description: All that decides the numbers, as `describe` gives it.

    Returns:
        32 hexadecimal digits.
    """
    return digest(canonical(description))


def unit_path(out: Path, setting: str, members: range) -> Path:
    """Say where a unit stands.

    Args:
        out: The output folder.
        setting: The hash of its setting.
        members: Its members.

    Returns:
        The path, whether or not it exists.
    """
    return out / "units" / setting / f"{members.start}-{members.stop - 1}.safetensors"


def stored(out: Path, setting: str) -> list[range]:
    """List the ranges of members that are stored.

    Args:
        out: The output folder.
        setting: The hash of their setting.

    Returns:
        Ranges in the order of their first member, the longest first among equals.
    """
    found = [_NAME.fullmatch(name) for name in names(out / "units" / setting)]
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
        if len(last) and last.stop == member and len(last) < UNIT_MEMBERS:
            missing[-1] = range(last.start, member + 1)
        else:
            missing.append(range(member, member + 1))
    return missing


def sound(out: Path, setting: str) -> tuple[list[range], list[str]]:
    """List the stored ranges that are whole; set aside those that are damaged.

    Args:
        out: The output folder.
        setting: The hash of their setting.

    Returns:
        The ranges that are whole, and a sentence for each file that was set aside. A file that can't be read, or that
        another version wrote, is no damaged one: it stays where it is, and a StorageError says why it is in the way.
    """
    whole, said = [], []
    for members in stored(out, setting):
        path = unit_path(out, setting, members)
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


def keep(out: Path, setting: str, description: Description, unit: Unit) -> Path:
    """Store a unit under its name, with the setting in words beside it.

    Args:
        out: The output folder.
        setting: The hash of the setting.
        description: The setting.
        unit: The unit.

    Returns:
        Its path.
    """
    path = unit_path(out, setting, unit.members)
    words = path.with_name("setting.json")
    if not words.exists():
        put(words, json.dumps(description, indent=1, sort_keys=True).encode())
    write_unit(path, unit)
    return path


def collect(out: Path, setting: str, wanted: range) -> Unit:
    """Read the members wanted from the units that have them.

    Args:
        out: The output folder.
        setting: The hash of their setting.
        wanted: The members.

    Returns:
        One unit with these members.

    Raises:
        StorageError: If some are not stored, or a unit is damaged.
    """
    pieces, member = [], wanted.start
    for have in stored(out, setting):
        if have.start <= member < have.stop and member < wanted.stop:
            taken = range(member, min(have.stop, wanted.stop))
            pieces.append(read_unit(unit_path(out, setting, have)).select(taken))
            member = taken.stop
    if member < wanted.stop:
        raise StorageError(f"{out / 'units' / setting} has no member {member}: run the study again.")
    return join(pieces)
