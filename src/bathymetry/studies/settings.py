"""Settings of a study: checked fields, and presets that change some of them."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from bathymetry.core.errors import InputError

Preset = Literal["full", "quick", "smoke"]
PRESETS: tuple[Preset, ...] = get_args(Preset)

_WIDEST = 100_000  # units in a layer
_LARGEST = 10**9  # any other whole number, but for seeds
_OUTER = (("1", "1"), ("784", "10"))  # inputs and outputs of functions and of MNIST
_SEPARATED = re.compile(r"[\d\s,;:x×/()\[\]-]+")  # widths, whatever stands between them


def _widths(value: object) -> object:
    """Read "32,16,9" as (32, 16, 9), also where it is the one value of an option."""
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
        raise ValueError(f"give the hidden widths alone, {inner}: inputs and outputs follow from the data")
    return (value,) if isinstance(value, int) and not isinstance(value, bool) else value


Width = Annotated[int, Field(gt=0, le=_WIDEST)]
Widths = Annotated[tuple[Width, ...], BeforeValidator(_widths), Field(min_length=1, max_length=1000)]


def _distinct(value: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(value)) < len(value):
        raise ValueError("name each only once")
    return value


T = TypeVar("T")
Distinct = Annotated[T, AfterValidator(_distinct)]


class StudySettings(BaseModel):
    """What every study lets its user decide; a study's own settings inherit from it.

    The defaults are those of the preset `full`; `presets` says what the others change.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    free: ClassVar[frozenset[str]] = frozenset({"members", "seed", "device"})  # a claim with a number allows any

    members: PositiveInt = Field(10, le=100_000, description="networks in each ensemble; claims need at least 6")
    seed: int = Field(0, ge=0, le=2**63 - 1, description="decides every start, order and draw")
    device: Literal["cpu", "cuda"] = Field("cpu", description="where to compute")

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_truth(cls, value: object, field: ValidationInfo) -> object:
        """Refuse what pydantic would take for a number or text, such as True."""
        annotation = cls.model_fields[str(field.field_name)].annotation
        if isinstance(value, bool | bytes) and type(value).__name__ not in str(annotation):
            raise ValueError("expected a number or text")
        return value

    @field_validator("*", mode="after")
    @classmethod
    def _is_bounded(cls, value: object, field: ValidationInfo) -> object:
        """Refuse whole numbers that no run could ever reach."""
        for one in value if isinstance(value, tuple) else (value,):
            if field.field_name != "seed" and isinstance(one, int) and one > _LARGEST:
                raise ValueError(f"expected at most {_LARGEST:,}")
        return value

    @classmethod
    def preset(cls, name: str = "full", **changes: Any) -> Self:
        """Make settings from a preset.

        Args:
            name: "full", "quick" or "smoke".
            **changes: Fields that differ from it.

        Returns:
            The settings.

        Raises:
            InputError: If there is no such preset or field, or a value is not what the field takes.
        """
        if not isinstance(name, str) or name not in PRESETS:
            raise InputError("preset", name, f"give one of {', '.join(PRESETS)}")
        for field in changes:
            if field not in cls.model_fields:
                raise InputError(field, changes[field], f"there is no such field; give one of {_listed(cls)}")
        try:
            return cls.model_validate({**cls.presets.get(name, {}), **changes})
        except ValidationError as error:
            raise InputError(*_complaint(error)) from error


def _listed(settings: type[StudySettings]) -> str:
    return ", ".join(settings.model_fields)


def _complaint(error: ValidationError) -> tuple[str, object, str]:
    """Take field, value and remedy from pydantic's first complaint."""
    first = error.errors(include_url=False)[0]
    field = str(first["loc"][0]) if first["loc"] else "settings"
    value = first["input"] if first["loc"] else "as a whole"
    numbers = {name: limit for name, limit in first.get("ctx", {}).items() if isinstance(limit, int | float)}
    limits = {name: f"{limit:g}" if isinstance(limit, float) else str(limit) for name, limit in numbers.items()}
    if first["type"] in _REMEDIES:
        return (
            field,
            value,
            _REMEDIES[first["type"]].format(**{"expected": first.get("ctx", {}).get("expected"), **limits}),
        )
    message = first["msg"].removeprefix("Value error, ")
    return field, value, message[:1].lower() + message[1:]


_REMEDIES = {
    "greater_than": "give a number above {gt}",
    "greater_than_equal": "give at least {ge}",
    "less_than": "give a number below {lt}",
    "less_than_equal": "give at most {le}",
    "int_parsing": "give a whole number",
    "int_from_float": "give a whole number",
    "int_type": "give a whole number",
    "int_parsing_size": "expected a whole number of fewer digits",
    "float_parsing": "give a number",
    "float_type": "give a number",
    "finite_number": "give a finite number",
    "literal_error": "give {expected}",
    "too_short": "give at least {min_length}",
    "too_long": "expected at most {max_length} values",
    "tuple_type": "expected a tuple or list of values",
    "string_type": "expected text",
}
