"""Reading files that others made: sizes are checked before anything is unpacked or allocated."""

import gzip
import zlib
from pathlib import Path
from typing import Final

from bathymetry.core.errors import InputError
from bathymetry.core.memory import free_bytes, gigabytes

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
