"""The figures of `gradient-norm`, and what they show in words."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from bathymetry.charts import Figure, Reference, curves, panel
from bathymetry.stats import LOG, mean_interval
from bathymetry.studies.gradient_norm import spikes
from bathymetry.studies.wording import joined, number


def figures(results: xr.DataTree) -> Sequence[Figure]:
    """Draw the study's figures.

    Args:
        results: Its results.

    Returns:
        Figures 9 and 10, then layers and curvature.
    """
    whole = results.to_dataset()
    return (_loss(whole), _norm(whole), _layers(whole), _curvature(whole))


def seen(results: xr.DataTree) -> Sequence[str]:
    """Say what was seen.

    Args:
        results: The study's results.

    Returns:
        How far the norm fell, how often it spiked, and where the curvature stood against the threshold.
    """
    whole = results.to_dataset()
    norm = whole["gradient_norm"].transpose("member", "epoch").values.astype(float)
    fall = np.median(norm[:, -50:], axis=1) / norm.max(1)
    counts = [int(spikes(one).sum()) for one in norm if np.isfinite(one).all()]
    return (
        f"In the last 50 epochs the median norm of a member is {number(100 * float(np.nanmin(fall)))} % to "
        f"{number(100 * float(np.nanmax(fall)))} % of its largest.",
        f"A member's norm stands above three times its running median in {min(counts, default=0)} to "
        f"{max(counts, default=0)} of {norm.shape[1]:,} epochs.",
        _against_threshold(whole),
    )


def _against_threshold(whole: xr.Dataset) -> str:
    last = whole["preconditioned_eigenvalue"].isel(curvature_epoch=-1)
    limit = float(whole["stability_threshold"])
    above = int((last > limit).sum())
    return (
        f"At the end the preconditioned Hessian's largest eigenvalue is above Adam's threshold of stability, "
        f"{limit:,.0f}, in {above} of {last.sizes['member']} members (median {number(float(last.median()))})."
    )


def _ends(values: xr.DataArray) -> str:
    band = mean_interval(values.isel(epoch=-1).values, transform=LOG)
    return f"{number(float(band.centre))} ({number(float(band.low))} to {number(float(band.high))})"


def _loss(whole: xr.Dataset) -> Figure:
    chart = curves(whole["loss"], x="epoch", x_title="Epoch", y_title="Training loss (mean squared error)", height=260)
    return Figure(
        name="09-loss",
        title="How does the loss fall?",
        panels=(panel(chart, "Loss"),),
        finding=f"After {int(whole['epoch'].max()):,} epochs the geometric mean of the loss (with its 95 % interval) "
        f"is {_ends(whole['loss'])}.",
        reading="Logarithmic axes, the same epochs as in the next figure.",
        number=9,
    )


def _norm(whole: xr.Dataset) -> Figure:
    chart = curves(
        whole["gradient_norm"], x="epoch", x_title="Epoch", y_title="Gradient norm (L2, all parameters)", height=260
    )
    return Figure(
        name="10-gradient-norm",
        title="Does the gradient norm fall with it?",
        panels=(panel(chart, "Gradient norm"),),
        finding=f"The geometric mean of the norm (with its 95 % interval) ends at {_ends(whole['gradient_norm'])}; it "
        f"began at {number(float(np.exp(np.log(whole['gradient_norm'].isel(epoch=0)).mean())))}.",
        reading="Logarithmic axes; the norm at the very point where the loss is taken.",
        number=10,
    )


def _layers(whole: xr.Dataset) -> Figure:
    chart = curves(
        whole["layer_gradient_norm"], x="epoch", series="layer", x_title="Epoch", y_title="Gradient norm of a layer"
    )
    return Figure(
        name="layers",
        title="Which layer has the steepest gradient?",
        panels=(panel(chart, "Layers"),),
        finding=largest_layer(whole),
        reading="Logarithmic axes. The squares of the layers' norms add up to that of the whole.",
    )


def largest_layer(whole: xr.Dataset) -> str:
    """Compare layers over the last tenth of the epochs, where a single epoch would tell of chance.

    Args:
        whole: The study's results.

    Returns:
        Which layer's norm is largest, and whether the others' intervals leave that open.
    """
    count = max(1, whole.sizes["epoch"] // 10)
    late = whole["layer_gradient_norm"].isel(epoch=slice(-count, None)).median("epoch", skipna=False)
    bands = {
        str(name): mean_interval(late.sel(layer=name).values.astype(float), transform=LOG)
        for name in whole["layer"].values
    }
    largest = max(bands, key=lambda name: float(bands[name].centre))
    top = bands[largest]
    beside = [name for name, band in bands.items() if name != largest and float(band.high) > float(top.low)]
    found = (
        f"In the median over the last {count:,} epochs the geometric mean of the norm is largest in {largest}, "
        f"{number(float(top.centre))} (95 % interval {number(float(top.low))} to {number(float(top.high))})"
    )
    if beside:
        return f"{found}; the intervals of {joined(beside)} overlap it, so which is largest stays open."
    return f"{found}, apart from all other layers."


def _highest(whole: xr.Dataset) -> str:
    # One member far above all others is a thing to know of before the mean is read.
    eigenvalue = whole["preconditioned_eigenvalue"].transpose("member", "curvature_epoch")
    peaks = eigenvalue.max("curvature_epoch").values.astype(float)
    member = int(np.nanargmax(peaks))
    at = int(eigenvalue["curvature_epoch"].values[int(np.nanargmax(eigenvalue.values[member]))])
    return (
        f"The largest value of all is {number(float(peaks[member]))}, in one member at epoch {at:,}; the median "
        f"member's largest is {number(float(np.nanmedian(peaks)))}."
    )


def _curvature(whole: xr.Dataset) -> Figure:
    limit = float(whole["stability_threshold"])
    eigenvalue = whole["preconditioned_eigenvalue"].rename(curvature_epoch="epoch")
    chart = curves(
        eigenvalue.where(eigenvalue > 0), x="epoch", x_title="Epoch", x_scale="log",
        y_title="Largest eigenvalue, preconditioned", references=[Reference(limit, "threshold of stability")],
    )  # fmt: skip
    return Figure(
        name="preconditioned-eigenvalue",
        title="Does Adam train at the edge of stability?",
        panels=(panel(chart, "Curvature"),),
        finding=f"{_against_threshold(whole)} {_highest(whole)}",
        reading="Logarithmic axes. Above the dashed line Adam's steps along the sharpest direction overshoot by more "
        "each time. Where one member lies far from the others, the interval of the mean is wide on both sides.",
    )
