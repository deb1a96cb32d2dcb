"""The rules that compare groups of members: one comes before another, one is the best of several.

Mann and Whitney's exact test (1947, Annals of Mathematical Statistics 18:50) decides. What never happens (infinite) and
what diverged (NaN) is ranked last, together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from jaxtyping import Float, Int, Real
from scipy import stats

from bathymetry.core.errors import InputError
from bathymetry.stats.checks import confidence_level, flag, groups, numbers, one_of, text
from bathymetry.stats.intervals import superiority_interval
from bathymetry.stats.verdict import (
    CONFIDENCE,
    MINIMUM_MEMBERS,
    Decision,
    Direction,
    Part,
    agreeing,
    decided,
    decision_of,
    doubt,
    is_clear,
    side_of,
)
from bathymetry.stats.wording import level, percent, percent_range, with_p

EXACT_UP_TO: Final = 100  # numbers in both groups together; the count then takes well under a second
_RELATIONS = {True: ("above", "after"), False: ("below", "before")}  # by larger_is_better
_OPPOSITE = {"above": "below", "below": "above"}


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
    a: Real[np.ndarray, " first"],
    b: Real[np.ndarray, " second"],
    *,
    larger_is_better: bool,
    first: str = "A",
    second: str = "B",
    relation: str | None = None,
    confidence: float = CONFIDENCE,
    coordinates: Mapping[str, str] | None = None,
) -> Part:
    """Judge whether A comes before B: whether its numbers tend to be the better ones.

    The effect is the probability of superiority, P(A first) + ½ P(tie), with Newcombe's interval (2006, Statistics in
    Medicine 25:559). Where that interval and the exact test disagree about ½, as ties and small groups can make them,
    its end is put at ½.

    Args:
        a: One number a member. Infinite on the worse side: it never happened; NaN: the member diverged; both rank last.
        b: The same for the other group.
        larger_is_better: True for accuracies, False for losses and times. It alone decides the direction.
        first: What A is called.
        second: What B is called.
        relation: What stands between the two names: "above" or "after" where larger is better, "below" or "before"
            where smaller is. Defaults to "above" and "below".
        confidence: Two-sided, from 0 to 1.
        coordinates: What the part is about.

    Returns:
        The part; its estimate is the probability of superiority.

    Raises:
        InputError: If an argument is of another kind, or the relation contradicts the direction.

    Example:
        >>> a, b = np.arange(6.0), np.arange(6.0) + 10
        >>> part = stochastic_order(a, b, larger_is_better=False, first="deep", second="shallow")
        >>> part.decision, part.summary
        ('supported', 'deep below shallow in 100 % of pairs (95 % interval 69–100 %, p = 0.0022)')
    """
    larger_is_better, confidence = flag("larger_is_better", larger_is_better), confidence_level(confidence)
    text(first=first, second=second)
    relation = _relation(relation, larger_is_better=larger_is_better)
    a, b = numbers("a", a), numbers("b", b)
    sign, last = (-1.0, -np.inf) if larger_is_better else (1.0, np.inf)
    test = mann_whitney(*(np.where(np.isnan(group), np.inf, group * sign) for group in (a, b)))
    members = min(len(a), len(b))
    p = test.p if members >= MINIMUM_MEMBERS else None
    direction = side_of(test.superiority, 0.5)
    interval = superiority_interval(test.superiority, len(a), len(b), confidence)
    interval = agreeing(interval, 0.5, test.superiority, clear=is_clear(test.p, confidence))
    ends = f"{level(confidence)} {percent_range(*interval)}{with_p(p)}"
    summary = f"{first} {relation} {second} in {percent(test.superiority)} % of pairs ({ends})"
    summary += _without_a_number(a, b, first, second, last)
    finding = _finding(decision_of(p, direction, confidence), first, relation, second, test.superiority)
    obstacle = f"neither is {relation} the other clearly enough"
    never = members > 0 and bool((a == last).all() and (b == last).all())
    if not members:
        finding = summary = "no members"
    elif never:
        finding = summary = f"nothing to compare: it happened in none of {len(a)} {first} and none of {len(b)} {second}"
    part = decided(
        test.superiority,
        interval,
        p,
        members,
        direction,
        confidence,
        summary=summary,
        finding=finding,
        obstacle=obstacle,
        rule=f"Supported if Mann and Whitney's two-sided test at {doubt(confidence) * 100:.4g} % finds {first} "
        f"{relation} {second}, contradicted if it finds the opposite.",
        coordinates=coordinates,
    )
    return replace(part, reason="it happened in no member of either") if never else part


def _relation(relation: str | None, *, larger_is_better: bool) -> str:
    fitting = _RELATIONS[larger_is_better]
    if relation is None:
        return fitting[0]
    if isinstance(relation, str) and relation in _RELATIONS[not larger_is_better]:
        remedy = f"it contradicts larger_is_better={larger_is_better}; expected {' or '.join(map(repr, fitting))}"
        raise InputError("relation", relation, remedy)
    one_of("relation", relation, fitting)
    return relation


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
    candidates: Mapping[str, Real[np.ndarray, " _"]],
    others: Mapping[str, Real[np.ndarray, " _"]],
    *,
    larger_is_better: bool,
    confidence: float = CONFIDENCE,
    coordinates: Mapping[str, str] | None = None,
) -> Part:
    """Judge whether the best is among the candidates: whether one of them is better than each of the others.

    Of c candidates against k others it is supported if a candidate beats each other in order tests at 5 %/c, and
    contradicted if one of the others beats every candidate in order tests at 5 %/k: Bonferroni's price for having so
    many chances. p is the largest of those tests', times c or k; of a claim that is open, that of the strongest other
    if it is ahead of every candidate, else that of the strongest candidate, where a pair that points the other way
    counts as 1.

    Args:
        candidates: One number a member for each candidate, by name; a diverged member (NaN) ranks last.
        others: The same for those that they are compared with.
        larger_is_better: True for accuracies, False for losses. It alone decides the direction.
        confidence: Of the whole, two-sided, from 0 to 1.
        coordinates: What the part is about.

    Returns:
        The part; its estimate and interval are those of the pair that p is of, or where no group is ahead of all of
        those it is compared with, of the leading candidate's hardest pair.

    Raises:
        InputError: If there is no candidate or no other, or an argument is of another kind.

    Example:
        >>> low, middle, high = np.arange(8.0), np.arange(8.0) + 10, np.arange(8.0) + 20
        >>> part = best_of({"25": middle, "125": high}, {"5": low}, larger_is_better=True)
        >>> part.decision, round(part.p * 12870 / 2, 9)
        ('supported', 2.0)
    """
    larger_is_better, confidence = flag("larger_is_better", larger_is_better), confidence_level(confidence)
    for field, named in (("candidates", candidates), ("others", others)):
        if not groups(field, named):
            raise InputError(field, "none", "expected at least one group of members")
    levels = 1 - (1 - confidence) / len(candidates), 1 - (1 - confidence) / len(others)

    def pair(name: str, rival: str) -> Part:
        a, b = numbers(name, candidates[name]), numbers(rival, others[rival])
        for each in levels:  # the second, where the rival is ahead
            part = stochastic_order(a, b, first=name, second=rival, larger_is_better=larger_is_better, confidence=each)
            if not part.estimate < 0.5:
                break
        return part

    pairs = {name: {rival: pair(name, rival) for rival in others} for name in candidates}
    columns = {rival: {name: row[rival] for name, row in pairs.items()} for rival in others}
    ahead = [list(row.values()) for row in pairs.values() if all(part.estimate > 0.5 for part in row.values())]
    behind = [list(row.values()) for row in columns.values() if all(part.estimate < 0.5 for part in row.values())]
    members = min(part.members for row in pairs.values() for part in row.values())
    p: float | None = 1.0
    if ahead or behind:
        # the least clear pair of the group that is ahead most clearly
        shown = min((max(row, key=_p) for row in ahead or behind), key=_p)
        p = min(1.0, len(candidates if ahead else others) * _p(shown))
    else:
        # the leading candidate's pair with the rival that comes closest
        hardest = [min(row.values(), key=lambda part: part.estimate) for row in pairs.values()]
        shown = max(hardest, key=lambda part: part.estimate)
    p = p if members >= MINIMUM_MEMBERS else None
    direction: Direction = "for" if ahead else "against" if behind else "neither"
    single = len(candidates) == len(others) == 1
    relation = _RELATIONS[larger_is_better][0]
    leader = next(name for name, row in pairs.items() if any(part is shown for part in row.values()))
    unbeaten = [rival for rival, part in pairs[leader].items() if part.decision != "supported"]
    return decided(
        shown.estimate,
        shown.interval,
        p,
        members,
        direction,
        confidence,
        summary=shown.summary if single else _summary(pairs, relation, levels),
        finding=shown.finding if single else _outcomes(pairs, relation),
        obstacle=f"whether {leader} beats {', '.join(unbeaten)} stays open",
        rule=_rule(list(candidates), list(others), relation, levels),
        coordinates=coordinates,
    )


def _p(part: Part) -> float:
    return 1.0 if part.p is None else part.p


def _outcomes(pairs: Mapping[str, Mapping[str, Part]], relation: str) -> str:
    """Say whom each candidate is clearly above, clearly below, and neither; those that fare alike together."""
    words = {"supported": relation, "contradicted": _OPPOSITE[relation], "undecided": f"not clearly {relation}"}
    alike: dict[str, list[str]] = {}
    for name, row in pairs.items():
        shared = _shared_word([name, *row])
        outcomes = []
        for decision, word in words.items():
            rivals = [rival.removeprefix(shared) for rival, part in row.items() if part.decision == decision]
            outcomes += [f"{word} {_listed(rivals)}"] if rivals else []
        alike.setdefault(", ".join(outcomes), []).append(name)
    return "; ".join(f"{_listed(names)} {'is' if len(names) == 1 else 'are'} {each}" for each, names in alike.items())


def _rule(candidates: Sequence[str], others: Sequence[str], relation: str, levels: tuple[float, float]) -> str:
    ahead, behind = (f"{100 * (1 - one):.3g} %" for one in levels)
    shared = _shared_word([*candidates, *others])
    several = len(others) > 1
    each = f"each of {_listed([one.removeprefix(shared) for one in others])}" if several else others[0]
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


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
