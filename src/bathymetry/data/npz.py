"""Data sets of one's own: an .npz file with x_train, y_train, x_test and y_test."""

import lzma
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from bathymetry.core.errors import InputError
from bathymetry.data.examples import Data, Examples, digest
from bathymetry.data.idx import check_size, found, unreadable
from bathymetry.data.labels import ClassError, Classes, class_numbers

_KEYS: Final = ("x_train", "y_train", "x_test", "y_test")
_WORDS: Final = {"x": ("x", "images", "inputs", "data"), "y": ("y", "labels", "targets")}
_COMPRESSIONS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_LARGEST: Final = float(np.finfo(np.float32).max)
_DAMAGED = (
    ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, tokenize.TokenError, KeyError,
    RuntimeError, OverflowError,
)  # fmt: skip

Arrays = Mapping[str, NDArray[Any]]


def npz(path: Path) -> Data:
    """Read a data set from an .npz file.

    Args:
        path: The file. Inputs of unsigned bytes are taken for pixels and divided by 255, others are taken as they are;
            integer targets are classes (from 0 or from 1, as (example,), (example, 1) or one-hot rows), floating ones
            values. Inputs are flattened to rows.

    Returns:
        The data set, named after the file.

    Raises:
        InputError: If the file can't be read, or arrays are missing, hold objects, NaN or infinity, or do not fit.
    """
    arrays = _arrays(path)
    for half in ("train", "test"):
        inputs, targets = arrays[f"x_{half}"], arrays[f"y_{half}"]
        if inputs.ndim < 2 or inputs.size == 0:
            raise InputError("data", path, f"x_{half} has shape {inputs.shape}; give (example, feature), at least one")
        if targets.ndim < 1 or len(targets) != len(inputs) or targets.size == 0:
            raise InputError("data", path, f"y_{half} has {targets.shape[:1]} rows for {len(inputs)} in x_{half}")
    if arrays["x_train"].shape[1:] != arrays["x_test"].shape[1:]:
        shapes = f"{arrays['x_train'].shape[1:]} and {arrays['x_test'].shape[1:]}"
        raise InputError("data", path, f"training and test inputs differ in shape, {shapes}; give the same")
    classes = _classes(path, arrays)
    answers: tuple[NDArray[Any], NDArray[Any]]
    answers = (classes.train, classes.test) if classes else (_values(arrays["y_train"]), _values(arrays["y_test"]))
    if answers[0].shape[1:] != answers[1].shape[1:]:
        shapes = f"{answers[0].shape[1:]} and {answers[1].shape[1:]}"
        raise InputError("data", path, f"training and test targets differ in shape, {shapes}; give the same")
    train, test = _examples(arrays["x_train"], answers[0]), _examples(arrays["x_test"], answers[1])
    shape = arrays["x_train"].shape[1:]
    image_shape = tuple(int(side) for side in shape) if len(shape) > 1 else None
    source = "; ".join([f"the file {path.name}", *(classes.notes if classes else ())])
    return Data(path.stem, train, test, digest(train, test), source, classes.count if classes else None, image_shape)


def _arrays(path: Path) -> Arrays:
    try:
        with path.open("rb") as file:
            start = file.read(64)
            if not zipfile.is_zipfile(file):
                raise InputError("data", path, f"it is no .npz file ({found(start)}); give one with {', '.join(_KEYS)}")
            with zipfile.ZipFile(file) as archive:
                arrays = {key: _array(path, archive, key, info) for key, info in _members(path, archive).items()}
    except InputError:
        raise
    except OSError as error:
        raise unreadable(path, error) from error
    except _DAMAGED as error:
        raise InputError("data", path, "it is damaged; save it anew with numpy.savez") from error
    for key, array in arrays.items():
        if array.dtype.kind not in "iubf":
            raise InputError("data", path, f"{key} has dtype {array.dtype}; {_remedy(key, array.dtype)}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError("data", path, f"{key} holds NaN or infinity; give finite numbers")
        if array.dtype.kind == "f" and array.size and float(np.abs(array).max()) > _LARGEST:
            raise InputError(
                "data", path, f"{key} holds numbers beyond ±{_LARGEST:.2g}, the range of float32; scale them"
            )
    return arrays


def _remedy(key: str, dtype: np.dtype[Any]) -> str:
    if dtype.kind in "US" and key.startswith("y"):
        return "number the classes: classes, y = numpy.unique(y, return_inverse=True)"
    return "give numbers"


def _members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Find the four arrays by their names or by those that others use, such as train_images."""
    held = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    members = {}
    for key in _KEYS:
        letter, half = key.split("_")
        aliases = {f"{half}{word}" for word in _WORDS[letter]} | {f"{word}{half}" for word in _WORDS[letter]}
        alike = [name for name in held if name.lower().replace("_", "").replace("-", "") in aliases]
        if key not in held and len(alike) != 1:
            names = ", ".join(sorted(held)[:10]) or "nothing"
            remedy = f"expected {', '.join(_KEYS)}, or train_images, train_labels, test_images and test_labels"
            fault = f"it has several of {key}" if alike else f"it has no {key}"
            raise InputError("data", path, f"{fault}: it holds {names}; {remedy}")
        members[key] = held[key if key in held else alike[0]]
    return members


def _array(path: Path, archive: zipfile.ZipFile, key: str, info: zipfile.ZipInfo) -> NDArray[Any]:
    """Read one array after its header was held against the size of its file."""
    if info.flag_bits & 1:
        raise InputError("data", path, f"{key} is encrypted; save it without a password, with numpy.savez")
    if info.compress_type not in _COMPRESSIONS:
        remedy = "save it with numpy.savez or numpy.savez_compressed"
        raise InputError(
            "data", path, f"{key} is compressed by method {info.compress_type}, which is not known; {remedy}"
        )
    check_size(path, info.compress_size, info.file_size, "save it with numpy.savez if that is right")
    with archive.open(info) as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
        if dtype.hasobject:
            raise InputError("data", path, f"{key} holds Python objects (pickled objects are refused); give numbers")
        promised, follow = prod(shape) * dtype.itemsize, info.file_size - stream.tell()
        if promised != follow:
            remedy = f"its header promises {promised:,} bytes and {follow:,} follow; save it anew"
            raise InputError("data", path, f"{key} is damaged: {remedy}")
    with archive.open(info) as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


def _classes(path: Path, arrays: Arrays) -> Classes | None:
    """Read integer targets as classes; None if targets are values."""
    kinds = [arrays[key].dtype.kind in "iub" for key in ("y_train", "y_test")]
    if kinds[0] != kinds[1]:
        raise InputError("data", path, "y_train and y_test must both be classes (integers) or both be values")
    if not kinds[0]:
        return None
    try:
        return class_numbers(arrays["y_train"], arrays["y_test"])
    except ClassError as error:
        raise InputError("data", path, str(error)) from error


def _values(targets: NDArray[Any]) -> NDArray[np.float32]:
    return targets.reshape(len(targets), -1).astype(np.float32)


def _examples(inputs: NDArray[Any], targets: NDArray[Any]) -> Examples:
    pixels = inputs.dtype == np.uint8
    rows = torch.from_numpy(inputs.reshape(len(inputs), -1).astype(np.uint8 if pixels else np.float32))
    return Examples(rows, torch.from_numpy(targets), 1 / 255 if pixels else 1.0)
