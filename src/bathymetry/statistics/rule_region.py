"""The rule for a claim that a mean lies in a region: its whole interval must lie inside."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Real

from bathymetry.core.errors import InputError
from bathymetry.statistics.arguments import booleans, confidence_level, coordinates_of, flag, number, numbers, text
from bathymetry.statistics.intervals import mean_and_error, t_interval, t_tails
from bathymetry.statistics.verdict import CONFIDENCE, MINIMUM_MEMBERS, Decision, Part
from bathymetry.statistics.wording import count_of_members, too_few, with_interval, with_p


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
    There is no p with fewer than six members, or where only a diverged member keeps it from being supported.

    Args:
        values: One number a member. Those without a finite one count as diverged and are left out of the mean.
        low: Lower edge of the region; it belongs to it.
        high: Upper edge; likewise.
        diverged: Members that diverged though they have a number.
        quantity: What the number is, for the summary.
        as_percent: Whether the number is a share that the summary writes in percent; its interval ends at 0 and 1.
        confidence: Two-sided, from 0 to 1.
        coordinates: What the part is about.

    Returns:
        The part; its estimate is the mean.

    Raises:
        InputError: If the edges are in the wrong order, `diverged` does not fit the values, or something given is not
            what it must be.

    Example:
        >>> part = region(np.array([0.951, 0.952, 0.953, 0.954, 0.955, 0.956]), 0.945, 0.965, as_percent=True)
        >>> part.decision, part.summary.split(";")[0]
        ('supported', 'mean 95.35 % (95 % interval 95.15 to 95.55 %, p = 0.0001, 6 members)')
    """
    low, high, confidence = number("low", low), number("high", high), confidence_level(confidence)
    if not low <= high:
        raise InputError("low", low, f"expected at most high, {high:g}")
    quantity, as_percent = text("quantity", quantity), flag("as_percent", as_percent)
    given = numbers("values", values)
    failed = ~np.isfinite(given)
    if diverged is not None:
        marked = booleans("diverged", diverged)
        if len(marked) != len(given):
            raise InputError("diverged", f"{len(marked)} of them", f"expected one boolean per member, {len(given)}")
        failed |= marked
    usable = given[~failed]
    members, lost = len(usable), int(failed.sum())
    estimate, _ = mean_and_error(usable)
    inside = low <= estimate <= high
    p = _p(usable, low, high, inside=inside)
    reason = too_few(members)
    clear = not reason and p < round(1 - confidence, 12)
    decision: Decision = "undecided"
    if clear and not inside:
        decision = "contradicted"
    elif clear and not lost:
        decision = "supported"
    elif not reason:
        edge = "the interval of the mean reaches over an edge of the region"
        reason = f"{lost} of {len(given)} members diverged" if lost and inside else edge
    known = decision == "contradicted" or not (lost or members < MINIMUM_MEMBERS)
    ends = t_interval(usable, confidence)
    interval = (float(np.clip(ends[0], 0, 1)), float(np.clip(ends[1], 0, 1))) if as_percent else ends
    return Part(
        decision=decision,
        estimate=estimate,
        interval=interval,
        p=p if known else None,
        members=members,
        summary=_words(
            quantity, estimate, interval, (low, high), p if known else None, confidence, members, lost, as_percent
        ),
        coordinates=coordinates_of(coordinates),
        reason=reason,
        rule=f"Supported if the {confidence * 100:.4g} % t interval of the mean over members lies wholly inside the "
        "region, contradicted if wholly outside.",
        direction="neither" if not members else "for" if inside else "against",
    )


def _p(values: Float[np.ndarray, " member"], low: float, high: float, *, inside: bool) -> float:
    if len(values) > 1 and np.ptp(values) == 0:
        return 0.0  # equal values are certain, also on an edge, which belongs to the region
    below_low, above_low = t_tails(values, low)
    below_high, above_high = t_tails(values, high)
    return min(1.0, 2 * (max(above_low, below_high) if inside else min(below_low, above_high)))


def _words(
    quantity: str,
    estimate: float,
    interval: tuple[float, float],
    edges: tuple[float, float],
    p: float | None,
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
    centre, ends = with_interval(estimate * scale, shown, confidence, lines=[low, high], unit=unit)
    words = f"{quantity} {centre} ({ends}{with_p(p)}, {count_of_members(members)})"
    words += f"; the region is {low:g} to {high:g}{unit}".replace("-", "−")
    return words + (f"; diverged: {lost} of {members + lost}" if lost else "")
