"""The figures of `interpolation`, and what they show in words."""

from collections.abc import Sequence

import xarray as xr

from bathymetry.charts import Figure, Panel, Reference, curves, panel
from bathymetry.charts.explicit import dot_chart as dots
from bathymetry.studies.wording import joined, number

_HALVES = {"train": "training", "test": "test"}


def figures(results: xr.DataTree) -> Sequence[Figure]:
    """Draw the study's figures.

    Args:
        results: Its results.

    Returns:
        Figure 15, then the other pairings, the barriers, and the way from the start.
    """
    whole = results.to_dataset()
    start = results["from_start"].to_dataset()
    ends = _ends(results)
    return (_between(whole, ends), _pairings(whole, ends), _barriers(whole), _from_start(start))


def _rates(results: xr.DataTree) -> tuple[float, float]:
    settings = results.attrs["settings"]
    return float(settings["first_rate"]), float(settings["second_rate"])


def _ends(results: xr.DataTree) -> tuple[Reference, ...]:
    # Where the two networks are, named by what they were trained with.
    return tuple(Reference(float(at), f"rate {rate:g}", "x") for at, rate in enumerate(_rates(results)))


def seen(results: xr.DataTree) -> Sequence[str]:
    """Say what was seen.

    Args:
        results: The study's results.

    Returns:
        How deep the valley of accuracy is, how high the barriers are, and whether the loss falls from the start.
    """
    whole = results.to_dataset()
    start = results["from_start"].to_dataset()["monotone"].astype(bool)
    half = whole["test_accuracy"].sel(alpha=0.5, method="nearest")
    words = [f"{_percent(half.sel(pairing=name))} between {name} pairs" for name in _pairs(whole)]
    falls = [
        f"{int(start.sel(learning_rate=rate).sum())} of {start.sizes['member']} members at {float(rate):g}"
        for rate in start["learning_rate"].values
    ]
    first, second = _rates(results)
    return (
        f"Networks of learning rate {first:g} (α = 0) are joined to networks of rate {second:g} (α = 1). Half way, the "
        f"median test accuracy is {joined(words)}.",
        f"The median barrier of the training loss {_median_barriers(whole)}.",
        f"On the line from start to solution the training loss never rises in {joined(falls)}.",
    )


def _pairs(whole: xr.Dataset) -> list[str]:
    return [str(name) for name in whole["pairing"].values]


def _percent(values: xr.DataArray) -> str:
    return f"{100 * float(values.median()):.1f} %"


def _median_barriers(whole: xr.Dataset) -> str:
    # Above the mean of unequal ends there is a rise even on a line that only falls, so the other is told first.
    words = []
    for quantity, over in (("loss, line", "the straight line between the ends"), ("loss, mean", "their mean")):
        rise = whole["barrier"].sel(quantity=quantity).median("member")
        each = [f"{number(float(rise.sel(pairing=name)))} for {name} pairs" for name in _pairs(whole)]
        words.append(f"above {over} is {joined(each)}")
    return joined(words)


def _halves(one: xr.Dataset, quantity: str) -> xr.DataArray:
    names = xr.Variable("examples", list(_HALVES.values()))
    return xr.concat([one[f"{half}_{quantity}"] for half in _HALVES], names)


def _between(whole: xr.Dataset, ends: Sequence[Reference]) -> Figure:
    one = whole.sel(pairing="independent")
    half = one["test_accuracy"].sel(alpha=0.5, method="nearest")
    at = [one["test_accuracy"].sel(alpha=end.value, method="nearest") for end in ends]
    loss = curves(
        _halves(one, "loss"), x="alpha", series="examples", x_title="α", x_scale="linear",
        y_title="Loss (cross-entropy)", references=ends,
    )  # fmt: skip
    accuracy = curves(
        _halves(one, "accuracy"), x="alpha", series="examples", x_title="α", x_scale="linear", y_title="Accuracy",
        y_scale="linear", y_domain=(0.0, 1.0), references=ends,
    )  # fmt: skip
    return Figure(
        name="15-between-two-solutions",
        title="What lies between two solutions?",
        panels=(panel(loss, "Loss"), panel(accuracy, "Accuracy")),
        finding=f"Between independent pairs the median test accuracy is {_percent(half)} half way, {_percent(at[0])} "
        f"at α = 0 ({ends[0].label}) and {_percent(at[1])} at α = 1 ({ends[1].label}).",
        reading="The loss on a logarithmic axis, the accuracy as a share of the examples. α = 0 and α = 1 are the two "
        "networks themselves.",
        number=15,
    )


def _pairings(whole: xr.Dataset, ends: Sequence[Reference]) -> Figure:
    loss = curves(
        whole["train_loss"], x="alpha", series="pairing", x_title="α", x_scale="linear",
        y_title="Training loss (cross-entropy)", references=ends,
    )  # fmt: skip
    accuracy = curves(
        whole["test_accuracy"], x="alpha", series="pairing", x_title="α", x_scale="linear", y_title="Test accuracy",
        y_scale="linear", y_domain=(0.0, 1.0), references=ends,
    )  # fmt: skip
    return Figure(
        name="pairings",
        title="Does it help to share the start, or to align the hidden units?",
        panels=(panel(loss, "Training loss"), panel(accuracy, "Test accuracy")),
        finding=f"The median barrier of the training loss {_median_barriers(whole)}.",
        reading="Aligning permutes hidden units and changes no network; it changes the line between two of them.",
    )


def _barriers(whole: xr.Dataset) -> Figure:
    titles = {
        "loss, mean": "Loss barrier above the mean of the ends",
        "error, line": "Error barrier above the line between the ends",
    }
    panels: list[Panel] = [
        panel(dots(whole["barrier"].sel(quantity=quantity), category="pairing", title=title, each="pair"), title)
        for quantity, title in titles.items()
    ]
    error = whole["barrier"].sel(quantity="error, line")
    words = [f"{_percent(error.sel(pairing=name))} for {name} pairs" for name in _pairs(whole)]
    return Figure(
        name="barriers",
        title="How high is the barrier between two solutions?",
        panels=tuple(panels),
        finding="The median barrier of the training error, above the straight line between the ends, is "
        f"{joined(words)}.",
        reading="The largest value for α between 0 and 1, above the mean of the ends or above the straight line "
        "between them. One dot a pair.",
    )


def _from_start(start: xr.Dataset) -> Figure:
    loss = start["train_loss"].sel(alpha=slice(-0.01, 1.01))
    loss = loss.assign_coords(learning_rate=[f"rate {float(rate):g}" for rate in loss["learning_rate"].values])
    chart = curves(
        loss, x="alpha", series="learning_rate", x_title="α, from start to solution", x_scale="linear",
        y_title="Training loss (cross-entropy)",
    )  # fmt: skip
    monotone = start["monotone"].astype(bool)
    words = [
        f"{int(monotone.sel(learning_rate=rate).sum())} of {monotone.sizes['member']} at {float(rate):g}"
        for rate in monotone["learning_rate"].values
    ]
    return Figure(
        name="from-start",
        title="Does the loss fall all the way from start to solution?",
        panels=(panel(chart, "Training loss"),),
        finding=f"It never rises in {joined(words)}.",
        reading="The straight line from a member's own start to where training took it, on a logarithmic axis.",
    )
