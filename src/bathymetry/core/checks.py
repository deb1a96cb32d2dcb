"""What numbers an argument may be, said in the same words everywhere."""

import math
from numbers import Integral, Real

from bathymetry.core.errors import InputError


def whole_number(field: str, value: object, least: int, most: int | None = None) -> int:
    """Insist on a whole number.

    Args:
        field: The argument's name.
        value: What was given.
        least: The smallest that will do.
        most: The largest that will do; any if None.

    Returns:
        The number.

    Raises:
        InputError: If it is none, smaller or larger.

    Example:
        >>> whole_number("k", 3, 1)
        3
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise InputError(field, value, f"give a whole number, at least {least}")
    if most is not None and int(value) > most:
        raise InputError(field, value, f"expected at most {most:,}")
    return int(value)


def positive_number(field: str, value: object) -> float:
    """Insist on a number above zero that is not infinite.

    Args:
        field: The argument's name.
        value: What was given.

    Returns:
        The number.

    Raises:
        InputError: If it is none.

    Example:
        >>> positive_number("tolerance", 1e-3)
        0.001
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < _float(value) < math.inf:
        raise InputError(field, value, "give a positive number")
    return float(value)


def _float(value: Real) -> float:
    """Convert a number; a whole number beyond floats is infinite."""
    try:
        return float(value)
    except OverflowError:
        return math.inf
