"""The rule for a claim that something holds: most members must meet the condition.

Supported when the exact interval of the share of members lies above one half, contradicted when below.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool
from scipy import stats

from bathymetry.statistics.arguments import booleans, confidence_level, coordinates_of
from bathymetry.statistics.intervals import clopper_pearson
from bathymetry.statistics.verdict import CONFIDENCE, MINIMUM_MEMBERS, Decision, Part
from bathymetry.statistics.wording import count_of_members, level, percent, percent_range, too_few


def share(
    holds: Bool[np.ndarray, " member"], *, confidence: float = CONFIDENCE, coordinates: Mapping[str, str] | None = None
) -> Part:
    """Judge whether a condition holds for most members.

    Clopper and Pearson's interval (1934, Biometrika 26:404) of the share; p is that of the exact two-sided binomial
    test against one half, which is below 1 − confidence exactly when the interval leaves out one half.

    Args:
        holds: Whether each member meets it. A diverged member fails: give False.
        confidence: Two-sided, from 0 to 1.
        coordinates: What the part is about.

    Returns:
        The part; its estimate is the share of members.

    Example:
        >>> part = share(np.array([True] * 6))
        >>> part.decision, part.p, part.summary
        ('supported', 0.03125, '6 of 6 members (100 %, 95 % interval 54–100 %)')
    """
    given, confidence = booleans("holds", holds), confidence_level(confidence)
    members, count = len(given), int(given.sum())
    p = float(stats.binomtest(count, members).pvalue) if members >= MINIMUM_MEMBERS else None
    low, high = clopper_pearson(count, members, confidence)
    reason = too_few(members)
    decision: Decision = "undecided"
    if p is not None:
        if p < round(1 - confidence, 12):
            decision = "supported" if 2 * count > members else "contradicted"
        reason = "the interval of the share holds one half" if decision == "undecided" else ""
    interval_words = f"{level(confidence)} {percent_range(low, high)}"
    return Part(
        decision=decision,
        estimate=count / members if members else float("nan"),
        interval=(low, high),
        p=p,
        members=members,
        summary=f"{count} of {count_of_members(members)} ({percent(count / members)} %, {interval_words})"
        if members
        else "no members",
        coordinates=coordinates_of(coordinates),
        reason=reason,
        rule=f"Supported if the {confidence * 100:.4g} % interval of the share of members lies above one half, "
        "contradicted if below.",
        direction="for" if 2 * count > members else "against" if 2 * count < members else "neither",
    )
