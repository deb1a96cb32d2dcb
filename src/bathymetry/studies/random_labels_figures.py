"""The figures of `random-labels`, and what they show in words."""

import math
from collections.abc import Sequence

import xarray as xr

from bathymetry.charts import Figure, Reference, curves, panel
from bathymetry.charts.explicit import scatter_chart as scatter
from bathymetry.studies.legacy import group_of
from bathymetry.studies.random_labels import ENOUGH
from bathymetry.studies.wording import joined, number


def figures(results: xr.DataTree) -> Sequence[Figure]:
    """Draw the study's figures.

    Args:
        results: Its results.

    Returns:
        Figure 12, then the memorisation grid by images and by parameters.
    """
    whole = results.to_dataset()
    grid, chance = group_of(results, "memorisation"), 1 / int(whole["classes"])
    return (_losses(whole), _memorised(grid, chance), _by_parameters(grid, chance))


def seen(results: xr.DataTree) -> Sequence[str]:
    """Say what was seen.

    Args:
        results: The study's results.

    Returns:
        Where the losses end, and what is memorised most and least.
    """
    whole, grid = results.to_dataset(), group_of(results, "memorisation")
    return (_ends(whole), _extremes(grid))


def _ends(whole: xr.Dataset) -> str:
    last = whole.isel(epoch=-1)
    uniform = math.log(int(whole["classes"]))
    return (
        f"After {int(whole['epoch'].max())} epochs the median training loss is {_median(last['train_loss'])}; on test "
        f"examples it is {_median(last['test_loss'].sel(labels='random'))} with random labels and "
        f"{_median(last['test_loss'].sel(labels='true'))} with the true ones; a uniform guess has {number(uniform, 3)}."
    )


def _median(values: xr.DataArray) -> str:
    return number(float(values.median()), 3)


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
        references=(Reference(math.log(classes), f"uniform guess, ln {classes}", "y", "end"),),
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


def _named(grid: xr.Dataset) -> xr.Dataset:
    return grid.assign_coords(network=[f"hidden {name}" for name in grid["network"].values.tolist()])


def _memorised(grid: xr.Dataset, chance: float) -> Figure:
    by_images = curves(
        _named(grid)["memorised_accuracy"], x="images", series="network", x_title="Images to memorise", x_scale="log",
        y_title="Training accuracy", y_scale="linear", y_domain=(0.0, 1.0), members="dots",
        references=(Reference(chance, "chance", "y"),),
    )  # fmt: skip
    return Figure(
        name="memorisation",
        title="How many random labels does a network memorise?",
        panels=(panel(by_images, "Training accuracy"),),
        finding=_extremes(grid),
        reading="One dot a member, trained until it has 99.9 % or its epochs are over.",
    )


def _by_parameters(grid: xr.Dataset, chance: float) -> Figure:
    named = _named(grid)
    each = (named["parameter_count"] / named["bits"]).broadcast_like(named["memorised_accuracy"])
    chart = scatter(
        _all_images(each), _all_images(named["memorised_accuracy"]), group="network",
        x_title="Parameters for each bit of the labels", y_title="Training accuracy", x_scale="log",
        y_domain=(0.0, 1.03), references=(Reference(chance, "chance", "y"),),
    )  # fmt: skip
    whole = (grid["memorised_accuracy"] >= ENOUGH).all("member")
    fewest = float((grid["parameter_count"] / grid["bits"]).where(whole).min())
    words = f"from {number(fewest)} parameters a bit" if fewest == fewest else "with none of these networks"
    return Figure(
        name="memorisation-by-parameters",
        title="How many parameters does a bit of random labels take?",
        panels=(panel(chart, "Training accuracy"),),
        finding=f"Cells in which every member memorises 99 % are met {words}.",
        reading="One mark a member. To store n labels of c classes takes n log₂ c bits; with ten classes 3.32 each.",
    )
