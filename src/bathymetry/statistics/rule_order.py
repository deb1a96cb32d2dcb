"""The rule for a claim that one group comes before another: faster, lower, better.

Decided by Mann and Whitney's test over members. What never happens (infinite) and what diverged (NaN) is ranked last,
together.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Real

from bathymetry.core.errors import InputError
from bathymetry.statistics.arguments import confidence_level, coordinates_of, flag, numbers, one_of, text
from bathymetry.statistics.intervals import superiority_interval
from bathymetry.statistics.rank_sum import mann_whitney
from bathymetry.statistics.verdict import CONFIDENCE, MINIMUM_MEMBERS, Decision, Part
from bathymetry.statistics.wording import level, percent, percent_range, too_few, with_p

_SMALLER = ("below", "before")  # what may stand between two names where smaller numbers are better
_LARGER = ("above", "after")  # and where larger ones are


def order(
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
        >>> part = order(np.arange(6.0), np.arange(6.0) + 10, larger_is_better=False, first="deep", second="shallow")
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
        told=summary if never or not members else _told(decision, first, relation, second, test.superiority),
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


def _told(decision: Decision, first: str, relation: str, second: str, superiority: float) -> str:
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
