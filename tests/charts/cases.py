"""Made-up results with the shapes and habits of real ones: three networks, ten members, 1,501 epochs, one diverged."""

import numpy as np
import xarray as xr

from bathymetry.charts import attrs

NETWORKS = ("shallow 1-250-1", "middle 1-32-16-9-1", "deep 1-24-16-10-8-4-1")


def by_epoch(lines: np.ndarray, attributes: dict[str, str]) -> xr.DataArray:
    _, members, epochs = lines.shape
    epoch = ("epoch", np.arange(epochs), attrs("epoch", "epoch"))
    coords = {"network": list(NETWORKS), "member": np.arange(members), "epoch": epoch}
    return xr.DataArray(lines, coords, ("network", "member", "epoch"), attrs=attributes)


def losses(members: int = 10, epochs: int = 1500, seed: int = 0, diverged: bool = True) -> xr.DataArray:
    """Loss curves that start alike, fall by a power, wander, and in one member of the deep network end in NaN."""
    generator = np.random.default_rng(seed)
    epoch = np.arange(epochs + 1)
    lines = np.empty((len(NETWORKS), members, epochs + 1))
    for place, (scale, power, floor) in enumerate(((40, 0.7, 0.04), (25, 1.6, 0.0015), (30, 2.1, 0.0004))):
        own = np.exp(generator.normal(0, 0.35, (members, 1)))
        wander = np.cumsum(generator.normal(0, 0.012, (members, epochs + 1)), axis=1)
        lines[place] = (0.55 / (1 + (epoch / (scale * own)) ** power) + floor * own) * np.exp(wander)
    if diverged:
        lines[2, 3, 640:] = np.nan
    return by_epoch(lines, attrs("training loss", "log"))


def accuracies(members: int = 10, epochs: int = 120, seed: int = 1) -> xr.DataArray:
    """Training accuracies of 60,000 images; some members reach every one of them."""
    generator = np.random.default_rng(seed)
    epoch = np.arange(epochs + 1)
    lines = np.empty((len(NETWORKS), members, epochs + 1))
    for place, rise in enumerate((1.35, 1.2, 1.45)):
        logits = -2.2 + rise * 1.6 * np.log1p(epoch * 3) + generator.normal(0, 0.12, (members, epochs + 1))
        lines[place] = 1 / (1 + np.exp(-logits))
    lines[:, :, 0] = generator.uniform(0.06, 0.14, (len(NETWORKS), members))
    lines = np.round(lines * 60_000) / 60_000
    return by_epoch(lines, attrs("accuracy", "accuracy")).assign_coords(examples=60_000)


def predictions(members: int = 10, seed: int = 2) -> tuple[xr.DataArray, xr.DataArray]:
    """What networks make of cos on (−12, 12), and cos."""
    generator = np.random.default_rng(seed)
    x = np.linspace(-12, 12, 481)
    outside = np.maximum(np.abs(x) - 10, 0)
    lines = np.empty((len(NETWORKS), members, len(x)))
    for place, error in enumerate((0.5, 0.12, 0.05)):
        bend = generator.normal(0, error, (members, 6)) @ np.stack([np.sin(k * x / 3 + k) for k in range(6)])
        lines[place] = np.cos(x) * (1 - error) + bend + generator.normal(0, 0.6, (members, 1)) * outside
    coords = {"network": list(NETWORKS), "member": np.arange(members), "x": x}
    truth = xr.DataArray(np.cos(x), dims=("x",), coords={"x": x})
    return xr.DataArray(lines, coords, ("network", "member", "x"), attrs=attrs("prediction")), truth


def times(members: int = 10, seed: int = 3) -> xr.DataArray:
    """Epochs to fit: the shallow network mostly never does."""
    generator = np.random.default_rng(seed)
    values = np.exp(generator.normal(np.log([[900], [420], [310]]), 0.2, (3, members))).round()
    values[0, : members // 2] = np.inf
    coords = {"network": list(NETWORKS), "member": np.arange(members)}
    return xr.DataArray(values, coords, ("network", "member"), attrs=attrs("epochs to fit", "log"))
