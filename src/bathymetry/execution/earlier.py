"""Results of one study with other settings in the same output folder: a new result never overwrites them."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from bathymetry.core.errors import BathymetryError, StorageError
from bathymetry.core.identity import describe
from bathymetry.store import config_hash, read_results, set_aside

_PATTERN = "result-*.nc"


def set_apart(path: Path, attributes: Mapping[Any, Any]) -> str:
    """Rename the result at a path if one with these attributes would not contain all of it.

    Args:
        path: `OUT/STUDY/result.nc`.
        attributes: Those of the result that is about to take its place.

    Returns:
        A sentence that says where the earlier result is now; empty if nothing was renamed. One that can't be read is
        moved as well, for nothing that is stored is lost.
    """
    if not os.path.lexists(path):
        return ""
    try:
        earlier = read_results(path).attrs
    except StorageError as error:  # also one of a later version, or one that only its owner may read
        return f"{error} It was moved to {set_aside(path.parent.parent, path)}."
    if _contains(attributes, earlier):
        return ""
    apart = path.with_name(f"result-{config_hash(describe(_identity(earlier)))[:12]}.nc")
    path.replace(apart)
    return (
        f"{attributes['study']}: an earlier result with other settings is now {apart.parent.name}/{apart.name}; "
        "the page shows the new one and the command that brings back the earlier one."
    )


def others(folder: Path, attributes: Mapping[Any, Any]) -> Sequence[xr.DataTree]:
    """Read the results that stand apart from the one that the page shows.

    Args:
        folder: `OUT/STUDY`.
        attributes: Those of the result that the page shows.

    Returns:
        Those that it does not contain; one that can't be read is left out.
    """
    found = []
    for path in sorted(folder.glob(_PATTERN)):
        try:
            results = read_results(path)
        except BathymetryError:
            continue
        if not _contains(attributes, results.attrs):
            found.append(results)
    return found


def _identity(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    # Data count by their digest, so that "auto" and the name that it stood for are the same.
    settings = {name: value for name, value in attributes.get("settings", {}).items() if name not in ("device", "data")}
    data = {name: origin.rpartition(", digest ")[2] for name, origin in attributes.get("data", {}).items()}
    return {"settings": settings, "data": data}


def _contains(new: Mapping[Any, Any], earlier: Mapping[Any, Any]) -> bool:
    """Say whether a result has all of an earlier one: the same settings and data, and at least as many members."""
    one, other = _identity(new), _identity(earlier)
    enough = one["settings"].pop("members", 0) >= other["settings"].pop("members", 0)
    return enough and one == other
