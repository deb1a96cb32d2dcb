"""What numbers an argument may be, said in the same words everywhere."""

import math
from numbers import Integral, Real

from bathymetry.core.errors import InputError


def whole_number(field: str, value: object, least: int) -> int:
    """Insist on a whole number.

    Args:
        field: The argument's name.
        value: What was given.
        least: The smallest that will do.

    Returns:
        The number.

    Raises:
        InputError: If it is none, or smaller.

    Example:
        >>> whole_number("k", 3, 1)
        3
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise InputError(field, value, f"give a whole number, at least {least}")
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
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < float(value) < math.inf:
        raise InputError(field, value, "give a positive number")
    return float(value)
