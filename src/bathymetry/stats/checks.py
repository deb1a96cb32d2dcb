"""Checks of the arguments of this folder: each returns its value in the type that the functions use."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from bathymetry.core.errors import InputError

_KINDS = {"b": "booleans", "c": "complex numbers", "U": "text", "S": "text"}


def numbers(
    field: str, values: object, *, axes: int | None = 1, finite: bool = False
) -> Float[np.ndarray[Any, np.dtype[np.float64]], "*shape"]:
    """Convert to float64; `axes` is the number of axes expected, None for any."""
    expected = "numbers" if axes is None else ("one number", "one number per member")[axes]
    array = _array(field, values, expected)
    if array.dtype.kind not in "iuf":
        raise InputError(field, values, f"expected {expected}, not {_KINDS.get(array.dtype.kind, 'other objects')}")
    if axes is not None and array.ndim != axes:
        raise InputError(field, f"shape {array.shape}", f"expected {expected}")
    if finite and not np.isfinite(array).all():
        raise InputError(field, values, "expected finite numbers")
    return array.astype(np.float64)


def booleans(field: str, values: object) -> Bool[np.ndarray, " member"]:
    """Convert to booleans; floats are refused because a NaN would count as true."""
    array = _array(field, values, "one boolean per member")
    if array.ndim != 1 or (len(array) and array.dtype != np.bool_):
        raise InputError(field, values, "expected one boolean per member")
    return array.astype(np.bool_)


def number(field: str, value: object, *, low: float = -math.inf, high: float = math.inf, nan: bool = False) -> float:
    """Convert to a float from `low` to `high`."""
    plain = float(numbers(field, value, axes=0))
    if math.isnan(plain):
        if nan:
            return plain
        raise InputError(field, value, "expected a number, not NaN")
    if not low <= plain <= high:
        ends = f" of at least {low:g}" if math.isinf(high) else f" from {low:g} to {high:g}"
        raise InputError(field, value, f"expected a number{ends}")
    return plain


def confidence_level(value: object) -> float:
    plain = number("confidence", value)
    if not 0 < plain < 1:
        raise InputError("confidence", value, "expected a number between 0 and 1, for example 0.95")
    return plain


def one_of(field: str, value: object, allowed: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in allowed:
        raise InputError(field, value, f"expected {' or '.join(repr(one) for one in allowed)}")


def text(**named: object) -> None:
    for field, value in named.items():
        if not isinstance(value, str):
            raise InputError(field, value, "expected text")


def flag(field: str, value: object) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise InputError(field, value, "expected True or False")
    return bool(value)


def groups(field: str, values: object) -> Mapping[str, Any]:
    if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
        raise InputError(field, values, "expected a dictionary from names to members")
    return values


def coordinates_of(value: object) -> dict[str, str]:
    """Copy what a part is about; None means that the claim has one part."""
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(one, str) for pair in value.items() for one in pair):
        raise InputError("coordinates", value, "expected a mapping of names to names, such as {'network': 'deep'}")
    return dict(value)


def _array(field: str, values: object, expected: str) -> np.ndarray[Any, Any]:
    try:
        return np.asarray(values)
    except Exception as error:
        raise InputError(field, values, f"expected {expected}") from error
