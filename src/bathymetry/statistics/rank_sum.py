"""Mann and Whitney's test: does one group of numbers tend to be smaller than another?

    U / (m n) = P(A < B) + ½ P(A = B), over all m n pairs: the probability of superiority

Only the order of the numbers counts, so infinite times have their place at the end. Ties share their mean rank, and the
p value is that of all equally likely ways to deal these very ranks to the two groups, counted by the shift algorithm of
Streitberg and Röhmel 1986 (Statistical Software Newsletter 12:10) on doubled ranks, which are whole. Mann and Whitney
1947, Annals of Mathematical Statistics 18:50.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Int, Real
from scipy import stats

from bathymetry.core.errors import InputError
from bathymetry.statistics.arguments import numbers

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
