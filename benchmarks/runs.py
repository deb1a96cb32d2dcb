"""How long does it take to read 1,000 runs of 1,000 steps and five metrics, and to decide which setting is better?

python benchmarks/runs.py RESULT.json [FORMAT …]
"""

import json
import os
import resource
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd

import bathymetry as bm
from bathymetry.runs.tfrecords import masked_crc

RUNS, STEPS = 1000, 1000
METRICS = ("train/loss", "train/accuracy", "val/loss", "val/accuracy", "learning_rate")


def metrics(run: int) -> np.ndarray:
    """The values of a run, (step, metric)."""
    return np.random.default_rng(run).normal(size=(STEPS, len(METRICS))).astype(np.float32)


def write_tensorboard(folder: Path) -> None:
    """One folder with one event file for each run, a record for each value."""
    for run in range(RUNS):
        place = folder / f"optimizer={'adam' if run % 2 else 'sgd'}/seed={run // 2}"
        place.mkdir(parents=True)
        file = place / f"events.out.tfevents.{1700000000 + run}.host.1.0"
        file.write_bytes(events(1.7e9 + run, metrics(run)))


def events(time: float, values: np.ndarray) -> bytes:
    """The records of a run in the order of their steps."""
    records = [b"\x09" + struct.pack("<d", time) + b"\x1a\x0dbrain.Event:2"]
    for step, row in enumerate(values.tolist()):
        head = b"\x09" + struct.pack("<d", time + step) + (b"\x10" + varint(step) if step else b"")
        for tag, value in zip(METRICS, row, strict=True):
            one = b"\x0a" + bytes([len(tag)]) + tag.encode() + b"\x15" + struct.pack("<f", value)
            one = b"\x0a" + bytes([len(one)]) + one
            records.append(head + b"\x2a" + bytes([len(one)]) + one)
    lengths = np.array([len(one) for one in records])
    of_length, of_record = (np.empty(len(records), dtype=np.uint32) for _ in range(2))
    for length in np.unique(lengths):
        places = np.flatnonzero(lengths == length)
        rows = np.frombuffer(b"".join(records[place] for place in places), dtype=np.uint8)
        of_record[places] = masked_crc(rows.reshape(-1, length))
        of_length[places] = masked_crc(np.frombuffer(struct.pack("<Q", length), dtype=np.uint8)[None])
    return b"".join(
        struct.pack("<QI", len(one), before) + one + struct.pack("<I", after)
        for one, before, after in zip(records, of_length.tolist(), of_record.tolist(), strict=True)
    )


def write_wandb(folder: Path) -> None:
    """One folder with one log for each run, a record for each step, as W&B writes while it is offline."""
    for run in range(RUNS):
        place = folder / f"offline-run-20240101_000000-{run}"
        place.mkdir()
        settings = {"optimizer": "adam" if run % 2 else "sgd", "seed": run // 2}
        records = [field(17, field(1, str(run)) + field(4, items(settings)))]
        for step, row in enumerate(metrics(run).tolist()):
            of_step = field(2, b"\x08" + varint(step))
            records.append(field(2, items(dict(zip(METRICS, row, strict=True)), nested=True) + of_step))
        (place / f"run-{run}.wandb").write_bytes(log([*records, field(18, b"")]))


def field(number: int, content: bytes | str) -> bytes:
    content = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(content)) + content


def items(values: Mapping[str, object], *, nested: bool = False) -> bytes:
    pairs = values.items()
    return b"".join(field(1, field(2 if nested else 1, key) + field(16, json.dumps(value))) for key, value in pairs)


def log(records: Sequence[bytes]) -> bytes:
    """Cut records into the blocks of a LevelDB log."""
    written = bytearray(b":W&B" + struct.pack("<HB", 0xBEE1, 0))
    for record in records:
        at = 0
        while at < len(record) or not at:
            left = 32768 - len(written) % 32768
            if left < 7:
                written += bytes(left)
                left = 32768
            part = record[at : at + left - 7]
            ends = at + len(part) == len(record)
            kind = bytes([(1 if ends else 2) if not at else (4 if ends else 3)])
            written += struct.pack("<IH", zlib.crc32(part, zlib.crc32(kind)), len(part)) + kind + part
            at += len(part)
            if ends:
                break
    return bytes(written)


def varint(number: int) -> bytes:
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


def write_parquet(folder: Path) -> None:
    """One tidy table of all runs."""
    numbers = np.concatenate([metrics(run) for run in range(RUNS)])
    run = np.repeat(np.arange(RUNS), STEPS)
    settings = {
        "optimizer": np.where(run % 2, "adam", "sgd"),
        "seed": run // 2,
        "step": np.tile(np.arange(STEPS), RUNS),
    }
    pd.DataFrame(settings | dict(zip(METRICS, numbers.T, strict=True))).to_parquet(folder / "runs.parquet")


FORMATS = {"parquet": write_parquet, "tensorboard": write_tensorboard, "wandb": write_wandb}


def measure(name: str) -> dict[str, float]:
    """Read and decide in two processes, then again from the cache; seconds of the clock and of the processors."""
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder, "runs")
        runs.mkdir()
        FORMATS[name](runs)
        os.environ["XDG_CACHE_HOME"] = str(Path(folder, "cache"))
        decide = partial(bm.compare, runs, "val/accuracy", compare="optimizer", higher_is_better=True)
        taken = []
        for _ in range(2):
            start, before = time.perf_counter(), processor_seconds()
            decide()
            taken.append((time.perf_counter() - start, processor_seconds() - before))
        megabytes = sum(path.stat().st_size for path in runs.rglob("*") if path.is_file()) / 1e6
    peak = [resource.getrusage(one).ru_maxrss / 1000 for one in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    (seconds, used), (again, _) = taken
    return {
        "megabytes": megabytes, "seconds": seconds, "processor_seconds": used, "seconds_again": again,
        "peak_megabytes": peak[0], "peak_megabytes_of_a_reader": peak[1],
    }  # fmt: skip


def processor_seconds() -> float:
    """Seconds of this process and of those that it started and that ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


if __name__ == "__main__":
    results = {}
    for name in sys.argv[2:] or FORMATS:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:  # so that the peak is its own
            results[name] = apart.submit(measure, name).result()
    Path(sys.argv[1]).write_text(json.dumps(results, indent=1))
    print(json.dumps(results, indent=1))
