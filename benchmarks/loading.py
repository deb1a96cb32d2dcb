"""How much faster is an ensemble than a DataLoader that reads its images through PIL, as most tutorials do?

One network-epoch of 784-30-10 at batch 50: the loader on a tenth of the images, the ensemble on all of them, scaled.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

import bathymetry as bm
from bathymetry.data import Data, Examples

IMAGES, MEMBERS, BATCH = 60_000, 10, 50


class Pictures(Dataset[tuple[torch.Tensor, int]]):
    """Images that are opened, turned into floats and flattened one by one."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self._images, self._labels = images, labels

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
        """Read one image the way image folders are read."""
        picture = Image.fromarray(self._images[place])
        pixels = torch.from_numpy(np.array(picture, copy=True)).unsqueeze(0).float().div(255)
        return pixels.flatten(), int(self._labels[place])


def loader_seconds(images: np.ndarray, labels: np.ndarray) -> float:
    """Time one network-epoch through the loader."""
    module = bm.mlp([784, 30, 10])
    optimizer, loss = torch.optim.Adam(module.parameters(), lr=1e-3), nn.CrossEntropyLoss()
    start = time.perf_counter()
    for inputs, targets in DataLoader(Pictures(images, labels), batch_size=BATCH, shuffle=True):
        optimizer.zero_grad()
        loss(module(inputs), targets).backward()
        optimizer.step()
    return (time.perf_counter() - start) * IMAGES / len(images)


def ensemble_seconds(data: Data) -> float:
    """Time one network-epoch of an ensemble."""
    few = {"first": Examples(data.train.inputs[:256], data.train.targets[:256], data.train.scale)}
    start = time.perf_counter()
    bm.train(
        bm.MLPConfig((784, 30, 10)), data, members=MEMBERS, loss="cross_entropy", epochs=1, batch_size=BATCH,
        evaluate_on=few,
    )  # fmt: skip
    return (time.perf_counter() - start) / MEMBERS


def main() -> None:
    """Run the comparison three times, print the ratio of the best, keep it as JSON."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (IMAGES, 28, 28), dtype=np.uint8)
    labels = rng.integers(0, 10, IMAGES)
    examples = Examples(torch.from_numpy(images).flatten(1), torch.from_numpy(labels), 1 / 255)
    data = Data("noise", examples, examples, source="drawn here", classes=10)
    rounds = [(loader_seconds(images[:6000], labels[:6000]), ensemble_seconds(data)) for _ in range(3)]
    loader, ensemble = min(one for one, _ in rounds), min(one for _, one in rounds)
    name = "784-30-10, batch 50, DataLoader with PIL"
    print(f"{name:<42} {loader:8.2f} s  {ensemble:8.3f} s  {loader / ensemble:6.1f}×")
    if len(sys.argv) > 1:
        row = {"what": name, "loader_s": loader, "ensemble_s": ensemble, "ratio": loader / ensemble}
        Path(sys.argv[1]).write_text(json.dumps({"threads": torch.get_num_threads(), "rows": [row]}, indent=1))


if __name__ == "__main__":
    main()
