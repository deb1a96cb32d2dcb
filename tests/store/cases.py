"""Chunks whose every number says whose it is."""

import numpy as np
import xarray as xr

from bathymetry.store.chunks import Chunk


def chunk(members: range, epochs: int = 3) -> Chunk:
    numbers = np.arange(members.start, members.stop)
    losses = numbers[:, None] + np.arange(epochs + 1) / 10
    record = xr.Dataset(
        {"train_loss": (("member", "epoch"), losses), "diverged": ("member", numbers < 0)},
        {"member": numbers, "epoch": np.arange(epochs + 1), "step": ("epoch", 10 * np.arange(epochs + 1))},
        {"backend": "made"},
    )
    weights = {"0.weight": np.float32(numbers[:, None, None] * np.ones((1, 2, 3)))}
    return Chunk(members, record, {0: weights, epochs: {"0.weight": -weights["0.weight"]}}, {"seconds": 1.0})
