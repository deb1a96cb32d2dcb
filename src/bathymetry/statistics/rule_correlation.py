"""The rule for a claim that two quantities go together over members: a rank correlation with a bootstrap interval.

Every member is one point. Spearman 1904, American Journal of Psychology 15:72; percentile bootstrap over members: Efron
1979, Annals of Statistics 7:1.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from jaxtyping import Float, Real
from scipy import stats

from bathymetry.core.checks import whole_number
from bathymetry.core.errors import InputError
from bathymetry.statistics.arguments import confidence_level, coordinates_of, numbers, one_of, text
from bathymetry.statistics.verdict import CONFIDENCE, MINIMUM_MEMBERS, Decision, Part
from bathymetry.statistics.wording import count_of_members, with_interval, with_p

_RESAMPLES = 9999


def correlation(
    x: Real[np.ndarray, " member"],
    y: Real[np.ndarray, " member"],
    *,
    expected: Literal["above", "below"],
    first: str = "the first number",
    second: str = "the second number",
    least: int = 20,
    confidence: float = CONFIDENCE,
    coordinates: Mapping[str, str] | None = None,
) -> Part:
    """Judge whether the rank correlation of two quantities lies on the expected side of 0.

    The interval holds the middle of the correlations of resampled members; p is twice the smaller share of them on
    either side of 0, one more counted on each side (Davison and Hinkley 1997, Bootstrap Methods and their Application,
    4.11). p decides, and an end of the interval that says otherwise by one resample is put at 0.

    Args:
        x: One number a member. Members without two finite numbers are left out.
        y: The other number of each.
        expected: On which side of 0 the claim puts the correlation; it alone decides the direction.
        first: What x is called.
        second: What y is called.
        least: With fewer members it is undecided and has no p; at least 6.
        confidence: Two-sided, from 0 to 1.
        coordinates: What the part is about.

    Returns:
        The part; its estimate is Spearman's ρ.

    Raises:
        InputError: If the two differ in length, or something given is not what it must be.

    Example:
        >>> part = correlation(np.arange(20.0), np.arange(20.0) ** 2, expected="above")
        >>> part.decision, part.estimate
        ('supported', 1.0)
    """
    one_of("expected", expected, ("above", "below"))
    least, confidence = whole_number("least", least, MINIMUM_MEMBERS), confidence_level(confidence)
    first, second = text("first", first), text("second", second)
    x, y = numbers("x", x), numbers("y", y)
    if len(x) != len(y):
        raise InputError("y", f"{len(y)} numbers", f"expected one for each of x, {len(x)}")
    both = np.isfinite(x) & np.isfinite(y)
    across, up = x[both], y[both]
    members, doubt = len(across), round(1 - confidence, 12)
    estimate, low, high = float("nan"), float("nan"), float("nan")
    p = 1.0 if members >= least else None
    reason = f"{count_of_members(members)}, where this verdict needs {least}" if members < least else ""
    constant = [name for name, values in ((first, across), (second, up)) if members and np.ptp(values) == 0]
    if not reason and constant:
        reason = f"all {count_of_members(members)} have the same {' and the same '.join(constant)}"
    if members >= 3 and not constant:
        estimate = float(stats.spearmanr(across, up).statistic)
        drawn = _resampled(across, up)
        low, high = (float(end) for end in np.quantile(drawn, [doubt / 2, 1 - doubt / 2]))
        if p is not None:
            below, above = (int((drawn <= 0).sum()), int((drawn >= 0).sum()))
            p = min(1.0, 2 * (min(below, above) + 1) / (len(drawn) + 1))
    side = "above" if estimate > 0 else "below" if estimate < 0 else ""
    decision: Decision = "undecided"
    if p is not None and p < doubt and side:
        decision = "supported" if side == expected else "contradicted"
        low, high = (max(low, 0.0), high) if side == "above" else (low, min(high, 0.0))
    elif p is not None and not reason:
        low, high = min(low, 0.0), max(high, 0.0)
        reason = "the interval of the correlation holds 0"
    shown, interval = with_interval(estimate, (low, high), confidence)
    summary = f"rank correlation of {first} and {second} {shown} ({interval}{with_p(p)}, {count_of_members(members)})"
    if np.isnan(estimate):
        summary = f"no rank correlation of {first} and {second}: {reason}"
    other = "below" if expected == "above" else "above"
    return Part(
        decision=decision,
        estimate=estimate,
        interval=(low, high),
        p=p,
        members=members,
        summary=summary,
        coordinates=coordinates_of(coordinates),
        reason=reason,
        told=summary if np.isnan(estimate) else f"rank correlation of {first} and {second} {shown} ({interval})",
        rule=f"Supported if the correlation's {confidence * 100:.4g} % bootstrap interval over members lies {expected} "
        f"zero, contradicted if {other}; undecided under {least} members.",
        direction="neither" if not side else "for" if side == expected else "against",
    )


def _resampled(
    first: Float[np.ndarray, " member"], second: Float[np.ndarray, " member"]
) -> Float[np.ndarray, " resample"]:
    """Correlate resampled members; a resample in which nothing varies says nothing, and counts as 0."""
    chosen = np.random.default_rng(0).integers(0, len(first), (_RESAMPLES, len(first)))
    ranks = [stats.rankdata(values[chosen], axis=1) for values in (first, second)]
    centred = [one - one.mean(1, keepdims=True) for one in ranks]
    size = np.sqrt((centred[0] ** 2).sum(1) * (centred[1] ** 2).sum(1))
    product = (centred[0] * centred[1]).sum(1)
    ratios: Float[np.ndarray, " resample"] = np.divide(product, size, out=np.zeros_like(product), where=size > 0)
    return ratios
