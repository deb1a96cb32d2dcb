"""Whole-file storage: what is stored is whole or absent, whatever is killed and whenever.

Bytes go to a temporary file beside their place, reach the disk, and take their name in one step.
"""

import os
import stat
import tempfile
from pathlib import Path

from bathymetry.core.errors import DamagedError, StorageError

_UNFINISHED = ".unfinished-"


def put(path: Path, content: bytes) -> None:
    """Write a file and its folders; a file that was there is replaced in one step."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=_UNFINISHED, dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StorageError(f"{path} can't be written ({error.strerror or error}): choose a folder that can.") from error


def get(path: Path) -> bytes:
    """Read a file; a pipe or device, which could block for ever, counts as damaged."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            kind = "a named pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
            raise DamagedError(f"{path} can't be read (it is {kind} instead of an ordinary file).")
        return path.read_bytes()
    except FileNotFoundError as error:
        cause = "it is a link that leads nowhere" if path.is_symlink() else "there is no such file"
        raise StorageError(f"{path} can't be read ({cause}).") from error
    except OSError as error:
        raise StorageError(f"{path} can't be read ({error.strerror or error}).") from error


def names(folder: Path) -> list[str]:
    """List the names in a folder, sorted, without unfinished files; a folder that does not exist is empty."""
    try:
        entries = os.listdir(folder)
    except FileNotFoundError:
        if folder.is_symlink():
            raise StorageError(f"{folder} can't be read (it is a link that leads nowhere).") from None
        return []
    except OSError as error:
        raise StorageError(f"{folder} can't be read ({error.strerror or error}).") from error
    return sorted(entry for entry in entries if not entry.startswith(_UNFINISHED))
