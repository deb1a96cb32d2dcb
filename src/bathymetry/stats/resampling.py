"""The jackknife: how sure a statistic is, from what it becomes when one observation at a time is left out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float, Int, Real
from scipy import stats

from bathymetry.core.errors import InputError
from bathymetry.stats.arguments import numbers


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


EXACT_UP_TO: Final = 100  # numbers in both groups together; the count then takes well under a second


@dataclass(frozen=True)
class MannWhitney:
    """How often A comes before B, and how surprising that is."""

    superiority: float  # P(A < B) + ½ P(A = B) over all pairs; NaN if a group is empty
    p: float  # two-sided: twice the smaller tail, at most 1; 1 if a group is empty
    exact: bool  # whether all deals were counted, or the normal approximation with its tie correction was used


def mann_whitney(a: Real[np.ndarray, " first"], b: Real[np.ndarray, " second"]) -> MannWhitney:
    """Test whether A tends to come before B.

    Args:
        a: One number a member; infinity comes last.
        b: The same for the other group.

    Returns:
        The probability of superiority and the two-sided p value.

    Raises:
        InputError: If a number is NaN, which has no place in an order, or they are no numbers.

    Example:
        Complete separation of six from six is one deal of C(12, 6) = 924, and its mirror another.

        >>> test = mann_whitney(np.arange(6), np.arange(6, 12))
        >>> test.superiority, round(test.p * 924, 9), test.exact
        (1.0, 2.0, True)
    """
    a, b = numbers("a", a), numbers("b", b)
    for name, group in (("a", a), ("b", b)):
        if np.isnan(group).any():
            raise InputError(name, "NaN", "expected a number: say first where a member without one is to stand")
    m, n = len(a), len(b)
    if m == 0 or n == 0:
        return MannWhitney(float("nan"), 1.0, exact=True)
    doubled = np.rint(2 * stats.rankdata(np.concatenate([a, b]))).astype(np.int64)
    rank_sum = int(doubled[:m].sum())
    superiority = 1 - (rank_sum - m * (m + 1)) / (2 * m * n)
    if doubled.min() == doubled.max():
        return MannWhitney(superiority, 1.0, exact=True)
    if m + n <= EXACT_UP_TO:
        return MannWhitney(superiority, _exact_p(doubled, m, rank_sum), exact=True)
    p = stats.mannwhitneyu(doubled[:m], doubled[m:], alternative="two-sided", method="asymptotic").pvalue
    return MannWhitney(superiority, min(1.0, float(p)), exact=False)


def _exact_p(ranks: Int[np.ndarray, " both"], size: int, observed: int) -> float:
    # Twice the smaller tail of the sum of `size` of these whole ranks, drawn without replacement.
    largest = int(np.sort(ranks)[-size:].sum())
    ways = np.zeros((size + 1, largest + 1))  # ways[k, s]: in how many ways k of the ranks seen so far sum to s
    ways[0, 0] = 1.0
    for rank in ranks:
        ways[1:, rank:] += ways[:-1, : largest + 1 - rank].copy()  # without the copy a rank could be drawn twice
    deals = ways[size]
    tail = min(float(deals[: observed + 1].sum()), float(deals[observed:].sum()))
    return min(1.0, 2 * tail / float(deals.sum()))
