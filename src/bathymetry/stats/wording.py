"""Numbers as a reader sees them: few digits, but never so few that a number seems to lie on the other side of a line.

A lower bound of 50.3 % decides a claim and "50 %" would not, so it is written with one more digit; likewise p = 0.0499.
"""

import math
from collections.abc import Mapping, Sequence

from bathymetry.core.errors import InputError
from bathymetry.stats.arguments import number
from bathymetry.stats.verdict import MINIMUM_MEMBERS, Kind, Verdict

_MOST_DIGITS = 12


def _side(value: float, line: float) -> int:
    return (value > line) - (value < line)


def _decimals(values: Sequence[float], lines: Sequence[float], start: int) -> int:
    # The fewest, from `start`, that keep every value on its own side of every line.
    for decimals in range(start, _MOST_DIGITS):
        if all(_side(round(v, decimals), line) == _side(v, line) for v in values for line in lines):
            return decimals
    return _MOST_DIGITS


def _fixed(value: float, decimals: int) -> str:
    text = f"{value:,.{max(decimals, 0)}f}"
    if not text.strip("-0.,"):
        text = text.removeprefix("-")
    return text.replace("-", "−")


def percent(share: float) -> str:
    """Write a share as a percentage without its sign.

    Args:
        share: From 0 to 1; what rounding has put outside is put at the end.

    Returns:
        Whole percents, with decimals only where 0, 50 or 100 would be claimed wrongly.

    Example:
        >>> percent(0.8), percent(0.996), percent(0.5034), percent(1.0)
        ('80', '99.6', '50.3', '100')
    """
    if not math.isfinite(share):
        return "unknown"
    value = 100 * min(max(share, 0.0), 1.0)
    return _fixed(value, _decimals([value], [0.0, 50.0, 100.0], 0))


def percent_range(low: float, high: float) -> str:
    """Write an interval of shares.

    Args:
        low: Its lower end, from 0 to 1.
        high: Its upper end.

    Returns:
        Both ends and one sign.

    Example:
        >>> percent_range(0.4439, 0.9748)
        '44–97 %'
    """
    return f"{percent(number('low', low, nan=True))}–{percent(number('high', high, nan=True))} %"


def level(confidence: float) -> str:
    """Name an interval by its confidence.

    Args:
        confidence: From 0 to 1.

    Returns:
        For example "95 % interval".

    Example:
        >>> level(0.975)
        '97.5 % interval'
    """
    return f"{confidence * 100:.4g} % interval"


def p_value(p: float) -> str:
    """Write a p value to two digits, or to as many as tell it from 0.05.

    Args:
        p: From 0 to 1.

    Returns:
        For example "p = 0.001".

    Example:
        >>> p_value(0.00101), p_value(0.04988), p_value(2e-7), p_value(1.0)
        ('p = 0.001', 'p = 0.0499', 'p < 0.0001', 'p = 1')
    """
    if p < 1e-4:
        return "p < 0.0001"
    digits = 2
    while digits < _MOST_DIGITS and _side(float(f"{p:.{digits}g}"), 0.05) != _side(p, 0.05):
        digits += 1
    return f"p = {p:.{digits}g}"


def with_p(p: float | None) -> str:
    """Write a p value behind an interval.

    Args:
        p: From 0 to 1; None for a part that cannot decide.

    Returns:
        A comma and the p value, or nothing.

    Example:
        >>> with_p(0.03), with_p(None)
        (', p = 0.03', '')
    """
    return "" if p is None else f", {p_value(p)}"


def with_interval(
    estimate: float, interval: tuple[float, float], confidence: float, lines: Sequence[float] = (0.0,), unit: str = ""
) -> tuple[str, str]:
    """Write a number and its interval to the digits that the interval's width deserves.

    Args:
        estimate: The number.
        interval: Its interval; NaN if there is none.
        confidence: Of the interval, from 0 to 1.
        lines: The values that decide; no bound is rounded onto or over them.
        unit: What stands after a number, for example " %".

    Returns:
        The number, and the interval in words.

    Example:
        >>> with_interval(0.4213, (0.1187, 0.7239), 0.95)
        ('0.42', '95 % interval 0.12 to 0.72')
        >>> with_interval(95.132, (95.021, 95.243), 0.95, unit=" %")
        ('95.13 %', '95 % interval 95.02 to 95.24 %')
    """
    low, high = interval
    if not math.isfinite(estimate):
        return "no number", f"no {level(confidence)}"
    width = high - low if math.isfinite(high - low) else 0.0
    scale = width if width > 0 else abs(estimate) / 10 or 1.0
    values = [v for v in (estimate, low, high) if math.isfinite(v)]
    decimals = _decimals(values, [line for line in lines if math.isfinite(line)], 1 - math.floor(math.log10(scale)))
    largest = max(abs(v) for v in values)
    plain = decimals <= 6 and largest < 1e7

    def words(value: float) -> str:
        return _fixed(round(value, decimals), decimals) if plain else f"{value:.3g}".replace("-", "−")

    if not (math.isfinite(low) and math.isfinite(high)):
        return words(estimate) + unit, f"no {level(confidence)}"
    return words(estimate) + unit, f"{level(confidence)} {words(low)} to {words(high)}{unit}"


def count_of_members(members: int) -> str:
    """Count members in words.

    Args:
        members: How many.

    Returns:
        For example "1 member".

    Example:
        >>> count_of_members(1), count_of_members(10)
        ('1 member', '10 members')
    """
    return f"{members} member" if members == 1 else f"{members} members"


def too_few(members: int) -> str:
    """Say why so few members decide nothing.

    Args:
        members: How many were judged.

    Returns:
        The reason, or nothing if they suffice.

    Example:
        >>> too_few(5), too_few(6)
        ('5 members, where a verdict needs 6', '')
    """
    return "" if members >= MINIMUM_MEMBERS else f"{count_of_members(members)}, where a verdict needs {MINIMUM_MEMBERS}"


RULES: Mapping[Kind, str] = {
    "majority": "It is supported when the 95 % interval of the share of members lies above one half, contradicted when "
    "it lies below: it speaks of most members, not of each.",
    "stochastic_order": "It is supported when Mann and Whitney's two-sided test at 5 % finds the first before the "
    "second, contradicted when it finds the opposite.",
    "mean_sign": "It is supported when the 95 % t interval of the mean over members lies wholly on the side of zero "
    "that the claim expects, contradicted when it lies wholly on the other.",
    "correlation": "It is supported when the 95 % bootstrap interval of the rank correlation over members lies wholly "
    "on the side of zero that the claim expects, contradicted when it lies wholly on the other.",
    "mean_in_interval": "It is supported when the 95 % t interval of the mean lies wholly inside the region, "
    "contradicted when it lies wholly outside.",
    "best_of": "It is supported when one of those named is ahead of each other in two-sided tests, at 5 % shared out "
    "among those named, contradicted when one of the others is ahead of them all, at 5 % shared out among the others.",
    "exists": "One case in which every member meets the condition decides it.",
}
SEVERAL = (
    "A claim of several parts is supported if each part is at 5 %, its p then the largest of the parts'; it is "
    "contradicted if one part is at 5 % divided by the number of parts, its p then that part's times their number."
)


def decided_by(verdict: Verdict) -> tuple[str, ...]:
    """Say by what rule a claim was decided: what would have supported it, what contradicted it.

    Args:
        verdict: The verdict.

    Returns:
        The rule of its parts; where they were decided by several, each with the names of its parts; where there are no
        parts, the rule of the claim's kind.

    Raises:
        InputError: If it is no verdict.

    Example:
        >>> from bathymetry.stats.verdict import Part
        >>> rose = Part("supported", 1.0, (0.5, 1.5), 0.01, 9, "", {"of": "up"}, rule="Up!")
        >>> fell = Part("supported", -1.0, (-1.5, -0.5), 0.01, 9, "", {"of": "down"}, rule="Down!")
        >>> decided_by(Verdict("mean_sign", "supported", (rose, fell), 9, 0.01))
        ('For up: up!', 'For down: down!')
    """
    if not isinstance(verdict, Verdict):
        raise InputError("verdict", verdict, "expected a Verdict, as combine returns it")
    named: dict[str, list[str]] = {}
    for part in verdict.parts:
        named.setdefault(part.rule or RULES.get(verdict.kind, ""), []).append(", ".join(part.coordinates.values()))
    if len(named) < 2:
        return tuple(named) or (RULES.get(verdict.kind, ""),)
    return tuple(f"For {'; '.join(names)}: {rule[:1].lower()}{rule[1:]}" for rule, names in named.items())
