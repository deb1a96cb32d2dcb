"""Finding the four files of a data set in MNIST's format, by whichever of their names they go."""

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from bathymetry.core.errors import InputError
from bathymetry.data.unpacking import unreadable

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

_NAME = re.compile(
    r"(?P<prefix>.*?)[-_.]?(?P<half>train|t10k|test)[-_.]?(?P<kind>images|labels)"
    r"(?:[-_.]idx\d[-_.](?:ubyte|int))?(?:\.gz)?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class FileSet:
    """The four files of one data set."""

    folder: Path
    prefix: str  # what stands before "train" in their names: empty for MNIST, such as emnist-letters for others
    images: tuple[Path, Path]  # of training and test examples
    labels: tuple[Path, Path]

    @property
    def paths(self) -> list[Path]:
        """All four."""
        return [*self.images, *self.labels]

    @property
    def shown(self) -> str:
        """The folder's name, with the prefix if there is one."""
        name = self.folder.resolve().name
        return f"{name} ({self.prefix})" if self.prefix else name


def file_sets(folder: Path) -> list[FileSet]:
    """List the complete data sets that lie directly in a folder.

    Args:
        folder: The folder.

    Returns:
        One entry a prefix, sorted; none if there is no such folder.

    """
    names = [one.name for one in _listed(folder) if one.is_file()]
    roles: dict[str, dict[tuple[str, str], str]] = defaultdict(dict)
    for name in sorted(names, key=lambda name: (name.endswith(".gz"), "t10k" not in name, name)):
        if match := _NAME.fullmatch(name):
            half = "train" if match["half"].lower() == "train" else "test"
            roles[match["prefix"]].setdefault((half, match["kind"].lower()), name)
    return [
        FileSet(folder, prefix, *(
            (folder / files["train", kind], folder / files["test", kind]) for kind in ("images", "labels")
        ))
        for prefix, files in sorted(roles.items())
        if len(files) == len(FILES)
    ]  # fmt: skip


def find_file_set(path: Path) -> FileSet | None:
    """Find the one data set that a path names.

    Args:
        path: A folder with the four files, in it or in folders below as torchvision lays them (MNIST/raw), or such a
            folder and a prefix, as in folder/emnist-letters.

    Returns:
        The data set; None if there is nothing at that path.

    Raises:
        InputError: If there is a folder, but with no complete data set or several.
    """
    if not path.is_dir():
        named = [one for one in file_sets(path.parent) if one.prefix == path.name and path.name]
        return named[0] if named else None
    sets = file_sets(path)
    plain = [one for one in sets if not one.prefix]
    below = [one for one in _listed(path) if one.is_dir()]
    below += [one / "raw" for one in below]
    sets = plain or sets or [one for folder in below for one in file_sets(folder)]
    if len(sets) == 1:
        return sets[0]
    if sets:
        choices = ", ".join(str(one.folder / one.prefix) for one in sets)
        raise InputError("data", path, f"it holds {len(sets)} data sets; give one of {choices}")
    raise InputError("data", path, _missing(path))


def _listed(folder: Path) -> list[Path]:
    """List a folder; one that does not exist is empty."""
    try:
        return sorted(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise unreadable(folder, error) from error


def _missing(folder: Path) -> str:
    """Say which of the four files is not there, and what is."""
    names = [one.name for one in _listed(folder)]
    plain = [one.replace(".idx", "-idx") for one in names]
    missing = next((one for one in FILES if one not in plain and f"{one}.gz" not in plain), FILES[0])
    few = ", ".join(names[:6]) + (f" and {len(names) - 6:,} more" if len(names) > 6 else "")
    holds = f"it holds {few}" if names else "it is empty"
    return f"{missing} (or {missing}.gz) is missing there; {holds}; expected a folder with all four MNIST-format files"
