"""The figures of `random-labels`, and what they show in words."""

import math
from collections.abc import Sequence

import xarray as xr

from bathymetry.charts import Figure, Reference, curves, panel, scatter
from bathymetry.studies.random_labels import grid_of
from bathymetry.studies.wording import joined, number


def figures(results: xr.DataTree) -> Sequence[Figure]:
    """Draw the study's figures.

    Args:
        results: Its results.

    Returns:
        Figure 12, then the memorisation grid.
    """
    whole = results.to_dataset()
    return (_losses(whole), _memorised(grid_of(results), 1 / int(whole["classes"])))


def seen(results: xr.DataTree) -> Sequence[str]:
    """Say what was seen.

    Args:
        results: The study's results.

    Returns:
        Where the losses end, and what is memorised most and least.
    """
    whole, grid = results.to_dataset(), grid_of(results)
    return (_ends(whole), _extremes(grid))


def _ends(whole: xr.Dataset) -> str:
    last = whole.isel(epoch=-1)
    uniform = math.log(int(whole["classes"]))
    return (
        f"After {int(whole['epoch'].max())} epochs the median training loss is {_median(last['train_loss'])}; on test "
        f"examples it is {_median(last['test_loss'].sel(labels='random'))} with random labels and "
        f"{_median(last['test_loss'].sel(labels='true'))} with the true ones; a uniform guess has {number(uniform)}."
    )


def _median(values: xr.DataArray) -> str:
    return number(float(values.median()))


def _extremes(grid: xr.Dataset) -> str:
    middle = grid["memorised_accuracy"].median("member")
    words = []
    for name in grid["network"].values.tolist():
        shares = [
            f"{100 * float(middle.sel(network=name, images=images)):.1f} % of {images:,}"
            for images in grid["images"].values.tolist()
        ]
        words.append(f"hidden {name}: {joined(shares)}")
    return f"Median share of random labels memorised: {'; '.join(words)} images."


def _losses(whole: xr.Dataset) -> Figure:
    kinds = {
        "training, random labels": whole["train_loss"],
        "test, random labels": whole["test_loss"].sel(labels="random", drop=True),
        "test, true labels": whole["test_loss"].sel(labels="true", drop=True),
    }
    classes = int(whole["classes"])
    loss = curves(
        xr.concat(list(kinds.values()), xr.Variable("examples", list(kinds))), x="epoch", series="examples",
        x_title="Epoch", y_title="Loss (cross-entropy)",
        references=(Reference(math.log(classes), f"uniform guess, ln {classes}", "y"),),
    )  # fmt: skip
    return Figure(
        name="12-random-labels",
        title="What happens to the loss when labels mean nothing?",
        panels=(panel(loss, "Loss"),),
        finding=_ends(whole),
        reading="Every member has labels of its own. Both axes are logarithmic; epoch 0 is the initialisation.",
        number=12,
    )


def _all_images(values: xr.DataArray) -> xr.DataArray:
    """Put the members of all numbers of images on one axis."""
    long = values.transpose("network", "images", "member")
    return xr.DataArray(
        long.values.reshape(long.sizes["network"], -1), {"network": long["network"].values}, ("network", "member")
    )


def _memorised(grid: xr.Dataset, chance: float) -> Figure:
    named = grid.assign_coords(network=[f"hidden {name}" for name in grid["network"].values.tolist()])
    reference = (Reference(chance, "chance", "y"),)
    by_images = curves(
        named["memorised_accuracy"], x="images", series="network", x_title="Images to memorise", x_scale="log",
        y_title="Training accuracy", y_scale="linear", y_domain=(0.0, 1.0), references=reference, members="dots",
    )  # fmt: skip
    each = (named["parameter_count"] / named["bits"]).broadcast_like(named["memorised_accuracy"])
    by_parameters = scatter(
        _all_images(each), _all_images(named["memorised_accuracy"]), group="network", x_title="Parameters for each bit of the labels", y_title="Training accuracy", x_scale="log",
        y_domain=(0.0, 1.0), references=reference,
    )  # fmt: skip
    return Figure(
        name="memorisation",
        title="How many random labels does a network memorise?",
        panels=(panel(by_images, "By images"), panel(by_parameters, "By parameters for each bit")),
        finding=_extremes(grid),
        reading="One dot a member, trained until it has 99.9 % or its epochs are over. To store n labels of ten "
        "classes takes n log₂ 10 bits.",
    )
