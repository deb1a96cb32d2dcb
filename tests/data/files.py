"""Small data sets in MNIST's format, complete or damaged."""

import gzip
import struct
from pathlib import Path

import numpy as np

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def arrays(train=6, test=4, side=3):
    rng = np.random.default_rng(0)
    return [
        rng.integers(0, 256, (train, side, side), dtype=np.uint8),
        np.arange(train, dtype=np.uint8) % 5,
        rng.integers(0, 256, (test, side, side), dtype=np.uint8),
        np.arange(test, dtype=np.uint8) % 5,
    ]


def encoded(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write(folder: Path, compressed=False, name=lambda one: one, **sizes):
    folder.mkdir(parents=True, exist_ok=True)
    for one, array in zip(NAMES, arrays(**sizes), strict=True):
        content = encoded(array)
        if compressed:
            (folder / f"{name(one)}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name(one)).write_bytes(content)
    return folder


def labels_of_qmnist(classes):
    """Rows of eight big-endian int32, the class first, as QMNIST has them."""
    rows = np.zeros((len(classes), 8), ">i4")
    rows[:, 0], rows[:, 1:] = classes, 99
    return struct.pack(">BBBBII", 0, 0, 0x0C, 2, *rows.shape) + rows.tobytes()
