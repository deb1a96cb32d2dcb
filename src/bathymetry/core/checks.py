"""What numbers an argument may be, said in the same words everywhere."""

import math
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING

from bathymetry.core.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


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


def path_of(field: str, value: object) -> Path:
    """Insist on a path.

    Args:
        field: The argument's name.
        value: What was given.

    Returns:
        The path.

    Raises:
        InputError: If it is neither text nor a path, or holds a NUL.
    """
    if not isinstance(value, str | Path) or "\0" in str(value):
        raise InputError(field, value, "expected a path")
    return Path(value)


def check_dense(field: str, tensor: "Tensor") -> None:
    """Insist on a tensor whose numbers are real and lie in memory one by one.

    Args:
        field: The argument's name.
        tensor: What was given.

    Raises:
        InputError: If it has no numbers, or is sparse, quantised, nested or complex.
    """
    kind = str(tensor.layout).removeprefix("torch.")
    if tensor.is_meta:
        raise InputError(field, "a tensor on the meta device", "it has no numbers; expected one in memory")
    if kind != "strided" or tensor.is_quantized or tensor.is_nested:
        made = "quantised" if tensor.is_quantized else "nested" if tensor.is_nested else kind
        raise InputError(field, f"a {made} tensor", "expected an ordinary dense one, such as .to_dense() makes")
    if tensor.is_complex():
        raise InputError(field, str(tensor.dtype), "expected real numbers")


def _float(value: Real) -> float:
    """Convert a number; a whole number beyond floats is infinite."""
    try:
        return float(value)
    except OverflowError:
        return math.inf
