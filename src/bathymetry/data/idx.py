"""MNIST-format files: four IDX files, compressed or not, in one folder.

An IDX file is a big-endian header (magic number, then the length of each axis) and the numbers. LeCun, Cortes and
Burges 1998, "The MNIST database of handwritten digits". EMNIST stores images column by column, arXiv:1702.05373; QMNIST
stores labels as rows of eight whole numbers, the class first, arXiv:1905.10498.
"""

import contextlib
import gzip
import os
import re
import zlib
from collections import defaultdict
from dataclasses import dataclass
from io import BufferedReader
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from bathymetry.core.errors import InputError
from bathymetry.core.resources import free_bytes, gigabytes
from bathymetry.data.examples import Data, Examples, digest
from bathymetry.data.labels import ClassError, class_numbers

GZIP: Final = b"\x1f\x8b"
_SMALL: Final = 64 * 1024**2  # bytes that may be unpacked whatever they are packed into
_FACTOR: Final = 100  # beyond these, at most so many times the size of the packed file; images pack to a tenth or so


def check_size(path: Path, packed: int, unpacked: int, remedy: str) -> None:
    """Refuse to unpack a small file into a huge one, and to read what no memory holds.

    Args:
        path: The file.
        packed: Its size.
        unpacked: The size that it says it unpacks to; the same for a file that is not packed.
        remedy: What to do if that is right.

    Raises:
        InputError: If it is more than 64 MiB and more than 100 times as large, or more than there is memory.
    """
    if unpacked > max(_SMALL, _FACTOR * packed):
        sizes = f"{gigabytes(packed)} that unpack to {gigabytes(unpacked)}"
        raise InputError("data", path, f"it holds {sizes}, more than {_FACTOR} times as much; {remedy}")
    if unpacked > (free := free_bytes()):
        sizes = f"{gigabytes(unpacked)} of numbers and there are {gigabytes(free)} of memory"
        raise InputError("data", path, f"it holds {sizes}; free some, or give a smaller data set")


def found(start: bytes) -> str:
    """Say what a file that is not what was expected begins with.

    Args:
        start: Its first bytes.

    Returns:
        What it looks like, in words.

    Example:
        >>> found(b"<html>403"), found(b"")
        ('it holds text that begins “<html>403”', 'it is empty')
    """
    kinds = {
        b"": "it is empty",
        b"PK\3\4": "it is a zip archive",
        b"\x93NUMPY": "it is a single array, an .npy file",
        b"\xfd7zXZ": "it is compressed by xz",
        b"BZh": "it is compressed by bzip2",
        GZIP: "it is compressed by gzip",
    }
    for begins, words in kinds.items():
        if start.startswith(begins) if begins else not start:
            return words
    text = " ".join(start.decode("ascii").split()) if start.isascii() else ""
    return f"it holds text that begins “{text[:20]}”" if text.isprintable() and text else f"it begins {start[:4].hex()}"


UNREADABLE: Final = (EOFError, zlib.error, gzip.BadGzipFile)


def unreadable(path: Path, error: OSError) -> InputError:
    """Say why a file can't be read.

    Args:
        path: The file.
        error: What the system says.

    Returns:
        The error to raise.
    """
    if isinstance(error, PermissionError):
        return InputError("data", path, "you may not read it; change its permissions (chmod u+r)")
    if isinstance(error, IsADirectoryError):
        return InputError("data", path, "it is a folder; expected a file")
    if isinstance(error, FileNotFoundError):
        return InputError("data", path, "there is no such file")
    return InputError("data", path, f"it can't be read ({error.strerror or error})")


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


_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4"}  # by the third byte of the magic number
_DEFLATE = 1032  # the largest factor by which deflate packs


def idx(files: FileSet, name: str) -> Data:
    """Read a data set in MNIST's format.

    Args:
        files: The four files.
        name: What the data set is called.

    Returns:
        Images as rows of bytes, and their classes from 0.

    Raises:
        InputError: If a file is cut short, too long, of another kind, or does not fit the others.
    """
    train_images, test_images = (_images(path) for path in files.images)
    train_labels, test_labels = (_labels(path) for path in files.labels)
    pairs = ((train_images, train_labels), (test_images, test_labels))
    for path, (images, labels) in zip(files.labels, pairs, strict=True):
        if len(images) != len(labels):
            raise InputError("data", path, f"{len(labels)} labels for {len(images)} images; give files that fit")
    if train_images.shape[1:] != test_images.shape[1:]:
        sizes = " and ".join("×".join(map(str, one.shape[1:])) for one in (train_images, test_images))
        remedy = f"its training and test images differ in size ({sizes}); give files that fit"
        raise InputError("data", files.folder, remedy)
    try:
        classes = class_numbers(train_labels, test_labels)
    except ClassError as error:
        raise InputError("data", files.labels[0], str(error)) from error
    notes = [f"MNIST-format files in {files.shown}", *classes.notes]
    if files.prefix.lower().startswith("emnist"):
        train_images, test_images = (one.transpose(0, 2, 1) for one in (train_images, test_images))
        notes.insert(1, "images turned upright, which EMNIST stores column by column")
    train, test = _examples(train_images, classes.train), _examples(test_images, classes.test)
    shape = tuple(int(side) for side in train_images.shape[1:])
    return Data(name, train, test, digest(train, test), "; ".join(notes), classes.count, shape)


def _examples(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Examples:
    inputs = torch.from_numpy(images.reshape(len(images), -1).copy())
    return Examples(inputs, torch.from_numpy(labels), 1 / 255)


def _images(path: Path) -> NDArray[np.uint8]:
    return _read(path, "images", {0x08}, {3})


def _labels(path: Path) -> NDArray[Any]:
    labels = _read(path, "labels", set(_TYPES), {1, 2})
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 8 else labels


def _read(path: Path, kind: str, types: set[int], axes: set[int]) -> NDArray[Any]:
    """Read the numbers of one file, no more than its header promises, compressed or not whatever its name says."""
    try:
        with path.open("rb") as raw:
            compressed = raw.read(2) == GZIP
            raw.seek(0)
            packed = os.fstat(raw.fileno()).st_size
            with gzip.open(raw) if compressed else contextlib.nullcontext(raw) as stream:
                dtype, shape = _header(path, stream, kind, types, axes)
                size = prod(shape) * dtype.itemsize
                if size == 0:
                    shown = "×".join(map(str, shape))
                    raise InputError("data", path, f"its header says {shown}, so nothing; give the whole file")
                if size > packed * (_DEFLATE if compressed else 1):
                    fault = f"it is cut short: its header promises {size:,} bytes, more than the file can hold"
                    raise InputError("data", path, f"{fault}; give the whole file")
                check_size(path, packed, size, "unpack it with gunzip if that is right")
                content = stream.read(size + 1)
    except UNREADABLE as error:
        raise InputError("data", path, "it can't be decompressed; give the whole file") from error
    except OSError as error:
        raise unreadable(path, error) from error
    if len(content) != size:
        fault, follow = ("cut short", f"{len(content):,}") if len(content) < size else ("too long", "more")
        remedy = f"it is {fault}: its header promises {size:,} bytes and {follow} follow; give the whole file"
        raise InputError("data", path, remedy)
    return np.frombuffer(content, dtype).reshape(shape)


def _header(
    path: Path, stream: gzip.GzipFile | BufferedReader, kind: str, types: set[int], axes: set[int]
) -> tuple[Any, tuple[int, ...]]:
    """Read the type of the numbers and the length of each axis."""
    start = stream.read(4)
    fits = len(start) == 4 and start[:2] == b"\0\0" and start[2] in types and start[3] in axes
    lengths = stream.read(4 * start[3] if fits else 60)
    if fits and len(lengths) == 4 * start[3]:
        return np.dtype(_TYPES[start[2]]), tuple(int(n) for n in np.frombuffer(lengths, ">u4"))
    shown = "it ends within its header" if fits else start.hex()
    shown = found(start + lengths) if start[:2] != b"\0\0" else shown
    remedy = f"it does not begin as an IDX file of {kind} does ({shown}); expected the published file"
    raise InputError("data", path, remedy)
