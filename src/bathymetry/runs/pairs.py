"""One setting against another: how far apart they are, how often one is ahead, and how many members would settle it.

Unpaired, everything follows from Brunner and Munzel's permuted test; paired, from the sign test of the pairs. A member
that diverged is behind every other, and two that diverged are level.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float64
from scipy import stats as scipy_stats

from bathymetry.core.errors import InputError
from bathymetry.core.showing import plural
from bathymetry.stats import clopper_pearson
from bathymetry.stats.intervals import IDENTITY, LOG, NO_INTERVAL, Transform, logit_accuracy, superiority_interval
from bathymetry.stats.rank_tests import brunner_munzel, sign_test
from bathymetry.stats.verdict import CONFIDENCE, MINIMUM_MEMBERS, Decision, agreeing, decision_of, is_clear, side_of

Values = Float64[np.ndarray, " member"]
Mask = Bool[np.ndarray, " member"]
Scale = Literal["linear", "log", "logit"]
POWER = 0.8  # with which the members that are needed would decide
_MOST_NEEDED = 100_000
_MOST_DIFFERENCES = 2_000_000  # of 1,414 members each
_FEW = 32  # places at which each shift is tested


@dataclass(frozen=True)
class Needed:
    """Members in each setting with which a test at 5 % decides in 80 % of cases, if the truth is as observed."""

    members: int | None  # None: more than 100,000, or nobody is ahead
    least: int | None  # if the truth is the end of the superiority's interval that is farther from one half
    most: int | None  # if it is the other end; None where that end is on the other side of one half


@dataclass(frozen=True)
class Pair:
    """Two settings compared on one metric."""

    first: str
    second: str
    at: Mapping[str, str]  # the values of the other axes
    paired: bool
    members: tuple[int, int]  # of the first and the second; paired, those of the pairs
    diverged: tuple[int, int]
    centre: tuple[float, float]  # the medians
    difference: float  # first − second, the median of the differences between members, in the metric's unit
    interval: tuple[float, float]
    ratio: float | None  # of the values on a log scale, of the odds on a logit scale; None on a linear scale
    ratio_interval: tuple[float, float] | None
    superiority: float  # P(first is better) + ½ P(they are level)
    superiority_interval: tuple[float, float]
    p: float | None  # None with too few members
    decision: Decision  # "supported" where the first is better
    needed: Needed | None  # None where it is decided
    p_holm: float | None = None


def transform_of(scale: Scale, examples: int | None) -> Transform:
    """The scale on which a metric is compared by factors."""
    if scale == "logit":
        if examples is None:
            raise InputError("examples", None, "expected of how many examples the accuracy is a share (--examples N)")
        return logit_accuracy(examples)
    return LOG if scale == "log" else IDENTITY


def pair(
    first: Values,
    second: Values,
    *,
    names: tuple[str, str],
    at: Mapping[str, str],
    paired: bool,
    higher_is_better: bool,
    transform: Transform = IDENTITY,
    confidence: float = CONFIDENCE,
) -> Pair:
    """Compare the members of two settings; NaN is a member that diverged; paired ones are in the same order.

    The confidence is that of the decision and of the superiority's interval.
    """
    test = _paired if paired else _unpaired
    worst = -np.inf if higher_is_better else np.inf
    diverged = tuple(int((~np.isfinite(one)).sum()) for one in (first, second))
    ends = [np.where(np.isfinite(one), one, worst) for one in (first, second)]
    sign = 1.0 if higher_is_better else -1.0
    outcome = test(ends[0] * sign, ends[1] * sign, confidence)
    enough = min(len(first), len(second)) >= MINIMUM_MEMBERS
    p = outcome.p if enough else None
    difference, interval = _shift(ends[0], ends[1], paired=paired, p=p)
    ratio = ratio_interval = None
    if transform is not IDENTITY:
        there = [np.isfinite(one) for one in ends]
        scaled = [
            np.where(ok, transform.forward(np.where(ok, one, np.nan)), one) for ok, one in zip(there, ends, strict=True)
        ]
        on_scale, limits = _shift(scaled[0], scaled[1], paired=paired, p=p)
        ratio, ratio_interval = _exp(on_scale), (_exp(limits[0]), _exp(limits[1]))
    direction = side_of(outcome.superiority, 0.5)
    decision = decision_of(p, direction, confidence)
    ends_of = agreeing(outcome.interval, 0.5, outcome.superiority, clear=is_clear(p, confidence))
    return Pair(
        *names,
        at,
        paired,
        (len(first), len(second)),
        (diverged[0], diverged[1]),
        (_median(ends[0]), _median(ends[1])),
        difference,
        interval,
        ratio,
        ratio_interval,
        outcome.superiority,
        ends_of,
        p,
        decision,
        None if decision != "undecided" else needed(outcome.superiority, ends_of, paired=paired),
    )


@dataclass(frozen=True)
class _Outcome:
    superiority: float
    interval: tuple[float, float]
    p: float


def _unpaired(first: Values, second: Values, confidence: float) -> _Outcome:
    found = brunner_munzel(-first, -second)  # which counts how often the first is smaller
    interval = superiority_interval(found.superiority, len(first), len(second), confidence, error=found.error)
    return _Outcome(found.superiority, interval, found.p)


def _paired(first: Values, second: Values, confidence: float) -> _Outcome:
    found = sign_test(_difference(first, second))
    level = len(first) - found.above - found.below
    share = (found.above + level / 2) / len(first) if len(first) else math.nan
    low, _ = clopper_pearson(found.above, len(first), confidence)
    _, high = clopper_pearson(found.above + level, len(first), confidence)
    return _Outcome(share, (low, high), found.p)


def _difference(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Subtract; two that are infinite on one side are level."""
    with np.errstate(invalid="ignore", over="ignore"):
        found = np.asarray(first - second)
    return np.where(first == second, 0.0, found)


def _differences(first: Values, second: Values) -> Values:
    """Sort the differences of all pairs, or where there are too many, those of random pairs, always the same."""
    if len(first) * len(second) <= _MOST_DIFFERENCES:
        return np.sort(_difference(first[:, None], second[None, :]).ravel())
    first, second = np.sort(first), np.sort(second)
    if (len(first), first.tobytes()) > (len(second), second.tobytes()):  # the same from both sides
        return 0.0 - _differences(second, first)[::-1]
    random = np.random.default_rng(0)
    places, others = (random.integers(0, len(one), _MOST_DIFFERENCES) for one in (first, second))
    return np.sort(_difference(first[places], second[others]))


def _median(values: Values) -> float:
    """The median; of an even number with an infinite middle, infinite."""
    ordered, count = np.sort(values), len(values)
    if not count:
        return math.nan
    low, high = float(ordered[(count - 1) // 2]), float(ordered[count // 2])
    return low if low == high else low / 2 + high / 2


def _shift(first: Values, second: Values, *, paired: bool, p: float | None) -> tuple[float, tuple[float, float]]:
    """The median difference between members, and the shifts that the test does not reject."""
    if min(len(first), len(second)) == 0:
        return math.nan, NO_INTERVAL
    if paired:
        differences = _difference(first, second)
        estimate, interval = _median(differences), sign_test(differences).interval
    else:
        differences = _differences(first, second)
        estimate = _median(differences)
        interval = NO_INTERVAL if p is None else _not_rejected(first, second, differences)
    if p is None:
        return estimate, NO_INTERVAL
    return estimate, agreeing(interval, 0.0, estimate, clear=is_clear(p)) if estimate else interval


def _not_rejected(first: Values, second: Values, differences: Values) -> tuple[float, float]:
    """The shifts δ for which first − δ and second are not told apart at 5 %: from one difference to another.

    Between neighbouring differences the ranks, and so p, stay the same. p is searched there, of few differences at
    all places and of more by halves from the middle outwards, so that groups swapped have the mirrored interval.
    """
    known = np.unique(differences[np.isfinite(differences)])
    if len(known) < 2:
        return (
            (float(known[0]), float(known[0]))
            if len(known) and np.isfinite(differences).all()
            else (-math.inf, math.inf)
        )
    between = known[1:] / 2 + known[:-1] / 2
    last = len(between) - 1

    def rejected(place: int) -> bool:
        with np.errstate(over="ignore"):
            return is_clear(brunner_munzel(first - between[place], second).p)

    middle = _median(differences)
    around = sorted({min(max(int(np.searchsorted(known, middle, side)) - 1, 0), last) for side in ("left", "right")})
    places = range(last + 1) if last < _FEW else around
    open_ = [place for place in places if not rejected(place)]
    if not open_:
        return float(known[known <= middle].max(initial=known[0])), float(known[known >= middle].min(initial=known[-1]))
    low, high = min(open_), max(open_)
    if last >= _FEW:
        low, high = _last(rejected, low, 0), _last(rejected, high, last)
    has_low, has_high = np.isneginf(differences).any(), np.isposinf(differences).any()
    least = float(known[low]) if low > 0 or not has_low else -math.inf
    most = float(known[high + 1]) if high < last or not has_high else math.inf
    return least, most


def _last(rejected: Callable[[int], bool], start: int, end: int) -> int:
    """The place farthest from the start towards an end that is not rejected, as far as rejection is monotone."""
    if not rejected(end):
        return end
    towards, inside, outside = (1 if end > start else -1), 0, abs(end - start)
    while outside - inside > 1:
        middle = (inside + outside) // 2
        inside, outside = (inside, middle) if rejected(start + towards * middle) else (middle, outside)
    return start + towards * inside


def _exp(value: float) -> float:
    return math.inf if value >= 700 else math.exp(value)


def needed(superiority: float, interval: tuple[float, float], *, paired: bool) -> Needed:
    """Compute how many members a test at 5 % needs to decide in 80 % of cases; at least six.

    θ is the probability of superiority. Of two settings each needs

        n = (z₀.₉₇₅ + z₀.₈)² / (6 (θ − ½)²),

    which is about right for θ between 0.2 and 0.8 (Noether 1987, Journal of the American Statistical Association
    82:645). Of pairs, none of them level, n is exact: the sign test's power falls each time that one more pair does
    not make its bound easier, and n is the smallest number from which on it stays at or above 80 %.

    Example:
        >>> needed(0.7, (0.45, 0.9), paired=True)
        Needed(members=54, least=12, most=None)
    """

    def members(theta: float) -> int | None:
        if theta == 0.5 or math.isnan(theta):
            return None
        z = float(scipy_stats.norm.ppf(0.975) + scipy_stats.norm.ppf(POWER))
        count = math.ceil(z**2 / ((4 if paired else 6) * (theta - 0.5) ** 2))
        if count > _MOST_NEEDED:
            return None
        return _pairs_needed(theta, count) if paired else max(count, MINIMUM_MEMBERS)

    far, near = sorted(interval, key=lambda end: -abs(end - 0.5))
    same_side = (far - 0.5) * (near - 0.5) > 0
    return Needed(members(superiority), members(far), members(near) if same_side else None)


@lru_cache(maxsize=1024)
def _pairs_needed(theta: float, about: int) -> int:
    """The smallest number of pairs from which on the sign test has the power, near the normal approximation."""
    spread = 30 + 4 * math.isqrt(about)
    first = max(MINIMUM_MEMBERS, about - spread)
    counts = np.arange(first, about + spread)
    bound = counts - scipy_stats.binom.ppf(0.025, counts, 0.5)  # the fewest on one side that may be clear
    bound += 2 * scipy_stats.binom.sf(bound - 1, counts, 0.5) >= 0.05
    power = scipy_stats.binom.sf(bound - 1, counts, theta) + scipy_stats.binom.cdf(counts - bound, counts, theta)
    weak = np.flatnonzero(power < POWER)
    return int(counts[weak[-1]]) + 1 if len(weak) else first


def matched(
    values: tuple[Values, Values],
    whole: tuple[Mask, Mask],
    *,
    names: tuple[str, str],
    members: str,
    paired: bool | None,
) -> tuple[Values, Values, bool, str]:
    """The values of both settings' members that are whole; paired, of those that both have; and who was left out."""
    shared = whole[0] & whole[1]
    fewest = min(int(some.sum()) for some in whole)
    can_pair = members != "run"
    if paired and not can_pair:
        raise InputError("paired", True, "each run is a member by itself; expected a setting as members, such as seed")
    is_paired = can_pair and 2 * int(shared.sum()) >= fewest > 0 if paired is None else paired
    if not is_paired:
        return values[0][whole[0]], values[1][whole[1]], False, ""
    alone = int((whole[0] ^ whole[1]).sum())
    name = f"{names[0]} and {names[1]}"
    note = f"{alone} {plural('run', alone)} of {name} left out: the other has no run of that {members}" if alone else ""
    return values[0][shared], values[1][shared], True, note
