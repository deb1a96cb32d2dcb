"""Data sets by name: where their files are, downloads from several mirrors, and loading."""

import gzip
import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache, lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import pooch
import requests
import torch
from platformdirs import user_cache_path
from sklearn.datasets import load_digits

from bathymetry.core.errors import InputError, StorageError, did_you_mean, whole_number
from bathymetry.core.system import memory_for, put
from bathymetry.data.examples import Data, Examples
from bathymetry.data.files import FILES, KEYS, FileSet, file_sets, find_file_set, read_file_set, read_npz
from bathymetry.data.strokes import SIDE, SOURCE, VERSION, strokes

VARIABLE: Final = "BATHYMETRY_DATA"  # names a folder in which data sets are looked for before the cache
MNIST_DIGEST: Final = "df59a6331e6fbb1f359de61448040d72"  # of the published files, as `Data.digest`
_DIGITS_TRAIN: Final = 1500

_load: ContextVar[Callable[[str], Data]] = ContextVar("load")

PUBLISHED: Final = {  # mirrors: folders on the web with the four .gz files
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    "fashion-mnist": (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    "kmnist": (
        "https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        "https://storage.googleapis.com/kuzushiji-mnist/",
    ),
}
HASHES: Final = dict(line.split() for line in Path(__file__).with_name("registry.txt").read_text("ascii").splitlines())
_TORCHVISION: Final = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "kmnist": "KMNIST"}
_NAMES: Final = ("auto", *PUBLISHED, "strokes", "digits")


def fetch(name: str, mirrors: Sequence[str] | None = None) -> Path:
    """Download a data set into the cache.

    Args:
        name: "mnist", "fashion-mnist" or "kmnist".
        mirrors: Folders on the web to try one after another; the known ones if None.

    Returns:
        The folder with its four files, decompressed.

    Raises:
        InputError: If there is no such data set, or no mirror has the published bytes.
    """
    if not isinstance(name, str) or name not in PUBLISHED:
        raise InputError("data", name, f"{did_you_mean(name, PUBLISHED)}expected one of {', '.join(PUBLISHED)}")
    pooch.get_logger().setLevel("ERROR")  # a mirror that fails matters only if it is the last
    folder = cache_folder() / name
    for file in FILES:
        put(folder / file, _downloaded(name, file, mirrors or PUBLISHED[name]))
    return folder


def _downloaded(name: str, file: str, mirrors: Sequence[str]) -> bytes:
    """Download one file from the first mirror that has the published bytes, and decompress it."""
    for mirror in mirrors:
        with suppress(requests.RequestException, OSError, ValueError), TemporaryDirectory() as folder:
            address, published = f"{mirror.rstrip('/')}/{file}.gz", HASHES[f"{name}/{file}.gz"]
            return gzip.decompress(Path(pooch.retrieve(address, published, "download", folder)).read_bytes())
    raise InputError("data", name, f"no mirror has the published {file}; check the network and try again")


def cache_folder() -> Path:
    return user_cache_path("bathymetry", appauthor=False)


def files_of(name: str) -> FileSet | None:
    """Find the files of a published data set: below the folder that BATHYMETRY_DATA names, then in the cache."""
    folders = []
    if value := os.environ.get(VARIABLE):
        root, torchvision = Path(value), _TORCHVISION[name]
        if not root.is_dir():
            raise InputError(VARIABLE, value, "there is no such folder; expected one that holds data sets")
        folders = [root / name, root / torchvision / "raw", root / torchvision, *([root] if name == "mnist" else [])]
    folders.append(cache_folder() / name)
    return next((one for folder in folders for one in file_sets(folder) if not one.prefix), None)


@contextmanager
def read_once() -> Iterator[None]:
    """Let `load_shared` read each data set once."""
    token = _load.set(cache(load))
    try:
        yield
    finally:
        _load.reset(token)


def load_shared(name: str) -> Data:
    """Load a data set, or within `read_once` what was loaded before."""
    return _load.get(load)(name)


def load(name: str | os.PathLike[str], seed: int = 0) -> Data:
    """Load a data set.

    Args:
        name: "mnist", "fashion-mnist", "kmnist", "strokes", "digits", "auto" (MNIST if its files are there, else
            strokes), a folder with four files in MNIST's format or above one such as torchvision's, or a path that ends
            in .npz. If a folder holds several sets, a prefix follows it: folder/emnist-letters.
        seed: Seed of the drawn digits.

    Returns:
        The data set, in memory.

    Raises:
        InputError: If there is no such data set, its files are not there or can't be read, or it does not fit into
            memory.
    """
    if not isinstance(name, str | os.PathLike):
        raise InputError("data", name, f"expected one of {', '.join(_NAMES)}, or a path")
    name, seed = os.fsdecode(name), whole_number("seed", seed, 0)
    with memory_for("data", name):
        if name == "auto":
            name = "mnist" if files_of("mnist") else "strokes"
        if name == "strokes":
            return _strokes(seed)
        if name == "digits":
            return _digits()
        if name not in PUBLISHED:
            return _from_path(name)
        if files := files_of(name):
            return _loaded(files, name)
        remedy = f"run `bathymetry data fetch {name}`, or name its folder in {VARIABLE}"
        raise InputError("data", name, f"its files are not there; {remedy}")


def _from_path(name: str) -> Data:
    path = Path(os.path.expanduser(name))
    if path.suffix.lower() == ".npz" and "\0" not in name:
        return _loaded(path, path.name)
    if name and (files := find_file_set(path)):
        folder = files.folder.resolve()
        return _loaded(files, files.prefix or (folder.parent if folder.name == "raw" else folder).name)
    if os.path.isfile(path):
        remedy = "expected a .npz file, or the folder that holds all four MNIST-format files"
        raise InputError("data", name, f"it is a single file; {remedy}")
    remedy = f"expected one of {', '.join(_NAMES)}, a folder with MNIST-format files, or a .npz file"
    names = {one.replace("-", ""): one for one in _NAMES}
    if close := get_close_matches(re.sub(r"[\W_]", "", name.lower()), names, n=1, cutoff=0.8):
        remedy = f"did you mean {names[close[0]]}? {remedy}"
    raise InputError("data", name, remedy)


def _loaded(files: Path | FileSet, name: str) -> Data:
    """Read files, or reuse what was read if they have not changed since."""
    paths = [files] if isinstance(files, Path) else files.paths
    states = [(stat.st_size, stat.st_mtime_ns) for stat in (path.stat() for path in paths if os.path.isfile(path))]
    return _read(files, name, tuple(states))


@lru_cache(maxsize=4)
def _read(files: Path | FileSet, name: str, states: tuple[tuple[int, int], ...]) -> Data:  # noqa: ARG001 - a key
    if isinstance(files, Path):
        return read_npz(files)
    data = read_file_set(files, name)
    source = data.source
    if data.digest == MNIST_DIGEST:
        name, source = "mnist", "the published MNIST files"
    elif name == "mnist":
        name, source = "mnist-like", f"{source}, which are not the published MNIST"
    named = replace(data, name=name, source=source)
    vars(named)["digest"] = data.digest  # the examples are the same
    return named


@lru_cache(maxsize=2)
def _strokes(seed: int) -> Data:
    """Draw the digits, or read those that were drawn before; a damaged file is drawn again."""
    path = _strokes_file(seed)
    with suppress(InputError):
        return replace(read_npz(path), name="strokes", source=SOURCE.format(seed), classes=10, image_shape=(SIDE, SIDE))
    data, buffer = strokes(seed), io.BytesIO()
    tensors = (data.train.inputs, data.train.targets.byte(), data.test.inputs, data.test.targets.byte())
    arrays: dict[str, Any] = {key: tensor.numpy() for key, tensor in zip(KEYS, tensors, strict=True)}
    np.savez_compressed(buffer, **arrays)
    with suppress(StorageError):  # a cache that can't be written costs time, nothing else
        put(path, buffer.getvalue())
    return data


def _strokes_file(seed: int) -> Path:
    return cache_folder() / "strokes" / f"version-{VERSION}-seed-{seed}.npz"


@lru_cache(maxsize=1)
def _digits() -> Data:
    """scikit-learn's 8×8 digits: the first 1,500 for training, pixels from 0 to 16 divided by 16."""
    bunch = load_digits()
    inputs, labels = torch.from_numpy(bunch.data).to(torch.uint8), torch.from_numpy(bunch.target).to(torch.int64)
    halves = (slice(_DIGITS_TRAIN), slice(_DIGITS_TRAIN, None))
    train, test = (Examples(inputs[half], labels[half], 1 / 16) for half in halves)
    return Data("digits", train, test, "scikit-learn's 8×8 digits", 10, (8, 8))


@dataclass(frozen=True)
class Available:
    """A data set that has a name."""

    name: str
    at_hand: bool  # whether it can be loaded now, without the network
    source: str  # where it is, or how to get it
    digest: str = ""  # empty where the data would have to be downloaded or drawn first


def available() -> list[Available]:
    """List the data sets that have a name."""
    listed = []
    for name in PUBLISHED:
        if files := files_of(name):
            data = load(name)
            listed.append(Available(name, True, f"{data.source}, in {files.folder}", data.digest))
        else:
            listed.append(Available(name, False, f"`bathymetry data fetch {name}` downloads it"))
    if (path := _strokes_file(0)).is_file():
        listed.append(Available("strokes", True, f"drawn by Bathymetry, stored in {path}", load("strokes").digest))
    else:
        listed.append(Available("strokes", True, "drawn by Bathymetry when it is first used"))
    return [*listed, Available("digits", True, _digits().source, _digits().digest)]
