"""Errors, each one sentence with the field, the value and the remedy, and the checks that raise them."""

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
    r"""Escape line breaks and control characters, so that a terminal does not obey them.

    >>> print(one_line("a\nb"))
    a\nb
    """
    return text if text.isprintable() else "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


class BathymetryError(Exception):
    """Anything that Bathymetry refuses or can't do; its text is one sentence."""

    def __init__(self, sentence: str) -> None:
        super().__init__(one_line(sentence))


class InputError(BathymetryError, ValueError):
    """An argument or setting that is refused, as "field = value: remedy".

    Args:
        field: The name of the argument or setting.
        value: Its value.
        remedy: "expected …", or an instruction that works.

    Example:
        >>> print(InputError("members", 0, "expected at least 1"))
        members = 0: expected at least 1.
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
    r"""Shorten the text of another library's error to its first line.

    >>> first_line(ValueError("no such shape\nand a trace")), first_line(KeyError())
    ('no such shape', 'KeyError')
    """
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def whole_number(field: str, value: object, least: int, most: int | None = None) -> int:
    """Check a whole number from `least` to `most`.

    >>> whole_number("k", 3, 1)
    3
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise InputError(field, value, f"expected a whole number, at least {least}")
    if most is not None and int(value) > most:
        raise InputError(field, value, f"expected at most {most:,}")
    return int(value)


def positive_number(field: str, value: object) -> float:
    """Check a finite number above zero.

    >>> positive_number("tolerance", 1e-3)
    0.001
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < _float(value) < math.inf:
        raise InputError(field, value, "expected a positive number")
    return float(value)


def path_of(field: str, value: object) -> Path:
    if not isinstance(value, str | Path) or "\0" in str(value):
        raise InputError(field, value, "expected a path")
    return Path(value)


def check_dense(field: str, tensor: "Tensor") -> None:
    """Refuse tensors without plain real numbers in memory: sparse, quantised, nested, complex, meta."""
    kind = str(tensor.layout).removeprefix("torch.")
    if tensor.is_meta:
        raise InputError(field, "a tensor on the meta device", "it has no numbers; expected one in memory")
    if kind != "strided" or tensor.is_quantized or tensor.is_nested:
        made = "quantised" if tensor.is_quantized else "nested" if tensor.is_nested else kind
        raise InputError(field, f"a {made} tensor", "expected an ordinary dense one, such as .to_dense() makes")
    if tensor.is_complex():
        raise InputError(field, str(tensor.dtype), "expected real numbers")


def _float(value: Real) -> float:
    try:
        return float(value)
    except OverflowError:  # a whole number beyond floats
        return math.inf
