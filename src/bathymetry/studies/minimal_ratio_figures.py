"""The figures of `minimal-ratio`, and what they show in words."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from bathymetry.charts import Figure, panel
from bathymetry.charts.explicit import dot_chart as dots
from bathymetry.charts.explicit import scatter_chart as scatter
from bathymetry.studies.minimal_ratio import NAMES, STATUSES
from bathymetry.studies.wording import joined, number

_MISSING = "no critical point"


def figures(results: xr.DataTree) -> Sequence[Figure]:
    """Draw the study's figures.

    Args:
        results: Its results.

    Returns:
        Figure 11, then the eigenvalues' signs and the gradient norms.
    """
    whole = _named(results.to_dataset())
    return (_ratio(whole), _signs(whole), _gradients(whole))


def seen(results: xr.DataTree) -> Sequence[str]:
    """Say what was seen.

    Args:
        results: The study's results.

    Returns:
        How many searches converged, how near to critical training ends, and what the critical points are.
    """
    whole = _named(results.to_dataset())
    norm = whole["gradient_norm"]
    fall = (norm.sel(phase="trained") / norm.sel(phase="initialisation")).median("member")
    words = [f"{number(100 * float(fall.sel(activation=name)))} % with {name}" for name in _activations(whole)]
    return (
        f"After training the median gradient norm is this share of that at initialisation: {joined(words)}.",
        f"Searches that reached a critical point: {_counts(whole)}.",
        *(_kinds(whole.sel(activation=name), name) for name in _activations(whole)),
    )


def _named(whole: xr.Dataset) -> xr.Dataset:
    return whole.assign_coords(activation=[NAMES.get(str(one), str(one)) for one in whole["activation"].values])


def _activations(whole: xr.Dataset) -> list[str]:
    return [str(name) for name in whole["activation"].values]


def _critical(whole: xr.Dataset) -> xr.DataArray:
    return whole["status"].sel(phase="critical", drop=True) == STATUSES.index("critical")


def _counts(whole: xr.Dataset) -> str:
    words = []
    for name in _activations(whole):
        one = whole.sel(activation=name)
        flat = int((one["status"].sel(phase="critical") == STATUSES.index("flat")).sum())
        beside = f" ({flat} ended at flat points)" if flat else ""
        words.append(f"{int(_critical(one).sum())} of {one.sizes['member']} with {name}{beside}")
    return joined(words)


def _kinds(one: xr.Dataset, name: str) -> str:
    chosen = _critical(one)
    if not bool(chosen.any()):
        return f"No critical point was found with {name}."
    at = one.sel(phase="critical").isel(member=np.flatnonzero(chosen.values))
    saddles, zeros = at["negative_share"] > 0, at["zero_share"].median()
    losses, constant = at["loss"], float(one["constant_loss"])
    plateau = int((abs(losses / constant - 1) < 1e-3).sum())
    return (
        f"Of the {at.sizes['member']} critical points with {name}, {int(saddles.sum())} have a direction that bends "
        f"down; {plateau} have the loss of a constant answer, {number(constant)}, the lowest is "
        f"{number(float(losses.min()))}; the "
        f"median share of zero eigenvalues is {number(100 * float(zeros))} %."
    )


def _ratio(whole: xr.Dataset) -> Figure:
    trained = whole.sel(phase="trained")
    critical = whole.sel(phase="critical").where(_critical(whole))
    panels = tuple(
        panel(
            scatter(
                one["minimal_ratio"], one["loss"], group="activation",
                x_title="Minimal ratio (share of eigenvalues > 0)",
                y_title="Training loss (mean squared error)", y_scale="log", x_domain=(-0.02, 1.02),
            ),
            words,
        )
        for one, words in ((trained, "After training"), (critical, "At critical points"))
    )  # fmt: skip
    return Figure(
        name="11-minimal-ratio",
        title="Is the minimal ratio higher where the loss is lower?",
        panels=panels,
        finding=f"Points in the right panel: {_counts(whole)}; the left panel's points are not critical.",
        reading="One point a member. The ratio says what kind of point it is only where the gradient vanishes, as in "
        "the right panel. Points may cover one another.",
        number=11,
    )


def _signs(whole: xr.Dataset) -> Figure:
    at = whole.sel(phase="critical").where(_critical(whole))
    panels = []
    for name in _activations(whole):
        one = at.sel(activation=name)
        shares = xr.concat(
            [one["minimal_ratio"], one["zero_share"], one["negative_share"]],
            xr.Variable("sign", ["positive", "zero", "negative"]),
        )
        chart = dots(
            shares,
            category="sign",
            title="Share of the eigenvalues",
            domain=(0.0, 1.0),
            possible=(0.0, 1.0),
            missing=_MISSING,
        )
        panels.append(panel(chart, name))
    tolerance = float(at["tolerance"].median())
    return Figure(
        name="eigenvalue-signs",
        title="How many directions bend up, lie flat and bend down at critical points?",
        panels=tuple(panels),
        finding=f"Eigenvalues count as zero within a tolerance of {number(tolerance)} (median).",
        reading="One dot a member. Searches that reached no critical point have none.",
    )


def _gradients(whole: xr.Dataset) -> Figure:
    norm = whole["gradient_norm"]
    panels = tuple(
        panel(dots(norm.sel(activation=name), category="phase", title="Gradient norm", scale="log"), name)
        for name in _activations(whole)
    )
    return Figure(
        name="gradient-norms",
        title="How near to critical does each phase end?",
        panels=panels,
        finding=f"Searches that reached a critical point: {_counts(whole)}.",
        reading="One dot a member, on a logarithmic axis; a gradient of exactly zero has no dot.",
    )
