"""From a path to runs: which tool wrote the files, and reading them side by side, each once."""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bathymetry.core.errors import BathymetryError, DamagedError, InputError, StorageError, did_you_mean, first_line
from bathymetry.core.showing import joined, kind_of
from bathymetry.core.system import available_cores
from bathymetry.runs import cache
from bathymetry.runs.readers import (
    csv,
    hydra,
    jsonl,
    lightning,
    mlflow,
    optuna,
    own,
    parquet,
    tensorboard,
    trackio,
    wandb,
    wandb_csv,
)
from bathymetry.runs.run import Format, Layout, Run, Unit
from bathymetry.runs.table import runs_of

# each takes its files before the next is asked
_OF_TOOLS: Sequence[Format] = (
    own.FORMAT,
    hydra.FORMAT,
    wandb.FORMAT,
    wandb_csv.FORMAT,
    tensorboard.FORMAT,
    lightning.FORMAT,
    mlflow.FORMAT,
    optuna.FORMAT,
    trackio.FORMAT,
)
_OF_TABLES: Sequence[Format] = (csv.FORMAT, parquet.FORMAT, jsonl.FORMAT)
FORMATS: Sequence[Format] = (*_OF_TOOLS, *_OF_TABLES)
_WORTH_A_PROCESS = 8_000_000  # bytes of files; fewer are read sooner than a process has started
_MOST_FILES = 1_000_000
_LETTERS = 200  # of a path in an error
_COMMAND = (sys.executable, "-P", "-c", "from bathymetry.runs.side import main; main()")

Advance = Callable[[int, int], None]  # units that are read, of how many


def quietly(done: int, of: int) -> None:
    """Show no progress."""


@dataclass(frozen=True)
class Source:
    """Runs with where they come from."""

    path: str
    tool: str
    runs: tuple[Run, ...]
    digests: Mapping[str, str]  # SHA-256 of each file
    notes: tuple[str, ...] = ()  # which files could not be read, and why


def read_source(
    path: object,
    layout: Layout,
    *,
    tool: str | None = None,
    cached: bool = True,
    workers: int | None = None,
    advance: Advance = quietly,
) -> Source:
    """Read all runs below a path, or in a pandas or polars frame."""
    if isinstance(path, pd.DataFrame) or type(path).__module__.partition(".")[0] == "polars":
        frame = path if isinstance(path, pd.DataFrame) else pd.DataFrame(path.to_dict(as_series=False))  # type: ignore[attr-defined]
        for one in layout.metrics:
            if one in frame and getattr(frame[one].dtype, "kind", "") == "c":
                raise InputError("metric", one, "its numbers are complex; expected real ones")
        of_frame = runs_of(frame, "the frame", layout)
        return Source("a frame", "a frame", tuple(of_frame), {})
    root = _path(path)
    form, units = _found(root, tool)
    runs: list[Run] = []
    notes: list[str] = []
    digests: dict[str, str] = {}
    refused: BathymetryError | None = None
    folder = cache.cache_folder() if cached else None
    for done, (files, result) in enumerate(_read(form, units, layout, folder, workers), start=1):
        advance(done, len(units))
        digests |= {os.path.relpath(one, root if root.is_dir() else root.parent): d for one, d in files.items()}
        if isinstance(result, BathymetryError):
            refused = refused or result
            notes.append(str(result).rstrip("."))
        else:
            runs += result
    if folder is not None:
        cache.shrink(folder)
    if refused is not None and not runs:
        raise refused
    if not runs:
        raise InputError("path", path, f"{form.name} files are there, and no run in them")
    return Source(str(path), form.name, tuple(runs), digests, tuple(notes))


def read_unit(form: Format, unit: Unit, layout: Layout) -> list[Run]:
    """Read a unit; whatever goes wrong with its files is one sentence."""
    try:
        return form.read(unit, layout)
    except BathymetryError:
        raise
    except OSError as error:
        where = error.filename or unit.name
        raise StorageError(f"{where} can't be read ({error.strerror or error}).") from error
    except (ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise DamagedError(f"{unit.name} can't be read as {form.name} ({first_line(error)}).") from error


def _path(path: object) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise InputError("path", kind_of(path), "expected a folder, a file, or a pandas or polars frame")
    text = os.fspath(path)
    if not isinstance(text, str) or "\0" in text or not text.strip():
        raise InputError("path", text, "expected a folder or a file")
    shown = text if len(text) <= _LETTERS else f"{text[:_LETTERS]}… ({len(text):,} letters)"
    text = text.removeprefix("sqlite:///").removeprefix("file://")
    if "://" in text:
        raise InputError("path", text, "only files of this machine are read; copy them here first")
    root = Path(text).expanduser()
    try:
        exists = root.exists()
    except OSError as error:  # such as a name that no system allows
        raise InputError("path", shown, f"it can't be looked for ({error.strerror})") from error
    if not exists:
        parent = root.parent
        similar = did_you_mean(root.name, os.listdir(parent)) if parent.is_dir() else ""
        raise InputError("path", shown, f"there is no such file or folder; {similar}expected one with runs")
    return root


def _found(root: Path, tool: str | None) -> tuple[Format, list[Unit]]:
    """Find which tool wrote the files, and its units."""
    formats = {_short(one.name): one for one in FORMATS}
    if tool is not None and _short(tool) not in formats:
        known = [one.name for one in FORMATS]
        raise InputError("format", tool, f"{did_you_mean(tool, known)}expected {joined(known, 'or')}")
    base = root if root.is_dir() else root.parent
    files = list(_files(root)) if root.is_dir() else [root]
    found: list[tuple[Format, list[Unit]]] = []
    for form in FORMATS if tool is None else [formats[_short(tool)]]:
        units = form.units(base, files)
        if units:
            found.append((form, units))
            taken = {file for unit in units for file in unit.files}
            files = [one for one in files if one not in taken]
    if not found:
        wanted = joined([one.wanted for one in (FORMATS if tool is None else [formats[_short(tool)]])], "or")
        raise InputError("path", root, f"no runs are there; looked for {wanted}")
    if len(found) > 1:
        names = joined([f"{form.name} ({units[0].name})" for form, units in found])
        raise InputError(
            "path", root, f"it holds runs of {names}; name one of them (--format {_short(found[0][0].name)})"
        )
    return found[0]


def _short(name: str) -> str:
    return name.lower().replace(" ", "").replace("&", "").replace("-", "")


def _files(root: Path) -> Iterator[Path]:
    """All ordinary files below a folder, sorted; links to folders are not followed."""
    count = 0
    for folder, names, files in os.walk(root):
        names.sort()
        for name in sorted(files):
            count += 1
            if count > _MOST_FILES:
                raise InputError("path", root, f"more than {_MOST_FILES:,} files are below it; name a smaller folder")
            path = Path(folder, name)
            if path.is_file() or path.is_symlink():  # a pipe would be waited for
                yield path


def _read(
    form: Format, units: Sequence[Unit], layout: Layout, folder: Path | None, workers: int | None
) -> Iterator[tuple[Mapping[str, str], list[Run] | BathymetryError]]:
    """Yield digests and runs of each unit, in their order; those that are not cached are read side by side."""
    large = sum(file.stat().st_size for unit in units for file in unit.files if file.exists()) > _WORTH_A_PROCESS
    count = min(workers or available_cores(), len(units)) if large else 1
    with ThreadPoolExecutor(count, thread_name_prefix="reading") as pool, _Readers() as readers, ExitStack() as stack:
        if folder is None and count > 1:  # other processes hand their runs over in files
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))

        def one(unit: Unit) -> tuple[Mapping[str, str], list[Run] | BathymetryError]:
            digests: Mapping[str, str] = {}
            try:
                digests = cache.digests_of(unit)
                if folder is None:
                    return digests, read_unit(form, unit, layout)
                key = cache.key_of(form, unit, layout, digests)
                runs = cache.load(folder, key)
                if runs is None and count > 1:
                    readers.read(form, unit, layout, folder, key, digests)
                    runs = cache.load(folder, key)
                if runs is None:
                    runs = read_unit(form, unit, layout)
                    with suppress(StorageError):  # what can't be cached is read again
                        cache.store(folder, key, runs, unit, digests)
            except BathymetryError as error:
                return digests, error
            return digests, runs

        yield from pool.map(one, units)


class _Readers:
    """Processes that read, one for each thread that asks, ended with the block."""

    def __init__(self) -> None:
        self._own, self._all = threading.local(), list[subprocess.Popen[str]]()

    def __enter__(self) -> "_Readers":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._all:
            process.kill()
            process.communicate()

    def read(
        self, form: Format, unit: Unit, layout: Layout, folder: Path, key: str, digests: Mapping[str, str]
    ) -> None:
        """Have a unit read into the cache; nothing happens where the process dies, so that the caller reads it."""
        request: dict[str, Any] = {"format": form.name, "name": unit.name, "files": [str(one) for one in unit.files]}
        request |= {"layout": asdict(layout), "folder": str(folder), "key": key, "digests": dict(digests)}
        process = self._process()
        source, target = process.stdout, process.stdin
        assert source is not None
        assert target is not None
        with suppress(BrokenPipeError):
            target.write(json.dumps(request) + "\n")
            target.flush()
        answer = source.readline()
        error = json.loads(answer)["error"] if answer else ""
        if error:
            raise DamagedError(error)

    def _process(self) -> "subprocess.Popen[str]":
        process: subprocess.Popen[str] | None = getattr(self._own, "process", None)
        if process is None or process.poll() is not None:
            path = os.pathsep.join(one for one in sys.path if one)
            environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
            process = subprocess.Popen(
                _COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
                start_new_session=True,
            )
            self._own.process = process
            self._all.append(process)
        return process
