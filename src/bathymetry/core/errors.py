"""Errors, each one sentence with the field, the value and the remedy, and the checks that raise them."""

import re
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

from bathymetry.core.showing import kind_of, printable, short

if TYPE_CHECKING:
    from torch import Tensor

_LETTERS, _LETTERS_OF_A_PATH = 120, 200  # that are shown of a value
_LETTERS_OF_A_LIBRARY = 250  # letters that are shown of another library's text


class BathymetryError(Exception):
    """Anything that Bathymetry refuses or can't do; its text is one sentence."""

    def __init__(self, sentence: str) -> None:
        super().__init__(printable(sentence, allowed=""))


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
        super().__init__(f"{field} = {_shown(value)}: {remedy if remedy.endswith('?') else remedy.rstrip('.') + '.'}")
        self.field = field
        self.value = value
        self.remedy = remedy


def _shown(value: object) -> str:
    """Show a value as Python does, and of a long one both ends."""
    is_text = isinstance(value, str | PathLike)
    most = _LETTERS_OF_A_PATH if isinstance(value, PathLike) else _LETTERS
    try:
        shown = str(value) if is_text and str(value).strip() else repr(value)
        if hasattr(value, "shape") or (len(shown) > most and not is_text):
            shown = short(value)
    except Exception:  # noqa: BLE001 - an object of the user's, or a whole number of more digits than Python writes
        return kind_of(value)
    return abridged(shown, most)


def abridged(text: str, most: int = _LETTERS) -> str:
    """Keep both ends of a long text, in letters that can be printed."""
    text = printable(text, allowed="")
    return text if len(text) <= most else f"{text[: most - 50]}…{text[-49:]}"


class StorageError(BathymetryError):
    """A stored file that can't be read or understood, or a place where nothing can be stored."""


class DamagedError(StorageError):
    """A stored file that could be read, and whose content is not what was stored."""


class IncompleteError(BathymetryError):
    """Some of the work failed again and again; everything else is done and stored."""


def first_line(error: BaseException) -> str:
    """Shorten the text of another library's error to its first line, or to the ends of a long one."""
    text = str(error).strip()
    return abridged(text.splitlines()[0].rstrip(". "), _LETTERS_OF_A_LIBRARY) if text else type(error).__name__


def not_installed(package: str, extra: str) -> str:
    """Say how to install a package that is missing: by the extra that has it, whose versions are right."""
    return f'{package} is not installed; in a copy of the repository: pip install ".[{extra}]"'


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Suggest the most similar name, or the only one whose last part it is, as the start of a remedy.

    >>> did_you_mean("--learningrate", ["--epochs", "--learning-rate"])
    'did you mean --learning-rate? '
    """
    names = list(known)
    inner = [one for one in names if re.split(r"[./]", one)[-1] == str(name)]
    similar = inner if len(inner) == 1 else get_close_matches(str(name), names, n=1, cutoff=0.7)
    return f"did you mean {similar[0]}? " if similar else ""


def is_real(value: object) -> TypeGuard[float]:
    return isinstance(value, Real) and not isinstance(value, bool)


def is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, Integral) and not isinstance(value, bool)


def whole_number(field: str, value: object, least: int, most: int | None = None) -> int:
    if not is_whole(value) or value < least:
        value = repr(value) if isinstance(value, str) else value  # "3" is not 3
        raise InputError(field, value, f"expected a whole number, at least {least}")
    if most is not None and int(value) > most:
        raise InputError(field, value, f"expected at most {most:,}")
    return int(value)


def positive_number(field: str, value: object) -> float:
    if not is_real(value) or not 0 < value <= sys.float_info.max:
        value = repr(value) if isinstance(value, str) else value
        raise InputError(field, value, "expected a positive number")
    return float(value)


def path_of(field: str, value: object) -> Path:
    if not isinstance(value, str | Path) or "\0" in str(value):
        raise InputError(field, value, "expected a path")
    return Path(value)


def check_dense(field: str, tensor: "Tensor") -> None:
    """Refuse tensors without plain real numbers in memory: sparse, quantised, nested, complex, meta."""
    layout = str(tensor.layout).removeprefix("torch.")
    kind = "quantised" if tensor.is_quantized else "nested" if tensor.is_nested else layout
    if tensor.is_meta:
        raise InputError(field, "a tensor on the meta device", "it has no numbers; expected one in memory")
    if kind != "strided":
        raise InputError(field, f"a {kind} tensor", "expected an ordinary dense one, such as .to_dense() makes")
    if tensor.is_complex():
        raise InputError(field, str(tensor.dtype), "expected real numbers")
