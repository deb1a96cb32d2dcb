"""SQLite databases of other tools: their tables are read, nothing is written next to them, and nothing of theirs runs.

A database may be in use while it is read, and it may come from anyone:

- One with a write-ahead log is copied together with the log, because SQLite would make a file next to it. One without
  is copied under a lock for a moment, so that no training run waits for its reader.
- Only columns that are stored in tables are read: no views, virtual tables or generated columns, which could call
  functions. Triggers don't run on reading, and a journal that a killed writer left is not rolled back.
- A damaged tree of pages can lead to the same row again and again, so what is read is never more than the file holds.
"""

import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bathymetry.core.errors import BathymetryError, DamagedError, StorageError, first_line
from bathymetry.runs.run import Unit

_HEADER = b"SQLite format 3\0"
_WRITE_VERSION, _WAL = 18, b"\2"  # the byte of the header that says how changes are written, and its value with a log
_SUFFIXES = {".db", ".db3", ".sqlite", ".sqlite3", ""}  # that are looked into; a file that is named always is
_MOST_BYTES = 2**24  # of one value
_LEAST_BYTES = 4  # that a row takes
_WAIT = 10.0  # seconds for a writer that is at the end of a transaction
_TRIES = 5
_SETTINGS = ("trusted_schema = OFF", "query_only = ON", "cell_size_check = ON", "mmap_size = 0")


class Database:
    """An open database, of which stored columns can be read."""

    def __init__(self, connection: sqlite3.Connection, size: int) -> None:
        self._connection, self._left = connection, size
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MOST_BYTES)
        for setting in _SETTINGS:
            connection.execute(f"PRAGMA {setting}")

    def columns(self, table: str) -> set[str]:
        """Name the stored columns of a table; () where it is none, such as a view."""
        tables = "SELECT rootpage FROM sqlite_schema WHERE type = 'table' AND name = ?"
        if not any(isinstance(page, int) and page > 0 for (page,) in self._connection.execute(tables, (table,))):
            return set()
        return {str(row[1]) for row in self._connection.execute(f'PRAGMA table_xinfo("{table}")') if row[-1] == 0}

    def rows(self, table: str, *columns: str) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a table in the order in which they were stored; a column that is not there is None."""
        there = self.columns(table)
        if not there & set(columns):
            return
        names = ", ".join(f'"{one}"' if one in there else "NULL" for one in columns)
        for row in self._connection.execute(f'SELECT {names} FROM "{table}" NOT INDEXED'):
            self._left -= _LEAST_BYTES
            for value in row:
                if value.__class__ is str or value.__class__ is bytes:
                    self._left -= len(value)
            if self._left < 0:
                raise ValueError("its pages lead to more rows than it can hold")
            yield row


@contextmanager
def opened(unit: Unit) -> Iterator[Database]:
    """Open a database for reading all of it as it was at one moment; what is wrong with it is one sentence."""
    with _one_sentence(unit.name), ExitStack() as stack:
        path = unit.files[0].resolve()
        size = path.stat().st_size + _size(_log(path))
        yield Database(stack.enter_context(closing(_copy(path, stack))), size)


def units_with(root: Path, files: Sequence[Path], wanted: Mapping[str, Sequence[str]]) -> list[Unit]:
    """Find the databases that have these tables with these columns; each comes with its write-ahead log."""
    found = []
    for file in files:
        if (len(files) == 1 or file.suffix.lower() in _SUFFIXES) and _is_database(file):
            log = _log(file.resolve())
            unit = Unit(os.path.relpath(file, root), (file, log) if _size(log) else (file,))
            if _has(unit, wanted):
                found.append(unit)
    return found


def _has(unit: Unit, wanted: Mapping[str, Sequence[str]]) -> bool:
    """Look for tables; where a database is damaged, for their names in its beginning, so that its reader says so."""
    try:
        with _one_sentence(unit.name), closing(_in_place(unit.files[0].resolve(), locked=False)) as connection:
            database = Database(connection, _MOST_BYTES)
            if all(set(columns) <= database.columns(table) for table, columns in wanted.items()):
                return True
        if len(unit.files) == 1:
            return False
        with opened(unit) as database:  # a new database may have its tables in the log alone
            return all(set(columns) <= database.columns(table) for table, columns in wanted.items())
    except BathymetryError:
        beginning = start(unit.files[0], _MOST_BYTES)
        return all(name.encode() in beginning for name in [*wanted, *(one for own in wanted.values() for one in own)])


@contextmanager
def _one_sentence(name: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        left = "readonly" in str(error) or "unable to open" in str(error)
        hint = "; if its last writer was killed, open it once with its own tool" if left else ""
        raise StorageError(f"{name} can't be read as a database ({first_line(error)}{hint}).") from error
    except (sqlite3.Error, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise DamagedError(f"{name} can't be read as a database ({first_line(error)}).") from error


def _in_place(path: Path, *, locked: bool = True) -> sqlite3.Connection:
    """Open a database as it lies; without a lock, SQLite makes no file next to one with a write-ahead log."""
    address = f"{path.as_uri()}?mode=ro" + "&immutable=1" * (not locked)
    return sqlite3.connect(address, uri=True, timeout=_WAIT, isolation_level=None)


def _copy(path: Path, stack: ExitStack) -> sqlite3.Connection:
    """Open a copy of a database that others may write, otherwise the database itself."""
    if _size(_log(path)):
        copy = Path(stack.enter_context(TemporaryDirectory(prefix="bathymetry-"))) / "copy"
        _copy_with_log(path, copy)
        return sqlite3.connect(copy, isolation_level=None)
    if _is_logged(path):
        return _in_place(path, locked=False)  # nobody has it open
    target = sqlite3.connect("", isolation_level=None)  # SQLite keeps it in a file that has no name
    with closing(_in_place(path)) as source:
        source.backup(target, progress=_no_longer)
    return target


def _no_longer(status: int, *_: int) -> None:
    """End a copy for which another's lock was waited for; Python would try again for ever."""
    if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        raise sqlite3.OperationalError("database is locked")


def _copy_with_log(path: Path, copy: Path) -> None:
    """Copy a database and its log, again if the log was written back meanwhile; half a transaction is ignored."""
    for _ in range(_TRIES):
        before = path.stat()
        shutil.copyfile(path, copy)
        if _size(_log(path)):
            shutil.copyfile(_log(path), _log(copy))
        else:
            _log(copy).unlink(missing_ok=True)
        after = path.stat()
        if (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size):
            return
    raise ValueError("it is being written all the time; try again")


def _is_logged(path: Path) -> bool:
    return start(path, _WRITE_VERSION + 1)[_WRITE_VERSION:] == _WAL


def _log(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _is_database(path: Path) -> bool:
    return start(path, len(_HEADER)) == _HEADER


def start(path: Path, most: int) -> bytes:
    """Read the first bytes of a file; b"" where it can't be read or is none."""
    try:
        if not path.is_file():  # to open a pipe would wait for its writer
            return b""
        with path.open("rb") as file:
            return file.read(most)
    except OSError:
        return b""
