"""Data sets in files: MNIST's format, four IDX files compressed or not, and NumPy's .npz.

An IDX file is a big-endian header (magic number, then the length of each axis) and the numbers. LeCun, Cortes and
Burges 1998, "The MNIST database of handwritten digits". EMNIST stores images column by column, arXiv:1702.05373; QMNIST
stores labels as rows of eight whole numbers, the class first, arXiv:1905.10498.
"""

import gzip
import lzma
import os
import re
import stat
import tokenize
import warnings
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import torch
from numpy.typing import NDArray

from bathymetry.core.errors import InputError
from bathymetry.core.system import free_bytes, gigabytes
from bathymetry.data.examples import Data, Examples

Numbers = NDArray[np.int64]

FILES: Final = tuple(f"{half}-{kind}-ubyte" for half in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
_FILE_NAME = re.compile(
    r"(?P<prefix>.*?)[-_.]?(?P<half>train|t10k|test)[-_.]?(?P<kind>images|labels)"
    r"(?:[-_.]idx\d[-_.](?:ubyte|int))?(?:\.gz)?",
    re.IGNORECASE,
)
KEYS: Final = ("x_train", "y_train", "x_test", "y_test")
_ALIASES: Final = {
    alias: key
    for key, words in zip(KEYS, (("x", "images", "inputs", "data"), ("y", "labels", "targets")) * 2, strict=True)
    for word in words
    for alias in (f"{word}{key[2:]}", f"{key[2:]}{word}")
}

_GZIP: Final = b"\x1f\x8b"
_ZIP: Final = b"PK\3\4"
_SIGNATURES: Final = {
    _GZIP: "it is compressed by gzip",
    _ZIP: "it is a zip archive",
    b"\x93NUMPY": "it is a single array, an .npy file",
    b"\xfd7zXZ": "it is compressed by xz",
    b"BZh": "it is compressed by bzip2",
}
_IDX_TYPES: Final = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4"}  # by the third byte of the magic number
_KINDS: Final = (("images", (0x08,), (3,)), ("labels", tuple(_IDX_TYPES), (1, 2))) * 2  # types and numbers of axes
_SMALL: Final = 64 * 1024**2  # bytes that any compressed file may unpack to
_FACTOR: Final = 100  # beyond them, at most so many times its own size; images compress to a tenth or so
_LARGEST: Final = np.float64(np.finfo(np.float32).max)
_FEW_CLASSES: Final = 1000  # that any data set may have; more than these need as many examples
_MOST_CLASSES: Final = 100_000
_DAMAGED: Final = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, tokenize.TokenError, SyntaxError, EOFError)
_NAMED: Final = 5  # members of an archive that an error names, each with at most so many letters:
_LETTERS: Final = 20


class FormatError(ValueError):
    """A fault of arrays or files, and what is expected."""


@dataclass(frozen=True)
class FileSet:
    """The four files of one data set in MNIST's format."""

    folder: Path
    prefix: str  # what stands before "train" in their names: empty for MNIST, such as emnist-letters for others
    paths: tuple[Path, ...]  # in the order of FILES


def file_sets(folder: Path) -> list[FileSet]:
    """List the complete data sets directly in a folder, sorted by prefix."""
    found: dict[str, dict[tuple[bool, str], Path]] = defaultdict(dict)
    # uncompressed files first, and t10k before test
    for path in sorted(_listed(folder), key=lambda path: (path.suffix == ".gz", "t10k" not in path.name, path.name)):
        if (match := _FILE_NAME.fullmatch(path.name)) and path.is_file():
            part = (match["half"].lower() != "train", match["kind"].lower())
            found[match["prefix"]].setdefault(part, path)
    return [
        FileSet(folder, prefix, tuple(path for _, path in sorted(parts.items())))
        for prefix, parts in sorted(found.items())
        if len(parts) == len(FILES)
    ]


def find_file_set(path: Path) -> FileSet | None:
    """Find the one data set that a path names: a folder, one above it (MNIST/raw), or folder/prefix."""
    if not os.path.isdir(path):  # which takes names that no file can have
        return next((one for one in file_sets(path.parent) if one.prefix and one.prefix == path.name), None)
    here = file_sets(path)
    below = [folder for one in _listed(path) for folder in (one, one / "raw")]
    sets = [one for one in here if not one.prefix] or here or [one for folder in below for one in file_sets(folder)]
    if len(sets) > 1:
        choices = ", ".join(str(one.folder / one.prefix) for one in sets)
        raise InputError("data", path, f"it holds {len(sets)} data sets; expected one of {choices}")
    if not sets:
        names = {one.name.removesuffix(".gz").replace(".idx", "-idx") for one in _listed(path)}
        missing = next((file for file in FILES if file not in names), FILES[0])
        remedy = "expected a folder with all four MNIST-format files"
        raise InputError("data", path, f"{missing} (or {missing}.gz) is missing there; {remedy}")
    return sets[0]


def _listed(folder: Path) -> list[Path]:
    with _about(folder):
        return sorted(folder.iterdir()) if os.path.isdir(folder) else []


def read_file_set(files: FileSet, name: str) -> Data:
    """Read a data set in MNIST's format: images as rows of bytes, and their classes from 0."""
    x_train, y_train, x_test, y_test = (_read_idx(path, kind) for path, kind in zip(files.paths, _KINDS, strict=True))
    folder = files.folder.resolve().name
    source = f"MNIST-format files in {folder}{f' ({files.prefix})' if files.prefix else ''}"
    if files.prefix.lower().startswith("emnist"):
        x_train, x_test = x_train.transpose(0, 2, 1), x_test.transpose(0, 2, 1)
        source += "; images turned upright, which EMNIST stores column by column"
    with _about(files.folder):
        return _assembled(name, source, (x_train, y_train, x_test, y_test))


def _read_idx(path: Path, expected: tuple[str, tuple[int, ...], tuple[int, ...]]) -> NDArray[Any]:
    """Read the numbers of one file, no more than its header promises; its content shows whether it is compressed."""
    kind, types, axes = expected
    with _opened(path) as file:
        compressed = file.read(2) == _GZIP
        file.seek(0)
        stream: Any = gzip.GzipFile(fileobj=file) if compressed else file
        start = stream.read(4)
        fits = len(start) == 4 and start[:2] == b"\0\0" and start[2] in types and start[3] in axes
        lengths = stream.read(4 * start[3] if fits else 60)
        if not fits or len(lengths) < 4 * start[3]:
            found = _looks_like(start + lengths)
            raise FormatError(f"it does not begin as an IDX file of {kind} does ({found}); expected the published file")
        shape, dtype = np.frombuffer(lengths, ">u4").tolist(), np.dtype(_IDX_TYPES[start[2]])
        size = prod(shape) * dtype.itemsize
        _check_size(os.fstat(file.fileno()).st_size, size, compressed)
        content = stream.read(size + 1)
        if size == 0 or len(content) != size:
            fault = "empty" if size == 0 else "cut short" if len(content) < size else "too long"
            raise FormatError(f"it is {fault}: its header promises {size:,} bytes; expected the whole file")
    numbers = np.frombuffer(content, dtype).reshape(shape)
    return numbers[:, 0] if kind == "labels" and numbers.shape[1:] == (8,) else numbers


def read_npz(path: Path) -> Data:
    """Read a data set from an .npz file: bytes are pixels, integer targets are classes and floating ones values."""
    with _opened(path) as file:
        start = file.read(64)
        if not zipfile.is_zipfile(file):
            if start.startswith(_ZIP):
                raise FormatError("it is cut short or damaged: an archive without its end; expected the whole file")
            raise FormatError(f"it is no .npz file ({_looks_like(start)}); expected one with {', '.join(KEYS)}")
        with zipfile.ZipFile(file) as archive:
            arrays = tuple(_read_member(archive, key) for key in KEYS)
        return _assembled(path.stem, f"the file {path.name}", arrays)


def _read_member(archive: zipfile.ZipFile, key: str) -> NDArray[Any]:
    """Read one array under its own name or one that others use, such as train_images."""
    members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    matching = [name for name in members if _ALIASES.get(re.sub("[-_]", "", name.lower())) == key]
    matching = [key] if key in members else matching
    if len(matching) != 1:
        number = "several of" if matching else "no"
        names = [one if len(one) <= _LETTERS else f"{one[: _LETTERS - 1]}…" for one in sorted(members)]
        few = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED:,} others" if len(names) > _NAMED else "")
        remedy = f"expected {', '.join(KEYS)}, or train_images, train_labels, test_images and test_labels"
        raise FormatError(f"it has {number} {key}: it holds {few or 'nothing'}; {remedy}")
    info = members[matching[0]]
    _check_size(info.compress_size, info.file_size, compressed=True)
    with archive.open(info.filename) as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        with warnings.catch_warnings():  # the headers that Python 2 wrote are as good as others
            warnings.simplefilter("ignore")
            shape, is_fortran, dtype = read(stream)
        if dtype.kind not in "iubf":  # pickled objects among them
            remedy = "number classes that have names: classes, y = numpy.unique(y, return_inverse=True)"
            raise FormatError(f"{key} has dtype {dtype}; expected numbers, {remedy}")
        # reshaping allocates nothing, and fails if the header promises more or less than there is
        return np.frombuffer(stream.read(), dtype).reshape(shape, order="F" if is_fortran else "C")


def _assembled(name: str, source: str, arrays: tuple[NDArray[Any], ...]) -> Data:
    for key, array in zip(KEYS, arrays, strict=True):
        if array.dtype.kind == "f" and not (np.abs(array) <= _LARGEST).all():
            raise FormatError(f"{key} holds NaN, infinity or numbers beyond ±{_LARGEST:.2g}, the range of float32")
    x_train, y_train, x_test, y_test = arrays
    for half, inputs, targets in (("training", x_train, y_train), ("test", x_test, y_test)):
        if inputs.ndim < 2 or inputs.size == 0:
            raise FormatError(f"its {half} inputs have shape {inputs.shape}; expected (example, feature), none empty")
        if targets.shape[:1] != inputs.shape[:1] or targets.size == 0:
            shape = f"shape {targets.shape} for {len(inputs):,} inputs"
            raise FormatError(f"its {half} targets have {shape}; expected one each")
    is_classes = y_train.dtype.kind != "f"
    if is_classes != (y_test.dtype.kind != "f"):
        raise FormatError("y_train and y_test must both be classes (integers) or both be values")
    pairs = [("inputs", x_train, x_test)] + [("targets", y_train, y_test)] * (not is_classes)
    for what, one, other in pairs:
        if one.shape[1:] != other.shape[1:]:
            raise FormatError(f"its training and test {what} differ in shape, {one.shape[1:]} and {other.shape[1:]}")
    count = None
    if is_classes:
        y_train, y_test, count, notes = _class_numbers(y_train, y_test)
        source = "; ".join([source, *notes])
    else:
        y_train, y_test = (values.reshape(len(values), -1).astype(np.float32) for values in (y_train, y_test))
    image_shape = x_train.shape[1:] if x_train.ndim > 2 else None
    return Data(name, _examples(x_train, y_train), _examples(x_test, y_test), source, count, image_shape)


def _class_numbers(train: NDArray[Any], test: NDArray[Any]) -> tuple[Numbers, Numbers, int, list[str]]:
    """Read class numbers from 0 or from 1, or one-hot rows, as numbers from 0, their count and notes in words."""
    columns = [half.reshape(len(half), -1) for half in (train, test)]
    notes = []
    if any(half.shape[1] > 1 for half in columns):
        count = columns[0].shape[1]
        is_one_hot = [((half == 1).sum(1) == 1).all() and ((half == 0) | (half == 1)).all() for half in columns]
        if columns[1].shape[1] != count or not all(is_one_hot):
            shapes = f"{train.shape} and {test.shape}"
            raise FormatError(f"its classes have shapes {shapes}; expected one number per example, or one-hot rows")
        notes.append("one-hot rows read as class numbers")
        train, test = (half.argmax(1) for half in columns)
    else:
        first, count = _range_of_classes(*columns)
        if first == 1:
            notes.append(f"classes 1 to {count} read as 0 to {count - 1}")
        count = max(count, 2)
        train, test = (half[:, 0].astype(np.int64) - first for half in columns)
    unknown = np.setdiff1d(test, train)
    if unknown.size:
        few = ", ".join(map(str, unknown[:5])) + (", …" if unknown.size > 5 else "")
        notes.append(f"of class{'es' if unknown.size > 1 else ''} {few} there are test examples alone")
    return train, test, count, notes


def _range_of_classes(train: NDArray[Any], test: NDArray[Any]) -> tuple[int, int]:
    """The lowest class, 0 or 1, and the number of classes."""
    ends = [(int(half.min()), int(half.max())) for half in (train, test)]
    (low, high), (other_low, other_high) = sorted(ends)
    if (low, other_low, other_high) == (0, 1, high + 1) and high > 0:  # the same classes, counted in two ways
        ranges = " and ".join(f"from {low} to {high}" for low, high in ends)
        raise FormatError(f"its training and test classes go {ranges}; expected both from 0, or both from 1")
    high = max(high, other_high)
    if low < 0:
        raise FormatError(f"a class is {low}; expected classes from 0")
    first, examples = int(low == 1), len(train) + len(test)
    if high + 1 - first > min(max(_FEW_CLASSES, examples), _MOST_CLASSES):
        remedy = "number the classes that occur from 0 (numpy.unique with return_inverse), or store values as floats"
        raise FormatError(f"a class is {high:,} among {examples:,} examples; {remedy}")
    return first, high + 1 - first


def _examples(inputs: NDArray[Any], targets: NDArray[Any]) -> Examples:
    is_pixels = inputs.dtype == np.uint8
    rows = inputs.reshape(len(inputs), -1).astype(np.uint8 if is_pixels else np.float32)
    return Examples(torch.from_numpy(rows), torch.from_numpy(targets), 1 / 255 if is_pixels else 1.0)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open an ordinary file; a named pipe would wait for ever, and a device may have no end."""
    with _about(path):
        if not stat.S_ISREG(mode := path.stat().st_mode) and not stat.S_ISDIR(mode):
            raise FormatError("it is no ordinary file; expected one")
        with path.open("rb") as file:
            yield file


@contextmanager
def _about(path: Path) -> Iterator[None]:
    """Turn errors of the block into an InputError about a path."""
    try:
        yield
    except InputError:
        raise
    except FormatError as error:
        raise InputError("data", path, str(error)) from error
    except (*_DAMAGED, KeyError, OverflowError, TypeError, ValueError) as error:
        raise InputError("data", path, "it is damaged or cut short; expected the whole file") from error
    except FileNotFoundError as error:
        raise InputError("data", path, "there is no such file") from error
    except OSError as error:
        raise InputError("data", path, f"it can't be read ({error.strerror or error})") from error
    except RuntimeError as error:  # a zip archive that is encrypted, or compressed by an unknown method
        raise InputError("data", path, f"it can't be read ({error}); save it with numpy.savez") from error


def _check_size(stored: int, size: int, compressed: bool) -> None:
    if not compressed and size > stored:
        raise FormatError(f"it is cut short: its header promises {size:,} bytes; expected the whole file")
    if compressed and size > max(_SMALL, _FACTOR * stored):
        fault = f"it would unpack from {gigabytes(stored)} to {gigabytes(size)}, more than {_FACTOR} times as much"
        raise FormatError(f"{fault}; if that is right, store it uncompressed (gunzip, numpy.savez)")
    if size > (free := free_bytes()):
        fault = f"it holds {gigabytes(size)} of numbers and there are {gigabytes(free)} of memory"
        raise FormatError(f"{fault}; free some, or choose a smaller data set")


def _looks_like(start: bytes) -> str:
    """Describe a file of another kind by its first bytes."""
    for signature, kind in _SIGNATURES.items():
        if start.startswith(signature):
            return kind
    if start.isascii() and (text := " ".join(start.decode().split())) and text.isprintable():
        return f"it holds text that begins “{text[:20]}”"
    return f"it begins {start[:4].hex()}" if start else "it is empty"
