"""Short representations of values: numbers with four digits, large tensors by shape and dtype, at the end.

NoiseScale(value=12.43, standard_error=1.31, gradient_norm=0.5214, examples=60000)
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from html import escape
from typing import Any, TypeVar, dataclass_transform
from unicodedata import category

T = TypeVar("T")

_UNPRINTABLE = ("Cc", "Cf", "Cs", "Zl", "Zp")  # categories of Unicode: control, format, surrogate, separators
_NUMBERS = 10  # of a tensor that is shown whole
_ENTRIES = 4  # of a tuple or mapping that is shown whole
_LETTERS = 70  # of a text
_WIDTH = 110
_LABELS = {"train": "training", "relu": "ReLU"}


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def readable(cls: type[T]) -> type[T]:
    """Make a frozen dataclass with a short repr; a `__repr__` of its own stays."""
    if "__repr__" not in vars(cls):
        cls.__repr__ = _shown  # type: ignore[method-assign]
        cls._repr_html_ = _table  # type: ignore[attr-defined]
    return dataclass(frozen=True, repr=False)(cls)


def short(value: Any) -> str:
    """Represent a value in few letters, such as 0.3333 or (10, 195) float32."""
    if isinstance(value, bool | int | float):
        return _number(value)
    if hasattr(value, "shape") and hasattr(value, "dtype") and hasattr(value, "tolist"):
        shape, dtype = tuple(value.shape), str(value.dtype).removeprefix("torch.")
        try:
            return f"{shape} {dtype}" if _is_large(value) else _listed(value.tolist())
        except (RuntimeError, NotImplementedError):  # it has no numbers in memory, as on the meta device
            return f"{shape} {dtype}"
    if isinstance(value, Mapping):
        entries = [f"{short(key)}: {short(one)}" for key, one in value.items()] if len(value) <= _ENTRIES else []
        return f"{{{', '.join(entries)}}}" if entries or not value else f"{len(value)} entries"
    if type(value) in (tuple, list):
        few = [short(one) for one in value[:_ENTRIES]]
        rest = f", … {len(value)} in all" if len(value) > _ENTRIES else "," if len(value) == 1 else ""
        return f"({', '.join(few)}{rest})"
    first, *more = repr(value).splitlines() or [""]
    return first if not more and len(first) <= _LETTERS else f"{first[: _LETTERS - 1]}…"


def printable(text: str, allowed: str = "\n\t") -> str:
    """Escape what could steer a terminal or reverse a line, but for the characters that are allowed."""
    if text.isprintable():
        return text
    return "".join(
        one.encode("unicode_escape").decode() if one not in allowed and category(one) in _UNPRINTABLE else one
        for one in text
    )


def label(value: object) -> str:
    """Write a coordinate's value for titles and texts."""
    return _LABELS.get(str(value), str(value))


def flag_of(field: str) -> str:
    return f"--{field.replace('_', '-')}"


def rounded(value: object) -> str:
    """Write a coordinate's value with four digits if it is a number with a fraction, else as it is."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def rounded_apart(values: Sequence[object]) -> list[str]:
    """Write the values of a coordinate with four digits, or with as many more as distinguish them."""
    texts: list[str] = []
    for digits in range(4, 18):
        texts = [f"{one:.{digits}g}" if isinstance(one, float) else str(one) for one in values]
        if len(set(texts)) == len(set(values)):
            break
    return texts


def joined(words: Sequence[str], last: str = "and") -> str:
    """Join words into a list: "one, two and three"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}" if words else ""


def plural(noun: str, count: int) -> str:
    """The plural of a noun, unless there is only one or it ends in s."""
    if count == 1 or noun.endswith("s"):
        return noun
    return f"{noun}es" if noun.endswith(("x", "ch", "sh")) else f"{noun}s"


def with_article(noun: str) -> str:
    """Put "a" or "an" before a noun, as spoken: "a tuple", "an int", "an LSTM"."""
    return f"{'an' if re.match('[AEIOaeio]|nd|[FHLMNRSX][A-Z]', noun) else 'a'} {noun}"


def kind_of(value: object) -> str:
    """The type of a value, with its article: "a tuple"."""
    return with_article(type(value).__name__)


def _shown(self: Any) -> str:
    columns = [(one.name, getattr(self, one.name)) for one in fields(self) if one.repr]
    columns.sort(key=lambda column: _is_large(column[1]))
    parts = [f"{name}={short(value)}" for name, value in columns]
    opening = f"{type(self).__name__}("
    lines = [opening]
    for part in parts:
        if len(lines[-1]) + len(part) > _WIDTH and len(lines[-1]) > len(opening):
            lines.append(" " * len(opening))
        lines[-1] += f"{part}, "
    return "\n".join(line.rstrip() for line in lines).removesuffix(",") + ")"


def _table(self: Any) -> str:
    columns = [(one.name, short(getattr(self, one.name))) for one in fields(self) if one.repr]
    rows = "".join(f"<tr><td>{name}</td><td>{escape(value)}</td></tr>" for name, value in columns)
    return f"<table><caption>{type(self).__name__}</caption>{rows}</table>"


def _is_large(value: Any) -> bool:
    return math.prod(getattr(value, "shape", ())) > _NUMBERS


def _listed(numbers: Any) -> str:
    return f"[{', '.join(map(_listed, numbers))}]" if isinstance(numbers, list) else _number(numbers)


def _number(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    if value == round(value, 0) and abs(value) < 1e7:
        return str(int(value))
    return f"{value:.0f}" if 1e4 <= abs(value) < 1e7 else f"{value:.4g}"


def plain(content: Any) -> Any:
    """Write what has no number as null, which is all that JSON has for it."""
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, Mapping):
        return {str(name): plain(value) for name, value in content.items()}
    return [plain(value) for value in content] if isinstance(content, list | tuple) else content
