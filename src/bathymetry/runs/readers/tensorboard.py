"""TensorBoard: a folder of event files is a run, read without TensorBoard.

Settings come from the hparams plugin and from a file in the folder, otherwise from the folder's name. Keras and
estimators write a run's files into its folders "train", "validation" and "eval", whose names go before those of the
metrics; PyTorch's `add_hparams` writes into a folder named by the time.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from bathymetry.core.errors import DamagedError, StorageError
from bathymetry.runs import settings, wire
from bathymetry.runs.events import Event, agree, decode, parse, session_end, session_settings
from bathymetry.runs.run import Format, History, Layout, Run, Scalar, Status, Unit, history
from bathymetry.runs.tfrecords import LONGEST, are_whole, find_records, rows
from bathymetry.runs.wire import Bytes

_BLOCK = 1 << 16  # records that are decoded together
_KINDS = 32  # of one length in a block, after which records are read one by one
_PARTS = ("train", "validation", "eval")
_TIME = re.compile(r"\d{9,11}\.\d+")
_STATUS: dict[int, Status] = {1: "finished", 2: "crashed", 3: "running"}


@dataclass
class _Logged:
    """What the event files of a run hold, in the order of the files."""

    scalars: dict[str, list[Float64[np.ndarray, "record time_step_value"]]] = field(default_factory=dict)
    config: dict[str, Scalar] = field(default_factory=dict)
    ends: list[tuple[float, int]] = field(default_factory=list)  # when the hparams plugin's session ended, and how
    restarts: list[tuple[float, float]] = field(default_factory=list)  # time and step
    texts: set[str] = field(default_factory=set)


def _units(root: Path, files: Sequence[Path]) -> list[Unit]:
    """Group event files by the folder of their run, with the files of its settings."""
    events = sorted(path for path in files if _is_event_file(path))
    folders = {path.parent for path in events}
    timed = [folder.parent for folder in folders if _TIME.fullmatch(folder.name)]
    runs: dict[Path, list[Path]] = {}
    for path in events:
        folder = path.parent
        of_parent = _TIME.fullmatch(folder.name) and folder.parent in folders and timed.count(folder.parent) == 1
        if folder.is_relative_to(root) and folder != root and (folder.name in _PARTS or of_parent):
            folder = folder.parent
        runs.setdefault(folder, []).append(path)
    said: dict[Path, list[Path]] = {}
    for path in sorted(files):
        if path.name in settings.FILES:
            said.setdefault(path.parent, []).append(path)
    return [
        Unit(
            folder.relative_to(root).as_posix() if folder.is_relative_to(root) else ".", (*paths, *said.get(folder, ()))
        )
        for folder, paths in runs.items()
    ]


def _is_event_file(path: Path) -> bool:
    return ".tfevents." in path.name


def _read(unit: Unit, _: Layout) -> list[Run]:
    """Read the files of one run; of a damaged file what is whole, and the others."""
    paths = [path for path in unit.files if _is_event_file(path)]
    parts: dict[str, _Logged] = {}
    refusals: list[StorageError] = []
    config, notes = settings.from_files(unit.files)
    folder = min((path.parent for path in paths), key=lambda one: len(one.parts))
    for path in paths:
        name = path.parent.name
        part = name if name in _PARTS or path.parent != folder else ""
        try:
            notes += _read_file(path, parts.setdefault(part, _Logged()))
        except StorageError as error:
            refusals.append(error)
    if len(refusals) == len(paths):
        raise refusals[0]
    for logged in parts.values():
        config |= logged.config
    metrics: dict[str, History] = {}
    for part, logged in sorted(parts.items(), key=lambda each: each[0] not in ("", *_PARTS)):
        prefix = f"{part}/" if part in _PARTS else ""
        for tag, tables in logged.scalars.items():
            metrics.setdefault(prefix + tag, _history(np.concatenate(tables), logged.restarts))
    return [
        Run(
            id=folder.resolve().name if unit.name == "." else unit.name,
            config=config or settings.from_name(unit.name),
            metrics=metrics,
            status=_status(parts),
            notes=(*notes, *map(str, refusals)),
            texts=frozenset(name for logged in parts.values() for name in logged.texts if name not in metrics),
        )
    ]


def _history(table: Float64[np.ndarray, "record time_step_value"], restarts: list[tuple[float, float]]) -> History:
    """Order by time, without what a restart takes back, so that the last value of a step counts."""
    time, step, value = table.T
    if restarts:
        when, since = np.array(sorted(restarts)).T
        lowest = np.append(np.minimum.accumulate(since[::-1])[::-1], np.inf)  # of this restart and all after it
        stays = step < lowest[np.searchsorted(when, time, side="right")]
        time, step, value = time[stays], step[stays], value[stays]
    if not (np.diff(time) >= 0).all():
        order = np.argsort(time, kind="stable")
        step, value = step[order], value[order]
    return history(step, value)


def _status(parts: dict[str, _Logged]) -> Status:
    """What the hparams plugin says at the end of a session; some loggers say so at its beginning, which is ignored."""
    ends = [end for logged in parts.values() for end in logged.ends]
    if not ends:
        return "unknown"
    when, code = max(ends)
    scalars = [tables for part in ("", *_PARTS) if part in parts for tables in parts[part].scalars.values()]
    goes_on = any(table[:, 0].max() > when for tables in scalars for table in tables)
    return "unknown" if goes_on else _STATUS.get(code, "unknown")


def _read_file(path: Path, logged: _Logged) -> list[str]:
    """Add what an event file holds; return what is to be said of it."""
    try:
        records = find_records(path)
    except OSError as error:
        raise StorageError(f"{path} can't be read: {error.strerror}.") from error
    damaged = 0
    for first in range(0, len(records.start), _BLOCK):
        start, length = records.start[first : first + _BLOCK], records.length[first : first + _BLOCK]
        order = np.argsort(length, kind="stable")
        for group in np.split(order, np.flatnonzero(np.diff(length[order])) + 1):
            damaged += _read_group(records.data, start[group], int(length[group[0]]), logged)
    if (records.damaged and not len(records.start)) or (damaged and damaged == len(records.start)):
        raise DamagedError(f"{path} is damaged or no event file: its first record has a wrong checksum.")
    notes = []
    if damaged:
        notes.append(f"{path.name} has {damaged:,} damaged records, which are left out.")
    if records.damaged:
        at = len(records.data) - records.rest
        notes.append(f"{path.name} is damaged from byte {at:,} of {len(records.data):,} on; the rest is left out.")
    elif records.rest:
        notes.append(f"{path.name} ends within a record; its last {records.rest:,} bytes are left out.")
    return notes


def _read_group(data: Bytes, start: Int64[np.ndarray, " record"], length: int, logged: _Logged) -> int:
    """Read records of one length; return how many are damaged."""
    damaged = kinds = 0
    while len(start):
        at = int(start[0])
        try:
            event = parse(data, at, at + length)
        except ValueError:
            damaged, start = damaged + 1, start[1:]
            continue
        if not event.matters:
            start = start[1:]
            continue
        kinds += 1
        many = bool(event.scalars) and length <= LONGEST and kinds <= _KINDS
        content = rows(data, start if many else start[:1], length)
        same = agree(content, event, length)
        start = start[~same] if many else start[1:]
        content = content[same]
        whole = are_whole(content, length)
        damaged += int((~whole).sum())
        if whole.any():
            try:
                _add(data, event, content[whole], logged)
            except ValueError:  # what the hparams plugin wrote is no message
                damaged += 1
    return damaged


def _add(data: Bytes, event: Event, content: UInt8[np.ndarray, "record byte"], logged: _Logged) -> None:
    """Add records that agree with an event but for its numbers."""
    time, step = decode(content, event.wall_time), decode(content, event.step)
    for tag, number in event.scalars:
        logged.scalars.setdefault(tag, []).append(np.column_stack([time, step, decode(content, number)]))
    logged.texts.update(event.texts)
    if event.restarts:
        logged.restarts += zip(time.tolist(), step.tolist(), strict=True)
    for start, stop in event.hparams:
        for one in wire.fields(data, start, stop):
            if (one.number, one.type) == (3, wire.LENGTH):
                logged.config |= session_settings(data, one)
            elif (one.number, one.type) == (4, wire.LENGTH):
                logged.ends.append((float(time[0]), session_end(data, one)))


FORMAT = Format("TensorBoard", _units, _read, "events.out.tfevents.*")
