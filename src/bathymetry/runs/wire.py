"""The wire format of protocol buffers: numbered fields of four types, read from bytes without a schema.

https://protobuf.dev/programming-guides/encoding
"""

from collections.abc import Iterator
from mmap import mmap
from typing import NamedTuple

Bytes = bytes | mmap

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5


class Field(NamedTuple):
    """One field of a message, and where its content is."""

    number: int
    type: int
    start: int
    stop: int


def varint(data: Bytes, at: int, stop: int) -> tuple[int, int]:
    """Read a whole number of seven bits a byte; return it and where it ends."""
    value = shift = 0
    while at < stop and shift < 70:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
    raise ValueError("a number does not end")


def fields(data: Bytes, start: int, stop: int) -> Iterator[Field]:
    """Go through the fields of a message; ValueError where the bytes are no message."""
    at = start
    while at < stop:
        key, at = (data[at], at + 1) if data[at] < 128 else varint(data, at, stop)
        number, kind = key >> 3, key & 7
        if kind == LENGTH:
            length, at = (data[at], at + 1) if at < stop and data[at] < 128 else varint(data, at, stop)
            end = at + length
        elif kind == VARINT:
            _, end = varint(data, at, stop)
        elif kind in (FIXED64, FIXED32):
            end = at + (8 if kind == FIXED64 else 4)
        else:
            raise ValueError(f"wire type {kind}")
        if end > stop:
            raise ValueError("a field does not end")
        yield Field(number, kind, at, end)
        at = end


def text(data: Bytes, field: Field) -> str:
    return data[field.start : field.stop].decode("utf-8", "replace")
