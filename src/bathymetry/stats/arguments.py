"""Checks of what the functions of this folder are given."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from bathymetry.core.errors import InputError


def numbers(
    field: str, values: object, *, axes: int | None = 1, finite: bool = False
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Take an array of numbers, refusing what only looks like one.

    Args:
        field: What it is called.
        values: What was given.
        axes: How many axes it must have; None for any number.
        finite: Whether NaN and infinity are refused.

    Returns:
        The numbers in float64.

    Raises:
        InputError: If they are not numbers, or not of that shape.
    """
    wanted = "numbers" if axes is None else ("one number", "one number per member")[axes]
    try:
        array = np.asarray(values)
    except Exception as error:
        raise InputError(field, values, f"expected {wanted}") from error
    if array.dtype.kind not in "iuf":
        raise InputError(field, values, f"expected {wanted}, not {_kind(array)}")
    if axes is not None and array.ndim != axes:
        raise InputError(field, f"shape {array.shape}", f"expected {wanted}")
    if finite and not np.isfinite(array).all():
        raise InputError(field, values, "expected finite numbers")
    return array.astype(np.float64)


def booleans(field: str, values: object) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Take one boolean per member; a NaN would count as true, and a number as anything.

    Args:
        field: What it is called.
        values: What was given.

    Returns:
        The booleans; an empty list of anything is taken.

    Raises:
        InputError: If they are anything else.
    """
    try:
        array = np.asarray(values)
    except Exception as error:
        raise InputError(field, values, "expected one boolean per member") from error
    if array.ndim != 1 or (len(array) and array.dtype != np.bool_):
        raise InputError(field, values, "expected one boolean per member")
    return array.astype(np.bool_)


def number(field: str, value: object, *, low: float = -math.inf, high: float = math.inf, nan: bool = False) -> float:
    """Take one number.

    Args:
        field: What it is called.
        value: What was given.
        low: The least that it may be.
        high: The most.
        nan: Whether NaN is taken.

    Returns:
        The number.

    Raises:
        InputError: If it is no number, or outside.
    """
    plain = float(numbers(field, value, axes=0))
    if math.isnan(plain):
        if nan:
            return plain
        raise InputError(field, value, "expected a number, not NaN")
    if not low <= plain <= high:
        ends = "" if math.isinf(low) and math.isinf(high) else _range(low, high)
        raise InputError(field, value, f"expected a number{ends}")
    return plain


def confidence_level(value: object) -> float:
    """Take the confidence of an interval.

    Args:
        value: What was given.

    Returns:
        The confidence.

    Raises:
        InputError: If it does not lie between 0 and 1.
    """
    plain = number("confidence", value)
    if not 0 < plain < 1:
        raise InputError("confidence", value, "expected a number between 0 and 1, for example 0.95")
    return plain


def one_of(field: str, value: object, allowed: tuple[str, ...]) -> None:
    """Refuse a word that is not among those allowed.

    Args:
        field: What it is called.
        value: What was given.
        allowed: The words.

    Raises:
        InputError: If it is another.
    """
    if not isinstance(value, str) or value not in allowed:
        raise InputError(field, value, f"expected {' or '.join(repr(one) for one in allowed)}")


def flag(field: str, value: object) -> bool:
    """Take True or False.

    Args:
        field: What it is called.
        value: What was given.

    Returns:
        The value.

    Raises:
        InputError: If it is anything else.
    """
    if not isinstance(value, bool | np.bool_):
        raise InputError(field, value, "expected True or False")
    return bool(value)


def groups(field: str, values: object) -> Mapping[str, object]:
    """Take groups of members by name.

    Args:
        field: What they are called.
        values: What was given.

    Returns:
        The groups.

    Raises:
        InputError: If they are no mapping from names.
    """
    if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
        raise InputError(field, values, "expected a dictionary from names to members")
    return values


def _kind(array: np.ndarray[Any, Any]) -> str:
    return {"b": "booleans", "c": "complex numbers", "U": "text", "S": "text"}.get(array.dtype.kind, "other objects")


def _range(low: float, high: float) -> str:
    if math.isinf(high):
        return f" of at least {low:g}"
    return f" of at most {high:g}" if math.isinf(low) else f" from {low:g} to {high:g}"


def coordinates_of(given: object) -> dict[str, str]:
    """Take what a part is about.

    Args:
        given: A mapping of text to text; nothing if None.

    Returns:
        The mapping.

    Raises:
        InputError: If it is anything else.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(one, str) for pair in given.items() for one in pair):
        raise InputError("coordinates", given, "expected a mapping of names to names, such as {'network': 'deep'}")
    return dict(given)


def text(field: str, value: object) -> str:
    """Take words.

    Args:
        field: What they are called.
        value: What was given.

    Returns:
        The words.

    Raises:
        InputError: If they are none.
    """
    if not isinstance(value, str):
        raise InputError(field, value, "expected text")
    return value
