"""From the parts of a claim to its verdict: it holds if it holds for each network, function or quantity.

The verdict and its p say the same, whatever the confidence that each part was given: a part counts by its p.

- Supported if every part is, each at 5 %: an intersection–union test, for which no correction is due (Berger 1982,
  Technometrics 24:295). p is the largest of the parts'.
- Contradicted if one part is at 5 % divided by the number of parts (Bonferroni; Dunn 1961, Journal of the American
  Statistical Association 56:52). p is that part's, times the number of parts.
- Undecided otherwise. p is the smallest of a part that points against the claim, times the number of parts; if none
  does, the largest of the parts'. If none points against it and a part is without p (not run, or unable to decide),
  the largest is unknown and the claim has no p.
"""

from collections.abc import Sequence

from bathymetry.core.errors import InputError
from bathymetry.stats.arguments import one_of
from bathymetry.stats.verdict import CONFIDENCE, MINIMUM_MEMBERS, Decision, Kind, Part, Verdict
from bathymetry.stats.wording import p_value

_LEVEL = round(1 - CONFIDENCE, 12)
_KINDS = ("majority", "stochastic_order", "mean_sign", "mean_in_interval", "best_of", "correlation", "exists")


def combine(kind: Kind, parts: Sequence[Part]) -> Verdict:
    """Decide a claim from its parts.

    Args:
        kind: Which rule decided the parts. *exists* has no p: one part decides.
        parts: One for each network, function or quantity that the claim is about; those that were not run as parts
            that are *not tested*. None means that there was nothing to test.

    Returns:
        The verdict, with every part kept.

    Raises:
        InputError: If there is no such kind, or something among the parts is none.

    Example:
        >>> import numpy as np
        >>> from bathymetry.stats.rules import majority
        >>> verdict = combine("majority", [majority(np.ones(6, dtype=bool)), majority(np.ones(9, dtype=bool))])
        >>> verdict.decision, verdict.members, verdict.p
        ('supported', 6, 0.03125)
    """
    one_of("kind", kind, _KINDS)
    if not isinstance(parts, Sequence) or not all(isinstance(part, Part) for part in parts):
        raise InputError("parts", parts, "expected a list of parts, as the rules return them")
    kept = tuple(parts)
    tested = [part for part in kept if part.decision != "not tested"]
    decision: Decision = "not tested"
    p: float | None = None
    if tested:
        decision, p = _existence(kept) if kind == "exists" else _tests(kept)
    return Verdict(
        kind=kind,
        decision=decision,
        parts=kept,
        members=min((part.members for part in tested), default=0),
        p=p,
        reason=_reason(kind, decision, kept),
    )


def _existence(parts: Sequence[Part]) -> tuple[Decision, None]:
    if any(part.decision == "contradicted" for part in parts):
        return "contradicted", None
    return ("supported" if all(part.decision == "supported" for part in parts) else "undecided"), None


def _tests(parts: Sequence[Part]) -> tuple[Decision, float | None]:
    known = [part.p for part in parts if part.p is not None]
    largest = max(known) if len(known) == len(parts) else None
    if largest is not None and largest < _LEVEL and all(part.in_favour for part in parts):
        return "supported", largest
    against = [part for part in parts if part.against and part.p is not None]
    if not against:
        return "undecided", largest
    strongest = min(against, key=lambda part: part.p or 0.0)
    p = min(1.0, len(parts) * (strongest.p or 0.0))
    return ("contradicted" if p < _LEVEL else "undecided"), p


def _reason(kind: Kind, decision: Decision, parts: Sequence[Part]) -> str:
    # What stands in the way, part by part; nothing where the verdict explains itself.
    if not parts:
        return "there was nothing to test"
    if decision in {"supported", "contradicted"}:
        return ""
    too_few = _too_few_for_a_majority(kind, parts)
    in_the_way = [part for part in parts if part.decision != "supported" or _unclear(part)]
    reasons = {part.reason for part in in_the_way}
    if len(in_the_way) == len(parts) and len(reasons) == 1 and "" not in reasons:
        return "; ".join(one for one in (reasons.pop(), too_few) if one)
    held = len(parts) - len(in_the_way)
    alike: dict[tuple[str, str], list[str]] = {}
    for part in in_the_way:
        reason = "" if too_few else _alone(part, len(parts))
        alike.setdefault((part.decision, part.reason or reason), []).append(", ".join(part.coordinates.values()))
    listed = [_named(*outcome, names) for outcome, names in alike.items()]
    return "; ".join(one for one in (f"supported in {held} of {len(parts)} parts", *listed, too_few) if one)


def _alone(part: Part, parts: int) -> str:
    """Say why a part that is decided by itself does not decide the claim."""
    if _unclear(part):
        return f"{p_value(part.p or 0.0)}, where a claim takes less than {_LEVEL:g}"
    if part.decision != "contradicted" or part.p is None:
        return ""
    return f"alone, {p_value(part.p)}; times {parts} parts, {min(1.0, parts * part.p):.2g}"


def _unclear(part: Part) -> bool:
    """Tell whether a part was supported at a confidence that is too low for a claim."""
    return part.decision == "supported" and part.p is not None and part.p >= _LEVEL


def _named(decision: str, reason: str, names: Sequence[str]) -> str:
    about = " and ".join(name for name in names if name)
    words = f"{decision} for {about}" if about else decision
    return f"{words} ({reason})" if reason else words


def _too_few_for_a_majority(kind: Kind, parts: Sequence[Part]) -> str:
    """Say so where even a part in which no member meets the condition could not contradict a claim of several."""
    members = max(part.members for part in parts)
    smallest = 2.0 ** (1 - members)  # the two-sided p of none of so many members
    against = any(part.against for part in parts)
    if (
        kind != "majority"
        or len(parts) < 2
        or not against
        or members < MINIMUM_MEMBERS
        or len(parts) * smallest < _LEVEL
    ):
        return ""
    return (
        f"with {members} members a majority over {len(parts)} parts cannot be contradicted "
        f"({len(parts)} × {smallest:.2g} is above {_LEVEL:g})"
    )
