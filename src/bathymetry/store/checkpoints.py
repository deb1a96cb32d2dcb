"""Checkpoints of units under way: a sealed file beside the place where the unit will stand."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bathymetry.core.errors import StorageError
from bathymetry.core.storage import put
from bathymetry.store.sealed import Arrays, seal, unseal


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
    put(checkpoint_path(unit), seal(arrays, state))


def read_checkpoint(unit: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
    """Read a unit's checkpoint.

    Args:
        unit: The unit's place.

    Returns:
        Its numbers and words; None if there is none that is whole, for then the unit begins anew.
    """
    path = checkpoint_path(unit)
    if not path.exists():
        return None
    try:
        arrays, state = unseal(path)
    except StorageError:
        return None
    return (arrays, state) if "parameters" in arrays and "record" in state else None
