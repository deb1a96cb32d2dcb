"""From the parts of a claim to its verdict: it holds if it holds for each network, function or quantity."""

from collections.abc import Sequence

from bathymetry.statistics.verdict import Decision, Kind, Part, Verdict


def combine(kind: Kind, parts: Sequence[Part]) -> Verdict:
    """Decide a claim from its parts.

    Supported if each part is, contradicted if any is. p is the largest of the parts' unless it is contradicted (an
    intersection–union test, Berger 1982, Technometrics 24:295), then the smallest of those that contradict it times
    the number of all (Bonferroni; Dunn 1961, Journal of the American Statistical Association 56:52). Claims that
    something exists, and those not judged, have none.

    Args:
        kind: Which rule decided the parts.
        parts: What was tested; none means that there was nothing to judge.

    Returns:
        The verdict, with every part kept.

    Example:
        >>> import numpy as np
        >>> from bathymetry.statistics.rule_share import share
        >>> verdict = combine("share", [share(np.ones(6, dtype=bool)), share(np.ones(9, dtype=bool))])
        >>> verdict.decision, verdict.members, verdict.p
        ('supported', 6, 0.03125)
    """
    kept = tuple(parts)
    decisions = [part.decision for part in kept]
    decision: Decision = "undecided"
    if all(each == "not judged" for each in decisions):
        decision = "not judged"
    elif "contradicted" in decisions:
        decision = "contradicted"
    elif all(each == "supported" for each in decisions):
        decision = "supported"
    return Verdict(
        kind=kind,
        decision=decision,
        parts=kept,
        members=min((part.members for part in kept), default=0),
        p=_p(kind, decision, kept),
        reason=_reason(decision, kept),
    )


def _p(kind: Kind, decision: Decision, parts: Sequence[Part]) -> float | None:
    tested = [part.p for part in parts if part.p is not None]
    if kind == "exists" or decision == "not judged" or not tested:
        return None
    if decision != "contradicted":
        return max(tested)
    against = [part.p for part in parts if part.p is not None and part.decision == "contradicted"]
    return min(1.0, len(tested) * min(against)) if against else None


def _reason(decision: Decision, parts: Sequence[Part]) -> str:
    # What stands in the way, part by part; nothing where the verdict explains itself.
    if not parts:
        return "there was nothing to judge"
    if decision in {"supported", "contradicted"}:
        return ""
    in_the_way = [part for part in parts if part.decision == decision or part.decision == "not judged"]
    reasons = {part.reason for part in in_the_way}
    if len(in_the_way) == len(parts) and len(reasons) == 1:
        return reasons.pop()
    held = sum(part.decision == "supported" for part in parts)
    listed = "; ".join(_named(part) for part in in_the_way)
    return f"supported in {held} of {len(parts)} parts; {listed}"


def _named(part: Part) -> str:
    name = ", ".join(part.coordinates.values())
    words = f"{part.decision} for {name}" if name else part.decision
    return f"{words} ({part.reason})" if part.reason else words
