"""Numbers and lists in sentences."""

import math
from collections.abc import Sequence
from typing import Any


def number(value: float, digits: int = 2) -> str:
    """Write a number as prose wants it.

    Args:
        value: The number.
        digits: Significant digits.

    Returns:
        Plain decimals in the middle range, powers of ten outside it.

    Example:
        >>> number(0.012345), number(1234.5), number(0.0000123), number(-2.0)
        ('0.012', '1,234', '1.2 × 10⁻⁵', '−2.0')
    """
    if math.isnan(value):
        return "unknown"
    if math.isinf(value):
        return "infinite" if value > 0 else "−infinite"
    if value == 0:
        return "0"
    sign, size = ("−" if value < 0 else ""), abs(value)
    exponent = math.floor(math.log10(size))
    if exponent < -4 or exponent > 6:
        mantissa = f"{size / 10.0**exponent:.{digits - 1}f}"
        if mantissa.startswith("10"):
            mantissa, exponent = f"{1:.{digits - 1}f}", exponent + 1
        return f"{sign}{mantissa} × 10{str(exponent).translate(_RAISED)}"
    return f"{sign}{size:,.{max(digits - 1 - exponent, 0)}f}"


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def field_name(field: str) -> str:
    """Write the name of a setting as words.

    Args:
        field: Its name.

    Returns:
        The name as prose has it.

    Example:
        >>> field_name("train_examples")
        'training examples'
    """
    return field.replace("_", " ").replace("train ", "training ")


def joined(words: Sequence[str]) -> str:
    """Join words into a list.

    Args:
        words: What to list.

    Returns:
        Commas between them, and an "and" before the last.

    Example:
        >>> joined(["one", "two", "three"])
        'one, two and three'
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""


def shown(value: Any) -> str:
    """Write a setting's value for a reader.

    Args:
        value: The value.

    Returns:
        Tuples as lists, numbers with thousands told apart, "all" for no limit.
    """
    if isinstance(value, tuple):
        return ", ".join("-".join(map(str, one)) if isinstance(one, tuple) else str(one) for one in value)
    if value is None:
        return "all"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)
