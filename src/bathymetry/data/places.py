"""Where data sets are looked for: the folder that `BATHYMETRY_DATA` names, then the cache."""

import os
from pathlib import Path

from platformdirs import user_cache_path

from bathymetry.core.errors import InputError
from bathymetry.data.idx import FILES, find_files

VARIABLE = "BATHYMETRY_DATA"


def cache_folder() -> Path:
    """Give the folder for what is downloaded and drawn.

    Returns:
        The user's cache folder for Bathymetry.
    """
    return user_cache_path("bathymetry", appauthor=False)


def folder_of(name: str) -> Path | None:
    """Find the folder of a data set in MNIST's format.

    Args:
        name: "mnist", "fashion-mnist" or "kmnist".

    Returns:
        The first folder that holds all four files: that of the data set's name inside `BATHYMETRY_DATA`, for MNIST
        also that folder itself, then the cache. None if there is none.

    Raises:
        InputError: If `BATHYMETRY_DATA` names no folder.
    """
    candidates = []
    if given := os.environ.get(VARIABLE):
        if not Path(given).is_dir():
            raise InputError(VARIABLE, given, "there is no such folder; give one that holds data sets")
        candidates += [Path(given) / name, *([Path(given)] if name == "mnist" else [])]
    candidates.append(cache_folder() / name)
    return next((one for one in candidates if len(find_files(one)) == len(FILES)), None)
