"""The figures of `depth-classification`, and what they show in words."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from bathymetry.charts import Figure, curves, panel
from bathymetry.stats import LOG, logit_accuracy, mean_interval
from bathymetry.studies.wording import joined, number


def figures(results: xr.DataTree) -> Sequence[Figure]:
    """Draw the study's figures.

    Args:
        results: Its results.

    Returns:
        Figures 5 and 6.
    """
    whole = results.to_dataset()
    return (_loss(whole), _accuracy(whole))


def seen(results: xr.DataTree) -> Sequence[str]:
    """Say what was seen.

    Args:
        results: The study's results.

    Returns:
        A sentence on the end of training, one on the best epoch.
    """
    whole = results.to_dataset()
    epochs = int(whole["epoch"].max())
    return (
        f"After {epochs} epochs the mean test accuracy (on the logit scale) is {_accuracies(whole, 'test', epochs)}.",
        f"The mean training accuracy then is {_accuracies(whole, 'train', epochs)}.",
        f"Mean test loss is lowest at epoch {_lowest(whole)}.",
    )


def _networks(whole: xr.Dataset) -> list[str]:
    return [str(name) for name in whole["network"].values]


def _accuracies(whole: xr.Dataset, half: str, epoch: int) -> str:
    words = []
    for name in _networks(whole):
        values = whole[f"{half}_accuracy"].sel(network=name, epoch=epoch).values
        band = mean_interval(values, transform=logit_accuracy(int(whole[f"{half}_examples"])))
        low, high = float(band.low) * 100, float(band.high) * 100
        words.append(f"{float(band.centre) * 100:.2f} % ({low:.2f} to {high:.2f} %) in the {name} network")
    return joined(words)


def _lowest(whole: xr.Dataset) -> str:
    words = []
    for name in _networks(whole):
        centre = mean_interval(whole["test_loss"].sel(network=name).transpose("member", "epoch").values, 0, LOG).centre
        words.append(f"{int(whole['epoch'].values[int(np.nanargmin(centre))])} in the {name} network")
    return joined(words)


def _loss(whole: xr.Dataset) -> Figure:
    chart = curves(
        whole["train_loss"], x="epoch", series="network", x_title="Epoch", y_title="Training loss (cross-entropy)",
        behind=whole["last_batch_loss"].isel(member=0, drop=True), behind_label="last mini-batch, first member",
    )  # fmt: skip
    last = whole.isel(epoch=-1)
    words = []
    for name in _networks(whole):
        band = mean_interval(last["train_loss"].sel(network=name).values, transform=LOG)
        interval = f"{number(float(band.low))} to {number(float(band.high))}"
        words.append(f"{number(float(band.centre))} ({interval}) in the {name}")
    return Figure(
        name="05-training-loss",
        title="Which network's training loss falls fastest?",
        panels=(panel(chart, "Training loss"),),
        finding=f"After {int(last['epoch'])} epochs the geometric mean of the training loss (with its 95 % interval) "
        f"is {joined(words)} network.",
        reading="Logarithmic axes. The loss over the whole training set; behind it, jagged, the last mini-batch's loss "
        "of one member, which is what a training loop usually prints.",
        number=5,
    )


def _accuracy(whole: xr.Dataset) -> Figure:
    panels = tuple(
        panel(
            curves(
                whole[f"{half}_accuracy"].isel(epoch=slice(1, None)), x="epoch", series="network", x_title="Epoch",
                y_title=f"{title} accuracy", y_scale="accuracy", y_domain=_domain(whole, half),
                examples=int(whole[f"{half}_examples"]),
            ),
            f"{title} accuracy",
        )
        for half, title in (("train", "Training"), ("test", "Test"))
    )  # fmt: skip
    epochs = int(whole["epoch"].max())
    return Figure(
        name="06-accuracy",
        title="Which network is most accurate?",
        panels=panels,
        finding=f"After {epochs} epochs the mean test accuracy (on the logit scale, with its 95 % interval) is "
        f"{_accuracies(whole, 'test', epochs)}.",
        reading="A logarithmic axis of epochs and logit axes of accuracy, each panel its own. Where a member gets "
        "everything right for an epoch its line leaves the panel, which reaches as far as the means' intervals.",
        number=6,
    )


def _domain(whole: xr.Dataset, half: str) -> tuple[float, float]:
    """Reach over all members; where one gets everything right, only to the top of the means' intervals."""
    values = whole[f"{half}_accuracy"].isel(epoch=slice(1, None)).transpose("member", "network", "epoch").values
    band = mean_interval(values, 0, logit_accuracy(int(whole[f"{half}_examples"])))
    tops = np.where(np.isfinite(band.high), band.high, band.centre) if np.nanmax(values) == 1 else values
    return float(np.nanmin(values)), float(np.nanmax(tops))
