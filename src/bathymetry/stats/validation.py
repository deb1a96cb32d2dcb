"""Checks of arguments, for the public functions of `stats` and the rules of `claims`."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float

from bathymetry.core.errors import InputError


def numbers(field: str, values: object, axes: int | None = 1) -> Float[np.ndarray[Any, np.dtype[np.float64]], "*shape"]:
    """Convert to float64; `axes` is the number of axes expected, None for any."""
    expected = "numbers" if axes is None else ("one number", "one number per member")[axes]
    try:
        array = np.asarray(values)
    except Exception as error:
        raise InputError(field, values, f"expected {expected}") from error
    if array.dtype.kind not in "iuf" or axes not in (None, array.ndim):
        raise InputError(field, values, f"expected {expected}")
    return array.astype(np.float64)


def number(field: str, value: object, low: float = -math.inf, high: float = math.inf) -> float:
    """Convert to a float from `low` to `high`; NaN is refused."""
    plain = float(numbers(field, value, axes=0))
    if not low <= plain <= high:
        ends = "" if math.isinf(high) else f" from {low:g} to {high:g}"
        raise InputError(field, value, f"expected a number{ends}")
    return plain


def confidence_level(value: object) -> float:
    plain = float(numbers("confidence", value, axes=0))
    if not 0 < plain < 1:
        raise InputError("confidence", value, "expected a number between 0 and 1, for example 0.95")
    return plain


def one_of(field: str, value: object, allowed: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in allowed:
        *first, last = map(repr, allowed)
        raise InputError(field, value, f"expected {', '.join(first)} or {last}")


def instance(kind: type, expected: str, **named: object) -> None:
    """Check that each of the named arguments is of a kind."""
    for field, value in named.items():
        if not isinstance(value, kind):
            raise InputError(field, value, f"expected {expected}")
