"""The sections of a specification: network, data and training, each a record of fields that an axis may vary."""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_serializer,
    model_validator,
)

from bathymetry.core.errors import InputError, did_you_mean
from bathymetry.studies.settings import Limit, Width, Widths, complaint

FUNCTION_FILE = re.compile(r".+\.py:[^\W\d]\w*")
_FUNCTION = re.compile(r"[\w.]*:[\w.<>]+")  # how a function in Python is stored, which can't be called again
_LARGE, _HUGE = 2.0**63, 1e40
Share = Annotated[float, Field(ge=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]


def _batch(value: object) -> object:
    return None if isinstance(value, str) and value.strip().lower() == "full" else value


class Section(BaseModel):
    """Some fields of a specification; only those that were given are stored."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)

    title: ClassVar[str]

    @classmethod
    def of(cls, given: object) -> Self:
        """Read a section, and refuse it in one sentence that names the field."""
        if isinstance(given, cls):
            return given
        if not isinstance(given, Mapping):
            whole = cls.title or "specification"
            raise InputError(whole, given, f"expected fields by name: {', '.join(cls.model_fields)}")
        known, inside = cls.model_fields, f"{cls.title}." if cls.title else ""
        for name, value in given.items():
            if name not in known and not cls.takes(name, given):
                remedy = f"there is no such field; {did_you_mean(name, known)}expected one of {', '.join(known)}"
                raise InputError(f"{inside}{name}", value, remedy)
            if name in known and isinstance(value, bool | bytes):
                raise InputError(f"{inside}{name}", value, "expected a number or text")
        try:
            return cls.model_validate(
                {name: as_whole(value) if name in known else value for name, value in given.items()}
            )
        except ValidationError as error:
            fault = complaint(error, known)
            is_named = fault is (error.errors()[0].get("ctx") or {}).get("error")  # by a check of ours
            raise InputError(
                fault.field if is_named else f"{inside}{fault.field}", fault.value, fault.remedy
            ) from error

    @classmethod
    def takes(cls, name: object, given: Mapping[Any, Any]) -> bool:  # noqa: ARG003
        """Whether a field that is not listed is taken all the same."""
        return False

    @property
    def given(self) -> dict[str, Any]:
        """The fields that were given, by name."""
        return {name: getattr(self, name) for name in sorted(self.model_fields_set)}

    @model_serializer(mode="plain")
    def _given_only(self) -> dict[str, Any]:
        return {name: plain(value) for name, value in self.given.items()}


def as_whole(value: Any) -> Any:
    """1e30 as the whole number that it is, which pydantic would not see."""
    return int(value) if isinstance(value, float) and _LARGE <= abs(value) < _HUGE else value


def plain(value: Any) -> Any:
    """A value as it is stored; a function by its module and name."""
    if callable(value):
        return f"{getattr(value, '__module__', '')}:{getattr(value, '__qualname__', type(value).__name__)}"
    if isinstance(value, Mapping):
        return {name: plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, tuple | list) else value


class Network(Section):
    """What makes a network."""

    model_config = ConfigDict(extra="allow")
    title = "network"

    family: str | Callable[..., Any] = Field(
        "mlp", description="mlp, or FILE.py:FUNCTION, which receives the other fields as arguments"
    )
    hidden: Widths | None = Field(None, description="hidden widths, for example [32, 32]")
    width: Width | None = Field(None, description="width of every hidden layer; 32 if nothing else is given")
    depth: Annotated[int, Field(ge=1, le=1000)] | None = Field(None, description="hidden layers; 2 if not given")
    parameters: PositiveInt | None = Field(None, description="weights and biases in all, instead of a width")
    activation: Literal["relu", "tanh", "sigmoid", "gelu", "identity"] = Field("relu", description="after each layer")

    @classmethod
    def takes(cls, name: object, given: Mapping[Any, Any]) -> bool:
        return isinstance(name, str) and given.get("family", "mlp") != "mlp"

    @property
    def is_mlp(self) -> bool:
        return self.family == "mlp"

    @property
    def given(self) -> dict[str, Any]:
        return {**super().given, **(self.model_extra or {})}

    @property
    def arguments(self) -> dict[str, Any]:
        """What a function that makes the network receives."""
        return {name: value for name, value in self.given.items() if name != "family"}

    @model_validator(mode="after")
    def _one_shape(self) -> Self:
        if callable(self.family) or FUNCTION_FILE.fullmatch(self.family) or _FUNCTION.fullmatch(self.family):
            return self
        if not self.is_mlp:
            remedy = "expected mlp, or FILE.py:FUNCTION, a function that makes the network"
            raise InputError("network.family", self.family, remedy)
        shapes = {"hidden": ("width", "depth", "parameters"), "parameters": ("width",)}
        for one, others in shapes.items():
            for other in others:
                if getattr(self, one) is not None and getattr(self, other) is not None:
                    remedy = f"expected network.{other} or network.{one}, not both"
                    raise InputError(f"network.{other}", getattr(self, other), remedy)
        return self


class DataSet(Section):
    """What networks learn: a data set by name, or a function of one variable."""

    title = "data"

    name: str | None = Field(None, description="a name or path that bm.load takes")
    train_examples: Limit = Field(None, description="number of training examples (a random subset); all if not given")
    test_examples: Limit = Field(None, description="number of test examples (a random subset); all if not given")
    function: str | None = Field(None, description="a function by name or as an expression in x, instead of a name")
    low: float = Field(-10.0, description="lower end of the inputs of a function")
    high: float = Field(10.0, description="upper end")
    samples: PositiveInt = Field(1000, description="training inputs of a function; as many again for testing")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        for field, example in (("name", "digits"), ("function", "sin or sin(3*x)")):
            value = getattr(self, field)
            if value is not None and not value.strip():
                raise InputError(f"data.{field}", value, f"expected text, such as {example}")
        kinds = {"name": ("train_examples", "test_examples"), "function": ("low", "high", "samples")}
        if self.name is not None and self.function is not None:
            raise InputError("data.function", self.function, "expected data.function or data.name, not both")
        for kind, fields in kinds.items():
            other = "name" if kind == "function" else "function"
            for field in fields:
                if getattr(self, other) is not None and field in self.model_fields_set:
                    raise InputError(f"data.{field}", getattr(self, field), f"only data given by {kind} take it")
        return self


class Training(Section):
    """How members are trained; as in `TrainingConfig`."""

    title = "training"

    optimizer: str = Field("adam", description="adam, adamw, sgd, or the name of a class of torch.optim")
    learning_rate: PositiveFloat | None = Field(None, description="the optimizer's own if not given")
    weight_decay: Annotated[float, Field(ge=0)] | None = None
    momentum: Decay | None = None
    beta1: Decay | None = None
    beta2: Decay | None = None
    eps: PositiveFloat | None = None
    options: dict[str, Any] | None = Field(
        None, description="further arguments of a class of torch.optim, such as {alpha: 0.9}"
    )
    batch_size: Annotated[PositiveInt | None, BeforeValidator(_batch)] = Field(
        None, description="examples per batch; full (the default) for all in every step"
    )
    epochs: PositiveInt | None = Field(None, description="passes over the training examples; 10 if neither is given")
    steps: PositiveInt | None = Field(None, description="steps, instead of epochs")
    loss: Literal["mse", "cross_entropy"] | None = Field(None, description="by the kind of the targets if not given")
    schedule: Literal["constant", "cosine"] = Field("constant", description="of the learning rate")
    clip_norm: PositiveFloat | None = Field(None, description="largest norm of a gradient")
    label_noise: Share = Field(0.0, description="share of the training labels drawn at random, for each member")
    dtype: Literal["float32", "float64"] = "float32"

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.epochs is not None and self.steps is not None:
            raise InputError("training.steps", self.steps, "expected training.steps or training.epochs, not both")
        return self


SECTIONS: Mapping[str, type[Section]] = {one.title: one for one in (Network, DataSet, Training)}
