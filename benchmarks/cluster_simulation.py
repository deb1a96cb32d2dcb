"""What would a run on 1,000 workers waste, and what would it ask of its store?

    python benchmarks/cluster_simulation.py FOLDER [--workers 1000] [--hours 2] [--longer 1] [--seed 0]

Chunks are drawn from those of a stored run, with the seconds that each took (`--longer 10` makes them ten times as
long) and the bytes of its file. Every worker is taken away after 30 minutes on average (exponentially distributed) and
is back a minute later; a chunk fails by itself once in a thousand, at any moment. What was under way goes on from its
last checkpoint, the first of which comes after 15 seconds, and then one every minute. The longest chunks come first.
Requests to the store for a chunk and a checkpoint are counted on a real one.
"""

import argparse
import heapq
import json
import random
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from unittest import mock

import bathymetry as bm
from bathymetry.execution import jobs
from bathymetry.execution.jobs import CHECKPOINT_EVERY, run_job
from bathymetry.execution.work import compare
from bathymetry.store import storage
from bathymetry.store.chunks import read_chunk
from bathymetry.studies import Study

TAKEN_AWAY, BACK, FAILS = 1800.0, 60.0, 0.001
FIRST_CHECKPOINT = 15.0
STARTING = 8.0  # seconds until a new worker computes: imports, the plan and its data
MOMENTS = 3  # a checkpoint has the parameters and two moments of them
OPERATIONS = ("exists", "read", "write", "names", "delete")


@dataclass(frozen=True)
class Chunk:
    seconds: float
    bytes: int
    checkpoint: int  # bytes


@dataclass
class Outcome:
    computing: float = 0.0  # worker-seconds whose result is stored
    lost: float = 0.0  # computed since the last checkpoint
    starting: float = 0.0
    away: float = 0.0
    idle: float = 0.0  # at the end, while others still work
    taken_away: int = 0
    failed: int = 0
    checkpoints: int = 0
    read: int = 0  # bytes
    written: int = 0
    resumed: int = 0


def measured(folder: Path, longer: float) -> list[Chunk]:
    """The chunks of a stored run."""
    found = []
    for path in sorted(folder.glob("units/*/*.safetensors")):
        chunk = read_chunk(path)
        last = max(chunk.snapshots, default=None)
        parameters = 0 if last is None else sum(one.nbytes for one in chunk.snapshots[last].values())
        seconds = chunk.provenance["seconds"] * longer
        found.append(Chunk(seconds, path.stat().st_size, MOMENTS * parameters))
    return found


class Counted(Study):
    """One chunk, to count what it asks of the store."""

    presets: ClassVar = {"smoke": {"members": 10}}

    def plan(self):
        data = bm.data.function("sin", samples=50)
        yield self.ensemble({}, bm.MLPConfig((1, 8, 1)), data=data, epochs=40)


def requests() -> tuple[Counter[str], Counter[str]]:
    """Count what a chunk asks of the store, and what each checkpoint adds."""

    def count(checkpoint_every: float) -> Counter[str]:
        counts: Counter[str] = Counter()
        study = Counted.preset("smoke")

        def counting(name: str):
            original = getattr(storage, name)

            def call(*arguments):
                counts[name] += 1
                return original(*arguments)

            return call

        with tempfile.TemporaryDirectory() as out, ExitStack() as stack:
            work = compare(Path(out), study.planned)
            for name in OPERATIONS:
                stack.enter_context(mock.patch.object(storage, name, counting(name)))
            stack.enter_context(mock.patch.object(jobs, "CHECKPOINT_EVERY", checkpoint_every))
            run_job(work.jobs(study)[0], Path(out), study)
        return counts

    chunk = count(1e9)
    often = count(0.0)
    checkpoints = often["write"] - chunk["write"]
    return chunk, Counter({name: round((often[name] - chunk[name]) / checkpoints) for name in OPERATIONS})


def checkpoints_until(seconds: float) -> int:
    """How many checkpoints a chunk takes in so many seconds without a break."""
    return 0 if seconds < FIRST_CHECKPOINT else 1 + int((seconds - FIRST_CHECKPOINT) // CHECKPOINT_EVERY)


def simulate(chunks: Sequence[Chunk], workers: int, seed: int) -> tuple[Outcome, float]:
    """Follow every worker until all chunks are stored; return what happened, and the time it took."""
    rng = random.Random(seed)
    todo = sorted(((one, one.seconds) for one in chunks), key=lambda pair: pair[1])  # the longest at the end
    outcome = Outcome()
    leaves = [rng.expovariate(1 / TAKEN_AWAY) for _ in range(workers)]
    free = [(STARTING, worker) for worker in range(workers)]
    heapq.heapify(free)
    outcome.starting = STARTING * workers
    ends = [0.0] * workers
    broken_off: list[tuple[float, int, Chunk, float]] = []  # when, by whom, and what is left to do
    while todo or broken_off:
        now, worker = heapq.heappop(free)
        while broken_off and broken_off[0][0] <= now:
            todo.append(heapq.heappop(broken_off)[2:])
        if not todo:
            heapq.heappush(free, (broken_off[0][0], worker))
            continue
        chunk, left = todo.pop()
        outcome.read += chunk.checkpoint if left < chunk.seconds else 0
        outcome.resumed += left < chunk.seconds
        fails = rng.random() * left if rng.random() < FAILS else left
        stops = min(fails, max(0.0, leaves[worker] - now))
        taken = checkpoints_until(stops)
        outcome.checkpoints += taken
        outcome.written += taken * chunk.checkpoint
        if stops == left:
            outcome.computing += left
            outcome.written += chunk.bytes
        else:
            kept = FIRST_CHECKPOINT + (taken - 1) * CHECKPOINT_EVERY if taken else 0.0
            outcome.computing += kept
            outcome.lost += stops - kept
            heapq.heappush(broken_off, (now + stops, worker, chunk, left - kept))
            outcome.failed += stops == fails
        now += stops
        ends[worker] = now
        if leaves[worker] <= now:
            outcome.taken_away += 1
            outcome.away += BACK
            outcome.starting += STARTING
            now += BACK + STARTING
            leaves[worker] = now + rng.expovariate(1 / TAKEN_AWAY)
        heapq.heappush(free, (now, worker))
    last = max(ends)
    outcome.idle = sum(last - end for end in ends)
    return outcome, last


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--hours", type=float, default=2.0, help="about how long the run is to last")
    parser.add_argument("--longer", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    kinds = measured(arguments.folder, arguments.longer)
    mean = sum(one.seconds for one in kinds) / len(kinds)
    count = round(arguments.workers * arguments.hours * 3600 / mean)
    chunks = random.Random(arguments.seed).choices(kinds, k=count)
    outcome, seconds = simulate(chunks, arguments.workers, arguments.seed)
    each_chunk, each_checkpoint = requests()
    total = arguments.workers * seconds
    asked = count * each_chunk.total() + outcome.checkpoints * each_checkpoint.total() + outcome.resumed
    share = {
        name: round(100 * getattr(outcome, name) / total, 2)
        for name in ("computing", "lost", "starting", "away", "idle")
    }
    report = {
        "workers": arguments.workers,
        "chunks": count,
        "seconds of a chunk": {"mean": round(mean, 1), "longest": round(max(one.seconds for one in kinds), 1)},
        "hours": round(seconds / 3600, 2),
        "chunks per hour": round(count / seconds * 3600),
        "per cent of the workers' time": share,
        "preemptions": outcome.taken_away,
        "failed tries": outcome.failed,
        "checkpoints": outcome.checkpoints,
        "requests of a chunk": dict(each_chunk),
        "requests of a checkpoint": dict(each_checkpoint),
        "requests per second": round(asked / seconds, 1),
        "megabytes written per second": round(outcome.written / seconds / 1e6, 2),
        "megabytes read per second": round(outcome.read / seconds / 1e6, 3),
        "gigabytes stored": round(sum(one.bytes for one in chunks) / 1e9, 1),
    }
    words = json.dumps(report, indent=1)
    print(words)
    if arguments.json:
        arguments.json.write_text(words)


if __name__ == "__main__":
    main()
