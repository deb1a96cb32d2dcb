"""Files of W&B written byte by byte: protocol buffers in a LevelDB log."""

import json
import struct
import zlib

from runs.event_files import field

HEADER = b":W&B" + struct.pack("<HB", 0xBEE1, 0)


def item(key, value, *nested):
    """A key and its value as JSON; a text of bytes is written as it is."""
    keys = b"".join(field(2, one) for one in (key, *nested)) if nested else field(1, key)
    return keys + field(16, value if isinstance(value, bytes) else json.dumps(value))


def items(values):
    return b"".join(field(1, item(key, value)) for key, value in values.items())


def run(run_id="abc", **config):
    return field(17, field(1, run_id) + field(4, items(config)) + field(8, "a name"))


def logged(step, values):
    return field(2, items(values) + field(2, field(1, step)))


def summary(values):
    return field(3, items(values))


def ended(code=0):
    return field(18, field(1, code) if code else b"")


def log(*records):
    """Cut records into parts that end with their block of 32,768 bytes."""
    content = bytearray(HEADER)
    for record in records:
        first = True
        while first or record:
            room = 32768 - len(content) % 32768
            if room < 7:
                content += bytes(room)
                continue
            part, record = record[: room - 7], record[room - 7 :]
            kind = (2 if record else 1) if first else (3 if record else 4)
            content += struct.pack("<IHB", zlib.crc32(bytes([kind]) + part), len(part), kind) + part
            first = False
    return bytes(content)


def write(folder, *records, name="run-abc.wandb"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(log(*records))
    return folder
