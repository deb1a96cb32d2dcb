"""A cache of what was read, by the digests of the files: the second reading parses nothing.

An entry is one file: a digest, the words as JSON, and all numbers. One that is missing or damaged is made again, so
deleting the folder loses nothing.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from platformdirs import user_cache_path

from bathymetry.core import system
from bathymetry.core.errors import StorageError
from bathymetry.runs.run import Format, History, Layout, Run, Unit

_DIGEST = 32  # bytes of a SHA-256
_MOST = 2_000_000_000  # bytes of all entries together; the oldest go first


def cache_folder() -> Path:
    """Where entries are stored."""
    return user_cache_path("bathymetry") / "runs"


def digests_of(unit: Unit) -> dict[str, str]:
    """Compute the SHA-256 of each file of a unit."""
    found = {}
    for path in unit.files:
        try:
            with path.open("rb") as file:
                found[str(path)] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise StorageError(f"{path} can't be read ({error.strerror or error}).") from error
    return found


def key_of(form: Format, unit: Unit, layout: Layout, digests: Mapping[str, str]) -> str:
    """Name the entry of a unit by all that decides what is read."""
    paths = [os.path.abspath(one) for one in digests]
    above = os.path.dirname(os.path.commonpath(map(os.path.dirname, paths))) if paths else ""
    about: list[Any] = [
        _readers(),
        form.name,
        unit.name,
        [[os.path.relpath(path, above), digest] for path, digest in zip(paths, digests.values(), strict=True)],
    ]
    if form.depends_on_layout:
        about.append(asdict(layout))
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()


@cache
def _readers() -> str:
    """Digest the code that reads, so that entries of other versions are not used."""
    files = sorted(Path(__file__).parent.rglob("*.py"))
    return hashlib.sha256(b"".join(one.read_bytes() for one in files)).hexdigest()


def store(folder: Path, key: str, runs: Sequence[Run], unit: Unit, digests: Mapping[str, str]) -> None:
    """Write an entry, unless the files changed after their digests were computed, while they were read."""
    if digests_of(unit) != dict(digests):
        return
    numbers: list[np.ndarray[Any, Any]] = []
    offsets: dict[int, int] = {}  # of arrays that several metrics share
    position = 0

    def placed(values: np.ndarray[Any, Any]) -> int:
        nonlocal position
        if id(values) not in offsets:
            offsets[id(values)] = position
            numbers.append(values)
            position += len(values)
        return offsets[id(values)]

    words = [
        {
            "id": one.id,
            "config": dict(one.config),
            "metrics": {
                name: [placed(logged.step), placed(logged.value), len(logged.step)]
                for name, logged in one.metrics.items()
            },
            "status": one.status,
            "notes": one.notes,
            "texts": sorted(one.texts),
            "directions": dict(one.directions),
        }
        for one in runs
    ]
    head = json.dumps(words).encode()
    content = len(head).to_bytes(8, "little") + head + b"".join(one.tobytes() for one in numbers)
    system.put(folder / key, hashlib.sha256(content).digest() + content)


def load(folder: Path, key: str) -> list[Run] | None:
    """Read an entry; None where there is none, or it is damaged."""
    try:
        content = memoryview(system.get(folder / key))
        digest, rest = content[:_DIGEST], content[_DIGEST:]
        if hashlib.sha256(rest).digest() != digest:
            return None
        start = 8 + int.from_bytes(rest[:8], "little")
        words = json.loads(bytes(rest[8:start]))
        numbers = np.frombuffer(rest, np.float64, offset=start)
        return [_run(one, numbers) for one in words]
    except (StorageError, ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError):
        return None


def _run(words: dict[str, Any], numbers: np.ndarray[Any, Any]) -> Run:
    metrics = {
        name: History(numbers[step : step + rows], numbers[value : value + rows])
        for name, (step, value, rows) in words["metrics"].items()
    }
    rest = {name: words[name] for name in ("id", "config", "status")}
    more = {"notes": tuple(words["notes"]), "texts": frozenset(words["texts"]), "directions": words["directions"]}
    return Run(**rest, metrics=metrics, **more)


def shrink(folder: Path) -> None:
    """Delete the oldest entries where all together are too large."""
    with suppress(OSError):
        entries = sorted(((one.stat().st_mtime, one.stat().st_size, one) for one in folder.iterdir()), reverse=True)
        total = 0
        for _, size, path in entries:
            total += size
            if total > _MOST:
                path.unlink(missing_ok=True)
