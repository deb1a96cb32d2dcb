"""TensorBoard's events: what one record says, and the numbers of thousands of records that differ only in them.

Records of one tag have the same bytes but for the time, the step and the value. One of them is read field by field, and
all that agree with it elsewhere are decoded at once, as columns of an array.

https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/util/event.proto and summary.proto
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float64, UInt8

from bathymetry.runs import wire
from bathymetry.runs.run import Scalar
from bathymetry.runs.wire import Bytes, Field

_TENSOR_VALUES = {5: "<f4", 6: "<f8", 7: "varint", 10: "varint", 11: "varint", 16: "varint", 17: "unsigned"}
_TENSOR_CONTENT = {1: "<f4", 2: "<f8", 3: "<i4", 4: "<u1", 5: "<i2", 6: "<i1", 9: "<i8"}
_TENSOR_CONTENT |= {10: "<u1", 17: "<u2", 22: "<u4", 23: "<u8"}
_TEXT = 7  # a tensor's type
_BYTES = {kind: np.dtype(kind).itemsize for kind in {*_TENSOR_CONTENT.values(), "<f4", "<f8"}}


@dataclass(frozen=True)
class Number:
    """Where a number is in a record."""

    kind: str  # a type of NumPy, "varint", "unsigned" or "zero", which has no bytes
    start: int = 0
    stop: int = 0


@dataclass
class Event:
    """What a record holds."""

    wall_time: Number = field(default_factory=lambda: Number("zero"))
    step: Number = field(default_factory=lambda: Number("zero"))
    scalars: list[tuple[str, Number]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)  # names of what is text
    hparams: list[tuple[int, int]] = field(default_factory=list)  # where the content of its plugin is
    restarts: bool = False  # a session starts at this step; what an earlier one logged from there on is void

    @property
    def matters(self) -> bool:
        return bool(self.scalars or self.texts or self.hparams or self.restarts)


def parse(data: Bytes, start: int, stop: int) -> Event:
    """Read one event; ValueError where it is none."""
    event = Event()
    for one in wire.fields(data, start, stop):
        if (one.number, one.type) == (1, wire.FIXED64):
            event.wall_time = Number("<f8", one.start - start, one.stop - start)
        elif (one.number, one.type) == (2, wire.VARINT):
            event.step = Number("varint", one.start - start, one.stop - start)
        elif (one.number, one.type) == (5, wire.LENGTH):
            for value in wire.fields(data, one.start, one.stop):
                if (value.number, value.type) == (1, wire.LENGTH):
                    _parse_value(data, start, value, event)
        elif (one.number, one.type) == (7, wire.LENGTH):
            status = [wire.varint(data, each.start, each.stop)[0] for each in _of(data, one, 1, wire.VARINT)]
            event.restarts = status == [1]
    return event


def _parse_value(data: Bytes, origin: int, value: Field, event: Event) -> None:
    """Add one value of a summary to the event."""
    tag, plugin, number, is_text = "", "", None, False
    for one in wire.fields(data, value.start, value.stop):
        if (one.number, one.type) == (1, wire.LENGTH):
            tag = wire.text(data, one)
        elif (one.number, one.type) == (2, wire.FIXED32):
            number = Number("<f4", one.start - origin, one.stop - origin)
        elif (one.number, one.type) == (8, wire.LENGTH):
            number, is_text = _parse_tensor(data, origin, one)
        elif (one.number, one.type) == (9, wire.LENGTH):
            for part in _of(data, one, 1, wire.LENGTH):
                plugin = "".join(wire.text(data, name) for name in _of(data, part, 1, wire.LENGTH))
                if plugin == "hparams":
                    event.hparams += [(each.start, each.stop) for each in _of(data, part, 2, wire.LENGTH)]
    if number is not None and plugin in ("", "scalars"):
        event.scalars.append((tag, number))
    elif plugin == "text" or (is_text and plugin in ("", "scalars")):
        event.texts.append(tag.removesuffix("/text_summary"))


def _parse_tensor(data: Bytes, origin: int, tensor: Field) -> tuple[Number | None, bool]:
    """Find the number of a tensor that holds exactly one, and say whether it holds text."""
    kind, elements, values = 0, 1, None
    for one in wire.fields(data, tensor.start, tensor.stop):
        if (one.number, one.type) == (1, wire.VARINT):
            kind = wire.varint(data, one.start, one.stop)[0]
        elif (one.number, one.type) == (2, wire.LENGTH):
            for dimension in _of(data, one, 2, wire.LENGTH):
                sizes = [wire.varint(data, each.start, each.stop)[0] for each in _of(data, dimension, 1, wire.VARINT)]
                elements *= sizes[0] if sizes else 0
        elif one.number in (4, *_TENSOR_VALUES) and one.stop > one.start:
            values = one
    if kind not in _TENSOR_CONTENT or elements != 1:
        return None, kind == _TEXT
    if values is None:
        return Number("zero"), False  # an empty list of values stands for zeros
    number = _TENSOR_CONTENT[kind] if values.number == 4 else _TENSOR_VALUES[values.number]
    is_one = values.stop == (
        values.start + _BYTES[number] if number in _BYTES else wire.varint(data, values.start, values.stop)[1]
    )
    return (Number(number, values.start - origin, values.stop - origin) if is_one else None), False


def _of(data: Bytes, message: Field, number: int, kind: int) -> Iterator[Field]:
    return (one for one in wire.fields(data, message.start, message.stop) if (one.number, one.type) == (number, kind))


def session_settings(data: Bytes, session: Field) -> dict[str, Scalar]:
    """Read the settings that the hparams plugin has of a session, a map of names to values of JSON."""
    config: dict[str, Scalar] = {}
    for entry in _of(data, session, 1, wire.LENGTH):
        name = "".join(wire.text(data, one) for one in _of(data, entry, 1, wire.LENGTH))
        for value in _of(data, entry, 2, wire.LENGTH):
            for one in wire.fields(data, value.start, value.stop):
                if (one.number, one.type) == (2, wire.FIXED64):
                    (number,) = struct.unpack_from("<d", data, one.start)
                    config[name] = int(number) if number.is_integer() and abs(number) < 2**53 else number
                elif (one.number, one.type) == (3, wire.LENGTH):
                    config[name] = wire.text(data, one)
                elif (one.number, one.type) == (4, wire.VARINT):
                    config[name] = bool(wire.varint(data, one.start, one.stop)[0])
    return config


def session_end(data: Bytes, session: Field) -> int:
    """How a session ended: 0 unknown, 1 success, 2 failure, 3 running."""
    return next((wire.varint(data, one.start, one.stop)[0] for one in _of(data, session, 1, wire.VARINT)), 0)


def agree(rows: UInt8[np.ndarray, "record byte"], event: Event, length: int) -> Bool[np.ndarray, " record"]:
    """Which records have the bytes of the first, but for its time, step and values."""
    fixed = np.full(length, 255, dtype=np.uint8)
    for one in (event.wall_time, event.step, *(number for _, number in event.scalars)):
        fixed[one.start : one.stop] = 0 if one.kind in _BYTES else 128  # a varint's high bits say where it ends
    same: Bool[np.ndarray, " record"] = ~((rows[:, :length] ^ rows[0, :length]) & fixed).any(axis=1)
    return same


def decode(rows: UInt8[np.ndarray, "record byte"], number: Number) -> Float64[np.ndarray, " record"]:
    """Read the same number of each record."""
    if number.kind == "zero":
        return np.zeros(len(rows))
    part = rows[:, number.start : number.stop]
    if number.kind in _BYTES:
        return np.ascontiguousarray(part).view(number.kind)[:, 0].astype(np.float64)
    whole = np.zeros(len(rows), dtype=np.uint64)
    for place in range(part.shape[1]):
        whole |= (part[:, place] & np.uint8(127)).astype(np.uint64) << np.uint64(7 * place)
    return (whole if number.kind == "unsigned" else whole.view(np.int64)).astype(np.float64)
