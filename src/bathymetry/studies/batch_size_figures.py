"""The figures of `batch-size`, and what they show in words."""

import math
from collections.abc import Sequence
from typing import Any

import xarray as xr

from bathymetry.charts import Figure, Panel, curves, panel
from bathymetry.charts.explicit import dot_chart as dots
from bathymetry.studies.wording import joined, number

_HALVES = {"train": "training", "test": "test"}
_TRAINED = 0.5  # of the best training accuracy; a batch that ends below that share of it is hardly trained
_SIZE = "Batch size (examples)"
_SHARP = {"keskar": "Keskar's sharpness", "eigenvalue": "Largest eigenvalue", "trace": "Trace of the Hessian"}


def figures(results: xr.DataTree) -> Sequence[Figure]:
    """Draw the study's figures.

    Args:
        results: Its results.

    Returns:
        Figures 16 and 17, then what stands beside them.
    """
    whole = results.to_dataset()
    return (
        _accuracy(results), _loss(whole), _equal_steps(whole), _sensitivities(whole), _sharpness(results),
        _noise(whole), _left_over(whole),
    )  # fmt: skip


def seen(results: xr.DataTree) -> Sequence[str]:
    """Say what was seen.

    Args:
        results: The study's results.

    Returns:
        Where accuracy is best, how much the largest batch is trained, and how far sensitivity and curvature reach; at
        equal epochs and at equal steps.
    """
    whole = results.to_dataset()
    return (
        f"Median test accuracy is {_best(whole, 'epochs')}, and {_best(whole, 'steps')}.",
        trained(results),
        _ends(whole["sensitivity"].sel(of="loss"), "sensitivity of the loss"),
        _ends(whole["sharpness"].sel(kind="eigenvalue"), "largest eigenvalue of the Hessian"),
    )


def trained(results: xr.DataTree) -> str:
    """Say how much the largest batch is trained where epochs are equal.

    Args:
        results: The study's results.

    Returns:
        Its steps beside those of the smallest batch, its training accuracy, and what to make of that.
    """
    whole, settings = results.to_dataset(), results.attrs["settings"]
    examples, epochs = int(whole["train_examples"]), int(settings["epochs"])
    sizes = sorted(whole["batch_size"].values.tolist())
    most, least = (epochs * math.ceil(examples / size) for size in (sizes[0], sizes[-1]))
    reached = whole["train_accuracy"].sel(matching="epochs").median("member")
    last, best = float(reached.sel(batch_size=sizes[-1])), float(reached.max())
    verdict = ": it is hardly trained" if last < _TRAINED * best else ""
    return (
        f"At equal epochs batch {sizes[-1]:,} makes {least:,} steps where batch {sizes[0]:,} makes {most:,}, and ends "
        f"at a median training accuracy of {100 * last:.1f} %{verdict}."
    )


def _best(whole: xr.Dataset, matching: str) -> str:
    middle = whole["test_accuracy"].sel(matching=matching).median("member")
    size = int(middle["batch_size"][int(middle.values.argmax())])
    return f"highest at batch {size:,} with {100 * float(middle.max()):.2f} % at equal {matching}"


def _ends(values: xr.DataArray, name: str) -> str:
    # Tell both, for at equal epochs a large batch is also one that was trained for fewer steps.
    words: list[str] = []
    for matching in values["matching"].values.tolist():
        middle = values.sel(matching=matching).median("member")
        sizes = middle["batch_size"].values.tolist()
        first, last = (float(middle.sel(batch_size=size)) for size in (min(sizes), max(sizes)))
        way = "rises" if last > first else "falls"
        at = [f" at batch {size:,}" if not words else "" for size in (min(sizes), max(sizes))]
        words.append(f"{way} from {number(first)}{at[0]} to {number(last)}{at[1]} at equal {matching}")
    return f"The median {name} {joined(words)}."


def _by_size(values: xr.DataArray, title: str, **more: Any) -> Any:
    return curves(values, x="batch_size", x_title=_SIZE, x_scale="log", y_title=title, **more)


def _halves(one: xr.Dataset, quantity: str) -> xr.DataArray:
    names = xr.Variable("examples", list(_HALVES.values()))
    return xr.concat([one[f"{half}_{quantity}"] for half in _HALVES], names)


def _sensitivity(whole: xr.Dataset, of: str) -> Panel:
    title = f"Sensitivity of the {of}"
    return panel(_by_size(_named(whole["sensitivity"].sel(of=of)), title, series="matching"), title)


def _accuracy(results: xr.DataTree) -> Figure:
    whole = results.to_dataset()
    one = whole.sel(matching="epochs")
    chart = _by_size(
        _halves(one, "accuracy"), "Accuracy", series="examples", y_scale="accuracy",
        examples=int(whole["test_examples"]),
    )  # fmt: skip
    return Figure(
        name="16-accuracy-and-sensitivity",
        title="Does the batch size decide accuracy and sensitivity?",
        panels=(panel(chart, "Accuracy at equal epochs"), _sensitivity(whole, "probabilities")),
        finding=f"Median test accuracy is {_best(whole, 'epochs')}. {trained(results)} "
        + _ends(whole["sensitivity"].sel(of="probabilities"), "sensitivity of the probabilities"),
        reading="At equal epochs small batches make many more steps; at equal steps large batches see many more "
        "examples. Beside the accuracy stands how sensitive the probabilities are that decide it: the mean norm of "
        "their derivative with respect to a test image.",
        number=16,
    )


def _loss(whole: xr.Dataset) -> Figure:
    one = whole.sel(matching="epochs")
    chart = _by_size(_halves(one, "loss"), "Loss (cross-entropy)", series="examples")
    middle = one["test_loss"].median("member")
    size = int(middle["batch_size"][int(middle.values.argmin())])
    return Figure(
        name="17-loss-and-sensitivity",
        title="Does the batch size decide loss and sensitivity?",
        panels=(panel(chart, "Loss at equal epochs"), _sensitivity(whole, "loss")),
        finding=f"Median test loss at equal epochs is lowest at batch {size:,} with {number(float(middle.min()))}. "
        + _ends(whole["sensitivity"].sel(of="loss"), "sensitivity of the loss"),
        reading="A training loss near zero beside a test loss that rises is overfitting. Sensitivity is the mean norm "
        "of the derivative of a test image's loss with respect to the image.",
        number=17,
    )


def _named(values: xr.DataArray) -> xr.DataArray:
    return values.assign_coords(matching=[f"equal {name}" for name in values["matching"].values.tolist()])


def _equal_steps(whole: xr.Dataset) -> Figure:
    accuracy = _by_size(
        _named(whole["test_accuracy"]), "Test accuracy", series="matching", y_scale="accuracy",
        examples=int(whole["test_examples"]),
    )  # fmt: skip
    loss = _by_size(_named(whole["test_loss"]), "Test loss (cross-entropy)", series="matching")
    return Figure(
        name="equal-steps",
        title="Is it the batch size, or the number of steps?",
        panels=(panel(accuracy, "Test accuracy"), panel(loss, "Test loss")),
        finding=f"Median test accuracy is {_best(whole, 'epochs')}, and {_best(whole, 'steps')}.",
        reading="At equal epochs every example is seen as often; at equal steps every network is changed as often.",
    )


def _sensitivities(whole: xr.Dataset) -> Figure:
    names = {"loss": "Of the loss", "logits": "Of the logits", "probabilities": "Of the probabilities"}
    panels = [
        panel(_by_size(_named(whole["sensitivity"].sel(of=of)), "Sensitivity", series="matching", height=240), title)
        for of, title in names.items()
    ]
    return Figure(
        name="sensitivities",
        title="To what does the network react, and how strongly?",
        panels=tuple(panels),
        finding=_ends(whole["sensitivity"].sel(of="logits"), "sensitivity of the logits"),
        reading="Mean Frobenius norms of derivatives with respect to a test image. The logits may be sensitive where "
        "the loss is not: an example that is classified with certainty has no loss to change.",
    )


def _sharpness(results: xr.DataTree) -> Figure:
    whole = results.to_dataset()
    panels = []
    for kind, title in _SHARP.items():
        values = _named(whole["sharpness"].sel(kind=kind))
        panels.append(panel(_by_size(values.where(values > 0), title, series="matching", height=240), title))
    return Figure(
        name="sharpness",
        title="Do large batches end at sharper minima?",
        panels=tuple(panels),
        finding=f"{_ends(whole['sharpness'].sel(kind='eigenvalue'), 'largest eigenvalue')} {trained(results)}",
        reading="Measured on some of the training examples. None of the three is changed by the data's order; all of "
        "them are changed when a layer is scaled up and the next one down, which changes no output.",
    )


def _noise(whole: xr.Dataset) -> Figure:
    sizes = [f"Batch {size:,}" for size in whole["batch_size"].values.tolist()]
    values = whole["noise_scale"].assign_coords(batch_size=sizes)
    title = "Gradient noise scale (examples)"
    panels = [
        panel(
            dots(values.sel(matching=matching), category="batch_size", title=title, scale="log", never="infinite"),
            f"Equal {matching}",
        )
        for matching in values["matching"].values.tolist()
    ]
    return Figure(
        name="noise-scale",
        title="How many examples does it take to see the way down?",
        panels=tuple(panels),
        finding=_ends(whole["noise_scale"], "noise scale"),
        reading="tr(Σ) / ‖G‖², estimated from some of the training examples where training ended. It is infinite where "
        "these examples can't tell their mean gradient from none.",
    )


def _left_over(whole: xr.Dataset) -> Figure:
    values = whole["last_gradient_norm"]
    chart = _by_size(_named(values.where(values > 0)), "Norm of the parameter gradient", series="matching")
    return Figure(
        name="last-gradient",
        title="What does the gradient of the last mini-batch tell?",
        panels=(panel(chart, "Gradient of the last mini-batch"),),
        finding=_ends(values, "norm left over"),
        reading="The derivative by the parameters, not by the input, of one batch that chance chose: no sensitivity, "
        "though it has been plotted as one. The smaller the batch, the more of it is chance.",
    )
