"""Settings: types that several studies share, presets, values in words, and what is said of one that does not fit."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

Preset = Literal["full", "quick", "smoke"]
PRESETS: tuple[Preset, ...] = get_args(Preset)
MOST = 10**9  # any whole number, but for seeds

_WIDEST = 100_000  # units in a layer
_OUTER = (("1", "1"), ("784", "10"))  # inputs and outputs of functions and of MNIST
_SEPARATED = re.compile(r"[\d\s,;:x×/()\[\]-]+")  # widths, whatever stands between them


def _widths(value: object) -> object:
    # "32,16,9" is (32, 16, 9), also where it is the one value of an option
    if isinstance(value, tuple | list) and len(value) == 1 and isinstance(value[0], str):
        value = value[0]
    if isinstance(value, str):
        parts = tuple(part.strip() for part in value.split(","))
        numbers = re.findall(r"\d+", value)
        if numbers and _SEPARATED.fullmatch(value) and not all(re.fullmatch(r"[+-]?\d+", part) for part in parts):
            raise ValueError(f"separate widths by commas, such as {','.join(numbers[:10])}")
        value = parts
    if isinstance(value, tuple | list) and len(value) > 2 and (str(value[0]), str(value[-1])) in _OUTER:
        inner = ",".join(map(str, value[1:-1]))
        raise ValueError(f"expected the hidden widths alone, {inner}: inputs and outputs follow from the data")
    return (value,) if isinstance(value, int) and not isinstance(value, bool) else value


def _distinct(value: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(value)) < len(value):
        raise ValueError("name each only once")
    return value


T = TypeVar("T")
Distinct = Annotated[T, Field(min_length=1), AfterValidator(_distinct)]
Width = Annotated[int, Field(gt=0, le=_WIDEST)]
Widths = Annotated[tuple[Width, ...], BeforeValidator(_widths), Field(min_length=1, max_length=1000)]
Networks = tuple[Widths, ...]


def field_name(field: str) -> str:
    """The name of a setting in words: "training examples"."""
    return field.replace("_", " ").replace("train ", "training ")


def shown(value: Any) -> str:
    """Write a setting's value for a reader: tuples as lists, thousands separated, "all" for no limit."""
    if isinstance(value, tuple):
        return ", ".join("-".join(map(str, one)) if isinstance(one, tuple) else str(one) for one in value)
    if value is None:
        return "all"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)


def setting(field: str, value: object) -> str:
    """Write a setting with its value, as "120 epochs" or "learning rate 0.01"."""
    name = field_name(field)
    if value is None:
        return f"all {name}"
    if isinstance(value, tuple) and len(value) > 4:
        return f"{len(value)} {name}"
    words = shown(value).replace(", ", "/") if isinstance(value, tuple) else shown(value)
    return f"{words} {name}" if name.endswith("s") and not isinstance(value, tuple) else f"{name} {words}"


def network_name(hidden: Sequence[int]) -> str:
    return "-".join(map(str, hidden))


def network_names(networks: Networks, usual: Networks, words: Sequence[str]) -> list[str]:
    """Name networks by words where they are the usual ones, by their hidden widths otherwise."""
    known = dict(zip(usual, words, strict=True))
    return [known.get(widths, network_name(widths)) for widths in networks]


def flag_of(field: str) -> str:
    return f"--{field.replace('_', '-')}"


def as_text(value: object) -> tuple[str, ...]:
    """The words by which a setting's value is typed, such as 32,16 8."""
    if isinstance(value, tuple):
        return tuple(",".join(map(str, one)) if isinstance(one, tuple) else str(one) for one in value)
    return (str(value),)


def complaint(error: ValidationError) -> tuple[str, object, str]:
    """Field, value and remedy of pydantic's first complaint."""
    first = error.errors(include_url=False)[0]
    field = str(first["loc"][0]) if first["loc"] else "settings"
    value = first["input"] if first["loc"] else "as a whole"
    context = first.get("ctx", {})
    if first["type"] in _REMEDIES:
        shown = {name: f"{one:g}" if isinstance(one, float) else one for name, one in context.items()}
        return field, value, _REMEDIES[first["type"]].format(**shown)
    message = first["msg"].removeprefix("Value error, ")
    return field, value, message[:1].lower() + message[1:]


_WHOLE, _NUMBER = "expected a whole number", "expected a number"
_REMEDIES = {
    "greater_than": "expected a number above {gt}",
    "greater_than_equal": "expected at least {ge}",
    "less_than": "expected a number below {lt}",
    "less_than_equal": "expected at most {le}",
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "int_type": _WHOLE,
    "int_parsing_size": "expected a whole number of fewer digits",
    "float_parsing": _NUMBER,
    "float_type": _NUMBER,
    "finite_number": "expected a finite number",
    "literal_error": "expected {expected}",
    "too_short": "expected at least {min_length}",
    "too_long": "expected at most {max_length} values",
    "tuple_type": "expected a tuple or list of values",
    "string_type": "expected text",
}
