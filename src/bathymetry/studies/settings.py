"""Settings: types that several studies share, presets, values in words, and what is said of one that does not fit."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import AfterValidator, BeforeValidator, Field, PositiveFloat, PositiveInt, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticKnownError

from bathymetry.core.errors import InputError
from bathymetry.core.identity import seed_of

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
    if isinstance(value, tuple | list):
        networks = [one for one in value if isinstance(one, str) and "," in one.strip(" ,")]
        if networks:
            raise ValueError(f"expected one network, such as {networks[0]}")
        _refuse_outer(value, "expected the hidden widths only, such as {}")
    if isinstance(value, str):
        parts = tuple(part.strip() for part in value.split(","))
        numbers = re.findall(r"\d+", value)[:10]
        if numbers and _SEPARATED.fullmatch(value) and not all(re.fullmatch(r"[+-]?\d+", part) for part in parts):
            _refuse_outer(numbers, "expected the hidden widths only, separated by commas, such as {}")
            raise ValueError(f"separate widths by commas, such as {','.join(numbers)}")
        _refuse_outer(parts, "expected the hidden widths only, such as {}")
        value = parts
    return (value,) if isinstance(value, int) and not isinstance(value, bool) else value


def _refuse_outer(widths: Sequence[object], remedy: str) -> None:
    """Refuse widths that begin and end with the numbers of inputs and outputs."""
    if len(widths) > 2 and (str(widths[0]), str(widths[-1])) in _OUTER:
        raise ValueError(remedy.format(",".join(map(str, widths[1:-1]))))


def _distinct(value: tuple[Any, ...]) -> tuple[Any, ...]:
    if not value:
        raise PydanticKnownError("too_short", {"field_type": "Tuple", "min_length": 1, "actual_length": 0})
    if len(set(value)) < len(value):
        raise ValueError("name each only once")
    return value


def _limit(value: object) -> object:
    return None if isinstance(value, str) and value.strip().lower() == "all" else value


T = TypeVar("T")
Distinct = Annotated[T, AfterValidator(_distinct)]  # not empty either; a Field here would hide that of the setting
Width = Annotated[int, Field(gt=0, le=_WIDEST)]
Widths = Annotated[tuple[Width, ...], BeforeValidator(_widths), Field(min_length=1, max_length=1000)]
Networks = tuple[Widths, ...]
Limit = Annotated[PositiveInt | None, BeforeValidator(_limit)]  # None and "all" for no limit
LearningRate = Annotated[PositiveFloat, Field(description="Adam's learning rate")]
BatchSize = Annotated[PositiveInt, Field(description="examples per batch")]
Seed = Annotated[int, Field(ge=0, le=2**63 - 1), BeforeValidator(seed_of)]
DataSeed = Annotated[Seed, Field(description="random seed of the drawn examples and label noise, or any text")]
Epochs = Annotated[PositiveInt, Field(description="passes over the training examples")]
Steps = Annotated[PositiveInt, Field(description="steps on the full batch")]


def field_name(field: str) -> str:
    """The name of a setting in words: "training examples"."""
    if field == "hidden":
        return "hidden widths"
    return re.sub("^few_", "small-sample ", field).replace("_", " ").replace("train ", "training ")


def shown(value: Any) -> str:
    """Write a setting's value for a reader: tuples as lists, thousands separated, "all" for no limit."""
    if isinstance(value, tuple):
        return ", ".join("-".join(map(str, one)) if isinstance(one, tuple) else str(one) for one in value)
    if value is None:
        return "all"
    if isinstance(value, Mapping):
        return "; ".join(f"{field_name(str(name))}: {shown(one)}" for name, one in value.items())
    if isinstance(value, list):
        return ", ".join("(" * isinstance(one, Mapping) + shown(one) + ")" * isinstance(one, Mapping) for one in value)
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)


def setting(field: str, value: object) -> str:
    """Write a setting with its value, as "120 epochs" or "learning rate 0.01"."""
    name = field_name(field)
    if value is None:
        return f"all {name}"
    if isinstance(value, tuple) and len(value) > 4:
        return f"{len(value)} {name}"
    words = shown(value).replace(", ", "/") if isinstance(value, tuple) else shown(value)
    return f"{words} {name}" if field.endswith("s") and not isinstance(value, tuple) else f"{name} {words}"


def network_name(hidden: Sequence[int]) -> str:
    return "-".join(map(str, hidden))


def network_names(networks: Networks, usual: Networks, words: Sequence[str]) -> list[str]:
    """Name networks by words where they are the usual ones, by their hidden widths otherwise."""
    known = dict(zip(usual, words, strict=True))
    return [known.get(widths, network_name(widths)) for widths in networks]


def is_network(info: FieldInfo) -> bool:
    """Whether a setting is the hidden widths of one network."""
    return any(isinstance(one, BeforeValidator) and one.func is _widths for one in info.metadata)


def as_text(value: object, info: FieldInfo | None = None) -> tuple[str, ...]:
    """The words by which a setting's value is typed: (32, 16) as 32,16 if it is one network, 32 and 16 otherwise."""
    if isinstance(value, tuple | list):
        words = [",".join(map(str, one)) if isinstance(one, tuple | list) else str(one) for one in value]
        return (",".join(words),) if info is not None and is_network(info) else tuple(words)
    return ("all" if value is None else str(value),)


def complaint(error: ValidationError, fields: Mapping[str, FieldInfo]) -> InputError:
    """The first complaint of pydantic about some fields, in one sentence."""
    first = error.errors(include_url=False)[0]
    context = first.get("ctx", {})
    if isinstance(context.get("error"), InputError):
        return context["error"]  # type: ignore[no-any-return]
    field, value = str(first["loc"][0]) if first["loc"] else "settings", first["input"]
    of_widths = len(first["loc"]) > 1 or (field in fields and is_network(fields[field]))
    if isinstance(value, tuple | list) and value and all(isinstance(one, str | int | tuple) for one in value):
        value = ("," if of_widths and isinstance(value[0], int) else " ").join(as_text(value))
    if first["type"] in _REMEDIES:
        shown = {name: _number(one) if isinstance(one, int | float) else one for name, one in context.items()}
        count = context.get("min_length", context.get("max_length"))
        shown["values"] = _noun(field, count, of_widths=of_widths)
        if "expected" in context:
            shown["expected"] = str(context["expected"]).replace("'", "")
        remedy = _REMEDIES[first["type"]].format(**shown)
        if first["type"] == "greater_than" and of_widths | _is_whole(fields.get(field)):
            remedy = f"expected a whole number, at least {int(context['gt']) + 1}"
        return InputError(field, value, remedy)
    message = first["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    return InputError(field, value, message[:1].lower() + message[1:])


def _is_whole(info: FieldInfo | None) -> bool:
    """Whether a field takes whole numbers and no others."""
    return info is not None and "int" in str(info.annotation) and "float" not in str(info.annotation)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _noun(field: str, count: int | None, *, of_widths: bool) -> str:
    """What a setting is a list of: "networks"."""
    noun = "hidden widths" if of_widths else field_name(field) if field.endswith("s") else "values"
    return noun.removesuffix("s") if count == 1 else noun


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
    "too_short": "expected at least {min_length} {values}",
    "too_long": "expected at most {max_length} {values}",
    "tuple_type": "expected a tuple or list of values",
    "string_type": "expected text",
    "dict_type": "expected values by name",
}
