"""Where data sets are looked for: the folder that `BATHYMETRY_DATA` names, then the cache."""

import os
from pathlib import Path

from platformdirs import user_cache_path

from bathymetry.core.errors import InputError
from bathymetry.data.idx import FileSet, file_sets

VARIABLE = "BATHYMETRY_DATA"
_TORCHVISION = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "kmnist": "KMNIST"}


def cache_folder() -> Path:
    """Give the folder for what is downloaded and drawn.

    Returns:
        The user's cache folder for Bathymetry.
    """
    return user_cache_path("bathymetry", appauthor=False)


def files_of(name: str) -> FileSet | None:
    """Find the files of a data set in MNIST's format.

    Args:
        name: "mnist", "fashion-mnist" or "kmnist".

    Returns:
        Those in the first folder that holds all four: that of the data set's name inside `BATHYMETRY_DATA`, or
        torchvision's (MNIST/raw), for MNIST also the folder itself, then the cache. None if there is none.

    Raises:
        InputError: If `BATHYMETRY_DATA` names no folder.
    """
    candidates = []
    if given := os.environ.get(VARIABLE):
        root = Path(given)
        if not root.is_dir():
            raise InputError(VARIABLE, given, "there is no such folder; give one that holds data sets")
        candidates += [root / name, root / _TORCHVISION[name] / "raw", root / _TORCHVISION[name]]
        candidates += [root] if name == "mnist" else []
    candidates.append(cache_folder() / name)
    plain = (one for folder in candidates for one in file_sets(folder) if not one.prefix)
    return next(plain, None)
