"""Event files written byte by byte, by the definitions of protocol buffers and TFRecord."""

import struct


def varint(number):
    number %= 1 << 64
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


def field(number, content):
    """A field of a message: whole numbers, 8-byte floats, text, or bytes."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    if isinstance(content, float):
        return varint(number << 3 | 1) + struct.pack("<d", content)
    content = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(content)) + content


def float32(number, value):
    return varint(number << 3 | 5) + struct.pack("<f", value)


def crc32c(content):
    """Castagnoli's CRC, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(content):
    crc = crc32c(content)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) % (1 << 32))


def record(content, length=None):
    head = struct.pack("<Q", len(content) if length is None else length)
    return head + masked(head) + content + masked(content)


def event(*values, time=1.0, step=0, more=b""):
    summary = field(5, b"".join(field(1, one) for one in values)) if values else b""
    return record(field(1, time) + (field(2, step) if step else b"") + summary + more)


def scalar(tag, value):
    return field(1, tag) + float32(2, value)


def tensor(tag, content, plugin="scalars"):
    """A value as TensorFlow 2 writes it; the content is that of a TensorProto."""
    return field(1, tag) + field(9, field(1, field(1, plugin))) + field(8, content)


def hparams(content):
    return event(field(1, "_hparams_") + field(9, field(1, field(1, "hparams") + field(2, content))))


VERSION = record(field(1, 1.0) + field(3, "brain.Event:2"))


def write(folder, *records, name="events.out.tfevents.1.host"):
    """Write one event file; return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(VERSION + b"".join(records))
    return folder
