"""Spearman's rank correlation with a test of 0 that holds where the two numbers depend on each other without it.

Permuting one number destroys every dependence, not only the correlation, so the plain permutation test errs where the
numbers depend and yet do not correlate. As DiCiccio and Romano do (2017, Journal of the American Statistical
Association 112:1211), the statistic is divided by its own standard error:

    T = artanh(ρ̂) (1 − ρ̂²) √n / τ̂,   τ̂² the variance over members of their influence on ρ̂,

of which the part of Σ u v, with u and v the centred midranks, is u_i v_i plus the sum of v over the members that x puts
after i plus the sum of u over those that y puts after i (Hoeffding 1948, Annals of Mathematical Statistics 19:293).
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from jaxtyping import Float

from bathymetry.stats.verdict import significance_level

_RANDOM_NUMBERS: Final = 400_000  # in all permutations together, so that a test takes well under 50 ms
_FEWEST, _MOST = 10_000, 20_000  # permutations
_CHUNK: Final = 500_000

Pattern = tuple[int, ...]  # how many members have each of the sorted values
Orders = np.ndarray[tuple[int, int], np.dtype[np.int64]]  # (pair, member)


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's ρ, and whether it is 0."""

    rho: float
    interval: tuple[float, float]  # 95 %
    p: float  # two-sided


def rank_correlation(x: Float[np.ndarray, " member"], y: Float[np.ndarray, " member"]) -> RankCorrelation:
    """Test whether two numbers of each member correlate by rank; neither may be the same in all members.

    p is the larger of two shares of random permutations of y, always the same ones: of those in which |T| is at least
    as large, and of those in which |ρ̂| is. The interval is that of T: artanh(ρ̂) ± the 95 % point of |T| times its
    standard error, taken back.
    """
    members = len(x)
    (x_order, x_pattern), (y_order, y_pattern) = _ranked(x), _ranked(y)
    y_of_x = np.empty(members, dtype=np.int64)  # where in the order of y the members lie, in the order of x
    y_of_x[np.argsort(x_order)[y_order]] = np.arange(members)
    (rho,), (error,), (p,) = correlated(x_pattern, y_pattern, y_of_x[None])
    largest = float(np.quantile(_permuted(x_pattern, y_pattern)[0], 1 - significance_level(), method="higher"))
    most = 1 - 6 / (members**3 - members)  # ρ of ±1 is brought halfway to the value next to it, with Fieller's error
    inside = float(np.clip(rho, -most, most))
    scale = float(error) / (1 - inside**2) if abs(rho) <= most and error > 0 else 1.03 / (members - 3) ** 0.5
    ends = np.tanh(np.arctanh(inside) + np.array([-1, 1]) * largest * scale)
    low, high = np.where(np.abs(ends) < 1e-12, 0.0, ends)  # where T is its own 95 % point
    return RankCorrelation(float(rho), (float(min(low, rho)), float(max(high, rho))), float(p))


def correlated(
    x_pattern: Pattern, y_pattern: Pattern, y_of_x: Orders
) -> tuple[Float[np.ndarray, " pair"], Float[np.ndarray, " pair"], Float[np.ndarray, " pair"]]:
    """Compute ρ, its error and p of pairs of numbers: where members lie by y, in the order of x."""
    rho, error = _statistics(x_pattern, y_pattern, y_of_x)
    drawn = _permuted(x_pattern, y_pattern)
    observed = np.abs(_studentised(rho, error)), np.abs(rho)
    # equal permutations may differ in the last bit
    beyond = [len(one) - np.searchsorted(one, at * (1 - 1e-9)) for one, at in zip(drawn, observed, strict=True)]
    return rho, error, (np.maximum(*beyond) + 1) / (len(drawn[0]) + 1)


def _ranked(values: Float[np.ndarray, " member"]) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], Pattern]:
    """Sort members by their values, and count how many have each."""
    counts = np.unique(values, return_counts=True)[1]
    return np.argsort(values, kind="stable"), tuple(counts.tolist())


def _studentised(rho: Float[np.ndarray, "*_"], error: Float[np.ndarray, "*_"]) -> Float[np.ndarray, "*_"]:
    """Compute T; infinite where ρ is ±1, and 0 where it is 0."""
    inside = np.abs(rho) < 1 - 1e-12
    z = np.arctanh(np.where(inside, rho, 0.0)) * (1 - rho**2)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(inside, np.where(np.abs(z) < 1e-12, 0.0, z / error), np.copysign(np.inf, rho))


def _statistics(
    x_pattern: Pattern, y_pattern: Pattern, y_of_x: Orders
) -> tuple[Float[np.ndarray, " permutation"], Float[np.ndarray, " permutation"]]:
    """Compute ρ and its standard error of members in the order of x, given where each lies in the order of y."""
    members = y_of_x.shape[1]
    (u, x_ends), (v, y_ends) = _midranks(x_pattern), _midranks(y_pattern)
    x_of_y = np.argsort(y_of_x, axis=1)
    v_by_x, u_by_y = v[y_of_x], u[x_of_y]
    squares = float((u**2).sum()), float((v**2).sum())
    size = float(np.sqrt(squares[0] * squares[1]))
    rho = v_by_x @ u / size
    after_y = np.take_along_axis(_mean_after(u_by_y, y_ends), y_of_x, axis=1)
    of_product = u * v_by_x / members + _mean_after(v_by_x, x_ends) + after_y
    # of the sums of squares: the same in all members unless values are tied
    of_u, of_v = (one**2 / members + 2 * _mean_after(one[None], at)[0] for one, at in ((u, x_ends), (v, y_ends)))
    influence = of_product / size - rho[:, None] / 2 * (of_u / squares[0] + of_v[y_of_x] / squares[1])
    return rho, influence.std(axis=1, ddof=1) * members**1.5


def _midranks(pattern: Pattern) -> tuple[Float[np.ndarray, " member"], tuple[np.ndarray, np.ndarray]]:
    """Give the centred midranks of sorted values, and where the values equal to each begin and end."""
    counts = np.array(pattern)
    ends = np.repeat(np.cumsum(counts), counts)
    starts = ends - np.repeat(counts, counts)
    return (starts + ends - counts.sum()) / 2, (starts, ends)


def _mean_after(
    centred: Float[np.ndarray, "permutation member"], ends: tuple[np.ndarray, np.ndarray]
) -> Float[np.ndarray, "permutation member"]:
    """Average over all members what those after each contribute, ties counting half; all together contribute 0."""
    sums = np.pad(np.cumsum(centred, axis=1), ((0, 0), (1, 0)))
    return np.asarray(-(sums[:, ends[0]] + sums[:, ends[1]]) / (2 * centred.shape[1]))


def _permuted(
    x_pattern: Pattern, y_pattern: Pattern
) -> tuple[Float[np.ndarray, " permutation"], Float[np.ndarray, " permutation"]]:
    """Sort |T| and |ρ| over random permutations; |T| is the same of numbers that are swapped or turned round."""
    first, second = sorted(min(one, one[::-1]) for one in (x_pattern, y_pattern))
    return _drawn(first, second)


@lru_cache(maxsize=64)
def _drawn(
    x_pattern: Pattern, y_pattern: Pattern
) -> tuple[Float[np.ndarray, " permutation"], Float[np.ndarray, " permutation"]]:
    """They depend on nothing but how many values are tied."""
    members = sum(x_pattern)
    number = min(max(_RANDOM_NUMBERS // members, _FEWEST), _MOST)
    generator = np.random.default_rng(0)
    drawn = []
    for start in range(0, number, rows := max(1, _CHUNK // members)):
        order = np.tile(np.arange(members), (min(rows, number - start), 1))
        rho, error = _statistics(x_pattern, y_pattern, generator.permuted(order, axis=1))
        drawn.append(np.abs([_studentised(rho, error), rho]))
    studentised, plain = np.sort(np.concatenate(drawn, axis=1), axis=1)
    return studentised, plain
