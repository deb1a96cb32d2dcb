"""What Bathymetry says when it can't go on: one sentence with the field, the value and the remedy."""

import math
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from bathymetry.core.showing import short

if TYPE_CHECKING:
    from torch import Tensor


_LETTERS = 300  # of a value that is shown as Python shows it


def one_line(text: str) -> str:
    r"""Write out line breaks and control characters, so that a terminal shows them and does not obey them.

    Args:
        text: Any text.

    Returns:
        The text in one line of printable characters.

    Example:
        >>> print(one_line("a\nb"))
        a\nb
    """
    return text if text.isprintable() else "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


class BathymetryError(Exception):
    """Anything that Bathymetry refuses or can't do; its text is one sentence for the person at the keyboard."""

    def __init__(self, sentence: str) -> None:
        super().__init__(one_line(sentence))


class InputError(BathymetryError, ValueError):
    """A setting or an input that can't be right.

    Args:
        field: What was given, by the name under which it was given.
        value: What it was.
        remedy: What would be right, as the rest of a sentence.

    Example:
        >>> print(InputError("members", 0, "give at least 1"))
        members = 0: give at least 1.
    """

    def __init__(self, field: str, value: object, remedy: str) -> None:
        shown = str(value) if isinstance(value, str | PathLike) and str(value).strip() else repr(value)
        if hasattr(value, "shape") or len(shown) > _LETTERS:
            shown = short(value)
        super().__init__(f"{field} = {shown}: {remedy.rstrip('.')}.")
        self.field = field
        self.value = value
        self.remedy = remedy


class StorageError(BathymetryError):
    """A stored file that can't be read or understood, or a place where nothing can be stored."""


class DamagedError(StorageError):
    """A stored file that could be read, and whose content is not what was stored."""


def first_line(error: BaseException) -> str:
    r"""Say somebody else's error in one line.

    Args:
        error: The error.

    Returns:
        The first line of its text, or its kind where it has none.

    Example:
        >>> first_line(ValueError("no such shape\nand a trace")), first_line(KeyError())
        ('no such shape', 'KeyError')
    """
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


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
