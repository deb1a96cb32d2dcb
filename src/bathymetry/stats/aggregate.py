"""One number for many tasks with a few runs each, and its interval by the stratified bootstrap.

Each task has the same weight, 1/T, and each of its n runs 1/(T n). An interval has the percentiles of the number over
tables in which each task's runs are resampled with replacement, so it is about other runs on the same tasks. It is too
narrow with few runs: of a mean √((n − 1)/n) as wide as it should be, so that with three runs of each of many tasks 95 %
are 89 %, and with ten 94 %.

Scores of different tasks are on one scale and larger ones are better. A run that diverged is NaN and ranks below all
others. Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice", NeurIPS,
arXiv:2108.13264.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from bathymetry.core.errors import InputError, whole_number
from bathymetry.stats.validation import confidence_level, number, numbers
from bathymetry.stats.verdict import CONFIDENCE

RESAMPLES = 10_000
_BLOCK = 4_000_000  # numbers of weights at a time
_NOTHING = 1e-12  # a weight that is a rounding error

Scores = Sequence[ArrayLike] | Float[np.ndarray, "task run"]
Weights = Float[np.ndarray, "resample run"]  # of each run in the order of the scores; each row adds up to 1


@dataclass(frozen=True)
class Aggregate:
    """One number over tasks and runs."""

    value: float  # −∞ where runs that diverged count in it
    interval: tuple[float, float]
    tasks: int
    runs: int  # of all tasks together


@dataclass(frozen=True)
class Profile:
    """Share of runs above each threshold, tasks having the same weight."""

    threshold: Float[np.ndarray, " threshold"]
    share: Float[np.ndarray, " threshold"]
    low: Float[np.ndarray, " threshold"]  # pointwise
    high: Float[np.ndarray, " threshold"]


def interquartile_mean(
    scores: Scores, *, resamples: int = RESAMPLES, seed: int = 0, confidence: float = CONFIDENCE
) -> Aggregate:
    """Average the middle half of all runs.

        IQM = 2 ∫ Q(u) du over u from ¼ to ¾, Q the quantiles of all runs

    A run on the border of the middle half counts in part, where rliable leaves out ⌊N/4⌋ whole runs on each side; both
    agree where 4 divides the number of runs.

    Args:
        scores: For each task its runs; tasks may have different numbers of them.
        resamples: How many tables are drawn.
        seed: Of the draws.
        confidence: Two-sided, from 0 to 1.

    Returns:
        The interquartile mean, with its interval.

    Raises:
        InputError: If a task has no run, or a score is not a number.

    Example:
        Of 1, 2, …, 8 the middle half is 3, 4, 5, 6.

        >>> interquartile_mean([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]).value
        4.5
    """
    table = _table("scores", scores)

    def statistic(weights: Weights) -> Float[np.ndarray, " resample"]:
        end = np.minimum(weights.cumsum(axis=-1), 1.0)
        inside = np.clip(end, 0.25, 0.75) - np.clip(end - weights, 0.25, 0.75)
        return _average(2 * np.where(inside > _NOTHING, inside, 0.0), table.scores)

    return _aggregate(table, statistic, resamples, seed, confidence)


def mean_score(
    scores: Scores, *, resamples: int = RESAMPLES, seed: int = 0, confidence: float = CONFIDENCE
) -> Aggregate:
    """Average the tasks' means: Σₜ x̄ₜ / T; arguments and errors as in `interquartile_mean`.

    >>> mean_score([[0.0, 1.0], [2.0]]).value
    1.25
    """
    table = _table("scores", scores)
    return _aggregate(table, lambda weights: _average(weights, table.scores), resamples, seed, confidence)


def median_score(
    scores: Scores, *, resamples: int = RESAMPLES, seed: int = 0, confidence: float = CONFIDENCE
) -> Aggregate:
    """Take the median of the tasks' means, x̄ₜ; arguments and errors as in `interquartile_mean`.

    >>> median_score([[0.0, 1.0], [2.0], [9.0, 11.0]]).value
    2.0
    """
    table = _table("scores", scores)
    of_task = [table.task == task for task in range(table.tasks)]

    def statistic(weights: Weights) -> Float[np.ndarray, " resample"]:
        means = [_average(table.tasks * weights[:, own], table.scores[own]) for own in of_task]
        return np.asarray(np.median(means, axis=0))

    return _aggregate(table, statistic, resamples, seed, confidence)


def optimality_gap(
    scores: Scores,
    target: float = 1.0,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> Aggregate:
    """Average how far runs stay below a target: Σ w (γ − min(x, γ)); smaller is better, +∞ where a run diverged.

    >>> optimality_gap([[0.5, 2.0], [1.0, 0.75]], target=1.0).value
    0.1875
    """
    target = number("target", target)
    table = _table("scores", scores)
    capped = np.minimum(table.scores, target)
    return _aggregate(table, lambda weights: target - _average(weights, capped), resamples, seed, confidence)


def performance_profile(
    scores: Scores,
    thresholds: ArrayLike,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> Profile:
    """Give the share of runs with a score above each threshold: F(τ) = Σ w 1[x > τ].

    Args:
        scores: For each task its runs; tasks may have different numbers of them.
        thresholds: The τ.
        resamples: How many tables are drawn.
        seed: Of the draws.
        confidence: Two-sided, from 0 to 1, at each threshold by itself.

    Returns:
        The shares, with their pointwise intervals.

    Raises:
        InputError: If a task has no run, or a score or threshold is not a number.

    Example:
        >>> performance_profile([[0.0, 1.0], [2.0]], [0.5, 1.5, 2.0]).share.tolist()
        [0.75, 0.5, 0.0]
    """
    tau = numbers("thresholds", thresholds)
    if not np.isfinite(tau).all():
        raise InputError("thresholds", thresholds, "expected finite numbers")
    table = _table("scores", scores)
    above = (table.scores[:, None] > tau).astype(np.float64)
    share, low, high = _estimate(table, lambda weights: weights @ above, resamples, seed, confidence)
    return Profile(tau, *(np.clip(one, 0.0, 1.0) for one in (share, low, high)))


def probability_of_improvement(
    first: Scores,
    second: Scores,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> Aggregate:
    """Average over tasks how probably a run of the first is better than one of the second.

        Σₜ [P(Xₜ > Yₜ) + ½ P(Xₜ = Yₜ)] / T

    Args:
        first: For each task the runs of one setting.
        second: For the same tasks those of the other, drawn independently.
        resamples: How many tables of each are drawn.
        seed: Of the draws.
        confidence: Two-sided, from 0 to 1.

    Returns:
        The probability, with its interval.

    Raises:
        InputError: If the tasks are not as many, a task has no run, or a score is not a number.

    Example:
        >>> probability_of_improvement([[1.0, 3.0], [1.0]], [[2.0], [1.0]]).value
        0.5
    """
    tables = _table("first", first), _table("second", second)
    x, y = tables
    if x.tasks != y.tasks:
        raise InputError("second", f"{y.tasks} tasks", f"expected as many as the first has, {x.tasks}")
    wins = []
    for task in range(x.tasks):
        better, worse = x.scores[x.task == task][:, None], y.scores[y.task == task]
        wins.append((better > worse) + 0.5 * (better == worse))

    def statistic(a: Weights, b: Weights) -> Float[np.ndarray, " resample"]:
        each = (((a[:, x.task == task] @ own) * b[:, y.task == task]).sum(axis=-1) for task, own in enumerate(wins))
        return np.asarray(x.tasks * sum(each))

    count, confidence = whole_number("resamples", resamples, 1), confidence_level(confidence)
    seed, width = whole_number("seed", seed, 0), x.runs + y.runs
    drawn = zip(
        *(_drawn(one, np.random.default_rng([seed, k]), count, width) for k, one in enumerate(tables)), strict=True
    )
    low, high = _ends(np.concatenate([statistic(*pair) for pair in drawn]), confidence)
    return Aggregate(float(statistic(x.whole, y.whole)[0]), (float(low), float(high)), x.tasks, width)


@dataclass(frozen=True)
class _Table:
    """All runs in rising order of their scores."""

    scores: Float[np.ndarray, " run"]  # −∞ of a run that diverged
    task: Int[np.ndarray, " run"]
    tasks: int

    @property
    def runs(self) -> int:
        return len(self.scores)

    @property
    def whole(self) -> Weights:
        """The weights of the table itself."""
        return np.asarray(1 / (self.tasks * np.bincount(self.task)[self.task]))[None]


def _table(field: str, scores: Scores) -> _Table:
    if isinstance(scores, str) or not isinstance(scores, Sequence | np.ndarray):
        raise InputError(field, scores, "expected for each task the scores of its runs")
    tasks = [numbers(field, one) for one in scores]
    if not tasks or not all(len(one) for one in tasks):
        raise InputError(field, scores, "expected at least one run of each task")
    everything = np.concatenate(tasks)
    if np.isposinf(everything).any():
        raise InputError(field, scores, "expected finite numbers, or NaN for a run that diverged")
    everything = np.where(np.isnan(everything), -np.inf, everything)
    order = np.argsort(everything, kind="stable")
    task = np.repeat(np.arange(len(tasks)), [len(one) for one in tasks])
    return _Table(everything[order], task[order], len(tasks))


def _average(weights: Weights, scores: Float[np.ndarray, " run"]) -> Float[np.ndarray, " resample"]:
    """Add up weighted scores, −∞ where one that diverged has a weight."""
    diverged = np.isneginf(scores)
    total = weights @ np.where(diverged, 0.0, scores)
    return np.where((weights[:, diverged] > 0).any(axis=-1), -np.inf, total)


def _drawn(table: _Table, generator: np.random.Generator, resamples: int, width: int) -> Iterator[Weights]:
    """Resample each task's runs, in blocks of tables: how often each run is drawn, as weights."""
    step = max(1, _BLOCK // width)
    places = [np.flatnonzero(table.task == task) for task in range(table.tasks)]
    for start in range(0, resamples, step):
        weights = np.empty((min(step, resamples - start), table.runs))
        for own in places:
            times = generator.multinomial(len(own), np.full(len(own), 1 / len(own)), size=len(weights))
            weights[:, own] = times / (table.tasks * len(own))
        yield weights


def _estimate(
    table: _Table,
    statistic: Callable[[Weights], Float[np.ndarray, "resample *number"]],
    resamples: int,
    seed: int,
    confidence: float,
) -> tuple[Float[np.ndarray, "*number"], Float[np.ndarray, "*number"], Float[np.ndarray, "*number"]]:
    """Apply a statistic to the table and to those that are drawn."""
    count, confidence = whole_number("resamples", resamples, 1), confidence_level(confidence)
    generator = np.random.default_rng(whole_number("seed", seed, 0))
    drawn = [statistic(weights) for weights in _drawn(table, generator, count, table.runs)]
    return np.asarray(statistic(table.whole)[0]), *_ends(np.concatenate(drawn), confidence)


def _ends(
    drawn: Float[np.ndarray, "resample *number"], confidence: float
) -> tuple[Float[np.ndarray, "*number"], Float[np.ndarray, "*number"]]:
    """Take the percentiles; values that were drawn, since between −∞ and a number there is none."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0, method="inverted_cdf")
    return low, high


def _aggregate(
    table: _Table,
    statistic: Callable[[Weights], Float[np.ndarray, " resample"]],
    resamples: int,
    seed: int,
    confidence: float,
) -> Aggregate:
    value, low, high = _estimate(table, statistic, resamples, seed, confidence)
    return Aggregate(float(value), (float(low), float(high)), table.tasks, table.runs)
