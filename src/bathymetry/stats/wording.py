"""Numbers in words: few digits, but never so few that a number seems to lie on the other side of a line that decides.

A lower bound of 50.3 % decides a claim and "50 %" would not, so it is written with one more digit; likewise p = 0.0499.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import SupportsFloat

_MOST_DIGITS = 12
_MEANINGS: Mapping[str, tuple[Callable[[float], float], str, str]] = {
    "factor per doubling": (lambda slope: 100 * (2**slope - 1), "", " % per doubling"),
    "odds per doubling": (lambda slope: 2**slope, "odds × ", " per doubling"),
    "change per doubling": (lambda slope: slope * math.log(2), "", " per doubling"),
    "odds": (math.exp, "odds × ", ""),
}
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: SupportsFloat, digits: int = 2) -> str:
    """Write a number as prose wants it: plain decimals in the middle range, powers of ten outside it.

    >>> number(1234.5), number(0.000012), number(0.5, 3)
    ('1,234', '1.2 × 10⁻⁵', '0.500')
    """
    value = float(value)
    if math.isnan(value):
        return "unknown"
    if value == 0:
        return "0"
    sign, size = ("−" if value < 0 else ""), abs(value)
    if math.isinf(size):
        return f"{sign}infinite"
    exponent = math.floor(math.log10(size))
    if -4 <= exponent <= 6:
        return f"{sign}{size:,.{max(digits - 1 - exponent, 0)}f}"
    mantissa, _, power = f"{size:.{digits - 1}e}".partition("e")
    return f"{sign}{mantissa} × 10{str(int(power)).translate(_RAISED)}"


def as_percent(share: SupportsFloat, decimals: int = 1) -> str:
    return f"{100 * float(share):.{decimals}f} %"


def percent(share: float) -> str:
    """Write a share as a percentage without its sign, with decimals only where 0, 50 or 100 would be wrong.

    >>> percent(0.8), percent(0.996), percent(0.5034), percent(1.0)
    ('80', '99.6', '50.3', '100')
    """
    if not math.isfinite(share):
        return "unknown"
    value = 100 * min(max(share, 0.0), 1.0)
    return _fixed(value, _decimals([value], [0.0, 50.0, 100.0], 0))


def percent_range(low: float, high: float) -> str:
    return f"{percent(low)}–{percent(high)} %"


def p_value(p: float) -> str:
    """Write a p value to two digits, or to as many as put it on its side of 0.05.

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
    """Continue a sentence with a p value, where there is one."""
    return "" if p is None else f", {p_value(p)}"


def with_interval(
    estimate: float, interval: tuple[float, float], lines: Sequence[float] = (0.0,), unit: str = ""
) -> tuple[str, str]:
    """Write a number and its 95 % interval with the digits that the width deserves; no bound is rounded over a line.

    >>> with_interval(95.132, (95.021, 95.243), unit=" %")
    ('95.13 %', '95 % interval 95.02 to 95.24 %')
    """
    if not math.isfinite(estimate):
        return "no number", "no 95 % interval"
    low, high = interval
    width = high - low if math.isfinite(high - low) else 0.0
    scale = width if width > 0 else abs(estimate) / 10 or 1.0
    values = [value for value in (estimate, low, high) if math.isfinite(value)]
    decimals = _decimals(values, [line for line in lines if math.isfinite(line)], 1 - math.floor(math.log10(scale)))
    plain = decimals <= 6 and max(abs(value) for value in values) < 1e7
    words = [_fixed(round(v, decimals), decimals) if plain else f"{v:.3g}".replace("-", "−") for v in values]
    ends = f"95 % interval {words[1]} to {words[2]}{unit}" if len(values) == 3 else "no 95 % interval"
    return words[0] + unit, ends


def in_units(meaning: str, estimate: float, interval: tuple[float, float]) -> str:
    """Say what a slope on a logarithm, or a log odds ratio, means; nothing of anything else.

    >>> in_units("factor per doubling", 0.058, (0.008, 0.109)), in_units("odds", 2.0, (1.5, 2.5))
    ('+4.1 % per doubling', 'odds × 7.4')
    >>> in_units("odds", 1.0, (-3.2, 5.2))
    'odds × 3'
    """
    if meaning not in _MEANINGS or not math.isfinite(estimate):
        return ""
    takes_back, before, after = _MEANINGS[meaning]
    value, low, high = (takes_back(one) for one in (estimate, *interval))
    words, _ = with_interval(value, (low, high), ())
    if before and not words.strip("0."):  # odds of a wide interval, which are never 0
        words = number(value, 1)
    return f"{before}{'+' if value > 0 and not before else ''}{words}{after}"


def described(
    quantity: str,
    estimate: float,
    interval: tuple[float, float],
    p: float | None,
    members: int,
    lines: Sequence[float] = (0.0,),
    unit: str = "",
) -> tuple[str, str]:
    """Write a quantity with its interval, and once more with p and the number of members."""
    number, ends = with_interval(estimate, interval, lines, unit)
    words = f"{quantity} {number} ({ends}"
    return f"{words})", f"{words}{with_p(p)}, {count_of_members(members)})"


def count_of_members(members: int) -> str:
    return f"{members} member" if members == 1 else f"{members} members"


def _side(value: float, line: float) -> int:
    return (value > line) - (value < line)


def _decimals(values: Sequence[float], lines: Sequence[float], start: int) -> int:
    """Find the fewest decimals, from `start`, that keep every value on its own side of every line."""
    for decimals in range(start, _MOST_DIGITS):
        if all(_side(round(v, decimals), line) == _side(v, line) for v in values for line in lines):
            return decimals
    return _MOST_DIGITS


def _fixed(value: float, decimals: int) -> str:
    text = f"{value:,.{max(decimals, 0)}f}"
    if not text.strip("-0.,"):
        text = text.removeprefix("-")  # no −0.00
    return text.replace("-", "−")
