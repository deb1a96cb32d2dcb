"""How long does the whole of the nine studies take, ten members of everything, against one network at a time?

Both ways are measured on a sample and extrapolated to the epochs of the preset `full`: one network at a time reads its
images through PIL and a DataLoader and counts its right answers one by one, on a tenth of an epoch; ours trains an
ensemble of ten for one epoch, with the evaluations that the study records. The studies without images take seconds
in both ways.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from loading import Pictures
from torch import nn
from torch.utils.data import DataLoader

import bathymetry as bm
from bathymetry.data import Data, Examples
from training import seconds

IMAGES, TESTS, MEMBERS, SHARE = 60_000, 10_000, 10, 0.1


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


def ensemble(one: Training, data: Data) -> float:
    """Time the training of ten, from one epoch."""
    test = {"test": data.test}

    def train(record: list[int]) -> float:
        return seconds(
            lambda: bm.train(
                bm.MLPConfig((784, *one.hidden, 10)), data, members=MEMBERS, loss="cross_entropy", epochs=1,
                batch_size=one.batch_size, record_at=record, **({} if one.record else {"evaluate_on": test}),
            )
        )  # fmt: skip

    return train([1]) * one.epochs


def main() -> None:
    """Measure, print a table of the studies and keep it as JSON."""
    images, labels = pictures()
    examples = Examples(torch.from_numpy(images).flatten(1), torch.from_numpy(labels), 1 / 255)
    tests = Examples(examples.inputs[:TESTS], examples.targets[:TESTS], 1 / 255)
    data = Data("noise", examples, tests, source="drawn here", classes=10)
    ensemble(Training("warm up", (30,), 500, 1), data)
    studies: dict[str, list[float]] = {}
    for one in TRAININGS:
        alone, together = one_at_a_time(one, images, labels) * one.ensembles, ensemble(one, data) * one.ensembles
        sums = studies.setdefault(one.study, [0.0, 0.0])
        sums[0], sums[1] = sums[0] + MEMBERS * alone, sums[1] + together
    studies["together"] = [sum(column) for column in zip(*studies.values(), strict=True)]
    rows = [
        {"study": name, "one_at_a_time_s": alone, "ensemble_s": ours, "ratio": alone / ours}
        for name, (alone, ours) in studies.items()
    ]
    for row in rows:
        print("{study:<22} {one_at_a_time_s:8.0f} s  {ensemble_s:8.0f} s  {ratio:6.1f}×".format(**row))
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(json.dumps({"threads": torch.get_num_threads(), "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
