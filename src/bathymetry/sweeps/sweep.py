"""A sweep is a study that plans one ensemble for each point of its specification's axes."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from typing import Annotated, Any, ClassVar

import xarray as xr
from pydantic import BeforeValidator, Field, PrivateAttr

from bathymetry.charts import Figure
from bathymetry.claims.judging import Judgements, judge
from bathymetry.core.errors import InputError, did_you_mean
from bathymetry.core.showing import joined, plural, rounded
from bathymetry.core.system import check_memory, default_settings
from bathymetry.stats.verdict import members_needed
from bathymetry.studies.arrays import without_diverged
from bathymetry.studies.base import FigureMark, Planned, PlannedEnsemble, Study
from bathymetry.studies.settings import DataSeed
from bathymetry.sweeps import figures
from bathymetry.sweeps.axes import Point, points
from bathymetry.sweeps.claims import claim_name
from bathymetry.sweeps.configs import Configs
from bathymetry.sweeps.results import Found, gathered
from bathymetry.sweeps.specification import Specification
from bathymetry.sweeps.trials import has_single, untrainable

_MOST_TRIED = 100  # networks, each of which may take a while
_USUAL = (("device", "cpu"), ("seed", 0), ("data_seed", 0))
_HISTORY_BYTES = 32  # of a member and epoch: loss and accuracy of two sets


class Sweep(Study):
    """What changes along the axes of a sweep?"""

    chapter: ClassVar[str] = "Sweeps"
    reading: ClassVar[str] = figures.READING

    specification: Annotated[Specification, BeforeValidator(Specification.of)] = Field(description="what is swept")
    data_seed: DataSeed = 0

    _is_stored: bool = PrivateAttr(default=False)  # read from stored results, which must not lead to code

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.specification.name

    @property
    def question(self) -> str:  # type: ignore[override]
        axes = joined([one.name.replace("_", " ") for one in self.specification.axis_list])
        return self.specification.question or f"What changes with {axes}?"

    @property
    def about(self) -> str:  # type: ignore[override]
        return f"A sweep of {self.in_words()}."

    def in_words(self) -> str:
        """How many points and members there are."""
        return f"{self.specification.in_words()}, with {self.members} members at each"

    @classmethod
    def stored(cls, **settings: Any) -> "Sweep":
        """Make the sweep of stored results, whose specification runs no code."""
        made = cls(**settings)
        made._is_stored = True
        return made

    @property
    def fields(self) -> dict[str, Any]:
        """What was given: the specification, and what stands next to it."""
        given = self.model_dump(mode="json")
        whole = {"name": self.name, **given.pop("specification"), **given}
        return {name: value for name, value in whole.items() if (name, value) not in _USUAL}

    @cached_property
    def points(self) -> list[Point]:
        """All points, in the order of the plan."""
        spec = self.specification
        return points(spec.axis_list, spec.way, self.seed, spec.sections)

    @cached_property
    def configs(self) -> Configs:
        """What makes the config of a point."""
        spec = self.specification
        written = {one.path: one.written for one in spec.axis_list}
        return Configs(spec.sections, self.seed, self.data_seed, spec.measure, spec.record, written)

    def check(self) -> None:
        """Try up to a hundred networks that functions make, and refuse a sweep of which none can be trained.

        If some can, the others fail when it is their turn.
        """
        if self.specification.record == "all":
            self._check_histories()
        tried, faults = set[object](), list[tuple[Point, InputError]]()
        for point, planned in zip(self.points, self.planned.ensembles, strict=True):
            network, data, training = self.configs.at_point(point.values)
            config = planned.config
            key = (repr(network.given), repr(data.given), training.dtype, has_single(config))
            if not network.is_mlp and key not in tried and len(tried) < _MOST_TRIED:
                tried.add(key)
                with self.configs.naming(point.values), default_settings():
                    fault = untrainable(config, network)
                faults += [] if fault is None else [(point, fault)]
            elif network.is_mlp:
                tried.add("a perceptron")
        if faults and len(faults) == len(tried):
            point, fault = faults[0]
            with self.configs.naming(point.values):
                raise fault

    def _check_histories(self) -> None:
        """Refuse more epochs than can be recorded."""
        epochs = max(one.config.num_epochs for one in self.planned.ensembles)
        needed = _HISTORY_BYTES * epochs * self.members * len(self.points)
        check_memory(
            "record", "all", needed, f"{epochs:,} epochs of all networks take", "expected end, or fewer epochs"
        )

    def plan(self) -> Planned:
        """Plan an ensemble for each point."""
        network = self.specification.network
        if self._is_stored and not network.is_mlp:
            remedy = "stored results run no code; name the specification: bathymetry sweep SPEC.yaml"
            raise InputError("network.family", network.family, remedy)
        for point in self.points:
            yield PlannedEnsemble(point.coordinates, self.configs.at(point.values), range(self.members))
        if not self.configs.has_classes:
            self._check_claims()

    def _check_claims(self) -> None:
        """Refuse claims about an accuracy, which networks that learn values don't have."""
        for place, claim in enumerate(self.specification.claims):
            for field in ("variable", "with"):
                if "accuracy" in str(claim.get(field)).split():
                    remedy = "the targets of these data are values, not classes; expected a loss"
                    raise InputError(f"{claim_name(place)}.{field}", claim[field], remedy)

    def values_at(self, index: int) -> dict[str, str | int | float]:
        """The value of each axis at a point, also where points lie on no grid."""
        return {one.name: one.label(self.points[index].values[one.path]) for one in self.specification.axis_list}

    @property
    def few_members(self) -> str:
        """A sentence if the claims need more members than there are, else empty."""
        stated = [one.claim for one in self.specification.stated]
        needed = {f"{self.name}.{one.letter}": members_needed(one.rule.kind) for one in stated}
        lacking = [f"{name} (needs {count})" for name, count in needed.items() if count > self.members]
        which = "these claims stay" if len(lacking) > 1 else "this claim stays"
        members = f"{self.members} {plural('member', self.members)}"
        return f"With {members} {which} undecided: {joined(lacking)}." if lacking else ""

    def chosen(self, where: Mapping[str, Any], field: str = "where") -> list[bool]:
        """Which points have certain values on some axes, which may be typed or rounded to four digits."""
        if not isinstance(where, Mapping):
            raise InputError(field, where, "expected values by axis, such as learning_rate=0.1")
        axes = self.specification.axis_list
        values = {one.name: one.labels([point.values[one.path] for point in self.points]) for one in axes}
        if not self.specification.is_grid:
            values["point"] = [*range(len(self.points))]
        known = {name: one for one in axes for name in (one.path, one.written, one.name)}
        kept = [True] * len(self.points)
        for name, wanted in where.items():
            axis = known.get(name)
            given, along = f"{name}={wanted}", values.get(axis.name if axis else name)
            if along is None:
                similar = did_you_mean(name, [*known, *values])
                raise InputError(field, given, f"{similar}expected {joined([*values], 'or')}")
            here = _having(along, wanted, str(axis.label(wanted) if axis else wanted))
            if not any(here):
                few = ", ".join(map(rounded, list(dict.fromkeys(along))[:10]))
                raise InputError(field, given, f"no point has this value; expected one of {few}")
            kept = [one and other for one, other in zip(kept, here, strict=True)]
        if not any(kept):
            words = ", ".join(f"{name}={wanted}" for name, wanted in where.items())
            raise InputError(field, words, "no point has all of these values")
        return kept

    def ensemble_at(self, where: Mapping[str, Any]) -> PlannedEnsemble:
        """The ensemble of the one point that has certain values on the axes."""
        kept = self.chosen(where, "networks")
        found = [one for one, is_kept in zip(self.planned.ensembles, kept, strict=True) if is_kept]
        if len(found) > 1:
            names = [one.name for one in self.specification.axis_list]
            lacking = [one for one in names if one not in where] or names
            words = ", ".join(f"{name}={wanted}" for name, wanted in where.items()) or "()"
            more = f"{joined(lacking)} too" if self.specification.is_grid else "point=NUMBER"
            raise InputError("networks", words, f"{len(found)} points have these values; expected {more}")
        return found[0]

    def gathered(self, found: Sequence[Found]) -> xr.Dataset:
        """Put together what is stored of its ensembles, which are in the order of the plan."""
        spec = self.specification
        return gathered(found, self.points, spec.axis_list, spec.measure, is_grid=spec.is_grid)

    def judge(self, results: xr.DataTree) -> Judgements:
        """Decide the claims of the specification."""
        whole = without_diverged(results["main"].to_dataset())
        stated = self.specification.stated
        return Judgements(judge(self.name, one.claim, partial(one.evidence, whole)) for one in stated)

    def draw(self, results: xr.DataTree) -> list[tuple[FigureMark, Figure]]:
        """Draw every variable over the axes."""
        return list(self._charts(results["main"].to_dataset()))

    def _charts(self, results: xr.Dataset) -> Iterator[tuple[FigureMark, Figure]]:
        spec = self.specification
        for one in figures.over_axes(without_diverged(results), spec.axis_list, is_grid=spec.is_grid):
            yield FigureMark(one.name, one.title, one.reading, None, ("main",), None, one.name == "loss"), one


def _having(values: Sequence[str | int | float], wanted: Any, text: str) -> list[bool]:
    """Which values are the one that is asked for; if none is, which are with four digits."""
    number = math.nan
    with suppress(TypeError, ValueError):
        number = float(wanted)
    exactly = [str(one) == text or (not isinstance(one, str) and one == number) for one in values]
    return exactly if any(exactly) else [not isinstance(one, str) and f"{one:.4g}" == f"{number:.4g}" for one in values]
