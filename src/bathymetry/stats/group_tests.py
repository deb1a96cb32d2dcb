"""The test of each rule: arrays of one number or boolean per member, which `claims.rules` has checked, to one part.

In comparisons of groups members in which it never happens (infinite) or diverged (NaN) rank last.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from typing import Final, Literal

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from bathymetry.core.showing import joined
from bathymetry.stats.intervals import (
    IDENTITY,
    NO_INTERVAL,
    Transform,
    clopper_pearson,
    superiority_interval,
)
from bathymetry.stats.rank_correlation import rank_correlation
from bathymetry.stats.rank_tests import brunner_munzel, sign_tail, sign_test
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
)
from bathymetry.stats.wording import count_of_members, described, percent, percent_range, with_p

Side = Literal["above", "below"]
Relation = Literal["above", "after", "below", "before"]
_LARGER: Final = ("above", "after")  # the relations for which larger numbers are better


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

    The effect is the probability of superiority, P(A first) + ½ P(tie), with Newcombe's interval. Where that interval
    and the test, which allows the groups other spreads, disagree about ½, its end is put at ½.
    """
    sign, last = (-1.0, -np.inf) if relation in _LARGER else (1.0, np.inf)
    test = brunner_munzel(*(np.where(np.isnan(group), np.inf, group * sign) for group in (a, b)))
    members, share = min(len(a), len(b)), test.superiority
    p = test.p if members >= MINIMUM_MEMBERS else None
    direction = side_of(share, 0.5)
    decision = decision_of(p, direction, confidence)
    interval = superiority_interval(share, len(a), len(b), confidence, error=test.error)
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

    def order(name: str, rival: str, confidence: float) -> Part:
        a, b = candidates[name], others[rival]
        return stochastic_order(a, b, relation=relation, first=name, second=rival, confidence=confidence)

    return best_of_pairs([*candidates], [*others], order, relation=relation)


def best_of_pairs(
    candidates: Sequence[str],
    others: Sequence[str],
    order: Callable[[str, str, float], Part],
    *,
    relation: Literal["above", "below"],
) -> Part:
    """Judge the same by any order test of a candidate against one of the others, at a confidence."""
    levels = 1 - (1 - CONFIDENCE) / len(candidates), 1 - (1 - CONFIDENCE) / len(others)

    def pair(name: str, rival: str) -> Part:
        for each in levels:  # the second, where the rival is ahead
            part = order(name, rival, each)
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
        shared = _shared_words([name, *row])
        rivals: dict[str, list[str]] = {word: [] for word in words.values()}
        for rival, part in row.items():
            rivals[words[part.decision]].append(rival.removeprefix(shared))
        outcome = ", ".join(f"{word} {joined(names)}" for word, names in rivals.items() if names)
        together.setdefault(outcome, []).append(name)
    return "; ".join(f"{joined(names)} {'is' if len(names) == 1 else 'are'} {each}" for each, names in together.items())


def _shared_words(names: Sequence[str]) -> str:
    """Find the words that all names begin with, as "batch " in "batch 5" and "batch 25"."""
    starts = zip(*(name.split(" ")[:-1] for name in names), strict=False)
    return "".join(f"{some[0]} " for some in takewhile(lambda some: len(set(some)) == 1, starts))


def median_sign(
    values: Float[np.ndarray, " member"],
    *,
    expected: Side,
    quantity: str = "median",
    shown: Transform = IDENTITY,
    unit: str = "",
) -> Part:
    """Judge whether the median over members lies on the expected side of 0, by the sign test.

    A member at 0 counts for neither side. Members without a finite number are left out and counted. Estimate and
    interval stay on the scale of the values; the words give them on the scale that `shown` takes them back to.
    """
    usable = values[np.isfinite(values)]
    members, left_out = len(usable), len(values) - len(usable)
    test = sign_test(usable)
    p = test.p if members >= MINIMUM_MEMBERS else None
    direction = side_of(test.median, 0.0, expect_above=expected == "above")
    centre, bottom, top = map(float, shown.backward(np.array([test.median, *test.interval])))
    line = float(shown.backward(np.array(0.0)))
    finding, summary = described(quantity, centre, (bottom, top), p, members, [line], unit)
    if left_out:
        finding += f" over the {members} of {len(values)} members that have a number"
        summary += f"; {left_out} of {len(values)} without a number, left out"
    if not members:
        finding, summary = "", "no member has a finite value"
    decision = decision_of(p, direction)
    return Part(decision, test.median, test.interval, p, members, summary, finding=finding, direction=direction)


def median_in_interval(
    values: Float[np.ndarray, " member"], low: float, high: float, *, as_percent: bool = False
) -> Part:
    """Judge whether the median over members lies between two values, edges included.

    p comes from two one-sided sign tests, one for each edge: the larger of the two when the median is inside, that of
    the nearer edge when it is outside; doubled, as everything here is two-sided. A diverged member (without a finite
    number) keeps the claim from being supported, and then there is no p.
    """
    usable = values[np.isfinite(values)]
    members, lost = len(usable), len(values) - len(usable)
    test = sign_test(usable)
    median = test.median
    inside = low <= median <= high
    p = _p_of_region(usable, low, high, inside=inside) if members >= MINIMUM_MEMBERS else None
    if lost and (inside or not is_clear(p)):
        p = None
    direction: Direction = "neither" if not members else "for" if inside else "against"
    scale, unit = (100, " %") if as_percent else (1, "")
    start, end = test.interval
    edges = [low * scale, high * scale]
    finding, summary = described("median", median * scale, (start * scale, end * scale), p, members, edges, unit)
    summary += f"; the region is {edges[0]:g} to {edges[1]:g}{unit}".replace("-", "−")
    if not members:
        finding, summary = "", "no member has a finite value" if lost else "no members"
    if lost:
        finding, summary = (words and f"{words}; diverged: {lost} of {len(values)}" for words in (finding, summary))
    decision = decision_of(p, direction)
    return Part(decision, median, test.interval, p, members, summary, finding=finding, direction=direction)


def _p_of_region(values: Float[np.ndarray, " member"], low: float, high: float, *, inside: bool) -> float:
    """A value on an edge is inside, so it counts for the region and against none of its sides."""
    below, above = int((values < low).sum()), int((values > high).sum())
    count = len(values) - max(below, above) if inside else max(below, above)
    return min(1.0, 2 * sign_tail(count, len(values)))


def correlation(
    x: Float[np.ndarray, " member"],
    y: Float[np.ndarray, " member"],
    *,
    expected: Side,
    first: str = "the first number",
    second: str = "the second number",
    least: int = CORRELATION_MEMBERS,
) -> Part:
    """Judge whether the rank correlation of two quantities lies on the expected side of 0, by permutations."""
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    members = len(x)
    p = 1.0 if members >= least else None
    constant = [name for name, values in ((first, x), (second, y)) if members and np.ptp(values) == 0]
    estimate, interval = math.nan, NO_INTERVAL
    if members > 3 and not constant:
        test = rank_correlation(x, y)
        estimate, interval = test.rho, test.interval
        p = None if p is None else test.p
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
