"""Checkpoints of units under way: a sealed file beside the place where the unit will stand."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bathymetry.core.errors import DamagedError
from bathymetry.core.storage import put
from bathymetry.store.sealed import Arrays, seal, unseal

_SETTING, _STATE = "setting", "state"


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
    put(checkpoint_path(unit), seal(arrays, {_SETTING: unit.parent.name, _STATE: state}))


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
    if _SETTING not in words or _STATE not in words:
        raise DamagedError(f"{path} is no checkpoint of this version.")
    if words[_SETTING] != unit.parent.name:
        raise DamagedError(f"{path} is a checkpoint of another setting, {words[_SETTING]}.")
    return arrays, words[_STATE]
