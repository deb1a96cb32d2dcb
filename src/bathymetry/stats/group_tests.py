"""The test of each rule: arrays of one number or boolean per member, which `claims.rules` has checked, to one part.

Mann and Whitney's exact test (1947, Annals of Mathematical Statistics 18:50) decides comparisons of groups, in which
members in which it never happens (infinite) or diverged (NaN) rank last.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Bool, Float, Int, Real
from scipy import stats

from bathymetry.core.errors import InputError
from bathymetry.core.showing import joined
from bathymetry.stats.intervals import (
    IDENTITY,
    NO_INTERVAL,
    Transform,
    clopper_pearson,
    mean_and_error,
    superiority_interval,
    t_interval,
    t_tails,
)
from bathymetry.stats.validation import numbers
from bathymetry.stats.verdict import (
    CONFIDENCE,
    CORRELATION_MEMBERS,
    MINIMUM_MEMBERS,
    Decision,
    Direction,
    Part,
    agreeing,
    decision_of,
    is_clear,
    side_of,
    significance_level,
)
from bathymetry.stats.wording import count_of_members, described, percent, percent_range, with_p

Side = Literal["above", "below"]
Relation = Literal["above", "after", "below", "before"]
_LARGER: Final = ("above", "after")  # the relations for which larger numbers are better
_EXACT_UP_TO: Final = 100  # numbers in both groups together; the count then takes well under a second
_RESAMPLES: Final = 9999


def majority(holds: Bool[np.ndarray, " member"]) -> Part:
    """Judge whether a condition holds for most members.

    p is that of the exact two-sided binomial test against one half, which is below 5 % exactly when Clopper and
    Pearson's interval leaves out one half.
    """
    members, count = len(holds), int(holds.sum())
    p = float(stats.binomtest(count, members).pvalue) if members >= MINIMUM_MEMBERS else None
    share = count / members if members else math.nan
    interval = clopper_pearson(count, members)
    direction = side_of(2 * count, members)
    ends = f"{percent(share)} %, 95 % interval {percent_range(*interval)}"
    summary = f"{count} of {count_of_members(members)} ({ends})" if members else "no members"
    return Part(decision_of(p, direction), share, interval, p, members, summary, direction=direction)


@dataclass(frozen=True)
class MannWhitney:
    """How often A comes before B, and how surprising that is."""

    superiority: float  # P(A < B) + ½ P(A = B) over all pairs; NaN if a group is empty
    p: float  # two-sided: twice the smaller tail, at most 1; 1 if a group is empty
    exact: bool  # whether all deals were counted, or the normal approximation with its tie correction was used


def mann_whitney(a: Real[np.ndarray, " first"], b: Real[np.ndarray, " second"]) -> MannWhitney:
    """Test whether A tends to come before B.

    Args:
        a: One number per member; infinity comes last.
        b: The same for the other group.

    Returns:
        The probability of superiority and the two-sided p value.

    Raises:
        InputError: If a number is NaN, or they are no numbers.

    Example:
        Complete separation of six from six is one deal of C(12, 6) = 924, and its mirror another.

        >>> test = mann_whitney(np.arange(6), np.arange(6, 12))
        >>> test.superiority, round(test.p * 924, 9), test.exact
        (1.0, 2.0, True)
    """
    a, b = numbers("a", a), numbers("b", b)
    for name, group in (("a", a), ("b", b)):
        if np.isnan(group).any():
            raise InputError(name, "NaN", "expected numbers; put infinity for a member without one to rank it last")
    m, n = len(a), len(b)
    if m == 0 or n == 0:
        return MannWhitney(float("nan"), 1.0, exact=True)
    doubled = np.rint(2 * stats.rankdata(np.concatenate([a, b]))).astype(np.int64)
    rank_sum = int(doubled[:m].sum())
    superiority = 1 - (rank_sum - m * (m + 1)) / (2 * m * n)
    if doubled.min() == doubled.max():
        return MannWhitney(superiority, 1.0, exact=True)
    if m + n <= _EXACT_UP_TO:
        return MannWhitney(superiority, _exact_p(doubled, m, rank_sum), exact=True)
    p = stats.mannwhitneyu(doubled[:m], doubled[m:], alternative="two-sided", method="asymptotic").pvalue
    return MannWhitney(superiority, min(1.0, float(p)), exact=False)


def _exact_p(ranks: Int[np.ndarray, " both"], size: int, observed: int) -> float:
    """Double the smaller tail of the sum of `size` of these whole ranks, drawn without replacement."""
    largest = int(np.sort(ranks)[-size:].sum())
    ways = np.zeros((size + 1, largest + 1))  # ways[k, s]: in how many ways k of the ranks so far sum to s
    ways[0, 0] = 1.0
    for rank in ranks:
        ways[1:, rank:] += ways[:-1, : largest + 1 - rank].copy()  # without the copy a rank could be drawn twice
    deals = ways[size]
    tail = min(float(deals[: observed + 1].sum()), float(deals[observed:].sum()))
    return min(1.0, 2 * tail / float(deals.sum()))


def stochastic_order(
    a: Float[np.ndarray, " first"],
    b: Float[np.ndarray, " second"],
    *,
    relation: Relation,
    first: str = "A",
    second: str = "B",
    confidence: float = CONFIDENCE,
) -> Part:
    """Judge whether the numbers of A tend to be the better ones.

    The effect is the probability of superiority, P(A first) + ½ P(tie), with Newcombe's interval. Where ties and small
    groups make that interval and the exact test disagree about ½, its end is put at ½.
    """
    sign, last = (-1.0, -np.inf) if relation in _LARGER else (1.0, np.inf)
    test = mann_whitney(*(np.where(np.isnan(group), np.inf, group * sign) for group in (a, b)))
    members, share = min(len(a), len(b)), test.superiority
    p = test.p if members >= MINIMUM_MEMBERS else None
    direction = side_of(share, 0.5)
    decision = decision_of(p, direction, confidence)
    interval = superiority_interval(share, len(a), len(b), confidence)
    interval = agreeing(interval, 0.5, share, clear=is_clear(test.p, confidence))
    if not members:
        finding = summary = "no members"
    elif (a == last).all() and (b == last).all():
        finding = summary = f"nothing to compare: never in any member ({len(a)} {first}, {len(b)} {second})"
    else:
        ends = f"{100 * confidence:.4g} % interval {percent_range(*interval)}{with_p(p)}"
        summary = f"{first} {relation} {second} in {percent(share)} % of pairs ({ends})"
        for label, among in (("never", lambda group: group == last), ("diverged", np.isnan)):
            groups = [(int(among(group).sum()), len(group), name) for group, name in ((a, first), (b, second))]
            counts = [f"{count} of {size} {name}" for count, size, name in groups if count]
            summary += f"; {label}: {', '.join(counts)}" if counts else ""
        finding = f"{first} not clearly {relation} {second} ({percent(share)} % of pairs)"
        if decision == "supported":
            finding = f"{first} {relation} {second} ({percent(share)} % of pairs)"
        elif decision == "contradicted":
            finding = f"{second} {relation} {first} ({percent(1 - share)} % of pairs)"
    return Part(decision, share, interval, p, members, summary, finding=finding, direction=direction)


def best_of(
    candidates: Mapping[str, Float[np.ndarray, " _"]],
    others: Mapping[str, Float[np.ndarray, " _"]],
    *,
    relation: Literal["above", "below"],
) -> Part:
    """Judge whether one of the candidates is better than each of the others.

    Of c candidates against k others it is supported if a candidate beats each other in order tests at 5 %/c, and
    contradicted if one of the others beats every candidate in order tests at 5 %/k: Bonferroni's price for having so
    many chances. p is the largest of those tests', times c or k; of a claim that is open, that of the strongest other
    if it is ahead of every candidate, else that of the strongest candidate, where a pair that points the other way
    counts as 1. Estimate and interval are those of the pair that p is of, or where no group is ahead of all of those it
    is compared with, of the leading candidate's hardest pair.
    """
    levels = 1 - (1 - CONFIDENCE) / len(candidates), 1 - (1 - CONFIDENCE) / len(others)

    def pair(name: str, rival: str) -> Part:
        a, b = candidates[name], others[rival]
        for each in levels:  # the second, where the rival is ahead
            part = stochastic_order(a, b, relation=relation, first=name, second=rival, confidence=each)
            if not part.estimate < 0.5:
                break
        return part

    pairs = {name: {rival: pair(name, rival) for rival in others} for name in candidates}
    rows = [list(row.values()) for row in pairs.values()]
    columns = list(zip(*rows, strict=True))
    ahead = [row for row in rows if all(part.estimate > 0.5 for part in row)]
    behind = [column for column in columns if all(part.estimate < 0.5 for part in column)]
    members = min(part.members for row in rows for part in row)
    p: float | None = 1.0
    if ahead or behind:
        # the least clear pair of the group that is ahead most clearly
        shown = min((max(row, key=_p) for row in ahead or behind), key=_p)
        p = min(1.0, len(candidates if ahead else others) * _p(shown))
    else:
        # the leading candidate's pair with the rival that comes closest
        shown = max((min(row, key=_estimate) for row in rows), key=_estimate)
    p = p if members >= MINIMUM_MEMBERS else None
    direction: Direction = "for" if ahead else "against" if behind else "neither"
    summary = "; ".join(part.summary for row in rows for part in row)
    finding = shown.finding if len(candidates) == len(others) == 1 else _outcomes(pairs, relation)
    decision = decision_of(p, direction)
    return Part(decision, shown.estimate, shown.interval, p, members, summary, finding=finding, direction=direction)


def _p(part: Part) -> float:
    return 1.0 if part.p is None else part.p


def _estimate(part: Part) -> float:
    return part.estimate


def _outcomes(pairs: Mapping[str, Mapping[str, Part]], relation: str) -> str:
    """Say whom each candidate is clearly above, clearly below, and neither, candidates with one outcome together."""
    opposite = {"above": "below", "below": "above"}[relation]
    words = {"supported": relation, "contradicted": opposite, "undecided": f"not clearly {relation}"}
    together: dict[str, list[str]] = {}
    for name, row in pairs.items():
        shared = _shared_word([name, *row])
        rivals: dict[str, list[str]] = {word: [] for word in words.values()}
        for rival, part in row.items():
            rivals[words[part.decision]].append(rival.removeprefix(shared))
        outcome = ", ".join(f"{word} {joined(names)}" for word, names in rivals.items() if names)
        together.setdefault(outcome, []).append(name)
    return "; ".join(f"{joined(names)} {'is' if len(names) == 1 else 'are'} {each}" for each, names in together.items())


def _shared_word(names: Sequence[str]) -> str:
    """Find the word that all names begin with, as "batch " in "batch 5" and "batch 25"."""
    first = {name.partition(" ")[0] + " " for name in names if " " in name}
    return first.pop() if len(first) == 1 and all(" " in name for name in names) else ""


def mean_sign(
    values: Float[np.ndarray, " member"],
    *,
    expected: Side,
    quantity: str = "mean",
    shown: Transform = IDENTITY,
    unit: str = "",
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Part:
    """Judge whether the mean over members lies on the expected side of 0, by Student's t test.

    Equal values in all members are certain. Members without a finite number are left out and counted. Estimate and
    interval stay on the scale of the values; the words give them on the scale that `shown` takes them back to.
    """
    usable = values[np.isfinite(values)]
    members, left_out = len(usable), len(values) - len(usable)
    mean, _ = mean_and_error(usable)
    p = min(1.0, 2 * min(t_tails(usable, 0.0))) if members >= MINIMUM_MEMBERS else None
    direction = side_of(mean, 0.0, expect_above=expected == "above")
    interval = t_interval(usable)
    if p is not None:
        interval = agreeing(interval, 0.0, mean, clear=is_clear(p))
    ends = np.clip([mean, *interval], *bounds)
    estimate, low, high = map(float, ends)
    centre, bottom, top = map(float, shown.backward(ends))
    line = float(shown.backward(np.array(0.0)))
    finding, summary = described(quantity, centre, (bottom, top), p, members, [line], unit)
    if left_out:
        finding += f" over the {members} of {len(values)} members that have a number"
        summary += f"; {left_out} of {len(values)} without a number, left out"
    if not members:
        finding, summary = "", "no member has a finite value"
    decision = decision_of(p, direction)
    return Part(decision, estimate, (low, high), p, members, summary, finding=finding, direction=direction)


def mean_in_interval(
    values: Float[np.ndarray, " member"], low: float, high: float, *, as_percent: bool = False
) -> Part:
    """Judge whether the mean over members lies between two values, edges included.

    p comes from two one-sided t tests (Schuirmann 1987, Journal of Pharmacokinetics and Biopharmaceutics 15:657), one
    for each edge: the larger of the two when the mean is inside, that of the nearer edge when it is outside; doubled,
    as everything here is two-sided. A diverged member (without a finite number) keeps the claim from being supported,
    and then there is no p.
    """
    usable = values[np.isfinite(values)]
    members, lost = len(usable), len(values) - len(usable)
    mean, _ = mean_and_error(usable)
    inside = low <= mean <= high
    p = _p_of_region(usable, low, high, inside=inside) if members >= MINIMUM_MEMBERS else None
    if lost and (inside or not is_clear(p)):
        p = None
    direction: Direction = "neither" if not members else "for" if inside else "against"
    scale, unit, widest = (100, " %", (0.0, 1.0)) if as_percent else (1, "", (-math.inf, math.inf))
    start, end = map(float, np.clip(t_interval(usable), *widest))
    edges = [low * scale, high * scale]
    finding, summary = described("mean", mean * scale, (start * scale, end * scale), p, members, edges, unit)
    summary += f"; the region is {edges[0]:g} to {edges[1]:g}{unit}".replace("-", "−")
    if not members:
        finding, summary = "", "no member has a finite value" if lost else "no members"
    if lost:
        finding, summary = (words and f"{words}; diverged: {lost} of {len(values)}" for words in (finding, summary))
    decision, ends = decision_of(p, direction), (start, end)
    return Part(decision, mean, ends, p, members, summary, finding=finding, direction=direction)


def _p_of_region(values: Float[np.ndarray, " member"], low: float, high: float, *, inside: bool) -> float:
    if np.ptp(values) == 0:
        return 0.0  # equal values are certain, also on an edge, which belongs to the region
    below_low, above_low = t_tails(values, low)
    below_high, above_high = t_tails(values, high)
    return min(1.0, 2 * (max(above_low, below_high) if inside else min(below_low, above_high)))


def correlation(
    x: Float[np.ndarray, " member"],
    y: Float[np.ndarray, " member"],
    *,
    expected: Side,
    first: str = "the first number",
    second: str = "the second number",
    least: int = CORRELATION_MEMBERS,
) -> Part:
    """Judge whether the rank correlation of two quantities lies on the expected side of 0.

    The interval holds the middle of the correlations of resampled members; p is twice the smaller share of them on
    either side of 0, one more counted on each side (Davison and Hinkley 1997, Bootstrap Methods and their Application,
    4.11). p decides, and an end of the interval that says otherwise by one resample is put at 0.
    """
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    members = len(x)
    p = 1.0 if members >= least else None
    constant = [name for name, values in ((first, x), (second, y)) if members and np.ptp(values) == 0]
    estimate, interval = math.nan, NO_INTERVAL
    if members >= 3 and not constant:
        estimate = float(stats.spearmanr(x, y).statistic)
        drawn = _resampled(x, y)
        low, high = np.quantile(drawn, [significance_level() / 2, 1 - significance_level() / 2])
        interval = (float(low), float(high))
        if p is not None:
            tail = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
            p = min(1.0, 2 * (tail + 1) / (len(drawn) + 1))
    if p is not None:
        interval = agreeing(interval, 0.0, estimate, clear=is_clear(p))
    what = f"rank correlation of {first} and {second}"
    finding, summary = described(what, estimate, interval, p, members)
    if math.isnan(estimate):
        few = f"{count_of_members(members)}, fewer than the {least} that a verdict needs"
        cause = few if members < least else f"all {members} members have the same {' and the same '.join(constant)}"
        finding, summary = cause, f"no {what}: {cause}"
    direction = side_of(estimate, 0.0, expect_above=expected == "above")
    decision = decision_of(p, direction)
    return Part(decision, estimate, interval, p, members, summary, finding=finding, direction=direction)


def _resampled(x: Float[np.ndarray, " member"], y: Float[np.ndarray, " member"]) -> Float[np.ndarray, " resample"]:
    """Correlate resampled members; a resample in which nothing varies counts as 0."""
    chosen = np.random.default_rng(0).integers(0, len(x), (_RESAMPLES, len(x)))
    ranks = [stats.rankdata(values[chosen], axis=1) for values in (x, y)]
    a, b = (one - one.mean(1, keepdims=True) for one in ranks)
    size = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    product = (a * b).sum(1)
    return np.asarray(np.divide(product, size, out=np.zeros_like(product), where=size > 0))


def exists(
    cells: Mapping[str, Bool[np.ndarray, " _"]],
    signs: Mapping[str, Bool[np.ndarray, " _"]],
    *,
    decides: Literal["supported", "contradicted"],
    condition: str,
    sign: str,
    cell: str,
) -> Part:
    """Judge by a single cell in which every member, six or more, meets a condition.

    If no member of any cell meets the weaker condition `signs`, in cells of six or more, the claim is decided the other
    way. The estimate is the share of members in the cell where it is largest.
    """
    decision: Decision = "undecided"
    estimate, members = math.nan, 0
    summary = "no members" if cells else f"no {cell} was run"
    filled = {name: values for name, values in cells.items() if len(values)}
    if filled:
        # the largest share, and of equal shares the one with the most members: so a cell that decides comes first
        most = max(filled, key=lambda name: (filled[name].mean(), len(filled[name])))
        count, members = int(filled[most].sum()), len(filled[most])
        estimate = count / members
        summary = f"{most}: {count} of {count_of_members(members)} {condition}"
        fewest = min((len(values) for values in signs.values()), default=0)
        none = not any(values.any() for values in signs.values())
        if count == members >= MINIMUM_MEMBERS:
            decision = decides
        elif not count and none and fewest >= MINIMUM_MEMBERS and signs.keys() >= cells.keys():
            decision, members = ("contradicted" if decides == "supported" else "supported"), fewest
            total = sum(len(values) for values in signs.values())
            summary = f"not one of {count_of_members(total)} in {len(signs)} cells {sign}"
    direction: Direction = "for" if decision == "supported" else "against" if decision == "contradicted" else "neither"
    return Part(decision, estimate, NO_INTERVAL, None, members, summary, direction=direction)
