"""MNIST-format files: four IDX files, compressed or not, in one folder.

An IDX file is a big-endian header (magic number, then the length of each axis) and the numbers. LeCun, Cortes and
Burges 1998, "The MNIST database of handwritten digits". EMNIST stores images column by column, arXiv:1702.05373; QMNIST
stores labels as rows of eight whole numbers, the class first, arXiv:1905.10498.
"""

import contextlib
import gzip
import os
from io import BufferedReader
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bathymetry.core.errors import InputError
from bathymetry.data.class_numbers import ClassError, class_numbers
from bathymetry.data.examples import Data, Examples
from bathymetry.data.identity import digest
from bathymetry.data.idx_files import FileSet
from bathymetry.data.unpacking import GZIP, UNREADABLE, check_size, found, unreadable

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
