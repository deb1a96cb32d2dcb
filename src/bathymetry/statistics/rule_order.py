"""The rule for a claim that one group comes before another: faster, lower, better.

Decided by Mann and Whitney's test over members. What never happens (infinite) and what diverged (NaN) is ranked last,
together.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Real

from bathymetry.statistics.intervals import superiority_interval
from bathymetry.statistics.rank_sum import mann_whitney
from bathymetry.statistics.verdict import CONFIDENCE, Decision, Part
from bathymetry.statistics.wording import level, p_value, percent, percent_range, too_few


def order(
    a: Real[np.ndarray, " first"],
    b: Real[np.ndarray, " second"],
    *,
    first: str = "A",
    second: str = "B",
    relation: str = "before",
    larger_first: bool = False,
    confidence: float = CONFIDENCE,
    coordinates: Mapping[str, str] | None = None,
) -> Part:
    """Judge whether A comes before B.

    Mann and Whitney's exact test (1947, Annals of Mathematical Statistics 18:50) decides. The effect is the probability
    of superiority, P(A first) + ½ P(tie), with Newcombe's interval (2006, Statistics in Medicine 25:559). Where that
    interval and the exact test disagree about ½, as ties and small groups can make them, its end is put at ½.

    Args:
        a: One number a member. Infinite: it never happened; NaN: the member diverged; both rank last.
        b: The same for the other group.
        first: What A is called.
        second: What B is called.
        relation: What stands between the two names: "before", "below", "above".
        larger_first: Whether larger numbers come first, as with accuracies.
        confidence: Two-sided, from 0 to 1.
        coordinates: What the part is about.

    Returns:
        The part; its estimate is the probability of superiority.

    Example:
        >>> part = order(np.arange(6.0), np.arange(6.0) + 10, first="deep", second="shallow")
        >>> part.decision, part.summary
        ('supported', 'deep before shallow in 100 % of pairs (95 % interval 69–100 %, p = 0.0022)')
    """
    test = mann_whitney(_places(a, larger_first), _places(b, larger_first))
    members = min(len(a), len(b))
    doubt = round(1 - confidence, 12)  # not 0.050000000000000044
    reason = too_few(members)
    decision: Decision = "undecided"
    if not reason and test.p < doubt:
        decision = "supported" if test.superiority > 0.5 else "contradicted"
    elif not reason:
        reason = f"neither is {relation} the other clearly enough"
    never = members > 0 and bool(np.isinf(a).all() and np.isinf(b).all())
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
        numbers = f"{level(confidence)} {percent_range(low, high)}, {p_value(test.p)}"
        summary = f"{first} {relation} {second} in {percent(test.superiority)} % of pairs ({numbers})"
        summary += _without_a_number(a, b, first, second)
    if never:
        summary = f"nothing to compare: it happened in none of {len(a)} {first} and none of {len(b)} {second}"
    return Part(
        decision=decision,
        estimate=test.superiority,
        interval=(low, high) if members else (float("nan"), float("nan")),
        p=test.p,
        members=members,
        summary=summary,
        coordinates=dict(coordinates or {}),
        reason=reason,
        told=summary if never or not members else _told(decision, first, relation, second, test.superiority),
        rule=f"Supported if Mann and Whitney's two-sided test at {doubt * 100:.4g} % finds {first} {relation} "
        f"{second}, contradicted if it finds the opposite.",
    )


def _told(decision: Decision, first: str, relation: str, second: str, superiority: float) -> str:
    front, behind, share = (
        (second, first, 1 - superiority) if decision == "contradicted" else (first, second, superiority)
    )
    clearly = "not clearly " if decision == "undecided" else ""
    return f"{front} {clearly}{relation} {behind} ({percent(share)} % of pairs)"


def _places(values: Real[np.ndarray, " member"], larger_first: bool) -> Float[np.ndarray, " member"]:
    # Numbers whose order from small to large is the order of the members, failures last.
    ascending = np.asarray(values, dtype=np.float64) * (-1.0 if larger_first else 1.0)
    return np.where(np.isnan(ascending), np.inf, ascending)


def _without_a_number(a: Real[np.ndarray, " first"], b: Real[np.ndarray, " second"], first: str, second: str) -> str:
    words = ""
    for label, among in (("never", np.isinf), ("diverged", np.isnan)):
        counts = [(int(among(group).sum()), len(group), name) for group, name in ((a, first), (b, second))]
        if any(count for count, _, _ in counts):
            words += f"; {label}: " + ", ".join(f"{count} of {of} {name}" for count, of, name in counts if count)
    return words
