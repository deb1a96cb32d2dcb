"""The figures of `depth-function`, and what they show in words."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from bathymetry.charts import Figure, Reference, curves, panel
from bathymetry.charts.explicit import dot_chart as dots
from bathymetry.charts.explicit import prediction_chart as predictions
from bathymetry.data import FUNCTIONS
from bathymetry.stats import LOG, mean_interval
from bathymetry.studies.wording import joined, number

_NUMBERS = {"loss": {"cos": 1, "arcsinh": 2}, "prediction": {"arcsinh": 3, "cos": 4}}


def figures(results: xr.DataTree) -> Sequence[Figure]:
    """Draw the study's figures.

    Args:
        results: Its results.

    Returns:
        Losses and predictions for each function, then when members fit, dead units and straight pieces.
    """
    whole = results.to_dataset()
    names = [str(one) for one in whole["function"].values]
    drawn = [_loss(whole, name, place) for place, name in enumerate(names)]
    drawn += [_prediction(whole, name, place) for place, name in enumerate(names)]
    drawn.sort(key=lambda one: (one.number is None, one.number or 0))
    return [*drawn, _epochs_to_fit(whole), _dead_units(whole), _linear_pieces(whole)]


def seen(results: xr.DataTree) -> Sequence[str]:
    """Say what was seen.

    Args:
        results: The study's results.

    Returns:
        One sentence a function, one on where the last epochs go beyond the report's.
    """
    whole = results.to_dataset()
    sentences = [f"On {_formula(name)}, {_fit_counts(whole.sel(function=name))}." for name in _each_function(whole)]
    straightness = [f"{number(100 * float(r2))} % of the variance of {_formula(str(name))}" for name, r2 in _r2(whole)]
    sentences.append(f"A straight line explains {joined(straightness)}.")
    return sentences


def _r2(whole: xr.Dataset) -> list[tuple[str, float]]:
    return [(str(name), float(whole["straight_line_r2"].sel(function=name))) for name in whole["function"].values]


def _formula(name: str) -> str:
    return f"{name}(x)" if name in FUNCTIONS else name


def _subject(name: str, place: int) -> str:
    return name if name.isalnum() else f"function-{place + 1}"


def _fit_counts(one: xr.Dataset) -> str:
    words = []
    for network in map(str, one["network"].values):
        times = one["epochs_to_fit"].sel(network=network).values
        count = int(np.isfinite(times).sum())
        middle = f" (half of them by epoch {np.median(times):,.0f})" if count == len(times) else ""
        words.append(f"{count} of {len(times)} {network}{middle}")
    return f"{joined(words)} networks fit within {int(one['epoch'].max()):,} epochs"


def _final_losses(one: xr.Dataset) -> str:
    words = []
    for network in map(str, one["network"].values):
        last = one["train_loss"].sel(network=network).isel(epoch=-1).values
        band = mean_interval(last, transform=LOG)
        words.append(
            f"{number(float(band.centre))} ({number(float(band.low))} to {number(float(band.high))}) in the {network} "
            "network"
        )
    return joined(words)


def _loss(whole: xr.Dataset, name: str, place: int) -> Figure:
    one = whole.sel(function=name)
    variance = float(one["target_variance"].sel(split="train"))
    lines = [
        Reference(0.01 * variance, "1 % of the variance: fits"),
        Reference(variance, "the loss of a constant answer", at="end"),
    ]
    chart = curves(
        one["train_loss"], x="epoch", series="network", x_title="Epoch", y_title="Training loss (mean squared error)",
        references=lines,
    )  # fmt: skip
    epochs = int(one["epoch"].max())
    figure_number = _NUMBERS["loss"].get(name)
    return Figure(
        name=f"{figure_number:02d}-loss-{name}" if figure_number else f"loss-{_subject(name, place)}",
        title=f"Which network learns {_formula(name)} fastest?",
        panels=(panel(chart, "Training loss"),),
        finding=f"After {epochs:,} epochs the geometric mean of the training loss (with its 95 % interval) is "
        f"{_final_losses(one)}.",
        reading="Both axes are logarithmic. A member fits once its loss is below 1 % of the target's variance, "
        f"{number(0.01 * variance)}; a constant can't get below the variance itself, {number(variance)}.",
        number=figure_number,
    )


def _prediction(whole: xr.Dataset, name: str, place: int) -> Figure:
    one = whole.sel(function=name)
    truth = one["target"]
    margin = 0.35 * float(truth.max() - truth.min() or 1)
    domain = (float(truth.min()) - margin, float(truth.max()) + margin)
    names = [str(network) for network in one["network"].values]
    panels = tuple(
        panel(
            predictions(
                one["prediction"].sel(network=network), truth, x_title="x", y_title="Prediction",
                truth_label=_formula(name), y_domain=domain, series_index=index,
            ),
            f"{network}, {int(one['parameter_count'].sel(network=network)):,} parameters",
        )
        for index, network in enumerate(names)
    )  # fmt: skip
    errors = abs(one["prediction"] - truth).median(("member", "x"))
    typical = joined([f"{number(float(errors.sel(network=network)))} in the {network} network" for network in names])
    figure_number = _NUMBERS["prediction"].get(name)
    return Figure(
        name=f"{figure_number:02d}-prediction-{name}" if figure_number else f"prediction-{_subject(name, place)}",
        title=f"What has each network made of {_formula(name)}?",
        panels=panels,
        finding=f"The median distance between prediction and truth, over all members and inputs, is {typical}.",
        reading="One panel a network: its members, their mean with its interval, and the true function.",
        number=figure_number,
    )


def _each_function(whole: xr.Dataset) -> list[str]:
    return [str(name) for name in whole["function"].values]


def _epochs_to_fit(whole: xr.Dataset) -> Figure:
    finite = whole["epochs_to_fit"].where(np.isfinite(whole["epochs_to_fit"]))
    low, high = finite.min().item(), max(finite.max().item(), 1.0)
    domain = (max(low / 1.3, 0.7), high * 1.3) if np.isfinite(low) else (1.0, max(2.0, float(whole["epoch"].max())))
    panels = tuple(
        panel(
            dots(
                whole["epochs_to_fit"].sel(function=name), category="network", title="Epochs to fit", scale="log",
                domain=domain, never="never fit",
            ),
            _formula(name),
        )
        for name in _each_function(whole)
    )  # fmt: skip
    counts = [f"on {_formula(name)} {_share_fitting(whole.sel(function=name))}" for name in _each_function(whole)]
    return Figure(
        name="epochs-to-fit",
        title="When does each member fit?",
        panels=panels,
        finding=f"Members that fit at all: {'; '.join(counts)}.",
        reading="One dot a member, at the first epoch whose training loss is below 1 % of the target's variance. A row "
        "in which a member never fits has no mean.",
    )


def _share_fitting(one: xr.Dataset) -> str:
    times = one["epochs_to_fit"]
    return joined([
        f"{int(np.isfinite(times.sel(network=network)).sum())} of {times.sizes['member']} {network}"
        for network in map(str, times["network"].values)
    ])  # fmt: skip


def _dead_units(whole: xr.Dataset) -> Figure:
    share = whole["dead_share"]
    panels = tuple(
        panel(
            dots(
                share.sel(function=name),
                category="network",
                title="Share of dead hidden units",
                domain=(0.0, 1.0),
                possible=(0.0, 1.0),
            ),
            _formula(name),
        )
        for name in _each_function(whole)
    )
    means = joined([f"{float(share.sel(network=n).mean()):.0%} of {n}" for n in map(str, share["network"].values)])
    return Figure(
        name="dead-units",
        title="How many hidden units have died?",
        panels=panels,
        finding=f"On average {means.replace('%', ' %')} hidden units are zero for every training input.",
        reading="A dead unit is zero for every training input, so no gradient reaches it. One dot a member.",
    )


def _linear_pieces(whole: xr.Dataset) -> Figure:
    pieces, line, bound = whole["linear_pieces"], whole["linear_pieces_line"], whole["linear_pieces_bound"]
    low, high = (float(whole["x"].values[end]) for end in (0, -1))
    interval = f"({low:g}, {high:g})".replace("-", "−")
    panels = tuple(
        panel(
            dots(
                pieces.sel(function=name), category="network", title=f"Straight pieces on {interval}", scale="log",
                bounds=bound, bounds_label="simple upper bound, whole line",
            ),
            _formula(name),
        )
        for name in _each_function(whole)
    )  # fmt: skip
    words = joined([
        f"{float(pieces.sel(network=n).mean()):.0f} in the {n} network ({float(line.sel(network=n).mean()):.0f} over "
        f"the whole line, at most {float(bound.sel(network=n)):,.0f})"
        for n in map(str, pieces["network"].values)
    ])  # fmt: skip
    return Figure(
        name="linear-pieces",
        title="Straight pieces of each learned function",
        panels=panels,
        finding=f"On {interval} the mean count over functions and members is {words}.",
        reading=f"A ReLU network of one input is a chain of straight pieces, counted exactly on {interval}, where the "
        "function is learned. Others lie outside. The bound is for the whole line: h + 1 for one hidden layer of h "
        "units, and the product of such factors for several layers.",
    )
