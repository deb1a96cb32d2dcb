"""MNIST-format files: four IDX files, compressed or not, in one folder.

An IDX file is a big-endian header (magic number, then the length of each axis) and the bytes. LeCun, Cortes and
Burges 1998, "The MNIST database of handwritten digits".
"""

import gzip
import zlib
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bathymetry.core.errors import InputError
from bathymetry.data.examples import Data, Examples
from bathymetry.data.identity import digest

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_BYTES = 0x08  # the type code of unsigned bytes, the third byte of the magic number


def find_files(folder: Path) -> list[Path]:
    """Find the four files in a folder.

    Args:
        folder: The folder.

    Returns:
        Those that exist, with or without .gz, with a dash or a point before "idx".
    """
    found = []
    for name in FILES:
        spellings = (name, f"{name}.gz", name.replace("-idx", ".idx"), f"{name.replace('-idx', '.idx')}.gz")
        found += [folder / one for one in spellings if (folder / one).is_file()][:1]
    return found


def idx(folder: Path, name: str) -> Data:
    """Read a data set in MNIST's format.

    Args:
        folder: The folder with the four files.
        name: What the data set is called.

    Returns:
        Images as rows of bytes, and their labels.

    Raises:
        InputError: If a file is missing, cut short, too long, of another kind, or does not fit the others.
    """
    paths = find_files(folder)
    if len(paths) < len(FILES):
        missing = next(one for one in FILES if not any(p.name.replace(".idx", "-idx").startswith(one) for p in paths))
        raise InputError("data", folder, f"{missing} (or {missing}.gz) is missing there; give a folder with all four")
    train_images, train_labels, test_images, test_labels = (
        _read(path, axes) for path, axes in zip(paths, (3, 1, 3, 1), strict=True)
    )
    for path, images, labels in ((paths[1], train_images, train_labels), (paths[3], test_images, test_labels)):
        if len(images) != len(labels):
            raise InputError("data", path, f"{len(labels)} labels for {len(images)} images; give files that fit")
    if train_images.shape[1:] != test_images.shape[1:]:
        sizes = " and ".join("×".join(map(str, one.shape[1:])) for one in (train_images, test_images))
        raise InputError("data", folder, f"its training and test images differ in size ({sizes}); give files that fit")
    train, test = _examples(train_images, train_labels), _examples(test_images, test_labels)
    classes = 1 + int(max(train_labels.max(), test_labels.max()))
    shape = tuple(int(side) for side in train_images.shape[1:])
    return Data(
        name, train, test, digest(train, test), f"MNIST-format files in {folder.resolve().name}", classes, shape
    )


def _examples(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Examples:
    inputs = torch.from_numpy(images.reshape(len(images), -1).copy())
    return Examples(inputs, torch.from_numpy(labels.astype(np.int64)), 1 / 255)


def _read(path: Path, axes: int) -> NDArray[np.uint8]:
    content = _content(path)
    header = 4 + 4 * axes
    if len(content) < header or content[:2] != b"\0\0" or content[2] != _BYTES or content[3] != axes:
        kind = "images" if axes == 3 else "labels"
        remedy = f"it does not begin as an IDX file of {kind} does ({content[:4].hex() or 'it is empty'})"
        raise InputError("data", path, f"{remedy}; give the published file")
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", axes, 4))
    size = prod(shape)
    if size == 0:
        raise InputError("data", path, f"its header says {'×'.join(map(str, shape))}, so nothing; give the whole file")
    if len(content) != header + size:
        fault = "it is cut short" if len(content) < header + size else "it is too long"
        remedy = f"{fault}: its header promises {size:,} bytes and {len(content) - header:,} follow"
        raise InputError("data", path, f"{remedy}; give the whole file")
    return np.frombuffer(content, np.uint8, size, header).reshape(shape)


def _content(path: Path) -> Any:
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError("data", path, "it can't be decompressed; give the whole file") from error
    except OSError as error:
        raise InputError("data", path, f"it can't be read ({error.strerror or error})") from error
