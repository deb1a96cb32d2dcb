"""The rule for a claim that something holds: most members must meet the condition.

Supported when the exact interval of the share of members lies above one half, contradicted when below.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Real
from scipy import stats

from bathymetry.core.errors import InputError, whole_number
from bathymetry.stats.arguments import (
    booleans,
    confidence_level,
    coordinates_of,
    flag,
    groups,
    number,
    numbers,
    one_of,
    text,
)
from bathymetry.stats.intervals import (
    IDENTITY,
    Transform,
    clopper_pearson,
    mean_and_error,
    t_interval,
    t_tails,
    transform_of,
)
from bathymetry.stats.verdict import CONFIDENCE, MINIMUM_MEMBERS, Decision, Direction, Part
from bathymetry.stats.wording import count_of_members, level, percent, percent_range, too_few, with_interval, with_p


def majority(
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
        >>> part = majority(np.array([True] * 6))
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


def mean_sign(
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
        >>> part = mean_sign(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), expected="above")
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
        finding=_finding(quantity, shown, unit, estimate, interval, confidence) if members else "",
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


def _finding(
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
    finding = _finding(quantity, shown, unit, estimate, interval, confidence).removesuffix(")")
    left_out = f"; {total - members} of {total} without a number, left out" if total > members else ""
    return f"{finding}{with_p(p)}, {count_of_members(members)}){left_out}"


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


def mean_in_interval(
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
        >>> part = mean_in_interval(np.array([0.951, 0.952, 0.953, 0.954, 0.955, 0.956]), 0.945, 0.965, as_percent=True)
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
        summary=_rule_region_words(
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


def _rule_region_words(
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
        finding=summary if np.isnan(estimate) else f"rank correlation of {first} and {second} {shown} ({interval})",
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


_OPPOSITE: dict[str, Literal["supported", "contradicted"]] = {"supported": "contradicted", "contradicted": "supported"}
_DIRECTIONS: dict[str, Direction] = {"supported": "for", "contradicted": "against", "undecided": "neither"}


def exists(
    cells: Mapping[str, Bool[np.ndarray, " _"]],
    *,
    decides: Literal["supported", "contradicted"],
    signs: Mapping[str, Bool[np.ndarray, " _"]] | None = None,
    condition: str = "meet the condition",
    sign: str = "shows a sign of it",
    cell: str = "cell",
    coordinates: Mapping[str, str] | None = None,
) -> Part:
    """Judge by a single cell in which every member, six or more, meets a condition.

    Args:
        cells: Whether each member meets it, by the cell's name. A diverged member does not.
        decides: What such a cell makes of the claim; it alone decides the direction.
        signs: A weaker condition. If no member of any cell meets it, in cells of six or more, the claim is decided the
            other way; without it that can't happen.
        condition: The condition as the end of a sentence, "6 of 6 members …".
        sign: The weaker condition, "no member …".
        cell: What a cell is, in the singular.
        coordinates: What the part is about.

    Returns:
        The part; its estimate is the share of members in the cell where it is largest, without interval or p.

    Example:
        >>> grid = {"500 images": np.array([True] * 6), "4,000 images": np.array([False] * 6)}
        >>> part = exists(grid, decides="contradicted", condition="reach 99 %")
        >>> part.decision, part.summary
        ('contradicted', '500 images: 6 of 6 members reach 99 %')
    """
    one_of("decides", decides, ("supported", "contradicted"))
    condition, sign, cell = text("condition", condition), text("sign", sign), text("cell", cell)
    cells = {name: booleans(f"cells[{name}]", values) for name, values in groups("cells", cells).items()}
    if signs is not None:
        signs = {name: booleans(f"signs[{name}]", values) for name, values in groups("signs", signs).items()}
    rule = (
        f"{decides.capitalize()} by one {cell} in which {MINIMUM_MEMBERS} or more members, and all of them, {condition}"
    )
    if signs is not None:
        rule += f"; {_OPPOSITE[decides]} if no member of any {sign}"
    filled = {each: values for each, values in cells.items() if len(values)}
    if not filled:
        nothing = "no members" if cells else f"no {cell} was run"
        part = _part("undecided", float("nan"), 0, nothing, too_few(0) if cells else nothing)
    else:
        part = _judged(filled, decides, cells, signs or {}, condition, sign)
    return replace(part, coordinates=coordinates_of(coordinates), rule=f"{rule}.")


def _judged(
    filled: Mapping[str, Bool[np.ndarray, " _"]],
    decides: Literal["supported", "contradicted"],
    cells: Mapping[str, Bool[np.ndarray, " _"]],
    signs: Mapping[str, Bool[np.ndarray, " _"]],
    condition: str,
    sign: str,
) -> Part:
    # The largest share, and of equal shares the one with the most members: so a cell that decides comes first.
    most = max(filled, key=lambda each: (filled[each].mean(), len(filled[each])))
    count, members = int(filled[most].sum()), len(filled[most])
    summary = f"{most}: {count} of {count_of_members(members)} {condition}"
    if count == members >= MINIMUM_MEMBERS:
        return _part(decides, 1.0, members, summary)
    if signs and not any(values.any() for values in signs.values()):
        fewest = min(len(values) for values in signs.values())
        total = sum(len(values) for values in signs.values())
        words = f"not one of {count_of_members(total)} in {len(signs)} cells {sign}"
        if fewest >= MINIMUM_MEMBERS and signs.keys() >= cells.keys() and not count:
            return _part(_OPPOSITE[decides], count / members, fewest, words)
    reason = too_few(members) if count == members else "no cell in which every member does"
    return _part("undecided", count / members, members, summary, reason)


def _part(
    decision: Literal["supported", "contradicted", "undecided"],
    estimate: float,
    members: int,
    summary: str,
    reason: str = "",
) -> Part:
    nothing = (float("nan"), float("nan"))
    return Part(decision, estimate, nothing, None, members, summary, {}, reason, direction=_DIRECTIONS[decision])
