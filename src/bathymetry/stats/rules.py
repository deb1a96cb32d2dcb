"""The rules that judge one group of members: a condition, a mean, a correlation, a case that exists."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Real
from scipy import stats

from bathymetry.core.errors import InputError, whole_number
from bathymetry.stats.checks import (
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
    NO_INTERVAL,
    Transform,
    clopper_pearson,
    mean_and_error,
    t_interval,
    t_tails,
    transform_of,
)
from bathymetry.stats.verdict import (
    CONFIDENCE,
    MINIMUM_MEMBERS,
    Decision,
    Direction,
    Part,
    agreeing,
    decided,
    doubt,
    is_clear,
    side_of,
    too_few,
)
from bathymetry.stats.wording import count_of_members, described, level, percent, percent_range

Side = Literal["above", "below"]
_OTHER: Final[Mapping[str, Side]] = {"above": "below", "below": "above"}
_RESAMPLES: Final = 9999


def majority(
    holds: Bool[np.ndarray, " member"], *, confidence: float = CONFIDENCE, coordinates: Mapping[str, str] | None = None
) -> Part:
    """Judge whether a condition holds for most members.

    Clopper and Pearson's interval (1934, Biometrika 26:404) of the share; p is that of the exact two-sided binomial
    test against one half, which is below 1 − confidence exactly when the interval leaves out one half.

    Args:
        holds: Whether each member meets it. A diverged member fails: pass False.
        confidence: Two-sided, from 0 to 1.
        coordinates: What the part is about.

    Returns:
        The part; its estimate is the share of members.

    Raises:
        InputError: If there is anything but one boolean per member.

    Example:
        >>> part = majority(np.array([True] * 6))
        >>> part.decision, part.p, part.summary
        ('supported', 0.03125, '6 of 6 members (100 %, 95 % interval 54–100 %)')
    """
    holds, confidence = booleans("holds", holds), confidence_level(confidence)
    members, count = len(holds), int(holds.sum())
    p = float(stats.binomtest(count, members).pvalue) if members >= MINIMUM_MEMBERS else None
    estimate = count / members if members else math.nan
    interval = clopper_pearson(count, members, confidence)
    shown = f"{percent(estimate)} %, {level(confidence)} {percent_range(*interval)}"
    return decided(
        estimate,
        interval,
        p,
        members,
        side_of(2 * count, members),
        confidence,
        summary=f"{count} of {count_of_members(members)} ({shown})" if members else "no members",
        obstacle="the interval of the share holds one half",
        rule=f"Supported if the {level(confidence)} of the share of members lies above one half, "
        "contradicted if below.",
        coordinates=coordinates,
    )


def mean_sign(
    values: Real[np.ndarray, " member"],
    *,
    expected: Side,
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
        shown: The scale that the numbers are on, so that the summary takes them back: with `FISHER` it is about a
            correlation, with `LOG` about a ratio. Estimate and interval stay on the scale; the rule's words name the
            value that 0 is taken back to.
        unit: What stands after a number taken back, for example " %".
        bounds: Between what the mean can lie, on the scale of the values: a share has no negative bound, so estimate
            and interval end there.
        confidence: Two-sided, from 0 to 1.
        coordinates: What the part is about.

    Returns:
        The part; its estimate is the mean.

    Raises:
        InputError: If an argument is of another kind.

    Example:
        >>> part = mean_sign(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), expected="above")
        >>> part.decision, part.summary
        ('supported', 'mean 3.5 (95 % interval 1.5 to 5.5, p = 0.0059, 6 members)')
    """
    one_of("expected", expected, get_args(Side))
    text(quantity=quantity, unit=unit)
    shown, values, confidence = transform_of("shown", shown), numbers("values", values), confidence_level(confidence)
    ends = numbers("bounds", bounds)
    if len(ends) != 2 or not ends[0] <= ends[1]:
        raise InputError("bounds", bounds, "expected the least and the most that the mean can be")
    usable = values[np.isfinite(values)]
    members = len(usable)
    mean, _ = mean_and_error(usable)
    p = min(1.0, 2 * min(t_tails(usable, 0.0))) if members >= MINIMUM_MEMBERS else None
    direction = side_of(mean, 0.0, expect_above=expected == "above")
    interval = t_interval(usable, confidence)
    if p is not None:
        interval = agreeing(interval, 0.0, mean, clear=is_clear(p, confidence))
    estimate, *kept = (float(one) for one in np.clip([mean, *interval], *ends))
    centre, low, high = (float(one) for one in shown.backward(np.array([estimate, *kept])))
    line = float(shown.backward(np.array(0.0)))
    finding, summary = described(quantity, centre, (low, high), confidence, p, members, [line], unit)
    left_out = len(values) - members
    summary += f"; {left_out} of {len(values)} without a number, left out" if left_out else ""
    return decided(
        estimate,
        (kept[0], kept[1]),
        p,
        members,
        direction,
        confidence,
        summary=summary if members else "no members with a number",
        finding=finding if members else "",
        obstacle="the interval of the mean holds 0",
        rule=f"Supported if the {confidence * 100:.4g} % t interval of the mean over members lies {expected} "
        f"{f'{line:g}{unit}' if line else 'zero'}, contradicted if {_OTHER[expected]}.",
        coordinates=coordinates,
    )


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
        InputError: If the edges are in the wrong order, or an argument is of another kind or length.

    Example:
        >>> part = mean_in_interval(np.array([0.951, 0.952, 0.953, 0.954, 0.955, 0.956]), 0.945, 0.965, as_percent=True)
        >>> part.decision, part.summary.split(";")[0]
        ('supported', 'mean 95.35 % (95 % interval 95.15 to 95.55 %, p = 0.0001, 6 members)')
    """
    low, high, confidence = number("low", low), number("high", high), confidence_level(confidence)
    if not low <= high:
        raise InputError("low", low, f"expected at most high, {high:g}")
    text(quantity=quantity)
    as_percent, values = flag("as_percent", as_percent), numbers("values", values)
    failed = ~np.isfinite(values)
    if diverged is not None:
        marked = booleans("diverged", diverged)
        if len(marked) != len(values):
            raise InputError("diverged", f"{len(marked)} of them", f"expected one boolean per member, {len(values)}")
        failed |= marked
    usable = values[~failed]
    members, lost = len(usable), int(failed.sum())
    mean, _ = mean_and_error(usable)
    inside = low <= mean <= high
    p = _p_of_region(usable, low, high, inside=inside) if members >= MINIMUM_MEMBERS else None
    if lost and (inside or not is_clear(p, confidence)):
        p = None
    ends = t_interval(usable, confidence)
    interval = (float(np.clip(ends[0], 0, 1)), float(np.clip(ends[1], 0, 1))) if as_percent else ends
    scale, unit = (100, " %") if as_percent else (1, "")
    edges = [low * scale, high * scale]
    shown = (interval[0] * scale, interval[1] * scale)
    _, summary = described(quantity, mean * scale, shown, confidence, p, members, edges, unit)
    summary += f"; the region is {edges[0]:g} to {edges[1]:g}{unit}".replace("-", "−")
    if not members:
        summary = "no members with a number" if lost else "no members"
    edge = "the interval of the mean reaches over an edge of the region"
    return decided(
        mean,
        interval,
        p,
        members,
        "neither" if not members else "for" if inside else "against",
        confidence,
        summary=summary + (f"; diverged: {lost} of {len(values)}" if lost else ""),
        obstacle=f"{lost} of {len(values)} members diverged" if lost and inside else edge,
        rule=f"Supported if the {confidence * 100:.4g} % t interval of the mean over members lies wholly inside the "
        "region, contradicted if wholly outside.",
        coordinates=coordinates,
    )


def _p_of_region(values: Float[np.ndarray, " member"], low: float, high: float, *, inside: bool) -> float:
    if np.ptp(values) == 0:
        return 0.0  # equal values are certain, also on an edge, which belongs to the region
    below_low, above_low = t_tails(values, low)
    below_high, above_high = t_tails(values, high)
    return min(1.0, 2 * (max(above_low, below_high) if inside else min(below_low, above_high)))


def correlation(
    x: Real[np.ndarray, " member"],
    y: Real[np.ndarray, " member"],
    *,
    expected: Side,
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
        InputError: If the two differ in length, or an argument is of another kind.

    Example:
        >>> part = correlation(np.arange(20.0), np.arange(20.0) ** 2, expected="above")
        >>> part.decision, part.estimate
        ('supported', 1.0)
    """
    one_of("expected", expected, get_args(Side))
    text(first=first, second=second)
    least, confidence = whole_number("least", least, MINIMUM_MEMBERS), confidence_level(confidence)
    x, y = numbers("x", x), numbers("y", y)
    if len(x) != len(y):
        raise InputError("y", f"{len(y)} numbers", f"expected one for each of x, {len(x)}")
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    members = len(x)
    p = 1.0 if members >= least else None
    obstacle = "the interval of the correlation holds 0"
    constant = [name for name, values in ((first, x), (second, y)) if members and np.ptp(values) == 0]
    if members < least:
        obstacle = f"{count_of_members(members)}, where this verdict needs {least}"
    elif constant:
        obstacle = f"all {count_of_members(members)} have the same {' and the same '.join(constant)}"
    estimate, interval = math.nan, NO_INTERVAL
    if members >= 3 and not constant:
        estimate = float(stats.spearmanr(x, y).statistic)
        drawn = _resampled(x, y)
        low, high = np.quantile(drawn, [doubt(confidence) / 2, 1 - doubt(confidence) / 2])
        interval = (float(low), float(high))
        if p is not None:
            tail = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
            p = min(1.0, 2 * (tail + 1) / (len(drawn) + 1))
    if p is not None:
        interval = agreeing(interval, 0.0, estimate, clear=is_clear(p, confidence))
    what = f"rank correlation of {first} and {second}"
    finding, summary = described(what, estimate, interval, confidence, p, members)
    if math.isnan(estimate):
        finding = summary = f"no {what}: {obstacle}"
    direction = side_of(estimate, 0.0, expect_above=expected == "above")
    part = decided(
        estimate,
        interval,
        p,
        members,
        direction,
        confidence,
        summary=summary,
        finding=finding,
        obstacle=obstacle,
        rule=f"Supported if the correlation's {confidence * 100:.4g} % bootstrap interval over members lies {expected} "
        f"zero, contradicted if {_OTHER[expected]}; undecided under {least} members.",
        coordinates=coordinates,
    )
    return part if members >= least else replace(part, reason=obstacle)


def _resampled(x: Float[np.ndarray, " member"], y: Float[np.ndarray, " member"]) -> Float[np.ndarray, " resample"]:
    """Correlate resampled members; a resample in which nothing varies counts as 0."""
    chosen = np.random.default_rng(0).integers(0, len(x), (_RESAMPLES, len(x)))
    ranks = [stats.rankdata(values[chosen], axis=1) for values in (x, y)]
    a, b = (one - one.mean(1, keepdims=True) for one in ranks)
    size = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    product = (a * b).sum(1)
    return np.asarray(np.divide(product, size, out=np.zeros_like(product), where=size > 0))


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

    Raises:
        InputError: If a cell has anything but one boolean per member, or an argument is of another kind.

    Example:
        >>> grid = {"500 images": np.array([True] * 6), "4,000 images": np.array([False] * 6)}
        >>> part = exists(grid, decides="contradicted", condition="reach 99 %")
        >>> part.decision, part.summary
        ('contradicted', '500 images: 6 of 6 members reach 99 %')
    """
    one_of("decides", decides, ("supported", "contradicted"))
    text(condition=condition, sign=sign, cell=cell)
    cells = {name: booleans(f"cells[{name}]", values) for name, values in groups("cells", cells).items()}
    weaker = {
        name: booleans(f"signs[{name}]", values)
        for name, values in groups("signs", {} if signs is None else signs).items()
    }
    opposite: Literal["supported", "contradicted"] = "contradicted" if decides == "supported" else "supported"
    full = f"{MINIMUM_MEMBERS} or more members, and all of them, {condition}"
    rule = f"{decides.capitalize()} by one {cell} in which {full}"
    if signs is not None:
        rule += f"; {opposite} if no member of any {sign}"

    decision: Decision = "undecided"
    estimate, members = math.nan, 0
    filled = {name: values for name, values in cells.items() if len(values)}
    if filled:
        # the largest share, and of equal shares the one with the most members: so a cell that decides comes first
        most = max(filled, key=lambda name: (filled[name].mean(), len(filled[name])))
        count, members = int(filled[most].sum()), len(filled[most])
        estimate = count / members
        summary = f"{most}: {count} of {count_of_members(members)} {condition}"
        reason = too_few(members) if count == members else "no cell in which every member does"
        fewest = min((len(values) for values in weaker.values()), default=0)
        if count == members >= MINIMUM_MEMBERS:
            decision = decides
        elif not count and fewest >= MINIMUM_MEMBERS and weaker.keys() >= cells.keys() and not _any(weaker):
            decision, members = opposite, fewest
            total = sum(len(values) for values in weaker.values())
            summary = f"not one of {count_of_members(total)} in {len(weaker)} cells {sign}"
    else:
        summary = "no members" if cells else f"no {cell} was run"
        reason = too_few(0) if cells else summary
    direction: Direction = "for" if decision == "supported" else "against" if decision == "contradicted" else "neither"
    return Part(
        decision=decision,
        estimate=estimate,
        interval=NO_INTERVAL,
        p=None,
        members=members,
        summary=summary,
        coordinates=coordinates_of(coordinates),
        reason=reason if decision == "undecided" else "",
        rule=f"{rule}.",
        direction=direction,
    )


def _any(cells: Mapping[str, Bool[np.ndarray, " _"]]) -> bool:
    return any(bool(values.any()) for values in cells.values())
