"""The specification of a sweep: what is trained, along which axes, what is measured, and what is claimed."""

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from bathymetry.core.errors import InputError
from bathymetry.core.showing import joined, plural
from bathymetry.studies.catalogue import SHIPPED
from bathymetry.sweeps.axes import Axis, count_points, read_axes, read_sample
from bathymetry.sweeps.claims import Stated, read_claims
from bathymetry.sweeps.measures import check_measure
from bathymetry.sweeps.sections import DataSet, Network, Section, Training

LETTERS = 81  # of a name, at most
_NAME = re.compile(rf"[A-Za-z0-9][\w.-]{{0,{LETTERS - 1}}}", re.ASCII)
_TAKEN = ("units", "chunks", "tables", "damaged", "all")  # other folders of an output folder


class Specification(Section):
    """What a sweep is, apart from the number of members and the seed."""

    title: ClassVar[str] = ""

    name: str = Field("sweep", description="the name of the sweep, and of the folder of its results")
    question: str = Field("", description="what it asks, as the page says it")
    network: Annotated[Network, BeforeValidator(Network.of)] = Field(Network.of({}), description="what makes a network")
    data: Annotated[DataSet, BeforeValidator(DataSet.of)] = Field(DataSet.of({}), description="what networks learn")
    training: Annotated[Training, BeforeValidator(Training.of)] = Field(Training.of({}), description="how they learn")
    axes: Any = Field(None, description="fields, each with a list of values or a range")
    sample: Any = Field("grid", description="grid, zip, {random: NUMBER} or {sobol: NUMBER}")
    measure: Annotated[tuple[str, ...], BeforeValidator(check_measure)] = Field((), description="probes at the end")
    record: Literal["end", "all"] = Field("end", description="the epochs at which losses are recorded")
    claims: Any = Field((), description="claims over the axes")
    folder: str = Field("", description="from which files on an axis are labelled; that of the specification's file")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not _NAME.fullmatch(self.name) or self.name in (*SHIPPED, *_TAKEN):
            expected = f"expected letters, digits, dots, - and _, at most {LETTERS}, the first a letter or digit"
            remedy = "that name is taken" if _NAME.fullmatch(self.name) else expected
            raise InputError("name", self.name, f"{remedy}; it names the folder of the results")
        count_points(self.axis_list, self.way)
        _ = self.stated
        return self

    @property
    def sections(self) -> Mapping[str, Section]:
        """The sections whose fields an axis may vary."""
        return {"network": self.network, "data": self.data, "training": self.training}

    @cached_property
    def axis_list(self) -> tuple[Axis, ...]:
        """The axes, their values checked."""
        return read_axes(self.axes, self.sections, self.folder)

    @cached_property
    def way(self) -> tuple[str, int]:
        """How points are sampled."""
        return read_sample(self.sample)

    @property
    def is_grid(self) -> bool:
        return self.way[0] == "grid"

    @cached_property
    def stated(self) -> tuple[Stated, ...]:
        """The claims, each with what makes its evidence."""
        return read_claims(self.claims, self.axis_list, self.measure, is_grid=self.is_grid)

    @property
    def num_points(self) -> int:
        """How many points there are."""
        return count_points(self.axis_list, self.way)

    def in_words(self) -> str:
        """How many points there are, and over which axes."""
        over, count = joined([one.name.replace("_", " ") for one in self.axis_list]), self.num_points
        points = plural("point", count)
        match self.way[0]:
            case "grid":
                return f"{count:,} {points} on a grid over {over}"
            case "zip":
                return f"{count:,} {points} along {over} together"
            case kind:
                return f"{count:,} {'Sobol' if kind == 'sobol' else kind} {points} over {over}"
