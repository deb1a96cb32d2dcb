"""One interface over a local folder and any fsspec address: read, write whole or not at all, list, move away, delete.

A place is a Path or an Address. Locally a file is written under another name, synchronised and renamed; on an object
store it is one complete upload to its final key. Nothing rests on creating a file exclusively, which no object store
promises. Listing caches are off: other processes write into the same place.
"""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec

from bathymetry.core import system
from bathymetry.core.errors import InputError, StorageError, did_you_mean, first_line, not_installed, path_of

_ADDRESS = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://(.*)", re.DOTALL)
_FOLDERLESS = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss", "oci")  # a key needs no folder made for it
_S3 = ("s3", "s3a")
_GS = ("gs", "gcs")
_EXTRAS = {**dict.fromkeys(_S3, ("s3fs", "s3")), **dict.fromkeys(_GS, ("gcsfs", "gs"))}  # package, extra that has it
_SILENT = logging.NullHandler()
_EXAMPLE = "expected a folder, or an address such as s3://bucket/run1"

# Tries of botocore and s3fs, few and short enough that a user who waits for a server that is not there hears so within
# about a minute.
_PATIENCE: dict[str, Any] = {
    "connect_timeout": 5,
    "read_timeout": 10,
    "retries": {"total_max_attempts": 3, "mode": "standard"},
}
_TRIES = 2
_SILENCE = {"total": None, "sock_connect": 5, "sock_read": 10}  # seconds that gcsfs waits for an answer

_NO_CREDENTIALS = {
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "DefaultCredentialsError",
}
_NO_CONNECTION = {
    *("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ConnectionClosedError"),
    *("ClientConnectorError", "FSTimeoutError", "ConnectionRefusedError", "ProxyConnectionError"),
    *("ClientConnectorDNSError", "ServerDisconnectedError", "ServerTimeoutError", "SocketTimeoutError"),
    *("ConnectionTimeoutError", "ClientOSError"),
}
_REFUSED = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired"}


@dataclass(frozen=True, repr=False)
class Address:
    """A file or folder on a file system that fsspec knows, with the parts that a Path has."""

    protocol: str
    path: PurePosixPath  # bucket/prefix/name

    def __str__(self) -> str:
        return f"{self.protocol}://{self.path}"

    __repr__ = __str__

    def __truediv__(self, name: str | PurePosixPath) -> "Address":
        return Address(self.protocol, self.path / name)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def stem(self) -> str:
        return self.path.stem

    @property
    def suffix(self) -> str:
        return self.path.suffix

    @property
    def parent(self) -> "Address":
        return Address(self.protocol, self.path.parent)

    def with_name(self, name: str) -> "Address":
        return Address(self.protocol, self.path.with_name(name))

    def with_suffix(self, suffix: str) -> "Address":
        return Address(self.protocol, self.path.with_suffix(suffix))


Place = Path | Address


def place_of(field: str, value: object) -> Place:
    """Read a place from text, a path or an address; refuse an address that nothing here can open."""
    if isinstance(value, Address):
        return value
    found = _ADDRESS.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        path = path_of(field, value)
        first = path.parts[0] if path.parts else ""
        if first.endswith(":") and _is_known(first.removesuffix(":")):
            meant = f'"{first}//{"/".join(path.parts[1:])}"'
            remedy = f"a path can't hold an address; expected text, {meant}"
            raise InputError(field, value, remedy if isinstance(value, Path) else f"expected two slashes, {meant}")
        return path
    protocol, rest = found[1].lower(), found[2].rstrip("/")
    if protocol in ("file", "local"):
        return path_of(field, rest or "/")
    if not _is_known(protocol):
        known = did_you_mean(protocol, ("s3", "gs", "abfs", "memory"))
        raise InputError(field, value, f"{known}{protocol} is no protocol that fsspec knows; {_EXAMPLE}")
    parts = rest.split("/")
    if not rest or "::" in rest or "\0" in rest or any(part in ("", ".", "..") for part in parts):
        raise InputError(field, value, f"{_EXAMPLE}, with no empty part and no .. in it")
    address = Address(protocol, PurePosixPath(rest))
    try:
        fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        remedy = not_installed(*_EXTRAS[protocol]) if protocol in _EXTRAS else first_line(error)
        raise InputError(field, address, remedy) from error
    return address


def _is_known(protocol: str) -> bool:
    return protocol in fsspec.available_protocols()


def is_shared(place: Place) -> bool:
    """Whether other processes can see what is stored there."""
    return isinstance(place, Path) or place.protocol != "memory"


def label(place: Place) -> str:
    """How a command names it: a folder by its last part, for it may be elsewhere by then, and an address whole."""
    return place.name if isinstance(place, Path) else str(place)


def size(place: Place) -> int:
    """Look up a file's length in bytes."""
    if isinstance(place, Path):
        return place.stat().st_size
    with _explained(place, "read"):
        return int(_file_system(place).size(str(place.path)))


def read(place: Place) -> bytes:
    """Read a file."""
    if isinstance(place, Path):
        return system.get(place)
    with _explained(place, "read"):
        content: bytes = _file_system(place).cat_file(str(place.path))
        return content


def write(place: Place, content: bytes) -> None:
    """Write a file, whole or not at all: whatever is killed and whenever, it is whole, old or absent."""
    if isinstance(place, Path):
        system.put(place, content)
        return
    with _explained(place, "written", "choose a place that can"):
        files = _file_system(place)
        if place.protocol not in _FOLDERLESS:
            files.makedirs(str(place.parent.path), exist_ok=True)
        files.pipe_file(str(place.path), content)


def names(folder: Place) -> list[str]:
    """List the names in a folder, sorted, without unfinished files; a folder that does not exist is empty."""
    if isinstance(folder, Path):
        return system.names(folder)
    with _explained(folder, "read"):
        try:
            found = _file_system(folder).ls(str(folder.path), detail=False)
        except FileNotFoundError as error:
            if _code(error) == "NoSuchBucket":
                raise
            return []
    own = folder.path.name
    return sorted({name for one in found if (name := PurePosixPath(one).name) and not _is_itself(one, folder, own)})


def names_below(folder: Address) -> dict[str, list[str]]:
    """List the names in every folder of a folder at an address, in as few requests as its file system allows."""
    with _explained(folder, "read"):
        try:
            found = [PurePosixPath(one) for one in _file_system(folder).find(str(folder.path))]
        except FileNotFoundError as error:
            if _code(error) == "NoSuchBucket":
                raise
            return {}
    names: dict[str, list[str]] = {}
    for path in found:
        if path.parent.parent.name == folder.name:
            names.setdefault(path.parent.name, []).append(path.name)
    return names


def _is_itself(found: str, folder: Address, own: str) -> bool:
    """Whether a listing names the folder itself, as it does for the empty object that some tools make of a folder."""
    path = PurePosixPath(found)
    return path.name == own and str(path).strip("/") == str(folder.path).strip("/")


def exists(place: Place) -> bool:
    """Whether there is a file, a folder or a link, wherever it leads."""
    if isinstance(place, Path):
        return os.path.lexists(place)
    with _explained(place, "read"):
        return bool(_file_system(place).exists(str(place.path)))


def delete(place: Place) -> None:
    """Delete a file, which need not exist."""
    if isinstance(place, Path):
        place.unlink(missing_ok=True)
        return
    with _explained(place, "deleted"), suppress(FileNotFoundError, KeyError):
        _file_system(place).rm_file(str(place.path))


def replace(place: Place, to: Place) -> None:
    """Give a file another name in the same store, in place of what has that name."""
    if isinstance(place, Path) and isinstance(to, Path):
        place.replace(to)
    else:
        write(to, read(place))
        delete(place)


def move(place: Place, to: Place) -> Place:
    """Give a file another name in the same store, with a number added where that name is taken; return its place."""
    copy, first = 1, to
    try:
        if isinstance(to, Path):
            to.parent.mkdir(parents=True, exist_ok=True)
        while exists(to):
            copy += 1
            to = first.with_name(f"{first.stem}-{copy}{first.suffix}")
        replace(place, to)
        return to
    except OSError as error:
        remedy = f"move {place} away, or what is in the way"
        raise StorageError(f"{to} can't be made ({error.strerror or error}): {remedy}.") from error


def _file_system(address: Address) -> Any:
    """Open an address's file system, which fsspec keeps open for the process."""
    options: dict[str, Any] = {"use_listings_cache": False}
    if address.protocol in _S3:
        configured = fsspec.config.conf.get(address.protocol, {}).get("config_kwargs", {})
        options["config_kwargs"] = {**_PATIENCE, **configured}
    if address.protocol in _GS:
        import aiohttp  # comes with gcsfs

        options["session_kwargs"] = {"timeout": aiohttp.ClientTimeout(**_SILENCE)}
        logging.getLogger("gcsfs").addHandler(_SILENT)  # it logs the tracebacks of errors that it raises
    files = fsspec.filesystem(address.protocol, **options)
    if address.protocol in _S3:
        files.retries = _TRIES
    return files


@contextmanager
def _explained(address: Address, done: str, remedy: str = "") -> Iterator[None]:
    """Turn what any library behind fsspec raises into one sentence."""
    try:
        yield
    except Exception as error:
        cause, instead = _cause(address, error, done)
        advice = instead or remedy
        raise StorageError(f"{address} can't be {done} ({cause}){f': {advice}' if advice else ''}.") from error


def _cause(address: Address, error: BaseException, done: str) -> tuple[str, str]:
    """Say why something failed, and what helps where that is known."""
    chain = [error]
    while (following := chain[-1].__cause__ or chain[-1].__context__) is not None and following not in chain:
        chain.append(following)
    kinds = {type(one).__name__ for one in chain}
    codes = {_code(one) for one in chain}
    bucket = address.path.parts[0]
    if kinds & _NO_CREDENTIALS:
        login = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" if address.protocol in _S3 else "them"
        return "there are no credentials for it", f"set {login}"
    if refused := codes & _REFUSED:
        return f"the credentials are refused: {min(refused)}", "set others"
    missing = isinstance(error, FileNotFoundError)
    if "NoSuchBucket" in codes or (missing and done == "written" and address.protocol in _FOLDERLESS):
        return f"there is no bucket {bucket}", "make it first, or choose another"
    if kinds & _NO_CONNECTION:
        server = re.search(r"https?://[^/\s\"']+|(?<=host )[^/\s]+", str(error))
        where = f" to {server[0]}" if server else ""
        checked = "the network and AWS_ENDPOINT_URL" if address.protocol in _S3 else "the network"
        return f"no connection{where}", f"check {checked}, then run it again"
    if missing:
        return "there is no such file", ""
    if isinstance(error, PermissionError):
        return f"access is denied: {first_line(error)}", ""
    if isinstance(error, NotImplementedError):
        return f"{address.protocol} is only read", ""
    return first_line(error), ""


def _code(error: BaseException | None) -> str:
    """The code of an answer from S3, such as NoSuchBucket, of an error or its cause."""
    while error is not None:
        answer = getattr(error, "response", None)
        if isinstance(answer, dict):
            return str(answer.get("Error", {}).get("Code", ""))
        error = error.__cause__
    return ""
