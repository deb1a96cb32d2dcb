"""An effect with its interval as a small drawing: where it lies against the value that would mean nothing."""

import math
from dataclasses import dataclass

from bathymetry.statistics.verdict import Decision, Kind, Part, Verdict

_ROOM = 4.0  # per cent left free at both ends


@dataclass(frozen=True)
class Effect:
    """Where to draw one part's effect, in per cent of the width."""

    label: str  # which network, function or quantity
    part: Part
    decision: Decision  # of the part; "not tested" where the whole claim is not
    middle: float
    low: float
    high: float
    neutral: float | None  # where no effect would be; None where there is no such value


def effects(verdict: Verdict) -> tuple[Effect, ...]:
    """Lay out the effects of a verdict's parts on one scale.

    Args:
        verdict: The verdict.

    Returns:
        One for each part that has an estimate and an interval.
    """
    parts = [part for part in verdict.parts if all(math.isfinite(end) for end in (part.estimate, *part.interval))]
    if not parts:
        return ()
    start, end, neutral = _scale(verdict.kind, parts)

    def place(value: float) -> float:
        share = (value - start) / (end - start)
        return round(_ROOM + (100 - 2 * _ROOM) * min(max(share, 0.0), 1.0), 2)

    return tuple(
        Effect(
            label=", ".join(part.coordinates.values()),
            part=part,
            decision=verdict.decision if verdict.decision == "not tested" else part.decision,
            middle=place(part.estimate),
            low=place(part.interval[0]),
            high=place(part.interval[1]),
            neutral=None if neutral is None else place(neutral),
        )
        for part in parts
    )


def _scale(kind: Kind, parts: list[Part]) -> tuple[float, float, float | None]:
    # Choose from where to where, and what would mean nothing.
    if kind in ("share", "order", "best"):
        return 0.0, 1.0, 0.5
    if kind == "correlation":
        return -1.0, 1.0, 0.0
    ends = [end for part in parts for end in (part.estimate, *part.interval)]
    if kind == "slope":
        reach = max(abs(end) for end in ends) or 1.0
        return -reach, reach, 0.0
    low, high = min(ends), max(ends)
    return (low, high, None) if high > low else (low - 1, high + 1, None)
