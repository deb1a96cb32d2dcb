"""A study is one class: its fields are the settings, its methods the plan, the claims and the figures."""

import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, Self, TypeVar

import xarray as xr
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, ValidationInfo, field_validator
from torch import nn

from bathymetry.charts import Figure, attrs
from bathymetry.charts.figure import Panel
from bathymetry.charts.sheet import cited_as
from bathymetry.claims.judging import Claim, Judged, Judgements, judge
from bathymetry.core.errors import InputError, did_you_mean
from bathymetry.core.randomness import preserve_rng_state, stream_seed
from bathymetry.core.showing import joined
from bathymetry.core.system import default_settings
from bathymetry.data import Data
from bathymetry.store.chunks import Chunk
from bathymetry.studies.arrays import without_diverged
from bathymetry.studies.settings import MOST, PRESETS, Seed, complaint, setting
from bathymetry.training import TrainingConfig

Coordinate = str | int | float
Groups = dict[str, xr.Dataset]
MAIN = "main"


@dataclass(frozen=True)
class PlannedEnsemble:
    """Members to train with one config, and where their records go in the study's results."""

    coordinates: Mapping[str, Coordinate]  # {"function": "cos", "network": "deep"}
    config: TrainingConfig
    members: range
    group: str = MAIN


@dataclass(frozen=True)
class JointMeasurement:
    """A measurement that needs the parameters of several ensembles, such as a line between two solutions.

    Its function may have an attribute `seconds`, about how long it takes for a member: a plan adds these up.
    """

    coordinates: Mapping[str, Coordinate]
    of: tuple[PlannedEnsemble, ...]
    function: Callable[[Sequence[Chunk]], xr.Dataset]  # receives one chunk with all members of each ensemble
    group: str = MAIN


@dataclass(frozen=True)
class Plan:
    """All that a study has to do before its results can be put together."""

    ensembles: tuple[PlannedEnsemble, ...]
    joints: tuple[JointMeasurement, ...]
    notes: tuple[str, ...]  # what was chosen for the user, such as widths for another input size
    data: Mapping[str, str]  # name → source and digest in words


Planned = Iterator[PlannedEnsemble | JointMeasurement | str]  # what is to be done, and notes for the reader
Drawn = tuple[Sequence[Panel], str]  # the panels, and what they show in one sentence
FigureMethod = TypeVar("FigureMethod", bound=Callable[..., Drawn])


@dataclass(frozen=True)
class FigureMark:
    """What `@figure` keeps of a method."""

    method: str
    title: str
    reading: str
    number: int | tuple[int, ...] | Mapping[str, int] | None
    groups: tuple[str, ...]
    each: str | None
    main_finding: bool  # whether its sentence is a main finding of the study
    stacked: bool = False

    def number_of(self, results: xr.Dataset, value: object) -> int | tuple[int, ...] | None:
        """The number, or those of all values that there are, where a figure shows several."""
        if not isinstance(self.number, Mapping):
            return self.number
        known = {str(one) for along in results.coords.values() for one in along.values.ravel()}
        several = tuple(number for name, number in self.number.items() if name in known)
        return self.number.get(str(value)) if self.each else several if len(several) > 1 else next(iter(several), None)

    @property
    def words(self) -> str:
        """Number and title."""
        cited = cited_as(tuple(self.number.values()) if isinstance(self.number, Mapping) else self.number)
        return (cited and f"{cited}: ") + re.sub(r"\{\w+\}", f"each {self.each}", self.title)


def figure(
    title: str,
    *,
    reading: str = "",
    number: int | tuple[int, ...] | Mapping[str, int] | None = None,
    group: str | tuple[str, ...] = MAIN,
    each: str | None = None,
    main_finding: bool = False,
    stacked: bool = False,
) -> Callable[[FigureMethod], FigureMethod]:
    """Mark a method of a study as a figure. Its name is the figure's.

    The method receives a group of the results and returns the panels, and what they show in one sentence.

    Args:
        title: The quantity or the finding; {function} stands for a scalar coordinate of that name.
        reading: How to read it. Defaults to the method's docstring.
        number: Its number, or numbers, in the report that the claims come from; with `each`, by value.
        group: The group of the results, or several, each an argument of the method.
        each: A coordinate; one figure is drawn for each of its values.
        main_finding: Whether its sentence is one of the main findings of the study.
        stacked: Whether its panels stand above each other, because they share the horizontal axis.

    Returns:
        A decorator that returns the method itself.
    """
    groups = (group,) if isinstance(group, str) else group

    def mark(method: FigureMethod) -> FigureMethod:
        words = reading or " ".join((method.__doc__ or "").split())
        method.__dict__["mark"] = FigureMark(method.__name__, title, words, number, groups, each, main_finding, stacked)
        return method

    return mark


class Study(BaseModel):
    """One question. A subclass adds settings as fields, and the methods `plan`, `derive`, claims and figures.

    The docstring's first line is the question, the rest says what is done and measured. An instance is a set of
    settings: the defaults are those of the preset `full`.

    Example:
        >>> class Depth(Study):
        ...     '''Do deeper networks end lower?'''
        ...     presets = {"smoke": {"epochs": 5}}
        ...     epochs: int = Field(500, gt=0, description="steps on the full batch")
        >>> Depth.name, Depth.question, Depth.preset("smoke", members=6).epochs
        ('depth', 'Do deeper networks end lower?', 5)
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: ClassVar[str]  # from the class's name unless given
    location: ClassVar[str]  # module:class, or the path of a file: by this and its settings other processes know it
    question: ClassVar[str]
    about: ClassVar[str]
    chapter: ClassVar[str] = "Studies of your own"
    reading: ClassVar[str] = (
        "Each faint line or dot is one member; the strong line or diamond is their mean on the axis's scale or their "
        "median, as the key says, the band or bar its pointwise 95 % interval."
    )
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    variables: ClassVar[Mapping[str, Mapping[str, str]]] = {}  # attributes of what it measures and derives
    reference_data: ClassVar[str | None] = None  # the data that claims with absolute numbers are about
    ignored_by_claims: ClassVar[frozenset[str]] = frozenset(
        {"members", "seed", "data_seed", "device"}
    )  # by absolute ones
    over_members: ClassVar[tuple[str, ...]] = ()  # dims of what `derive` makes of all members together
    # a figure's finding, and a figure with the places of one of its charts and, if not all, of series in that
    answered_by: ClassVar[tuple[str, str, *tuple[int, ...]]] = ("", "", 0)

    members: PositiveInt = Field(10, le=100_000, description="networks in each ensemble; claims need at least 6")
    seed: Seed = Field(0, description="random seed of initialisation, batch order and sampling, or any text")
    device: Literal["cpu", "cuda"] = Field("cpu", description="cpu or cuda")

    def __init__(self, **fields: Any) -> None:
        for name in fields.keys() - type(self).model_fields.keys():
            known = type(self).model_fields
            remedy = f"there is no such field; {did_you_mean(name, known)}expected one of {', '.join(known)}"
            raise InputError(name, fields[name], remedy)
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise complaint(error, type(self).model_fields) from error

    def plan(self) -> Planned:
        """Yield ensembles to train, measurements over several of them, and notes for the reader."""
        raise NotImplementedError

    def derive(self, results: Groups) -> Groups:
        """Add what follows from the records: receive and return one dataset per group."""
        return results

    def training(self) -> Mapping[str, Any]:
        """Fields of `TrainingConfig` that its ensembles have unless they say otherwise."""
        return {}

    def ensemble(
        self,
        at: Mapping[str, Coordinate],
        network: Callable[[], nn.Module],
        *,
        group: str = MAIN,
        members: range | None = None,
        **training: Any,
    ) -> PlannedEnsemble:
        """Plan the members of one network, to be yielded by `plan`.

        Args:
            at: Its coordinates in the results.
            network: Builds one member.
            group: The group of the results.
            members: Their numbers. Defaults to as many as the settings say.
            **training: Fields of `TrainingConfig` that differ from `training()`.

        Returns:
            The ensemble.
        """
        config = TrainingConfig.of(network=network, **{"seed": self.seed, **self.training(), **training})
        return PlannedEnsemble(at, config, members or range(self.members), group)

    @classmethod
    def preset(cls, name: str = "full", **changes: Any) -> Self:
        """Make settings from a preset.

        Args:
            name: "full", "quick" or "smoke".
            **changes: Fields that differ from it.

        Returns:
            The study with these settings.

        Raises:
            InputError: If there is no such preset or field, or a value is not what the field takes.
        """
        if not isinstance(name, str) or name not in PRESETS:
            raise InputError("preset", name, f"{did_you_mean(name, PRESETS)}expected {joined(PRESETS, 'or')}")
        return cls(**{**cls.presets.get(name, {}), **changes})

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:  # noqa: ARG002
        """Copy with changes, validated; nothing computed from the old settings is kept."""
        return type(self)(**{**self.model_dump(), **(update or {})})

    def __reduce__(self) -> Any:
        """Travel as the class's location and the settings as JSON: without data or a module that exists only here."""
        return _found, (self.location, self.model_dump_json())

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        words = inspect.cleandoc(cls.__doc__ or cls.__name__)
        own = vars(cls)
        cls.name = own.get("name", re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower())
        cls.location = own.get("location", f"{cls.__module__}:{cls.__qualname__}")
        cls.question = own.get("question", words.partition("\n")[0])
        cls.about = own.get("about", " ".join(words.partition("\n")[2].split()))
        for field, info in cls.model_fields.items():
            if inspect.isfunction(info.default):  # a later def of the same name has become the field's default
                raise TypeError(f"{cls.__name__}.{field} is a setting and a method: rename the method")
            inherited = [vars(base).get(field) for base in cls.__mro__[1:]]
            if any(callable(one) or isinstance(one, property | cached_property) for one in inherited):
                raise TypeError(f"{cls.__name__}.{field} is a setting here and a method of a base class: rename it")

    @field_validator("*", mode="wrap")
    @classmethod
    def _is_plain(cls, value: object, validate: Callable[[object], object], field: ValidationInfo) -> object:
        annotation = cls.model_fields[str(field.field_name)].annotation
        if isinstance(value, bool | bytes) and type(value).__name__ not in str(annotation):
            raise ValueError("expected a number or text")  # pydantic would take True for a number and bytes for text
        value = validate(value)
        for one in value if isinstance(value, tuple) else (value,):
            if field.field_name not in ("seed", "data_seed") and isinstance(one, int) and one > MOST:
                raise ValueError(f"expected at most {MOST:,}")
        return value

    @classmethod
    def _marked(cls, kind: type[Any]) -> list[Any]:
        names = dict.fromkeys(name for one in reversed(cls.__mro__) for name in vars(one))
        marks = (getattr(inspect.getattr_static(cls, name, None), "mark", None) for name in names)
        return [mark for mark in marks if isinstance(mark, kind)]

    @classmethod
    def claims(cls) -> Sequence[Claim]:
        """The claims, in the order in which they are written."""
        return cls._marked(Claim)

    @classmethod
    def figures(cls) -> Sequence[FigureMark]:
        """The figures, in the order in which they are written."""
        return cls._marked(FigureMark)

    @cached_property
    def planned(self) -> Plan:
        """The plan of these settings, made once."""
        with default_settings(), preserve_rng_state(stream_seed(self.seed, -1, "data draw")):
            items = list(self.plan())
        ensembles = tuple(one for one in items if isinstance(one, PlannedEnsemble))
        joints = tuple(one for one in items if isinstance(one, JointMeasurement))
        notes = tuple(one for one in items if isinstance(one, str))
        data: dict[str, str] = {}
        placed = Counter((one.group, tuple(one.coordinates.items())) for one in ensembles)
        for (group, coordinates), count in placed.items():
            if count > 1:
                remedy = f"expected different coordinates for each ensemble of the group {group}"
                raise InputError(f"{self.name}.plan", f"{count} ensembles at {dict(coordinates)}", remedy)
        for one in ensembles:
            if isinstance(one.config.data, Data):
                data.setdefault(one.config.data.name, one.config.data.origin)
        return Plan(ensembles, joints, notes, data)

    def described(self, results: Groups) -> Groups:
        """Give every variable its attributes."""
        known = dict(_KNOWN)
        for one in reversed(type(self).__mro__):
            known |= vars(one).get("variables", {})
        for group, dataset in results.items():
            for name, variable in dataset.variables.items():
                variable.attrs |= {**known.get(str(name), {}), **known.get(f"{group}/{name}", {})}
        return results

    def judge(self, results: xr.DataTree) -> Judgements:
        """Decide every claim from the study's results, with a finding in one sentence each."""
        departure = self.departure(results)

        def judged(one: Claim) -> Judged:
            def evidence() -> Any:
                return getattr(self, one.letter)(without_diverged(results[one.group].to_dataset()))

            with _named(f"{self.name}.{one.letter}"):
                return judge(self.name, one, evidence, departure if one.absolute else "")

        return Judgements(map(judged, self.claims()))

    def departure(self, results: xr.DataTree) -> str:
        """Say what a claim that needs the preset `full` needs, and what this run had instead."""
        ignored = self.ignored_by_claims | ({"data"} if self.reference_data else set())
        usual, used = self.preset("full"), self.as_used(results)
        fields = [one for one in type(self).model_fields if one not in ignored]
        differing = [one for one in fields if getattr(used, one) != getattr(usual, one)]
        needed, had = ([setting(field, getattr(one, field)) for field in differing] for one in (usual, used))
        if self.reference_data and self.reference_data not in results.attrs["data"]:
            needed.insert(0, self.reference_data.upper() if self.reference_data == "mnist" else self.reference_data)
            had.insert(0, joined(list(results.attrs["data"])) or "other data")
        return f"the claim needs {joined(needed)}; this run used {joined(had)}" if needed else ""

    def as_used(self, results: xr.DataTree) -> Self:  # noqa: ARG002
        """The settings as they took effect, where a setting is only a limit."""
        return self

    def main_findings(self, results: xr.DataTree, drawn: Sequence[tuple[FigureMark, Figure]]) -> tuple[str, ...]:  # noqa: ARG002
        """The main findings: the sentences of the figures marked so."""
        return tuple(one.finding for mark, one in drawn if mark.main_finding)

    def answer(self, results: xr.DataTree, drawn: Sequence[tuple[FigureMark, Figure]]) -> str:
        """Answer the question in one sentence: the finding of the figure that does, or else the first of the study."""
        own = [one.finding for mark, one in drawn if mark.method == self.answered_by[0]]
        return next(iter((*own, *self.main_findings(results, drawn))), "")

    def draw(self, results: xr.DataTree) -> list[tuple[FigureMark, Figure]]:
        """Draw every figure, those with a number first."""
        drawn = [one for mark in self.figures() for one in self._drawn(mark, results)]
        return sorted(drawn, key=lambda one: one[1].name if one[1].number else "~")  # the order of the others stays

    def _drawn(self, mark: FigureMark, results: xr.DataTree) -> Iterator[tuple[FigureMark, Figure]]:
        first, *others = (results[group].to_dataset() for group in mark.groups)
        values = [None] if mark.each is None else first[mark.each].values.tolist()
        for place, value in enumerate(values):
            one = first if value is None else first.sel({mark.each: value})
            with _named(f"{self.name}.{mark.method}"):
                drawn = getattr(self, mark.method)(one, *others)
                if not isinstance(drawn, tuple) or len(drawn) != 2 or not isinstance(drawn[1], str):
                    raise InputError("figure", type(drawn).__name__, "expected (panels, sentence)")
            panels, finding = drawn
            number = mark.number_of(first, value)
            leading = number[0] if isinstance(number, tuple) else number
            name = (f"{leading:02d}-" if leading else "") + mark.method.replace("_", "-")
            if value is not None:
                name += f"-{value}" if str(value).isalnum() else f"-{mark.each}-{place + 1}"
            named = {str(name): one.item() for name, one in one.coords.items() if one.ndim == 0}
            words = mark.title.format(**named), tuple(panels), finding, mark.reading
            yield mark, Figure(name, *words, number, mark.stacked)


@contextmanager
def _named(method: str) -> Iterator[None]:
    """Name a study's method in the error that it causes."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{method}: {error.field}", error.value, error.remedy) from error


_KNOWN: Mapping[str, Mapping[str, str]] = {
    "epoch": attrs("epoch", "epoch"),
    "accuracy": attrs("accuracy", "accuracy"),
    "loss": {"scale": "log"},
    "parameters": attrs("parameters", "log"),
    "examples": attrs("examples"),
    "member": attrs("member"),
    "split": attrs("examples of"),
    "diverged": attrs("whether a member diverged"),
}


def _found(location: str, settings: str) -> Study:
    from bathymetry.studies.catalogue import find  # which finds what this file defines

    return find(location).model_validate_json(settings)
