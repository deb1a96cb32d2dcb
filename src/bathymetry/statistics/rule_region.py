"""The rule for a claim that a mean lies in a region: its whole interval must lie inside."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Real

from bathymetry.core.errors import InputError
from bathymetry.statistics.intervals import mean_and_error, t_interval, t_tails
from bathymetry.statistics.verdict import CONFIDENCE, Decision, Part
from bathymetry.statistics.wording import count_of_members, p_value, too_few, with_interval


def region(
    values: Real[np.ndarray, " member"],
    low: float,
    high: float,
    *,
    diverged: Bool[np.ndarray, " member"] | None = None,
    quantity: str = "mean",
    as_percent: bool = False,
    confidence: float = CONFIDENCE,
    coordinates: Mapping[str, str] | None = None,
) -> Part:
    """Judge whether the mean over members lies between two values.

    Supported when the t interval lies wholly inside, contradicted when wholly outside; one diverged member keeps the
    claim from being supported. p comes from two one-sided t tests (Schuirmann 1987, Journal of Pharmacokinetics and
    Biopharmaceutics 15:657), one for each edge: the larger of the two when the mean is inside, that of the nearer edge
    when it is outside. It is doubled, as everything here is two-sided, so that p < 1 − confidence goes with a decision.

    Args:
        values: One number a member. Those without a finite one count as diverged and are left out of the mean.
        low: Lower edge of the region; it belongs to it.
        high: Upper edge; likewise.
        diverged: Members that diverged though they have a number.
        quantity: What the number is, for the summary.
        as_percent: Whether the summary writes it in percent.
        confidence: Two-sided, from 0 to 1.
        coordinates: What the part is about.

    Returns:
        The part; its estimate is the mean.

    Raises:
        InputError: If the edges are in the wrong order, or `diverged` does not fit the values.

    Example:
        >>> part = region(np.array([0.951, 0.952, 0.953, 0.954, 0.955, 0.956]), 0.945, 0.965, as_percent=True)
        >>> part.decision, part.summary.split(";")[0]
        ('supported', 'mean 95.35 % (95 % interval 95.15 to 95.55 %, p = 0.0001, 6 members)')
    """
    if not low <= high:
        raise InputError("low", low, f"give at most high, {high}")
    failed = ~np.isfinite(values)
    if diverged is not None:
        if np.shape(diverged) != np.shape(values) or np.asarray(diverged).dtype != np.bool_:
            raise InputError("diverged", diverged, "give one boolean a member")
        failed |= diverged
    usable = np.asarray(values, dtype=np.float64)[~failed]
    members, lost = len(usable), int(failed.sum())
    interval = t_interval(usable, confidence)
    below_low, above_low = t_tails(usable, low)
    below_high, above_high = t_tails(usable, high)
    estimate, _ = mean_and_error(usable)
    inside = low <= estimate <= high
    p = min(1.0, 2 * (max(above_low, below_high) if inside else min(below_low, above_high)))
    reason = too_few(members)
    decision: Decision = "undecided"
    if not reason:
        if interval[1] < low or interval[0] > high:
            decision = "contradicted"
        elif not (low <= interval[0] and interval[1] <= high):
            reason = "the interval of the mean reaches over an edge of the region"
        elif lost:
            reason = f"{lost} of {len(values)} members diverged"
        else:
            decision = "supported"
    return Part(
        decision=decision,
        estimate=estimate,
        interval=interval,
        p=p,
        members=members,
        summary=_words(quantity, estimate, interval, (low, high), p, confidence, members, lost, as_percent),
        coordinates=dict(coordinates or {}),
        reason=reason,
        rule=f"Supported if the {confidence * 100:.4g} % t interval of the mean over members lies wholly inside the "
        "region, contradicted if wholly outside.",
    )


def _words(
    quantity: str,
    estimate: float,
    interval: tuple[float, float],
    edges: tuple[float, float],
    p: float,
    confidence: float,
    members: int,
    lost: int,
    as_percent: bool,
) -> str:
    if not members:
        return f"no members with a number; diverged: {lost} of {lost}" if lost else "no members"
    scale, unit = (100, " %") if as_percent else (1, "")
    low, high = (edge * scale for edge in edges)
    shown = (interval[0] * scale, interval[1] * scale)
    number, ends = with_interval(estimate * scale, shown, confidence, lines=[low, high], unit=unit)
    words = f"{quantity} {number} ({ends}, {p_value(p)}, {count_of_members(members)})"
    words += f"; the region is {low:g} to {high:g}{unit}".replace("-", "−")
    return words + (f"; diverged: {lost} of {members + lost}" if lost else "")
