"""The rules that judge one group of members: a condition, a mean, a correlation, a case that exists.

They take arrays that `claims.rules` has checked: float64 or booleans, one per member.
"""

import math
from collections.abc import Mapping
from typing import Final, Literal

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from bathymetry.stats.intervals import (
    IDENTITY,
    NO_INTERVAL,
    Transform,
    clopper_pearson,
    mean_and_error,
    t_interval,
    t_tails,
)
from bathymetry.stats.verdict import (
    CORRELATION_MEMBERS,
    MINIMUM_MEMBERS,
    Decision,
    Direction,
    Part,
    agreeing,
    decision_of,
    doubt,
    is_clear,
    side_of,
)
from bathymetry.stats.wording import count_of_members, described, percent, percent_range

Side = Literal["above", "below"]
_OTHER: Final[Mapping[str, Side]] = {"above": "below", "below": "above"}
_RESAMPLES: Final = 9999


def majority(holds: Bool[np.ndarray, " member"]) -> Part:
    """Judge whether a condition holds for most members.

    Clopper and Pearson's interval (1934, Biometrika 26:404) of the share; p is that of the exact two-sided binomial
    test against one half, which is below 5 % exactly when the interval leaves out one half.
    """
    members, count = len(holds), int(holds.sum())
    p = float(stats.binomtest(count, members).pvalue) if members >= MINIMUM_MEMBERS else None
    estimate = count / members if members else math.nan
    interval = clopper_pearson(count, members)
    direction = side_of(2 * count, members)
    shown = f"{percent(estimate)} %, 95 % interval {percent_range(*interval)}"
    return Part(
        decision_of(p, direction),
        estimate,
        interval,
        p,
        members,
        summary=f"{count} of {count_of_members(members)} ({shown})" if members else "no members",
        rule="Supported if the 95 % interval of the share of members lies above one half, contradicted if below.",
        direction=direction,
    )


def mean_sign(
    values: Float[np.ndarray, " member"],
    *,
    expected: Side,
    quantity: str = "mean",
    shown: Transform = IDENTITY,
    unit: str = "",
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Part:
    """Judge whether the mean over members lies on the expected side of 0.

    Student's t interval and test (1908, Biometrika 6:1). Equal values in all members are certain. Members without a
    finite number are left out and counted. Estimate and interval stay on the scale of the values; the words name them,
    and the value that 0 is, on the scale that `shown` takes them back to.
    """
    usable = values[np.isfinite(values)]
    members = len(usable)
    mean, _ = mean_and_error(usable)
    p = min(1.0, 2 * min(t_tails(usable, 0.0))) if members >= MINIMUM_MEMBERS else None
    direction = side_of(mean, 0.0, expect_above=expected == "above")
    interval = t_interval(usable)
    if p is not None:
        interval = agreeing(interval, 0.0, mean, clear=is_clear(p))
    ends = np.clip([mean, *interval], *bounds)
    estimate, low, high = (float(one) for one in ends)
    centre, *shown_interval = (float(one) for one in shown.backward(ends))
    line = float(shown.backward(np.array(0.0)))
    finding, summary = described(quantity, centre, (shown_interval[0], shown_interval[1]), p, members, [line], unit)
    left_out = len(values) - members
    summary += f"; {left_out} of {len(values)} without a number, left out" if left_out else ""
    return Part(
        decision_of(p, direction),
        estimate,
        (low, high),
        p,
        members,
        summary=summary if members else "no members with a number",
        finding=finding if members else "",
        rule=f"Supported if the 95 % t interval of the mean over members lies {expected} "
        f"{f'{line:g}{unit}' if line else 'zero'}, contradicted if {_OTHER[expected]}.",
        direction=direction,
    )


def mean_in_interval(
    values: Float[np.ndarray, " member"], low: float, high: float, *, as_percent: bool = False
) -> Part:
    """Judge whether the mean over members lies between two values, edges included.

    Supported when the t interval lies wholly inside, contradicted when wholly outside; one diverged member (without a
    finite number) keeps the claim from being supported. p comes from two one-sided t tests (Schuirmann 1987, Journal of
    Pharmacokinetics and Biopharmaceutics 15:657), one for each edge: the larger of the two when the mean is inside,
    that of the nearer edge when it is outside. It is doubled, as everything here is two-sided, so that p < 5 % goes
    with a decision. There is no p with fewer than six members, or where only a diverged member keeps it from being
    supported.
    """
    usable = values[np.isfinite(values)]
    members, lost = len(usable), len(values) - len(usable)
    mean, _ = mean_and_error(usable)
    inside = low <= mean <= high
    p = _p_of_region(usable, low, high, inside=inside) if members >= MINIMUM_MEMBERS else None
    if lost and (inside or not is_clear(p)):
        p = None
    direction: Direction = "neither" if not members else "for" if inside else "against"
    ends = t_interval(usable)
    interval = (float(np.clip(ends[0], 0, 1)), float(np.clip(ends[1], 0, 1))) if as_percent else ends
    scale, unit = (100, " %") if as_percent else (1, "")
    edges = [low * scale, high * scale]
    shown = (interval[0] * scale, interval[1] * scale)
    _, summary = described("mean", mean * scale, shown, p, members, edges, unit)
    summary += f"; the region is {edges[0]:g} to {edges[1]:g}{unit}".replace("-", "−")
    if not members:
        summary = "no members with a number" if lost else "no members"
    return Part(
        decision_of(p, direction),
        mean,
        interval,
        p,
        members,
        summary=summary + (f"; diverged: {lost} of {len(values)}" if lost else ""),
        rule="Supported if the 95 % t interval of the mean over members lies wholly inside the region, contradicted if "
        "wholly outside.",
        direction=direction,
    )


def _p_of_region(values: Float[np.ndarray, " member"], low: float, high: float, *, inside: bool) -> float:
    if np.ptp(values) == 0:
        return 0.0  # equal values are certain, also on an edge, which belongs to the region
    below_low, above_low = t_tails(values, low)
    below_high, above_high = t_tails(values, high)
    return min(1.0, 2 * (max(above_low, below_high) if inside else min(below_low, above_high)))


def correlation(
    x: Float[np.ndarray, " member"],
    y: Float[np.ndarray, " member"],
    *,
    expected: Side,
    first: str = "the first number",
    second: str = "the second number",
    least: int = CORRELATION_MEMBERS,
) -> Part:
    """Judge whether the rank correlation of two quantities lies on the expected side of 0.

    The interval holds the middle of the correlations of resampled members; p is twice the smaller share of them on
    either side of 0, one more counted on each side (Davison and Hinkley 1997, Bootstrap Methods and their Application,
    4.11). p decides, and an end of the interval that says otherwise by one resample is put at 0. Members without two
    finite numbers are left out; with fewer than `least` it is undecided and has no p.
    """
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    members = len(x)
    p = 1.0 if members >= least else None
    constant = [name for name, values in ((first, x), (second, y)) if members and np.ptp(values) == 0]
    estimate, interval = math.nan, NO_INTERVAL
    if members >= 3 and not constant:
        estimate = float(stats.spearmanr(x, y).statistic)
        drawn = _resampled(x, y)
        low, high = np.quantile(drawn, [doubt() / 2, 1 - doubt() / 2])
        interval = (float(low), float(high))
        if p is not None:
            tail = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
            p = min(1.0, 2 * (tail + 1) / (len(drawn) + 1))
    if p is not None:
        interval = agreeing(interval, 0.0, estimate, clear=is_clear(p))
    what = f"rank correlation of {first} and {second}"
    finding, summary = described(what, estimate, interval, p, members)
    if math.isnan(estimate):
        few = f"{count_of_members(members)}, where a verdict needs {least}"
        cause = few if members < least else f"all {members} members have the same {' and the same '.join(constant)}"
        finding = summary = f"no {what}: {cause}"
    direction = side_of(estimate, 0.0, expect_above=expected == "above")
    return Part(
        decision_of(p, direction),
        estimate,
        interval,
        p,
        members,
        summary=summary,
        finding=finding,
        rule=f"Supported if the correlation's 95 % bootstrap interval over members lies {expected} zero, contradicted "
        f"if {_OTHER[expected]}; undecided under {least} members.",
        direction=direction,
    )


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
    signs: Mapping[str, Bool[np.ndarray, " _"]],
    *,
    decides: Literal["supported", "contradicted"],
    condition: str,
    sign: str,
    cell: str,
) -> Part:
    """Judge by a single cell in which every member, six or more, meets a condition.

    `signs` is a weaker condition. If no member of any cell meets it, in cells of six or more, the claim is decided the
    other way. The estimate is the share of members in the cell where it is largest, without interval or p.
    """
    opposite: Literal["supported", "contradicted"] = "contradicted" if decides == "supported" else "supported"
    decision: Decision = "undecided"
    estimate, members = math.nan, 0
    summary = "no members" if cells else f"no {cell} was run"
    filled = {name: values for name, values in cells.items() if len(values)}
    if filled:
        # the largest share, and of equal shares the one with the most members: so a cell that decides comes first
        most = max(filled, key=lambda name: (filled[name].mean(), len(filled[name])))
        count, members = int(filled[most].sum()), len(filled[most])
        estimate = count / members
        summary = f"{most}: {count} of {count_of_members(members)} {condition}"
        fewest = min((len(values) for values in signs.values()), default=0)
        none = not any(values.any() for values in signs.values())
        if count == members >= MINIMUM_MEMBERS:
            decision = decides
        elif not count and none and fewest >= MINIMUM_MEMBERS and signs.keys() >= cells.keys():
            decision, members = opposite, fewest
            total = sum(len(values) for values in signs.values())
            summary = f"not one of {count_of_members(total)} in {len(signs)} cells {sign}"
    direction: Direction = "for" if decision == "supported" else "against" if decision == "contradicted" else "neither"
    return Part(
        decision,
        estimate,
        NO_INTERVAL,
        None,
        members,
        summary=summary,
        rule=f"{decides.capitalize()} by one {cell} in which {MINIMUM_MEMBERS} or more members, and all of them, "
        f"{condition}; {opposite} if no member of any {sign}.",
        direction=direction,
    )
