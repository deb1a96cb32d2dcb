"""TensorBoard: a folder of event files is a run, read without TensorBoard.

Settings come from the hparams plugin and from a file in the folder, otherwise from the folder's name. Keras and
estimators write a run's files into its folders "train", "validation" and "eval", whose names go before those of the
metrics; PyTorch's `add_hparams` and `add_scalars` write into folders inside the run's.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from bathymetry.core.errors import DamagedError, StorageError
from bathymetry.core.showing import plural
from bathymetry.runs import settings, wire
from bathymetry.runs.events import Event, agree, decode, parse, session_end, session_settings
from bathymetry.runs.run import Format, History, Layout, Run, Scalar, Status, Unit, history, note_of
from bathymetry.runs.tfrecords import LONGEST, are_whole, find_records, rows
from bathymetry.runs.wire import Bytes

_BLOCK = 1 << 16  # records that are decoded together
_KINDS = 32  # of one length in a block, after which records are read one by one
_PARTS = ("train", "validation", "eval")
_TIME = re.compile(r"\d{9,11}\.\d+")
_WRITTEN = re.compile(r"\.tfevents\.(\d{1,15})")
_STATUS: dict[int, Status] = {1: "finished", 2: "crashed", 3: "running"}


@dataclass
class _Logged:
    """What the event files of a run hold, in the order of the files."""

    scalars: dict[str, list[Float64[np.ndarray, "record time_place_step_value"]]] = field(default_factory=dict)
    config: dict[str, Scalar] = field(default_factory=dict)
    ends: list[tuple[float, int]] = field(default_factory=list)  # when the hparams plugin's session ended, and how
    restarts: list[tuple[float, float]] = field(default_factory=list)  # place and step
    before: int = field(default=0, compare=False)  # bytes of files that were read; places are counted from there
    texts: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


def _units(root: Path, files: Sequence[Path]) -> list[Unit]:
    """Group event files by the folder of their run, with the files of its settings."""
    said: dict[Path, list[Path]] = {}
    for path in sorted(files):
        if path.name in settings.FILES:
            said.setdefault(path.parent, []).append(path)
    events = sorted(path for path in files if _is_event_file(path))
    folders = {path.parent for path in events}
    runs: dict[Path, list[Path]] = {}
    for path in events:
        folder = path.parent
        is_named = "_" in folder.name or _TIME.fullmatch(folder.name)
        may_be_part = is_named and folder.parent in folders and folder not in said
        if folder != root and (folder.name in _PARTS or may_be_part):
            folder = folder.parent
        runs.setdefault(folder, []).append(path)
    return [
        Unit(folder.relative_to(root).as_posix(), (*paths, *said.get(folder, ()))) for folder, paths in runs.items()
    ]


def _written(path: Path) -> tuple[int, int, str]:
    """Order files as they were written: by the time in their names, as clocks of machines differ, then by change."""
    match = _WRITTEN.search(path.name)
    return int(match[1]) if match else 0, path.stat().st_mtime_ns if path.exists() else 0, str(path)


def _is_event_file(path: Path) -> bool:
    return ".tfevents." in path.name


def _read(unit: Unit, _: Layout) -> list[Run]:
    """Read the files of a run, and of folders in it that turn out to be other runs; of a damaged file what is whole."""
    paths = sorted((path for path in unit.files if _is_event_file(path)), key=_written)
    folder = min((path.parent for path in paths), key=lambda one: len(one.parts))
    parts: dict[str, _Logged] = {}
    refusals: list[StorageError] = []
    for path in paths:
        name = path.parent.name
        logged = parts.setdefault(name if path.parent != folder or name in _PARTS else "", _Logged())
        try:
            logged.notes += _read_file(path, logged)
        except StorageError as error:
            refusals.append(error)
    if len(refusals) == len(paths):
        raise refusals[0]
    config, notes = settings.from_files(unit.files)
    own, others = _sorted_out(parts)
    inside = "" if unit.name == "." else unit.name
    runs = [_run(inside or folder.resolve().name, inside, own, config)] if own else []
    runs += [_run(f"{inside}/{name}".lstrip("/"), f"{inside}/{name}", {"": one}, {}) for name, one in others.items()]
    return [replace(runs[0], notes=(*notes, *runs[0].notes, *map(note_of, refusals))), *runs[1:]]


def _sorted_out(parts: dict[str, _Logged]) -> tuple[dict[str, _Logged], dict[str, _Logged]]:
    """Tell the parts of a run from other runs that are in folders inside its own.

    PyTorch's `add_hparams` writes into a folder that is named by the time: settings of one run, or all that there is
    of each of many. `add_scalars` writes each of its scalars into a folder that is named by the tag and the scalar.
    """
    main = parts.get("", _Logged())
    timed = [name for name in parts if _TIME.fullmatch(name)]
    of_main = timed if len(timed) == 1 and main.scalars else []
    own = {
        name: one
        for name, one in parts.items()
        if name in ("", *_PARTS, *of_main) or (one.scalars and all(_is_of(tag, name) for tag in one.scalars))
    }
    others = {name: one for name, one in parts.items() if name not in own}
    if others and own.keys() <= {""} and main == _Logged():
        own = {}  # the folder's own file is empty
    return own, others


def _is_of(tag: str, folder: str) -> bool:
    """Whether `add_scalars` names a folder so for a scalar of this tag."""
    return folder.startswith(tag.replace("/", "_") + "_")


def _run(name: str, path: str, parts: dict[str, _Logged], config: dict[str, Scalar]) -> Run:
    """Make one run of its parts."""
    metrics: dict[str, History] = {}
    for part, logged in sorted(parts.items(), key=lambda each: each[0] not in ("", *_PARTS)):
        config = config | logged.config
        for tag, tables in logged.scalars.items():
            is_scalar_of = part and not _TIME.fullmatch(part) and part not in _PARTS
            metric = f"{part}/{tag}" if part in _PARTS else f"{tag}/{part[len(tag) + 1 :]}" if is_scalar_of else tag
            metrics.setdefault(metric, _history(np.concatenate(tables), logged.restarts))
    return Run(
        id=name,
        config=config or settings.from_name(path),
        metrics=metrics,
        status=_status(parts),
        notes=tuple(note for logged in parts.values() for note in logged.notes),
        texts=frozenset(text for logged in parts.values() for text in logged.texts if text not in metrics),
    )


def _history(
    table: Float64[np.ndarray, "record time_place_step_value"], restarts: list[tuple[float, float]]
) -> History:
    """Order as written, without what a restart takes back, so that the last value of a step counts."""
    _, place, step, value = table.T
    if restarts:
        when, since = np.array(sorted(restarts)).T
        lowest = np.append(np.minimum.accumulate(since[::-1])[::-1], np.inf)  # of this restart and all after it
        stays = step < lowest[np.searchsorted(when, place, side="right")]
        place, step, value = place[stays], step[stays], value[stays]
    if not (np.diff(place) >= 0).all():
        order = np.argsort(place, kind="stable")
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
    logged.before += len(records.data)
    notes = []
    if damaged:
        notes.append(f"{path.name} has {damaged:,} {plural('damaged record', damaged)}, left out")
    if records.damaged:
        at = len(records.data) - records.rest
        notes.append(f"{path.name} is damaged from byte {at:,} of {len(records.data):,} on; the rest is left out")
    elif records.rest:
        notes.append(f"{path.name} ends within a record; its last {records.rest:,} bytes are left out")
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
        places = start if many else start[:1]
        content = rows(data, places, length)
        same = agree(content, event, length)
        start = start[~same] if many else start[1:]
        content, places = content[same], places[same]
        whole = are_whole(content, length)
        damaged += int((~whole).sum())
        if whole.any():
            try:
                _add(data, event, content[whole], places[whole], logged)
            except ValueError:  # what the hparams plugin wrote is no message
                damaged += 1
    return damaged


def _add(
    data: Bytes,
    event: Event,
    content: UInt8[np.ndarray, "record byte"],
    places: Int64[np.ndarray, " record"],
    logged: _Logged,
) -> None:
    """Add records that agree with an event but for its numbers."""
    time, step = decode(content, event.wall_time), decode(content, event.step)
    place = places.astype(np.float64) + logged.before
    for tag, number in event.scalars:
        logged.scalars.setdefault(tag, []).append(np.column_stack([time, place, step, decode(content, number)]))
    logged.texts.update(event.texts)
    if event.restarts:
        logged.restarts += zip(place.tolist(), step.tolist(), strict=True)
    for start, stop in event.hparams:
        for one in wire.fields(data, start, stop):
            if (one.number, one.type) == (3, wire.LENGTH):
                logged.config |= session_settings(data, one)
            elif (one.number, one.type) == (4, wire.LENGTH):
                logged.ends.append((float(time[0]), session_end(data, one)))


FORMAT = Format("TensorBoard", _units, _read, "events.out.tfevents.*")
