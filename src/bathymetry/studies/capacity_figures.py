"""The figures of `capacity`, and what they show in words."""

from collections.abc import Sequence
from typing import Any

import xarray as xr

from bathymetry.charts import Figure, Reference, curves, panel
from bathymetry.studies.results import group_of
from bathymetry.studies.wording import joined, number

_HALVES = {"train": "training", "test": "test"}


def figures(results: xr.DataTree) -> Sequence[Figure]:
    """Draw the study's figures.

    Args:
        results: Its results.

    Returns:
        Figures 13 and 14, then the small-sample regime.
    """
    whole, few = _by_parameters(results.to_dataset()), _regime(results)
    return (_loss(whole), _accuracy(whole), _few_losses(few), _few_accuracies(few))


def seen(results: xr.DataTree) -> Sequence[str]:
    """Say what was seen.

    Args:
        results: The study's results.

    Returns:
        Where test loss and accuracy are best, and how the small-sample regime goes.
    """
    whole, few = _by_parameters(results.to_dataset()), _regime(results)
    return (_lowest(whole), _highest(whole), _descents(few))


def _by_parameters(whole: xr.Dataset) -> xr.Dataset:
    named = whole.assign_coords(network=whole["parameter_count"].values).rename(network="parameters")
    return named.sortby("parameters")


def _regime(results: xr.DataTree) -> xr.Dataset:
    few = group_of(results, "regime")
    few = few.assign_coords(hidden=few["parameter_count"].values).rename(hidden="parameters")
    return few.sortby("parameters")


def _halves(one: xr.Dataset, quantity: str) -> xr.DataArray:
    return xr.concat([one[f"{half}_{quantity}"] for half in _HALVES], xr.Variable("examples", list(_HALVES.values())))


def _chart(values: xr.DataArray, title: str, **more: Any) -> Any:
    return curves(
        values, x="parameters", x_title="Parameters", x_scale="log", y_title=title,
        series="examples" if "examples" in values.dims else "noise", **more,
    )  # fmt: skip


def _lowest(whole: xr.Dataset) -> str:
    middle = whole["test_loss"].median("member")
    shown = [number(float(one)) for one in middle]
    return _extreme(middle, int(middle.values.argmin()), "lowest median test loss", shown)


def _highest(whole: xr.Dataset) -> str:
    middle = whole["test_accuracy"].median("member")
    shown = [f"{100 * float(one):.2f} %" for one in middle]
    return _extreme(middle, int(middle.values.argmax()), "highest median test accuracy", shown)


def _extreme(middle: xr.DataArray, best: int, what: str, shown: Sequence[str]) -> str:
    """Name the network at an extreme, and the largest beside it if that is another."""
    count, largest = f"{int(middle['parameters'][best]):,}", f"{int(middle['parameters'][-1]):,}"
    if best == middle.sizes["parameters"] - 1:
        return f"The largest network ({count} parameters) has the {what}, {shown[best]}."
    return (
        f"The network with {count} parameters has the {what}, {shown[best]}; the largest ({largest}) has {shown[-1]}."
    )


def _descents(few: xr.Dataset) -> str:
    words = []
    for share in few["label_noise"].values.tolist():
        middle = few["test_loss"].sel(label_noise=share).median("member")
        worst = int(middle.values.argmax())
        words.append(
            f"with {100 * share:g} % of the labels drawn anew the median test loss is highest at "
            f"{int(middle['parameters'][worst]):,} parameters ({number(float(middle[worst]))}) and "
            f"{number(float(middle[-1]))} at {int(middle['parameters'][-1]):,}"
        )
    return f"In the small-sample regime, {joined(words)}."


def _loss(whole: xr.Dataset) -> Figure:
    return Figure(
        name="13-loss-by-parameters",
        title="Does the loss keep falling as networks grow?",
        panels=(panel(_chart(_halves(whole, "loss"), "Loss (cross-entropy)"), "Loss"),),
        finding=_lowest(whole),
        reading="Both axes are logarithmic. The same number of epochs for every network.",
        number=13,
    )


def _accuracy(whole: xr.Dataset) -> Figure:
    chart = _chart(
        _halves(whole, "accuracy"), "Accuracy", y_scale="accuracy", examples=int(whole["test_examples"])
    )  # fmt: skip
    return Figure(
        name="14-accuracy-by-parameters",
        title="Does the accuracy keep rising as networks grow?",
        panels=(panel(chart, "Accuracy"),),
        finding=_highest(whole),
        reading="The accuracy stands on a logit axis, which has room for every step toward 100 %.",
        number=14,
    )


def _noisy(few: xr.Dataset, quantity: str) -> xr.DataArray:
    names = [f"{100 * share:g} % of labels drawn anew" for share in few["label_noise"].values.tolist()]
    return few[quantity].rename(label_noise="noise").assign_coords(noise=names)


def _as_many_as_labels(few: xr.Dataset) -> tuple[Reference, ...]:
    count = int(few["few_examples"]) * int(few["classes"])
    fewest, most = int(few["parameters"].min()), int(few["parameters"].max())
    if not fewest <= count <= most:
        return ()
    return (Reference(count, "images × classes", "x", "end" if count**2 < fewest * most else "start"),)


def _few_losses(few: xr.Dataset) -> Figure:
    references = _as_many_as_labels(few)
    test = _chart(_noisy(few, "test_loss"), "Test loss (cross-entropy)", references=references)
    train = _chart(_noisy(few, "train_loss"), "Training loss (cross-entropy)", references=references)
    return Figure(
        name="few-examples-loss",
        title="Does the test loss rise and fall again on a small sample?",
        panels=(panel(test, "Test loss"), panel(train, "Training loss")),
        finding=_descents(few),
        reading="One hidden layer, trained for long on few images. Training loss is by the labels that were trained, "
        "test loss by the true ones.",
    )


def _few_accuracies(few: xr.Dataset) -> Figure:
    references = _as_many_as_labels(few)
    panels = [
        panel(_chart(_noisy(few, f"{half}_accuracy"), f"{name.capitalize()} accuracy", y_scale="linear",
                     references=references), name.capitalize())
        for half, name in (("test", "test"), ("train", "training"))
    ]  # fmt: skip
    middle = few["test_accuracy"].median("member").isel(parameters=-1)
    words = [
        f"{100 * float(middle.sel(label_noise=share)):.1f} % with {100 * share:g} % of the labels drawn anew"
        for share in few["label_noise"].values.tolist()
    ]
    return Figure(
        name="few-examples-accuracy",
        title="What does label noise cost, and does size mend it?",
        panels=tuple(panels),
        finding=f"The median test accuracy of the largest network is {joined(words)}.",
        reading="Training accuracy is by the labels that were trained: a network that reaches 100 % there has "
        "memorised the wrong ones too.",
    )
