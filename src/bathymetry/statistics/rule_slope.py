"""The rule for a claim about a tendency: every member gives one number, and their mean must lie on one side of 0.

The small functions here make that number: a paired difference, a slope, a rank correlation.
"""

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
from jaxtyping import Float, Real
from scipy import stats

from bathymetry.core.errors import InputError
from bathymetry.statistics.arguments import confidence_level, coordinates_of, numbers, one_of, text
from bathymetry.statistics.intervals import mean_and_error, t_interval, t_tails
from bathymetry.statistics.transforms import IDENTITY, Transform, transform_of
from bathymetry.statistics.verdict import CONFIDENCE, MINIMUM_MEMBERS, Decision, Part
from bathymetry.statistics.wording import count_of_members, too_few, with_interval, with_p


def slope(
    values: Real[np.ndarray, " member"],
    *,
    expected: Literal["above", "below"],
    quantity: str = "mean",
    shown: Transform = IDENTITY,
    unit: str = "",
    bounds: tuple[float, float] = (-math.inf, math.inf),
    confidence: float = CONFIDENCE,
    coordinates: Mapping[str, str] | None = None,
) -> Part:
    """Judge whether the mean over members lies on the expected side of 0.

    Student's t interval and test (1908, Biometrika 6:1). Equal values in all members are certain.

    Args:
        values: One number a member. Members without a finite one (diverged) are left out and counted.
        expected: On which side of 0 the claim puts the mean; it alone decides the direction.
        quantity: What the number is, for the summary.
        shown: The scale that the numbers are on, so that the summary takes them back: with `FISHER` it tells of a
            correlation, with `LOG` of a ratio. Estimate and interval stay on the scale; the rule's words name the
            value that 0 is taken back to.
        unit: What stands after a number taken back, for example " %".
        bounds: Between what the mean can lie, on the scale of the values: a share has no negative bound, so estimate
            and interval end there.
        confidence: Two-sided, from 0 to 1.
        coordinates: What the part is about.

    Returns:
        The part; its estimate is the mean.

    Example:
        >>> part = slope(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), expected="above")
        >>> part.decision, part.summary
        ('supported', 'mean 3.5 (95 % interval 1.5 to 5.5, p = 0.0059, 6 members)')
    """
    one_of("expected", expected, ("above", "below"))
    quantity, unit, shown = text("quantity", quantity), text("unit", unit), transform_of("shown", shown)
    given, confidence = numbers("values", values), confidence_level(confidence)
    usable = given[np.isfinite(given)]
    members = len(usable)
    estimate, _ = mean_and_error(usable)
    p = min(1.0, 2 * min(t_tails(usable, 0.0))) if members >= MINIMUM_MEMBERS else None
    reason = too_few(members)
    side = "" if estimate == 0 or not members else "above" if estimate > 0 else "below"
    decision: Decision = "undecided"
    if p is not None and side and p < round(1 - confidence, 12):
        decision = "supported" if side == expected else "contradicted"
    elif not reason:
        reason = "the interval of the mean holds 0"
    interval = t_interval(usable, confidence)
    if p is not None:
        interval = _agreeing(interval, decision, side)
    estimate, interval = _within(bounds, estimate, interval)
    return Part(
        decision=decision,
        estimate=estimate,
        interval=interval,
        p=p,
        members=members,
        summary=_words(quantity, shown, unit, estimate, interval, p, confidence, members, len(given)),
        coordinates=coordinates_of(coordinates),
        reason=reason,
        told=_told(quantity, shown, unit, estimate, interval, confidence) if members else "",
        rule=_rule(expected, shown, unit, confidence),
        direction="neither" if not side else "for" if side == expected else "against",
    )


def _agreeing(interval: tuple[float, float], decision: Decision, side: str) -> tuple[float, float]:
    """Keep rounding from putting an end of the interval on the other side of 0 than p says."""
    low, high = interval
    if not side or math.isnan(low):
        return interval
    if decision == "undecided":
        return min(low, 0.0), max(high, 0.0)
    return (max(low, 0.0), high) if side == "above" else (low, min(high, 0.0))


def _within(
    bounds: tuple[float, float], estimate: float, interval: tuple[float, float]
) -> tuple[float, tuple[float, float]]:
    ends = numbers("bounds", bounds)
    if len(ends) != 2 or not ends[0] <= ends[1]:
        raise InputError("bounds", bounds, "expected the least and the most that the mean can be")
    kept = np.clip([estimate, *interval], *ends)
    return float(kept[0]), (float(kept[1]), float(kept[2]))


def _neutral(shown: Transform) -> float:
    return float(shown.backward(np.array(0.0)))


def _rule(expected: Literal["above", "below"], shown: Transform, unit: str, confidence: float) -> str:
    value = _neutral(shown)
    line = f"{value:g}{unit}" if value else "zero"
    other = "below" if expected == "above" else "above"
    interval = f"{confidence * 100:.4g} % t interval of the mean over members"
    return f"Supported if the {interval} lies {expected} {line}, contradicted if {other}."


def _told(
    quantity: str, shown: Transform, unit: str, estimate: float, interval: tuple[float, float], confidence: float
) -> str:
    centre, low, high = (float(v) for v in shown.backward(np.array([estimate, *interval])))
    number, ends = with_interval(centre, (low, high), confidence, lines=[_neutral(shown)], unit=unit)
    return f"{quantity} {number} ({ends})"


def _words(
    quantity: str,
    shown: Transform,
    unit: str,
    estimate: float,
    interval: tuple[float, float],
    p: float | None,
    confidence: float,
    members: int,
    total: int,
) -> str:
    if not members:
        return "no members with a number"
    told = _told(quantity, shown, unit, estimate, interval, confidence).removesuffix(")")
    left_out = f"; {total - members} of {total} without a number, left out" if total > members else ""
    return f"{told}{with_p(p)}, {count_of_members(members)}){left_out}"


def paired_difference(
    a: Real[np.ndarray, " member"], b: Real[np.ndarray, " member"], transform: Transform = IDENTITY
) -> Float[np.ndarray, " member"]:
    """Give each member's difference between two of its own measurements.

        f(a) − f(b)

    Args:
        a: One number a member.
        b: The other number of the same members, in the same order.
        transform: f, the scale: `LOG` for losses, `logit_accuracy(n)` for accuracies.

    Returns:
        The differences; NaN where either has none.

    Raises:
        InputError: If the two differ in length.

    Example:
        >>> paired_difference(np.array([3.0, 5.0]), np.array([1.0, 5.0])).tolist()
        [2.0, 0.0]
    """
    a, b = numbers("a", a), numbers("b", b)
    if a.shape != b.shape:
        raise InputError("b", f"shape {b.shape}", f"pair it with a, of shape {a.shape}")
    transform = transform_of("transform", transform)
    with np.errstate(invalid="ignore"):  # ∞ − ∞ is NaN: no number
        return np.asarray(transform.forward(a) - transform.forward(b))


def regression_slope(
    x: Real[np.ndarray, " point"], y: Real[np.ndarray, "*member point"]
) -> Float[np.ndarray, "*member"]:
    """Give each member's slope of the straight line of least squares.

        Σ (x − x̄)(y − ȳ) / Σ (x − x̄)²

    Legendre 1805, Nouvelles méthodes pour la détermination des orbites des comètes.

    Args:
        x: Where the members were measured, the same for all, for example log parameters.
        y: What was measured there, the last axis along x, for example log loss.

    Returns:
        The slopes; NaN for a member that lacks a finite value at any point.

    Raises:
        InputError: If x and y differ in length, or x has fewer than two different values.

    Example:
        >>> regression_slope(np.array([0.0, 1.0, 2.0]), np.array([[1.0, 3.0, 5.0], [0.0, 0.0, 3.0]])).tolist()
        [2.0, 1.5]
    """
    across, up = numbers("x", x), numbers("y", y, axes=None)
    if up.ndim == 0 or up.shape[-1] != len(across):
        raise InputError("y", f"shape {up.shape}", f"give {len(across)} points along the last axis, as x has")
    if not np.isfinite(across).all() or len(np.unique(across)) < 2:
        raise InputError("x", x, "give at least two different finite values")
    centred = across - across.mean()
    whole = np.asarray(np.isfinite(up).all(axis=-1))
    finite = np.where(whole[..., None], up, 0.0)
    slopes = (finite - finite.mean(axis=-1, keepdims=True)) @ centred / (centred @ centred)
    return np.where(whole, slopes, np.nan)


def spearman_z(
    x: Real[np.ndarray, "*member point"], y: Real[np.ndarray, "*member point"]
) -> Float[np.ndarray, "*member"]:
    """Give each member's rank correlation as Fisher's z.

        z = artanh ρ, ρ the correlation of midranks

    A ρ of ±1 would be infinite, so it is brought halfway to the value next to it, 12 / (n³ − n) away. Spearman 1904,
    American Journal of Psychology 15:72; Fisher 1921, Metron 1:3.

    Args:
        x: Numbers, the last axis along the points of one member.
        y: As many.

    Returns:
        z a member; NaN if it lacks a finite value at any point, has fewer than three points, or one side is constant.

    Raises:
        InputError: If the two differ in shape.

    Example:
        Ranks 1 2 3 4 against 1 2 4 3: ρ = 1 − 6·2 / (4·15) = 0.8.

        >>> round(float(np.tanh(spearman_z(np.array([1, 2, 3, 4]), np.array([1, 2, 9, 3])))), 9)
        0.8
    """
    across, up = numbers("x", x, axes=None), numbers("y", y, axes=None)
    if across.shape != up.shape or across.ndim == 0:
        raise InputError("y", f"shape {up.shape}", f"pair it with x, of shape {across.shape}")
    points = across.shape[-1]
    if points < 3:
        return np.full(across.shape[:-1], np.nan)
    whole = np.asarray((np.isfinite(across) & np.isfinite(up)).all(axis=-1))
    ranks = [stats.rankdata(np.where(whole[..., None], v, 0.0), axis=-1) - (points + 1) / 2 for v in (across, up)]
    spread = np.sqrt((ranks[0] ** 2).sum(axis=-1) * (ranks[1] ** 2).sum(axis=-1))
    usable = whole & (spread > 0)
    rho = (ranks[0] * ranks[1]).sum(axis=-1) / np.where(usable, spread, 1.0)
    most = 1 - 6 / (points**3 - points)
    return np.where(usable, np.arctanh(np.clip(rho, -most, most)), np.nan)
