"""The rule for a claim that one group comes before another: faster, lower, better.

Decided by Mann and Whitney's test over members. What never happens (infinite) and what diverged (NaN) is ranked last,
together.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Real

from bathymetry.core.errors import InputError
from bathymetry.stats.arguments import confidence_level, coordinates_of, flag, groups, numbers, one_of, text
from bathymetry.stats.intervals import superiority_interval
from bathymetry.stats.resampling import mann_whitney
from bathymetry.stats.verdict import CONFIDENCE, MINIMUM_MEMBERS, Decision, Part
from bathymetry.stats.wording import level, percent, percent_range, too_few, with_p

_SMALLER = ("below", "before")  # what may stand between two names where smaller numbers are better
_LARGER = ("above", "after")  # and where larger ones are


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

    Mann and Whitney's exact test (1947, Annals of Mathematical Statistics 18:50) decides. The effect is the probability
    of superiority, P(A first) + ½ P(tie), with Newcombe's interval (2006, Statistics in Medicine 25:559). Where that
    interval and the exact test disagree about ½, as ties and small groups can make them, its end is put at ½.

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

    Example:
        >>> a, b = np.arange(6.0), np.arange(6.0) + 10
        >>> part = stochastic_order(a, b, larger_is_better=False, first="deep", second="shallow")
        >>> part.decision, part.summary
        ('supported', 'deep below shallow in 100 % of pairs (95 % interval 69–100 %, p = 0.0022)')
    """
    larger_is_better, confidence = flag("larger_is_better", larger_is_better), confidence_level(confidence)
    first, second = text("first", first), text("second", second)
    relation = _relation(relation, larger_is_better)
    a, b = numbers("a", a), numbers("b", b)
    test = mann_whitney(_places(a, larger_is_better), _places(b, larger_is_better))
    members = min(len(a), len(b))
    doubt = round(1 - confidence, 12)  # not 0.050000000000000044
    p = test.p if members >= MINIMUM_MEMBERS else None
    reason = too_few(members)
    decision: Decision = "undecided"
    if p is not None and p < doubt:
        decision = "supported" if test.superiority > 0.5 else "contradicted"
    elif not reason:
        reason = f"neither is {relation} the other clearly enough"
    last = -np.inf if larger_is_better else np.inf
    never = members > 0 and bool((a == last).all() and (b == last).all())
    if never:
        reason = "it happened in no member of either"
    low, high = superiority_interval(test.superiority, len(a), len(b), confidence)
    if test.p >= doubt:
        low, high = min(low, 0.5), max(high, 0.5)
    elif test.superiority > 0.5:
        low = max(low, 0.5)
    else:
        high = min(high, 0.5)
    summary = "no members"
    if members:
        ends = f"{level(confidence)} {percent_range(low, high)}{with_p(p)}"
        summary = f"{first} {relation} {second} in {percent(test.superiority)} % of pairs ({ends})"
        summary += _without_a_number(a, b, first, second, last)
    if never:
        summary = f"nothing to compare: it happened in none of {len(a)} {first} and none of {len(b)} {second}"
    return Part(
        decision=decision,
        estimate=test.superiority,
        interval=(low, high) if members else (float("nan"), float("nan")),
        p=p,
        members=members,
        summary=summary,
        coordinates=coordinates_of(coordinates),
        reason=reason,
        finding=summary if never or not members else _finding(decision, first, relation, second, test.superiority),
        rule=f"Supported if Mann and Whitney's two-sided test at {doubt * 100:.4g} % finds {first} {relation} "
        f"{second}, contradicted if it finds the opposite.",
        direction="for" if test.superiority > 0.5 else "against" if test.superiority < 0.5 else "neither",
    )


def _relation(relation: str | None, larger_is_better: bool) -> str:
    fitting, other = (_LARGER, _SMALLER) if larger_is_better else (_SMALLER, _LARGER)
    if relation is None:
        return fitting[0]
    if isinstance(relation, str) and relation in other:
        remedy = f"it contradicts larger_is_better={larger_is_better}; expected {' or '.join(map(repr, fitting))}"
        raise InputError("relation", relation, remedy)
    one_of("relation", relation, fitting)
    return relation


def _finding(decision: Decision, first: str, relation: str, second: str, superiority: float) -> str:
    front, behind, share = (
        (second, first, 1 - superiority) if decision == "contradicted" else (first, second, superiority)
    )
    clearly = "not clearly " if decision == "undecided" else ""
    return f"{front} {clearly}{relation} {behind} ({percent(share)} % of pairs)"


def _places(values: Float[np.ndarray, " member"], larger_is_better: bool) -> Float[np.ndarray, " member"]:
    # Numbers whose order from small to large is the order of the members, failures last.
    ascending = values * (-1.0 if larger_is_better else 1.0)
    return np.where(np.isnan(ascending), np.inf, ascending)


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
        others: The same for those that they are held against.
        larger_is_better: True for accuracies, False for losses. It alone decides the direction.
        confidence: Of the whole, two-sided, from 0 to 1.
        coordinates: What the part is about.

    Returns:
        The part; its estimate and interval are those of the pair that p is of, or where no group is ahead of all of
        those it is held against, of the leading candidate's hardest pair.

    Raises:
        InputError: If there is no candidate or no other, or something given is not what it must be.

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
    pairs = {
        name: {
            rival: _pair(name, values, rival, against, levels, larger_is_better) for rival, against in others.items()
        }
        for name, values in candidates.items()
    }
    columns = {rival: {name: row[rival] for name, row in pairs.items()} for rival in others}
    ahead = {name: row for name, row in pairs.items() if all(part.estimate > 0.5 for part in row.values())}
    behind = {rival: row for rival, row in columns.items() if all(part.estimate < 0.5 for part in row.values())}
    members = min(part.members for row in pairs.values() for part in row.values())
    shown = _deciding(ahead or behind) if ahead or behind else _hardest(pairs)
    p: float | None = None
    if members >= MINIMUM_MEMBERS:
        p = min(1.0, len(candidates if ahead else others) * _p(shown)) if ahead or behind else 1.0
    decision: Decision = "undecided"
    if p is not None and p < round(1 - confidence, 12):
        decision = "supported" if ahead else "contradicted"
    alone = len(candidates) == len(others) == 1
    relation = "above" if larger_is_better else "below"
    leader = next(name for name, row in pairs.items() if any(part is shown for part in row.values()))
    return Part(
        decision=decision,
        estimate=shown.estimate,
        interval=shown.interval,
        p=p,
        members=members,
        summary=shown.summary if alone else _summary(pairs, relation, levels),
        coordinates=coordinates_of(coordinates),
        reason=(too_few(members) or _open(leader, pairs[leader])) if decision == "undecided" else "",
        finding=shown.finding if alone else _best_finding(pairs, relation),
        rule=_rule(list(candidates), list(others), relation, levels),
        direction="for" if ahead else "against" if behind else "neither",
    )


def _pair(
    name: str, values: object, rival: str, against: object, levels: tuple[float, float], larger_is_better: bool
) -> Part:
    """Hold a candidate against another: where it is behind, at the confidence with which the others are tested."""
    ahead, behind = (
        stochastic_order(
            numbers(name, values), numbers(rival, against), first=name, second=rival,
            larger_is_better=larger_is_better, confidence=each,
        )
        for each in levels
    )  # fmt: skip
    return behind if ahead.estimate < 0.5 else ahead


def _deciding(rows: Mapping[str, Mapping[str, Part]]) -> Part:
    """Find the least clear pair of the group that is ahead the most clearly."""
    return min((max(row.values(), key=_p) for row in rows.values()), key=_p)


def _hardest(rows: Mapping[str, Mapping[str, Part]]) -> Part:
    """Find the leading candidate's pair with the other that comes closest, or is farthest ahead."""
    each = [min(row.values(), key=lambda part: part.estimate) for row in rows.values()]
    return max(each, key=lambda part: part.estimate)


def _p(part: Part) -> float:
    return 1.0 if part.p is None else part.p


_OPPOSITE = {"above": "below", "below": "above"}


def _best_finding(pairs: Mapping[str, Mapping[str, Part]], relation: str) -> str:
    # Whom each candidate is clearly above, clearly below, and neither; candidates that fare alike are named together.
    alike: dict[str, list[str]] = {}
    for name, row in pairs.items():
        outcomes = [
            (words, [rival for rival, part in row.items() if part.decision == decision])
            for decision, words in (
                ("supported", relation),
                ("contradicted", _OPPOSITE[relation]),
                ("undecided", f"not clearly {relation}"),
            )
        ]
        shared = _shared_word([name, *row])
        outcome = [
            f"{words} {_listed([one.removeprefix(shared) for one in names])}" for words, names in outcomes if names
        ]
        alike.setdefault(", ".join(outcome), []).append(name)
    return "; ".join(
        f"{_listed(names)} {'is' if len(names) == 1 else 'are'} {outcome}" for outcome, names in alike.items()
    )


def _shared_word(names: Sequence[str]) -> str:
    # The word that all names begin with, as "batch " in "batch 5" and "batch 25".
    first = {name.partition(" ")[0] + " " for name in names if " " in name}
    return first.pop() if len(first) == 1 and all(" " in name for name in names) else ""


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def _rule(candidates: Sequence[str], others: Sequence[str], relation: str, levels: tuple[float, float]) -> str:
    ahead, behind = (f"{100 * (1 - one):.3g} %" for one in levels)
    who = candidates[0] if len(candidates) == 1 else f"{' or '.join(candidates)}"
    beaten = candidates[0] if len(candidates) == 1 else "them all"
    shared = _shared_word([*candidates, *others])
    each = f"each of {_listed([one.removeprefix(shared) for one in others])}" if len(others) > 1 else others[0]
    return (
        f"Supported if {who} is {relation} {each} in two-sided tests at {ahead}, contradicted if "
        f"{'one of those' if len(others) > 1 else 'that'} is {relation} {beaten}"
        f"{'' if ahead == behind else f' in tests at {behind}'}."
    )


def _summary(pairs: Mapping[str, Mapping[str, Part]], relation: str, levels: tuple[float, float]) -> str:
    ahead, behind = (level(one) for one in levels)
    below = any(part.estimate < 0.5 for row in pairs.values() for part in row.values())
    intervals = f"{ahead}s" if ahead == behind or not below else f"{ahead}s, {behind}s where below 50 %"
    return "; ".join([*(_words(name, relation, row) for name, row in pairs.items()), intervals])


def _words(name: str, relation: str, row: Mapping[str, Part]) -> str:
    pairs = []
    for rival, part in row.items():
        if not part.members:
            pairs.append(f"against {rival} without members")
            continue
        ends = f"{percent_range(*part.interval)}{with_p(part.p)}"
        pairs.append(f"{relation} {rival} in {percent(part.estimate)} % of pairs ({ends})")
    return f"{name} " + ", ".join(pairs)


def _open(name: str, row: Mapping[str, Part]) -> str:
    unbeaten = [rival for rival, part in row.items() if part.decision != "supported"]
    return f"whether {name} beats {', '.join(unbeaten)} stays open"
