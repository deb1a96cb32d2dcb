"""TFRecord files: records of bytes, each with its length and the CRC-32C of both.

    length (8 bytes), masked CRC of the length (4), record, masked CRC of the record (4)

https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details
"""

import mmap
import struct
from array import array
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int64, UInt8, UInt32

from bathymetry.core.errors import DamagedError
from bathymetry.runs.wire import Bytes

HEAD, TAIL = 12, 4  # bytes before and after a record
LONGEST = 4096  # bytes of a record whose content is compared with its CRC


@dataclass(frozen=True)
class Records:
    """Where the records of a file are, up to its end or its first damaged length."""

    data: Bytes
    start: Int64[np.ndarray, " record"]
    length: Int64[np.ndarray, " record"]
    rest: int  # bytes after the last whole record
    damaged: bool  # whether these are no record, rather than the beginning of one


def find_records(path: Path) -> Records:
    """Go from length to length without reading the records."""
    if path.exists() and not path.is_file():
        raise DamagedError(f"{path} can't be read (it is no ordinary file).")  # a pipe would be waited for
    with path.open("rb") as file:
        size = file.seek(0, 2)
        data = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) if size else b""
    starts, at, unpack = array("q"), 0, struct.Struct("<Q").unpack_from
    while at + HEAD <= size:
        stop = at + HEAD + TAIL + unpack(data, at)[0]
        if stop > size:
            break
        starts.append(at + HEAD)
        at = stop
    start = np.array(starts, dtype=np.int64)
    length = np.diff(start, append=at + HEAD) - HEAD - TAIL
    wrong = np.flatnonzero(~_length_is_whole(data, start - HEAD))
    if len(wrong):
        start, length, at = start[: wrong[0]], length[: wrong[0]], int(start[wrong[0]]) - HEAD
    damaged = at + HEAD <= size and not _length_is_whole(data, np.array([at]))[0]
    return Records(data, start, length, size - at, damaged)


def _length_is_whole(data: Bytes, at: Int64[np.ndarray, " record"]) -> Bool[np.ndarray, " record"]:
    return are_whole(rows(data, at, 8), 8) if len(at) else np.zeros(0, dtype=bool)


def rows(data: Bytes, start: Int64[np.ndarray, " record"], length: int) -> UInt8[np.ndarray, "record byte"]:
    """Copy records of one length, each with the CRC after it."""
    every = np.lib.stride_tricks.sliding_window_view(np.frombuffer(data, dtype=np.uint8), length + TAIL)
    copied: UInt8[np.ndarray, "record byte"] = every[start]
    return copied


def are_whole(rows: UInt8[np.ndarray, "record byte"], length: int) -> Bool[np.ndarray, " record"]:
    """Compare records with their CRC; those longer than LONGEST are not compared."""
    if length > LONGEST:
        return np.ones(len(rows), dtype=bool)
    stored = np.ascontiguousarray(rows[:, -TAIL:]).view("<u4")[:, 0]
    whole: Bool[np.ndarray, " record"] = masked_crc(rows[:, :length]) == stored
    return whole


def masked_crc(content: UInt8[np.ndarray, "record byte"]) -> UInt32[np.ndarray, " record"]:
    """The CRC-32C of each row, as TFRecord files have it.

    A CRC is linear over bits: it is the exclusive or of what each byte adds, whatever the other bytes are.
    """
    length = content.shape[1]
    added, initial = _tables(1 << max(length - 1, 7).bit_length())
    each = added.take(content + np.arange(256 * (length - 1), -1, -256))
    crc: UInt32[np.ndarray, " record"] = np.bitwise_xor.reduce(each, axis=1) ^ initial[length]
    return ((crc >> 15) | (crc << 17)) + np.uint32(0xA282EAD8)


@lru_cache
def _tables(most: int) -> tuple[UInt32[np.ndarray, "distance value"], UInt32[np.ndarray, " length"]]:
    """What each value of a byte adds by its distance from the end, and what the initial register adds by the length."""
    byte = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        byte = np.where(byte & 1, (byte >> 1) ^ np.uint32(0x82F63B78), byte >> 1)
    added, registers = np.empty((most, 256), dtype=np.uint32), [0xFFFFFFFF]
    for distance in range(most):
        before = added[distance - 1] if distance else np.arange(256, dtype=np.uint32)
        added[distance] = byte[before & 255] ^ (before >> 8)
        registers.append(int(byte[registers[-1] & 255]) ^ (registers[-1] >> 8))
    return added, np.array(registers, dtype=np.uint32) ^ np.uint32(0xFFFFFFFF)
