"""Every data set by its name: what there is, where it lies, and loading it."""

import contextlib
import io
import os
import zipfile
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import torch
from sklearn.datasets import load_digits

from bathymetry.core.errors import InputError, StorageError, whole_number
from bathymetry.core.resources import memory_for
from bathymetry.core.storage import put
from bathymetry.data.download import PUBLISHED
from bathymetry.data.examples import Data, Examples, digest
from bathymetry.data.idx import FileSet, find_file_set, idx
from bathymetry.data.npz import npz
from bathymetry.data.places import cache_folder, files_of
from bathymetry.data.strokes import VERSION, strokes

_TRAIN = 1500


def digits() -> Data:
    """Load the 8×8 digits.

    Returns:
        The first 1,500 for training and the last 297 for testing, pixels from 0 to 16 divided by 16.
    """
    bunch = load_digits()
    inputs = torch.from_numpy(bunch.data).to(torch.uint8)
    labels = torch.from_numpy(bunch.target).to(torch.int64)
    train = Examples(inputs[:_TRAIN], labels[:_TRAIN], 1 / 16)
    test = Examples(inputs[_TRAIN:], labels[_TRAIN:], 1 / 16)
    return Data("digits", train, test, digest(train, test), "scikit-learn's 8×8 digits", 10, (8, 8))


MNIST_DIGEST: Final = "df59a6331e6fbb1f359de61448040d72"  # of the published files, as `identity.digest` takes it
_NAMES = ("auto", *PUBLISHED, "strokes", "digits")


@dataclass(frozen=True)
class Available:
    """A data set that can be asked for by name."""

    name: str
    at_hand: bool  # whether it can be loaded now, without the network
    source: str  # where it lies, or how to get it
    digest: str  # empty where it would have to be drawn or read first


def load(name: str | os.PathLike[str], seed: int = 0) -> Data:
    """Load a data set.

    Args:
        name: "mnist", "fashion-mnist", "kmnist", "strokes", "digits", "auto" (MNIST if it is at hand, else strokes;
            never the network), a folder with four files in MNIST's format (or above one, as torchvision lays them), or
            a path that ends in .npz. A folder with several sets is followed by a prefix: folder/emnist-letters.
        seed: Which strokes are drawn.

    Returns:
        The data set, in memory.

    Raises:
        InputError: If there is no such data set, it is not at hand, can't be read or does not fit into memory.
    """
    if not isinstance(name, str | os.PathLike) or not isinstance(os.fspath(name), str):
        raise InputError("data", name, f"give one of {', '.join(_NAMES)}, or a path")
    with memory_for("data", name):
        return _load(os.fspath(name), whole_number("seed", seed, 0))


def _load(name: str, seed: int) -> Data:
    if name == "auto":
        return load("mnist" if files_of("mnist") is not None else "strokes", seed)
    if name == "strokes":
        return _strokes(seed)
    if name == "digits":
        return digits()
    if name in PUBLISHED:
        files = files_of(name)
        if files is None:
            remedy = f"it is not at hand; run `bathymetry data fetch {name}`, or name its folder in BATHYMETRY_DATA"
            raise InputError("data", name, remedy)
        return _read(files, name, _state(files.paths))
    return _from_path(name)


def _from_path(name: str) -> Data:
    """Load what a path names: an .npz file, or files in MNIST's format."""
    remedy = f"give one of {', '.join(_NAMES)}, a folder with MNIST-format files, or a .npz file"
    if alike := get_close_matches(_plain(name), [_plain(one) for one in _NAMES], n=1, cutoff=0.8):
        remedy = f"did you mean {next(one for one in _NAMES if _plain(one) == alike[0])}? {remedy}"
    try:
        path = Path(name).expanduser()
        if path.suffix.lower() == ".npz":
            return _read(path, path.name, _state([path]))
        if name and (files := find_file_set(path)):
            base = files.folder.resolve()
            base = base.parent if base.name == "raw" else base
            return _read(files, files.prefix or base.name, _state(files.paths))
        if name and path.is_file():
            remedy = "it is a single file; expected a .npz file, or the folder that holds all four MNIST-format files"
    except (OSError, ValueError, RuntimeError) as error:  # the name is too long, holds a NUL, or a ~ of nobody
        if isinstance(error, InputError):
            raise
        raise InputError("data", name, remedy) from error
    raise InputError("data", name, remedy)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def available() -> tuple[Available, ...]:
    """List the data sets that have a name.

    Returns:
        Where each lies; those that have to be fetched first say how.
    """
    listed = []
    for name in PUBLISHED:
        files = files_of(name)
        if files is None:
            listed.append(Available(name, False, f"`bathymetry data fetch {name}` downloads it", ""))
        else:
            data = load(name)
            listed.append(Available(name, True, f"{data.source}, in {files.folder}", data.digest))
    drawn = _strokes_file(0)
    if drawn.is_file():
        listed.append(Available("strokes", True, f"drawn by Bathymetry, kept in {drawn}", load("strokes").digest))
    else:
        listed.append(Available("strokes", True, "drawn by Bathymetry when it is first needed", ""))
    return (*listed, Available("digits", True, digits().source, digits().digest))


@lru_cache(maxsize=4)
def _read(place: Path | FileSet, name: str, state: tuple[tuple[str, int, int], ...]) -> Data:
    """Read files once; `state` tells when they have changed."""
    del state
    if isinstance(place, Path):
        return npz(place)
    data = idx(place, name)
    if data.digest == MNIST_DIGEST:
        return replace(data, name="mnist", source="the published MNIST files")
    if name == "mnist":
        return replace(data, name="mnist-like", source=f"{data.source}, which are not the published MNIST")
    return data


def _state(paths: list[Path]) -> tuple[tuple[str, int, int], ...]:
    stats = [(path, path.stat()) for path in paths if path.is_file()]
    return tuple((path.name, stat.st_size, stat.st_mtime_ns) for path, stat in stats)


def _strokes_file(seed: int) -> Path:
    return cache_folder() / "strokes" / f"version-{VERSION}-seed-{seed}.npz"


@lru_cache(maxsize=2)
def _strokes(seed: int) -> Data:
    """Draw the strokes, or read those that were drawn before; a damaged file is drawn again."""
    path = _strokes_file(seed)
    if path.is_file():
        try:
            return _unpacked(path, seed)
        except (InputError, KeyError, OSError, ValueError, EOFError, zipfile.BadZipFile):
            pass
    data = strokes(seed)
    with contextlib.suppress(StorageError):  # a cache that can't be written costs time, nothing else
        put(path, _packed(data))
    return data


def _packed(data: Data) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        x_train=data.train.inputs.numpy(),
        y_train=data.train.targets.numpy().astype(np.uint8),
        x_test=data.test.inputs.numpy(),
        y_test=data.test.targets.numpy().astype(np.uint8),
        digest=np.array(data.digest),
        source=np.array(data.source),
    )
    return buffer.getvalue()


def _unpacked(path: Path, seed: int) -> Data:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        train, test = (
            Examples(torch.from_numpy(arrays[f"x_{half}"]), torch.from_numpy(arrays[f"y_{half}"]).long(), 1 / 255)
            for half in ("train", "test")
        )
        expected, source = str(arrays["digest"]), str(arrays["source"])
    if digest(train, test) != expected:
        raise InputError("strokes", seed, "the kept drawings are damaged")
    return Data("strokes", train, test, expected, source, 10, (28, 28))
