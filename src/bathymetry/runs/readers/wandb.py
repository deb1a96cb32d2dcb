"""Weights & Biases: the `run-ID.wandb` files of its folders, read without W&B.

Such a file is a LevelDB log of protocol buffers, the same whether the run was online or offline. A run that was resumed
has several.

https://github.com/google/leveldb/blob/main/doc/log_format.md and
https://github.com/wandb/wandb/blob/main/wandb/proto/wandb_internal.proto
"""

import json
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bathymetry.core import system
from bathymetry.core.errors import DamagedError, StorageError
from bathymetry.core.showing import plural
from bathymetry.runs import settings, wire
from bathymetry.runs.run import Format, Layout, Run, Scalar, Status, Unit, flat, history, note_of
from bathymetry.runs.wire import Field

_FILE = re.compile(r"run-(.+)\.wandb")
_MAGIC = b":W&B"
_START, _BLOCK, _HEAD = 7, 32768, 7  # bytes before the first record, of a block, and before a part of a record
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_HISTORY, _SUMMARY, _CONFIG, _RUN, _EXIT = 2, 3, 5, 17, 18  # fields of a record
_KEY, _NESTED, _JSON = 1, 2, 16  # fields of an item
_NUMBERS = {b'"NaN"': b"nan", b'"Infinity"': b"inf", b'"-Infinity"': b"-inf", b"true": b"1", b"false": b"0"}


@dataclass
class _Logged:
    """What the files of a run hold, in the order of the files."""

    id: str = ""
    config: dict[str, Scalar] = field(default_factory=dict)
    steps: dict[str, list[float]] = field(default_factory=dict)
    values: dict[str, list[float]] = field(default_factory=dict)
    summary: dict[str, bytes] = field(default_factory=dict)  # as JSON
    texts: set[str] = field(default_factory=set)
    status: Status = "running"  # or killed: the file has no record of its end
    last_step: float = 0.0


def _units(root: Path, files: Sequence[Path]) -> list[Unit]:
    """Group files by the run's id, which resumed runs keep, with what W&B writes next to them."""
    known = set(files)
    runs: dict[tuple[Path, str], list[Path]] = {}
    for path in sorted(files):
        if _FILE.fullmatch(path.name):
            runs.setdefault((path.parent.parent, path.name), []).append(path)
    units = []
    for paths in runs.values():
        beside = [path.parent / "files" / name for path in paths for name in ("config.yaml", "wandb-summary.json")]
        name = paths[0].parent.relative_to(root).as_posix()
        units.append(Unit(name, (*paths, *(one for one in beside if one in known))))
    return units


def _read(unit: Unit, _: Layout) -> list[Run]:
    """Read the files of one run; of a damaged file what is whole."""
    logged, notes = _Logged(), list[str]()
    paths = [path for path in unit.files if _FILE.fullmatch(path.name)]
    for path in paths:
        logged.status = "running"
        notes += _read_file(path, logged)
    for path in unit.files:
        try:
            if path.name == "config.yaml":
                logged.config = _plain_config(path) | logged.config
            elif path.name == "wandb-summary.json":
                found = settings.from_file(path)
                logged.summary = {key: json.dumps(one).encode() for key, one in found.items()} | logged.summary
        except StorageError as error:
            notes.append(note_of(error))
    metrics = {name: history(logged.steps[name], values) for name, values in logged.values.items()}
    for name, text in logged.summary.items():
        number = _number(text)
        if number is not None and name not in metrics and not _is_own(name):
            metrics[name] = history([logged.last_step], [number])
    run_id = logged.id or paths[0].name.removeprefix("run-").removesuffix(".wandb")
    return [Run(run_id, logged.config, metrics, logged.status, tuple(notes), frozenset(logged.texts - set(metrics)))]


def _plain_config(path: Path) -> dict[str, Scalar]:
    """Read a file in which each setting is {"value": …}."""
    found = settings.from_file(path)
    named = {
        name.removesuffix(".value") if ".value." not in name else name.replace(".value.", ".", 1): name
        for name in found
    }
    return {name: found[key] for name, key in named.items() if not _is_own(name) and not key.endswith(".desc")}


def _is_own(name: str) -> bool:
    """Whether W&B itself recorded it, such as _runtime."""
    return name.startswith("_")


def _read_file(path: Path, logged: _Logged) -> list[str]:
    """Add what a file holds; return what is to be said of it."""
    data = system.get(path)
    if not data.startswith(_MAGIC[: len(data)]):
        raise DamagedError(f"{path} is no file of W&B, or its beginning is damaged: expected it to begin with :W&B.")
    damaged, notes = 0, list[str]()
    for content in _contents(data):
        try:
            if content is None:
                raise ValueError
            _add(content, logged)
        except (ValueError, RecursionError):
            damaged += 1
    if damaged:
        notes.append(f"{path.name} has {damaged:,} {plural('damaged or unfinished record', damaged)}, left out")
    return notes


def _contents(data: bytes) -> Iterator[bytes | None]:
    """Yield records, and None for each place where some are damaged; the next block of the file goes on."""
    at, parts = _START, list[bytes]()
    while at < len(data):
        left = _BLOCK - at % _BLOCK
        if left < _HEAD:  # zeros fill the block
            at += left
            continue
        head = data[at : at + _HEAD]
        crc, length, kind = struct.unpack("<IHB", head) if len(head) == _HEAD else (0, _BLOCK, 0)
        content = data[at + _HEAD : at + _HEAD + length]
        is_whole = len(content) == length <= left - _HEAD and zlib.crc32(content, zlib.crc32(head[6:])) == crc
        if not is_whole or (kind in (_MIDDLE, _LAST)) != bool(parts):
            yield None
            parts = []
        if not is_whole:
            at += left
            continue
        at += _HEAD + length
        if kind == _FULL:
            yield content
        elif kind == _FIRST or (kind in (_MIDDLE, _LAST) and parts):
            parts.append(content)
            if kind == _LAST:
                yield b"".join(parts)
                parts = []
    if parts:
        yield None


def _add(data: bytes, logged: _Logged) -> None:
    """Add one record."""
    for one in wire.fields(data, 0, len(data)):
        if one.type != wire.LENGTH:
            continue
        if one.number == _HISTORY:
            _add_history(data, one, logged)
        elif one.number == _SUMMARY:
            _update_summary(data, one, logged)
        elif one.number == _CONFIG:
            _update_config(data, one, logged)
        elif one.number == _RUN:
            for part in wire.fields(data, one.start, one.stop):
                if part.type == wire.LENGTH and part.number == 1:
                    logged.id = wire.text(data, part)
                elif part.type == wire.LENGTH and part.number == 4:
                    _update_config(data, part, logged)
                elif part.type == wire.LENGTH and part.number == 5:
                    _update_summary(data, part, logged)
        elif one.number == _EXIT:
            codes = [wire.varint(data, part.start, part.stop)[0] for part in _of(data, one, 1, wire.VARINT)]
            logged.status = "crashed" if any(codes) else "finished"


def _of(data: bytes, message: Field, number: int, kind: int = wire.LENGTH) -> Iterator[Field]:
    return (one for one in wire.fields(data, message.start, message.stop) if (one.number, one.type) == (number, kind))


def _item(data: bytes, item: Field) -> tuple[list[str], bytes]:
    """The key of an item, with those it is nested in, and its value as JSON."""
    keys, value = list[str](), b"null"
    for one in wire.fields(data, item.start, item.stop):
        if one.number == _JSON and one.type == wire.LENGTH:
            value = data[one.start : one.stop]
        elif one.number in (_KEY, _NESTED) and one.type == wire.LENGTH:
            keys.append(wire.text(data, one))
    return keys, value


def _add_history(data: bytes, record: Field, logged: _Logged) -> None:
    """Add what was logged at one step; of media, which are nested keys with a type, nothing."""
    step: float | None = None
    items = list[tuple[list[str], bytes]]()
    for one in wire.fields(data, record.start, record.stop):
        if (one.number, one.type) == (1, wire.LENGTH):
            items.append(_item(data, one))
        elif (one.number, one.type) == (2, wire.LENGTH):
            step = float(sum(wire.varint(data, part.start, part.stop)[0] for part in _of(data, one, 1, wire.VARINT)))
    media = {tuple(keys[:-1]) for keys, _ in items if len(keys) > 1 and keys[-1] == "_type"}
    found = list[tuple[str, float]]()
    for keys, text in items:
        name = ".".join(keys)
        if name == "_step":
            step = _number(text)
        if _is_own(name) or (media and any(tuple(keys[:depth]) in media for depth in range(1, len(keys)))):
            continue
        number = _number(text)
        if number is not None:
            found.append((name, number))
        elif text.startswith(b'"'):
            logged.texts.add(name)
        elif text.startswith(b"{"):
            nested = json.loads(text)
            if "_type" not in nested:
                numbers = flat(nested, f"{name}.").items()
                found += [(key, float(value)) for key, value in numbers if isinstance(value, int | float)]
    if step is None:
        raise ValueError("no step")
    logged.last_step = max(logged.last_step, step)
    for name, number in found:
        logged.steps.setdefault(name, []).append(step)
        logged.values.setdefault(name, []).append(number)


def _number(text: bytes) -> float | None:
    """Read JSON's numbers and truth values, and what Python and W&B write for NaN and infinity."""
    try:
        return float(_NUMBERS.get(text, text))
    except ValueError:
        return None


def _update_summary(data: bytes, record: Field, logged: _Logged) -> None:
    for item in _of(data, record, 1):
        keys, value = _item(data, item)
        logged.summary[".".join(keys)] = value
    for item in _of(data, record, 2):
        logged.summary.pop(".".join(_item(data, item)[0]), None)


def _update_config(data: bytes, record: Field, logged: _Logged) -> None:
    for number in (1, 2):
        for item in _of(data, record, number):
            keys, value = _item(data, item)
            name = ".".join(keys)
            stays = {key: one for key, one in logged.config.items() if key != name and not key.startswith(f"{name}.")}
            logged.config = stays if number == 2 or _is_own(name) else stays | flat({name: json.loads(value)})


FORMAT = Format("W&B", _units, _read, "run-*.wandb")
