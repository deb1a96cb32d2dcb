"""Output folders: a folder of ours can always be continued, a foreign one is refused.

Several runs may work in one at once, for chunks are named by their content: some work may be done twice, and is stored
alike. Results and pages, which other runs write too, are written by one process at a time.
"""

import json
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from bathymetry.core.errors import InputError, StorageError, first_line
from bathymetry.core.system import processor
from bathymetry.store import storage
from bathymetry.store.chunks import CHUNKS
from bathymetry.store.storage import Address, Place

MARKER = "bathymetry.json"
Holds = Literal["studies", "comparison"]
_LOCK = ".bathymetry.lock"
_FORMAT = 1
WAITING = 300.0  # seconds for another process that writes a page: longer than any takes


@contextmanager
def output_folder(path: Place, holds: Holds = "studies") -> Iterator[Place]:
    """Open a place to work in, made if it does not exist."""
    check_folder(path, holds)
    if isinstance(path, Path):
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            cause = error.strerror or error
            raise StorageError(f"{path} can't be written ({cause}): choose another folder.") from error
    _mark(path, holds)
    try:
        yield path
    finally:
        if isinstance(path, Path) and path.is_dir():
            with suppress(StorageError):  # it was deleted meanwhile, and made again by what was stored
                _mark(path, holds)


@contextmanager
def writing(path: Place) -> Iterator[None]:
    """Keep other processes from writing results and pages into a local folder meanwhile; wait for one that does.

    An address has no lock, which no object store could keep, and neither has a file system without locks: what is
    written there is whole, and the last of several writers is right.
    """
    if not isinstance(path, Path):
        yield
        return
    lock = FileLock(path / _LOCK)
    try:
        lock.acquire(timeout=WAITING)
    except Timeout as error:
        remedy = f"another process has been writing into it for {WAITING:.0f} s; wait for it, or choose another folder"
        raise InputError("out", path, remedy) from error
    except (OSError, NotImplementedError):
        yield
        return
    try:
        yield
    finally:
        lock.release()


def check_folder(path: Place, holds: Holds | None = "studies") -> None:
    """Refuse a place that is not ours to write into, or that holds something else of ours; None: it is only read."""
    entries = _entries(path)
    if not entries:
        return
    if MARKER not in entries:
        remedy = f"it holds files that are not Bathymetry's ({entries[0]}); expected a new or an empty folder"
        raise InputError("out", path, remedy)
    marker = _marker(path)
    written, there = marker.get("format"), marker.get("holds", "studies")
    if isinstance(written, int) and written > _FORMAT:
        remedy = "a later version of Bathymetry made it; choose another folder, or install that version"
        raise InputError("out", path, remedy)
    if marker and holds is not None and there != holds:
        what = "a comparison of runs" if there == "comparison" else "results of studies"
        raise InputError("out", path, f"it holds {what}, which would be replaced; choose another folder")


def _marker(path: Place) -> dict[str, Any]:
    """Read the marker; empty where it can't be read: it is written again, and what matters is in the other files."""
    with suppress(StorageError, ValueError):
        found = json.loads(storage.read(path / MARKER))
        return found if isinstance(found, dict) else {}
    return {}


def _entries(path: Place) -> list[str]:
    """List what a place holds; none where it does not exist yet."""
    if isinstance(path, Address):
        return [entry for entry in storage.names(path) if not entry.startswith(".")]
    try:
        return sorted(entry for entry in os.listdir(path) if not entry.startswith("."))
    except FileNotFoundError:
        if path.is_symlink():
            raise InputError("out", path, "this is a link that leads nowhere; expected a folder") from None
        return []
    except NotADirectoryError as error:
        raise InputError("out", path, "this is a file; expected a folder") from error
    except PermissionError as error:
        raise StorageError(f"{path} can't be read ({error.strerror}): choose another folder.") from error
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or first_line(error)
        raise InputError("out", str(path)[:80], f"it is no name for a folder ({cause})") from error


def is_output_folder(path: Place) -> bool:
    if isinstance(path, Address):
        return storage.exists(path / MARKER)
    try:
        return (path / MARKER).is_file()
    except OSError as error:
        raise StorageError(f"{path} can't be read ({error.strerror or error}): choose another folder.") from error


def check_output_folder(path: Place) -> None:
    """Refuse a folder that no run has written, or that a later version wrote."""
    if is_output_folder(path):
        check_folder(path, None)
        if _marker(path).get("holds") == "comparison":
            remedy = "it holds a comparison, which `bathymetry compare` writes; expected the results of studies"
            raise InputError("folder", path, remedy)
        return
    if not storage.exists(path):
        raise InputError("folder", path, "there is no such folder")
    raise InputError("folder", path, "expected an output folder, one that `bathymetry run` wrote")


def nothing_in(path: Place) -> str:
    """Say that an output folder has no results, and whether it has networks."""
    if storage.names(path / CHUNKS):
        remedy = "run the study or sweep into it again, without --shard: what is stored is not trained again"
        return f"it holds networks, of a share, an interrupted run or bm.objective, but no results yet; {remedy}"
    return "it holds no results yet; run a study or sweep into it first"


def _mark(path: Place, holds: Holds) -> None:
    if not storage.exists(path / MARKER):
        about = {"made by": "bathymetry", "format": _FORMAT} | ({} if holds == "studies" else {"holds": holds})
        storage.write(path / MARKER, json.dumps(about).encode())


_PACKAGES = ("bathymetry", "torch", "numpy", "scipy", "xarray", "pydantic", "altair")


def provenance(device: str) -> Mapping[str, Any]:
    """Write down versions, threads, processor and device."""
    import torch

    return {
        "versions": dict(_versions()),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@cache
def _versions() -> Mapping[str, str]:
    return {name: version(name) for name in _PACKAGES}  # reading one takes 0.5 ms, a chunk of small networks 20
