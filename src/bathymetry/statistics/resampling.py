"""The jackknife: how sure a statistic is, from what it becomes when one observation at a time is left out."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Real

from bathymetry.core.errors import InputError
from bathymetry.statistics.arguments import numbers


@dataclass(frozen=True)
class Jackknife:
    """A statistic with its standard error."""

    value: Float[np.ndarray, "*shape"]  # the statistic of all observations
    mean: Float[np.ndarray, "*shape"]  # the same with its bias of order 1/n removed: the mean of the pseudo-values
    standard_error: Float[np.ndarray, "*shape"]
    pseudo_values: Float[np.ndarray, "observation *shape"]  # behave like one number an observation


def jackknife(
    values: Real[np.ndarray, "observation *rest"],
    statistic: Callable[[Real[np.ndarray, "some *rest"]], Float[np.ndarray, "*shape"] | float],
) -> Jackknife:
    """Give a statistic's standard error by leaving out one observation after another.

        pseudo-value i = n θ̂ − (n − 1) θ̂₍₋ᵢ₎;  standard error² = (n − 1)/n Σ (θ̂₍₋ᵢ₎ − mean θ̂₍₋ⱼ₎)²

    Quenouille 1956, Biometrika 43:353; Tukey 1958, Annals of Mathematical Statistics 29:614. For smooth statistics; it
    fails for quantiles.

    Args:
        values: The observations along the first axis: examples or members.
        statistic: What is computed from them, for any number of observations; a number or an array of one shape.

    Returns:
        The statistic, its bias-corrected mean, standard error and pseudo-values.

    Raises:
        InputError: If there are fewer than two observations, or they are no numbers.

    Example:
        For a mean it is the textbook's s / √n: of 1 2 3 4 5, √(2.5 / 5).

        >>> result = jackknife(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.mean)
        >>> float(result.value), round(float(result.standard_error) ** 2, 9)
        (3.0, 0.5)
    """
    observations = numbers("values", values, axes=None)
    if observations.ndim == 0:
        raise InputError("values", values, "expected observations along the first axis")
    if not callable(statistic):
        raise InputError("statistic", statistic, "expected a function of the observations")
    if len(observations) < 2:
        raise InputError("observations", len(observations), "expected at least 2")
    left_out = [statistic(np.delete(observations, i, axis=0)) for i in range(len(observations))]
    return from_left_out(np.asarray(statistic(observations)), np.asarray(left_out))


def from_left_out(
    value: Float[np.ndarray, "*shape"] | float, left_out: Float[np.ndarray, "observation *shape"]
) -> Jackknife:
    """Give the jackknife where the statistic without each observation is already known.

    Formula and source as in `jackknife`.

    Args:
        value: The statistic of all observations.
        left_out: The statistic without each one, along the first axis.

    Returns:
        The statistic, its bias-corrected mean, standard error and pseudo-values.

    Raises:
        InputError: If there are fewer than two observations, or shapes that do not fit.

    Example:
        The variance with divisor n, of 0 and 2, is 1; each alone has 0. The correction gives the unbiased 2.

        >>> float(from_left_out(1.0, np.array([0.0, 0.0])).mean)
        2.0
    """
    without = numbers("left_out", left_out, axes=None)
    n = without.shape[0] if without.ndim else 0
    if n < 2:
        raise InputError("observations", n, "expected at least 2")
    whole = numbers("value", value, axes=None)
    if whole.shape != without.shape[1:]:
        remedy = f"expected one of shape {whole.shape} for each observation, as value has"
        raise InputError("left_out", f"shape {without.shape}", remedy)
    pseudo = n * whole - (n - 1) * without
    error = np.sqrt((n - 1) / n * ((without - without.mean(axis=0)) ** 2).sum(axis=0))
    return Jackknife(whole, np.asarray(pseudo.mean(axis=0)), np.asarray(error), pseudo)
