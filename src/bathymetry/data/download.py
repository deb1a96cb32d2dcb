"""Downloads of MNIST and its siblings, from several mirrors, checked by digest before they are kept."""

import gzip
import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pooch
import requests

from bathymetry.core.errors import InputError, StorageError
from bathymetry.core.storage import put
from bathymetry.data.idx import FILES
from bathymetry.data.places import cache_folder


@dataclass(frozen=True)
class Published:
    """A data set that can be fetched."""

    mirrors: tuple[str, ...]  # folders that hold the four .gz files
    digests: tuple[str, ...]  # in the order of `FILES`
    of_compressed: bool = False  # the digest that was published is that of the .gz file


PUBLISHED: Mapping[str, Published] = {
    "mnist": Published(
        (
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        (
            "sha256:ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "sha256:65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "sha256:0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "sha256:ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    "fashion-mnist": Published(
        (
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        (
            "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "md5:25c81989df183df01b3e8a0aad5dffbe",
            "md5:bef4ecab320f06d8554ea6380940ec79",
            "md5:bb300cfdad3c16e7a12a480ee83cd310",
        ),
        of_compressed=True,
    ),
    "kmnist": Published(
        (
            "https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
            "https://storage.googleapis.com/kuzushiji-mnist/",
        ),
        (
            "md5:bdb82020997e1d708af4cf47b453dcf7",
            "md5:e144d726b3acfaa3e44228e80efcd344",
            "md5:5c965bf0a639b31b8f53240b1b52f4d7",
            "md5:7320c461ea6c1c855c0b718fb2a4b134",
        ),
        of_compressed=True,
    ),
}


def fetch(name: str, mirrors: Sequence[str] | None = None) -> Path:
    """Download a data set into the cache.

    Args:
        name: "mnist", "fashion-mnist" or "kmnist".
        mirrors: Where to look, one after another; the known ones if None.

    Returns:
        The folder with its four files, decompressed.

    Raises:
        InputError: If there is no such data set, or no mirror gives the right bytes.
    """
    if not isinstance(name, str) or name not in PUBLISHED:
        raise InputError("data", name, f"it can't be fetched; give one of {', '.join(PUBLISHED)}")
    published = PUBLISHED[name]
    pooch.get_logger().setLevel("ERROR")  # which mirror is tried is nobody's concern while one is left
    folder = cache_folder() / name
    for file, expected in zip(FILES, published.digests, strict=True):
        content = _first_right(file, expected, published.of_compressed, mirrors or published.mirrors)
        if content is None:
            raise InputError("data", name, f"no mirror gave the right {file}; check the network and try again")
        put(folder / file, content)
    return folder


def _first_right(file: str, expected: str, of_compressed: bool, mirrors: Sequence[str]) -> bytes | None:
    kind, _, wanted = expected.partition(":")
    for mirror in mirrors:
        try:
            with TemporaryDirectory() as temporary:
                path = pooch.retrieve(f"{mirror.rstrip('/')}/{file}.gz", None, "download", temporary, progressbar=False)
                compressed = Path(path).read_bytes()
            content = gzip.decompress(compressed)
        except (requests.RequestException, OSError, EOFError, zlib.error, ValueError, StorageError):
            continue
        if hashlib.new(kind, compressed if of_compressed else content).hexdigest() == wanted:
            return content
    return None
