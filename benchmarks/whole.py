"""How long does the whole of the nine studies take, ten members of everything, against one network at a time?

Both ways are measured on a sample and extrapolated to the epochs of the preset `full`: one network at a time reads
its images through PIL and a DataLoader and counts its right answers one by one, on a tenth of an epoch and with all
cores in one process; ours trains a chunk of an ensemble of ten for one epoch and for two, with an evaluation on the
test images after each, in one process of one thread on every core at the same time. What one epoch takes alone counts
once, and what another adds for all others. Each is measured three times, in turns, and the median counts. The studies
without images take seconds in both ways.

How the same chunks fill 4 and 8 workers is simulated from their times: the longest first, each to the next free worker.
"""

import heapq
import json
import multiprocessing
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import median

import numpy as np
import torch
from loading import Pictures
from torch import nn
from torch.utils.data import DataLoader

import bathymetry as bm
from bathymetry.core.system import available_cores
from bathymetry.data import Data, Examples
from bathymetry.execution.work import planned_chunks
from training import seconds

IMAGES, TESTS, MEMBERS, SHARE, REPEATS = 60_000, 10_000, 10, 0.1, 3


@dataclass(frozen=True)
class Training:
    """One kind of network that a study trains."""

    study: str
    hidden: tuple[int, ...]
    batch_size: int
    epochs: int
    ensembles: int = 1  # how many of these the study trains
    record: bool = True  # whether every epoch is evaluated, or only the last


_CAPACITY = (
    (2, 5), (4, 8), (10, 20), (20, 30), (50, 25), (100, 50), (200, 100), (400, 200), (600, 300), (800, 400),
)  # fmt: skip
TRAININGS = (
    Training("depth-classification", (30,), 50, 120),
    Training("depth-classification", (25, 60, 38), 50, 120),
    Training("depth-classification", (20, 40, 60, 50, 30), 50, 120),
    Training("random-labels", (10, 15), 50, 140),
    *(Training("capacity", hidden, 50, 50, record=False) for hidden in _CAPACITY),
    Training("interpolation", (30,), 25, 10, ensembles=2),
    *(Training("batch-size", (20, 30), size, 50, record=False) for size in (5, 25, 125, 500, 1_500)),
)


def pictures(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw noise in the format of MNIST: for speed the values do not matter."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (IMAGES, 28, 28), dtype=np.uint8), rng.integers(0, 10, IMAGES)


def one_at_a_time(one: Training, images: np.ndarray, labels: np.ndarray) -> float:
    """Time the training of one network, from a share of an epoch with its evaluation on the test images."""
    module = bm.mlp([784, *one.hidden, 10])
    optimizer, loss = torch.optim.Adam(module.parameters(), lr=1e-3), nn.CrossEntropyLoss()
    few, tests = round(IMAGES * SHARE), round(TESTS * SHARE)
    train = DataLoader(Pictures(images[:few], labels[:few]), batch_size=one.batch_size, shuffle=True)
    test = DataLoader(Pictures(images[:tests], labels[:tests]), batch_size=one.batch_size)

    def epoch() -> None:
        for inputs, targets in train:
            optimizer.zero_grad()
            loss(module(inputs), targets).backward()
            optimizer.step()
        right = 0
        with torch.no_grad():
            for inputs, targets in test:
                for answer, target in zip(module(inputs).argmax(1), targets, strict=True):
                    right += int(answer == target)

    return seconds(epoch) / SHARE * one.epochs


@cache
def data() -> Data:
    """Noise as a data set."""
    images, labels = pictures()
    examples = Examples(torch.from_numpy(images).flatten(1), torch.from_numpy(labels), 1 / 255)
    tests = Examples(examples.inputs[:TESTS], examples.targets[:TESTS], 1 / 255)
    return Data("noise", examples, tests, source="drawn here", classes=10)


def chunk_sizes(one: Training) -> list[int]:
    """How many networks the chunks of an ensemble have."""
    network = bm.MLPConfig((784, *one.hidden, 10))
    config = bm.TrainingConfig(
        network,
        data(),
        loss="cross_entropy",
        epochs=one.epochs,
        batch_size=one.batch_size,
        record_at=None if one.record else (),
    )
    return [len(members) for members in planned_chunks(config, range(MEMBERS))]


def chunk_seconds(one: Training, members: int, epochs: int) -> float:
    """Time some epochs of a chunk."""
    return seconds(
        lambda: bm.train(
            bm.MLPConfig((784, *one.hidden, 10)), data(), members=members, loss="cross_entropy", epochs=epochs,
            batch_size=one.batch_size, record_at=range(1, epochs + 1),
            **({} if one.record else {"evaluate_on": {"test": data().test}}),
        )
    )  # fmt: skip


def work(requests: Connection, together: Barrier) -> None:
    """Train what is asked for in a process of one thread, and answer how long it took."""
    torch.set_num_threads(1)
    data()
    while (asked := requests.recv()) is not None:
        together.wait()
        requests.send(chunk_seconds(*asked))


def makespan(chunks: Sequence[float], workers: int) -> float:
    """When the last of so many workers ends."""
    ends = [0.0] * workers
    for one in sorted(chunks, reverse=True):
        heapq.heappush(ends, heapq.heappop(ends) + one)
    return max(ends)


def main() -> None:
    """Measure, print a table of the studies and keep it as JSON."""
    cores, spawn = available_cores(), multiprocessing.get_context("spawn")
    together, pipes = spawn.Barrier(cores), [spawn.Pipe() for _ in range(cores)]
    for _, end in pipes:
        spawn.Process(target=work, args=(end, together), daemon=True).start()

    def chunk(one: Training, members: int) -> tuple[float, float]:
        """Seconds of one epoch alone, and of another one."""
        alone, both = (measured(one, members, epochs) for epochs in (1, 2))
        return alone, both - alone

    def measured(one: Training, members: int, epochs: int) -> float:
        for pipe, _ in pipes:
            pipe.send((one, members, epochs))
        return sum(pipe.recv() for pipe, _ in pipes) / cores

    images, labels = pictures()
    chunk(Training("warm up", (30,), 500, 1), 10)
    studies: dict[str, list[float]] = {}
    chunks: list[float] = []
    for one in TRAININGS:
        sizes = chunk_sizes(one) * one.ensembles
        rounds = [
            (one_at_a_time(one, images, labels), {size: chunk(one, size) for size in sorted(set(sizes))})
            for _ in range(REPEATS)
        ]
        alone = median(each for each, _ in rounds) * one.ensembles * MEMBERS
        whole = {
            size: median(own[size][0] + own[size][1] * (one.epochs - 1) for _, own in rounds) for size in rounds[0][1]
        }
        chunks += [whole[size] for size in sizes]
        sums = studies.setdefault(one.study, [0.0, 0.0])
        sums[0], sums[1] = sums[0] + alone, sums[1] + sum(whole[size] for size in sizes) / cores
        print(one.study, one.hidden, sizes, round(alone), round(sum(whole[size] for size in sizes) / cores), flush=True)
    for pipe, _ in pipes:
        pipe.send(None)
    studies["together"] = [sum(column) for column in zip(*studies.values(), strict=True)]
    studies["together"][1] = makespan(chunks, cores)
    rows = [
        {"study": name, "one_at_a_time_s": alone, "ensemble_s": ours, "ratio": alone / ours}
        for name, (alone, ours) in studies.items()
    ]
    for row in rows:
        print("{study:<22} {one_at_a_time_s:8.0f} s  {ensemble_s:8.0f} s  {ratio:6.1f}×".format(**row))
    scaling = {workers: makespan(chunks, workers) for workers in (1, 2, 4, 8)}
    for workers, wall in scaling.items():
        print(f"{workers} workers: {wall:.0f} s, {100 * sum(chunks) / workers / wall:.0f} % busy")
    if len(sys.argv) > 1:
        report = {"cores": cores, "rows": rows, "chunks": len(chunks), "seconds by workers": scaling}
        Path(sys.argv[1]).write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
