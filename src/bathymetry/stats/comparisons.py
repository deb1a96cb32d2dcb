"""The rules that compare groups of members: one comes before another, one is the best of several.

They take arrays that `claims.rules` has checked: float64, one number per member.

Mann and Whitney's exact test (1947, Annals of Mathematical Statistics 18:50) decides. What never happens (infinite) and
what diverged (NaN) is ranked last, together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Float, Int, Real
from scipy import stats

from bathymetry.core.errors import InputError
from bathymetry.core.showing import joined
from bathymetry.stats.checks import numbers
from bathymetry.stats.intervals import superiority_interval
from bathymetry.stats.verdict import (
    CONFIDENCE,
    MINIMUM_MEMBERS,
    Decision,
    Direction,
    Part,
    agreeing,
    decision_of,
    doubt,
    is_clear,
    side_of,
)
from bathymetry.stats.wording import level, percent, percent_range, with_p

EXACT_UP_TO: Final = 100  # numbers in both groups together; the count then takes well under a second
Relation = Literal["above", "after", "below", "before"]
_LARGER: Final = ("above", "after")  # the relations for which larger numbers are better
_OPPOSITE: Final = {"above": "below", "below": "above"}


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
            raise InputError(name, "NaN", "expected numbers; put infinity for a member without one to rank it last")
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
    """Judge whether A comes before B: whether its numbers tend to be the better ones.

    The effect is the probability of superiority, P(A first) + ½ P(tie), with Newcombe's interval (2006, Statistics in
    Medicine 25:559). Where that interval and the exact test disagree about ½, as ties and small groups can make them,
    its end is put at ½. Infinite on the worse side: it never happened; NaN: the member diverged; both rank last.
    """
    sign, last = (-1.0, -np.inf) if relation in _LARGER else (1.0, np.inf)
    test = mann_whitney(*(np.where(np.isnan(group), np.inf, group * sign) for group in (a, b)))
    members = min(len(a), len(b))
    p = test.p if members >= MINIMUM_MEMBERS else None
    direction = side_of(test.superiority, 0.5)
    decision = decision_of(p, direction, confidence)
    interval = superiority_interval(test.superiority, len(a), len(b), confidence)
    interval = agreeing(interval, 0.5, test.superiority, clear=is_clear(test.p, confidence))
    ends = f"{level(confidence)} {percent_range(*interval)}{with_p(p)}"
    summary = f"{first} {relation} {second} in {percent(test.superiority)} % of pairs ({ends})"
    summary += _without_a_number(a, b, first, second, last)
    finding = _finding(decision, first, relation, second, test.superiority)
    if not members:
        finding = summary = "no members"
    elif (a == last).all() and (b == last).all():
        finding = summary = f"nothing to compare: it happened in none of {len(a)} {first} and none of {len(b)} {second}"
    return Part(
        decision,
        test.superiority,
        interval,
        p,
        members,
        summary=summary,
        finding=finding,
        rule=f"Supported if Mann and Whitney's two-sided test at {doubt(confidence) * 100:.4g} % finds {first} "
        f"{relation} {second}, contradicted if it finds the opposite.",
        direction=direction,
    )


def _finding(decision: Decision, first: str, relation: str, second: str, superiority: float) -> str:
    if decision == "contradicted":
        first, second, superiority = second, first, 1 - superiority
    clearly = "not clearly " if decision == "undecided" else ""
    return f"{first} {clearly}{relation} {second} ({percent(superiority)} % of pairs)"


def _without_a_number(
    a: Float[np.ndarray, " first"], b: Float[np.ndarray, " second"], first: str, second: str, last: float
) -> str:
    words = ""
    for label, among in (("never", lambda group: group == last), ("diverged", np.isnan)):
        counts = [(int(among(group).sum()), len(group), name) for group, name in ((a, first), (b, second))]
        if any(count for count, _, _ in counts):
            words += f"; {label}: " + ", ".join(f"{count} of {of} {name}" for count, of, name in counts if count)
    return words


def best_of(
    candidates: Mapping[str, Float[np.ndarray, " _"]],
    others: Mapping[str, Float[np.ndarray, " _"]],
    *,
    relation: Literal["above", "below"],
) -> Part:
    """Judge whether the best is among the candidates: whether one of them is better than each of the others.

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
    single = len(candidates) == len(others) == 1
    return Part(
        decision_of(p, direction),
        shown.estimate,
        shown.interval,
        p,
        members,
        summary=shown.summary if single else _summary(pairs, relation, levels),
        finding=shown.finding if single else _outcomes(pairs, relation),
        rule=_rule(list(candidates), list(others), relation, levels),
        direction=direction,
    )


def _p(part: Part) -> float:
    return 1.0 if part.p is None else part.p


def _estimate(part: Part) -> float:
    return part.estimate


def _outcomes(pairs: Mapping[str, Mapping[str, Part]], relation: str) -> str:
    """Say whom each candidate is clearly above, clearly below, and neither; those that fare alike together."""
    words = {"supported": relation, "contradicted": _OPPOSITE[relation], "undecided": f"not clearly {relation}"}
    alike: dict[str, list[str]] = {}
    for name, row in pairs.items():
        shared = _shared_word([name, *row])
        outcomes = []
        for decision, word in words.items():
            rivals = [rival.removeprefix(shared) for rival, part in row.items() if part.decision == decision]
            outcomes += [f"{word} {joined(rivals)}"] if rivals else []
        alike.setdefault(", ".join(outcomes), []).append(name)
    return "; ".join(f"{joined(names)} {'is' if len(names) == 1 else 'are'} {each}" for each, names in alike.items())


def _rule(candidates: Sequence[str], others: Sequence[str], relation: str, levels: tuple[float, float]) -> str:
    ahead, behind = (f"{100 * (1 - one):.3g} %" for one in levels)
    shared = _shared_word([*candidates, *others])
    several = len(others) > 1
    each = f"each of {joined([one.removeprefix(shared) for one in others])}" if several else others[0]
    return (
        f"Supported if {' or '.join(candidates)} is {relation} {each} in two-sided tests at {ahead}, contradicted if "
        f"{'one of those' if several else 'that'} is {relation} {candidates[0] if len(candidates) == 1 else 'them all'}"
        f"{'' if ahead == behind else f' in tests at {behind}'}."
    )


def _summary(pairs: Mapping[str, Mapping[str, Part]], relation: str, levels: tuple[float, float]) -> str:
    ahead, behind = (level(one) for one in levels)
    below = any(part.estimate < 0.5 for row in pairs.values() for part in row.values())
    intervals = f"{ahead}s" if ahead == behind or not below else f"{ahead}s, {behind}s where below 50 %"
    return "; ".join([*(_row_summary(name, relation, row) for name, row in pairs.items()), intervals])


def _row_summary(name: str, relation: str, row: Mapping[str, Part]) -> str:
    pairs = []
    for rival, part in row.items():
        ends = f"{percent_range(*part.interval)}{with_p(part.p)}"
        shown = f"{relation} {rival} in {percent(part.estimate)} % of pairs ({ends})"
        pairs.append(shown if part.members else f"against {rival} without members")
    return f"{name} " + ", ".join(pairs)


def _shared_word(names: Sequence[str]) -> str:
    """Find the word that all names begin with, as "batch " in "batch 5" and "batch 25"."""
    first = {name.partition(" ")[0] + " " for name in names if " " in name}
    return first.pop() if len(first) == 1 and all(" " in name for name in names) else ""
