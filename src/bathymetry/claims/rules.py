"""The seven rules: each judges labelled arrays, makes one part per cell, and writes its own words.

A cell is one combination of the values along all axes but `member` and those that the rule compares. A part of a claim
that names cells which a run did not include is not tested, and the claim cannot be supported without it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from typing import Any, Literal, Self

import numpy as np
import xarray as xr

from bathymetry import stats
from bathymetry.charts.labels import label
from bathymetry.core.showing import joined
from bathymetry.stats import IDENTITY, Kind, Part, Transform, Verdict

Evidence = xr.DataArray | xr.Dataset | Iterable[Part]
Coordinates = dict[str, str]
Side = Literal["above", "below"]
Relation = Literal["above", "below", "before", "after"]


@dataclass(frozen=True)
class Rule:
    """How a claim is decided.

    Called with evidence it returns the parts: of a `DataArray` one per cell, of a `Dataset` one per variable and cell;
    parts pass through.
    """

    kind: Kind
    what: str  # the statistic in words
    judge: Callable[[Any, Coordinates], Part]  # one cell (for `correlation` and `exists` the whole Dataset) → its part
    compared: Mapping[str, Sequence[Any]] = field(default_factory=dict)  # values along an axis that one part compares
    cells: Mapping[str, Sequence[Any] | None] = field(
        default_factory=dict
    )  # what the claim is about; None: all there is
    own: bool = False
    whole: bool = False  # whether a Dataset is judged at once

    def for_each(self, *, own: bool = False, **cells: Sequence[Any] | None) -> Self:
        """Name the cells that the claim is about.

        Args:
            own: Whether the claim is also asked of a run's own networks or functions: where any along an axis is none
                of those named, it is about those that were run.
            **cells: Values along each axis; None for all that were run.

        Returns:
            The rule with these cells. Cells that were not run become parts that are not tested.
        """
        return replace(self, cells=cells, own=own)

    @property
    def words(self) -> str:
        """How the claim is decided, in words."""
        several = [axis.replace("_", " ") for axis, names in self.cells.items() if names is None or len(names) > 1]
        return f"{self.what}; for each {' and '.join(several)}" if several else self.what

    def __call__(self, evidence: Evidence, **coordinates: str) -> list[Part]:
        if isinstance(evidence, xr.Dataset) and not self.whole:
            return [part for name, one in evidence.items() for part in self(one, **coordinates, of=str(name))]
        if isinstance(evidence, xr.DataArray | xr.Dataset):
            return self._by_cell(evidence, coordinates)
        return list(evidence)

    def _by_cell(self, evidence: xr.DataArray | xr.Dataset, coordinates: Coordinates) -> list[Part]:
        if self.whole and not self.cells:
            return [self.judge(evidence, coordinates)]
        free = [str(dim) for dim in evidence.dims if dim not in ("member", *self.compared)]
        axes = {axis: self._names(evidence, axis) for axis in free}
        wanted = {**axes, **self.compared}
        missing = {
            axis: [name for name in names if name not in evidence[axis].values] for axis, names in wanted.items()
        }
        cells = _places(axes)
        run = [at for at in cells if not any(name in missing[axis] for axis, name in at.items())]
        if any(missing[axis] for axis in self.compared) or (cells and not run):
            return [stats.not_run(f"this run did not include {_listed(missing)}", coordinates)]
        return [
            self.judge(evidence.sel(at), place) if at in run else stats.not_run("was not run", place)
            for at in cells
            for place in [{**coordinates, **{axis: label(name) for axis, name in at.items()}}]
        ]

    def _names(self, evidence: xr.DataArray | xr.Dataset, axis: str) -> Sequence[Any]:
        ran: list[Any] = evidence[axis].values.tolist()
        named = self.cells.get(axis)
        return ran if named is None or (self.own and not set(ran) <= set(named)) else named

    def finding(self, verdict: Verdict) -> str:
        """The outcome in one sentence; parts that say the same are named together."""
        parts = [part for part in verdict.parts if part.decision != "not tested"]
        if verdict.decision == "not tested" or not parts:
            return f"Not tested: {verdict.reason}."
        if self.kind == "majority":
            who = self.what.partition(";")[0].removeprefix("the share of ")
            return _sentence(f"{who}: {joined([_counted(part) for part in parts])}")
        together: dict[str, list[str]] = {}
        for part in parts:
            together.setdefault(part.finding or part.summary, []).append(" ".join(part.coordinates.values()))
        words = [f"{joined(names)}: {told}" if any(names) else told for told, names in together.items()]
        return _sentence("; ".join(words))


def _places(axes: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """All combinations of values along some axes."""
    return [dict(zip(axes, names, strict=True)) for names in product(*axes.values())]


def _listed(missing: Mapping[str, Sequence[Any]]) -> str:
    named = [f"{axis.replace('_', ' ')} {joined([*map(label, names)])}" for axis, names in missing.items() if names]
    return joined(named)


def _counted(part: Part) -> str:
    count = round(part.estimate * part.members) if part.members else 0
    about = f" ({', '.join(part.coordinates.values())})" if part.coordinates else ""
    return f"{count} of {part.members}{about}"


def _sentence(words: str) -> str:
    plain = words.partition(" ")[0].rstrip(":,;").isalpha()  # a formula stays as it is written
    return f"{words[:1].upper() if plain else words[:1]}{words[1:]}."


def majority(who: str) -> Rule:
    """Most members meet a condition.

    Args:
        who: Which members are counted, for example "members whose loss falls".

    Returns:
        A rule for booleans over `member`: supported where the exact interval of the share lies above one half.
    """
    return Rule("majority", f"the share of {who}", lambda cell, at: stats.majority(cell.values, coordinates=at))


def stochastic_order(quantity: str, first: Any, second: Any, *, dim: str, relation: Relation = "before") -> Rule:
    """The members of one network or function come before those of another.

    Args:
        quantity: What is compared.
        first: The value along `dim` that the claim puts first.
        second: The other value.
        dim: The axis along which the two lie.
        relation: "before" or "below" where small numbers are first, "after" or "above" where large ones are.

    Returns:
        A rule for numbers over `member` and `dim`, by Mann and Whitney's exact test. NaN and infinity rank last.
    """
    larger = relation in ("above", "after")
    test = partial(stats.stochastic_order, larger_is_better=larger, relation=relation)

    def judge(cell: xr.DataArray, at: Coordinates) -> Part:
        one, other = (cell.sel({dim: name}).values for name in (first, second))
        return test(one, other, first=label(first), second=label(second), coordinates=at)

    words = f"{quantity}, {label(first)} {relation} {label(second)}"
    return Rule("stochastic_order", words, judge, {dim: (first, second)})


def best_of(
    what: str, candidates: Sequence[Any], others: Sequence[Any], *, dim: str, relation: Side, named: str = "{}"
) -> Rule:
    """One of the candidates is better than each of the others.

    Args:
        what: What is compared, and how, in words.
        candidates: Values along `dim`.
        others: The values that they are held against.
        dim: The axis along which they lie.
        relation: "above" where larger is better, "below" where smaller is.
        named: How a value is called, for example "batch {:,}".

    Returns:
        A rule for numbers over `member` and `dim`: Mann and Whitney's tests at 5 % divided by their number.
    """

    def judge(cell: xr.DataArray, at: Coordinates) -> Part:
        first, second = (
            {named.format(name): cell.sel({dim: name}).values for name in names} for names in (candidates, others)
        )
        return stats.best_of(first, second, larger_is_better=relation == "above", coordinates=at)

    return Rule("best_of", what, judge, {dim: (*candidates, *others)})


def mean_sign(
    what: str,
    expected: Side = "above",
    *,
    shown: Transform = IDENTITY,
    unit: str = "",
    bounds: tuple[float, float] = (-np.inf, np.inf),
    **by_variable: Side,
) -> Rule:
    """The mean over members lies on one side of zero.

    Args:
        what: One number per member, in words.
        expected: The side that the claim expects.
        shown: The scale that the numbers are on, so that the finding takes them back.
        unit: The unit of the numbers taken back.
        bounds: Between what the mean can lie, on the scale of the numbers.
        **by_variable: The side for each variable of a Dataset.

    Returns:
        A rule for numbers over `member`, by Student's t test. Their attribute `long_name` says what they are.
    """
    test = partial(stats.mean_sign, shown=shown, unit=unit, bounds=bounds)

    def judge(cell: xr.DataArray, at: Coordinates) -> Part:
        side, quantity = by_variable.get(at.get("of", ""), expected), str(cell.attrs.get("long_name", "mean"))
        return test(cell.values, expected=side, quantity=quantity, coordinates=at)

    return Rule("mean_sign", what, judge)


def mean_in_interval(what: str, low: float, high: float, *, as_percent: bool = False) -> Rule:
    """The mean over members lies between two values.

    Args:
        what: One number per member, and the interval, in words.
        low: The lower end, included.
        high: The upper end, included.
        as_percent: Whether the number is a share, to be written in percent.

    Returns:
        A rule for numbers over `member`, by the t interval of their mean.
    """
    return Rule(
        "mean_in_interval",
        what,
        lambda cell, at: stats.mean_in_interval(cell.values, low, high, as_percent=as_percent, coordinates=at),
    )


def correlation(what: str, first: str, second: str, expected: Side) -> Rule:
    """The rank correlation of two quantities over members lies on one side of zero.

    Args:
        what: The correlation in words.
        first: Name of one variable of the evidence.
        second: Name of the other.
        expected: The side that the claim expects.

    Returns:
        A rule for a Dataset with both variables over `member`, by the bootstrap. Members with a NaN are left out.
    """

    def judge(cell: xr.Dataset, at: Coordinates) -> Part:
        return stats.correlation(
            cell[first].values, cell[second].values, expected=expected, first=first, second=second, coordinates=at
        )

    return Rule("correlation", what, judge, whole=True)


def exists(
    what: str, decides: Literal["supported", "contradicted"], *, condition: str, sign: str, cell: str, named: str
) -> Rule:
    """One cell in which every member meets a condition decides.

    Args:
        what: What is looked at, in words.
        decides: What such a cell makes of the claim.
        condition: The condition as the end of a sentence, "6 of 6 members …".
        sign: The weaker condition, "no member …".
        cell: What a cell is, in the singular.
        named: How a cell is called, with its coordinates by name, for example "{images:,} images".

    Returns:
        A rule for a Dataset with the booleans `condition` and `sign` over `member` and the axes of the cells.
    """

    def judge(grid: xr.Dataset, at: Coordinates) -> Part:
        axes = {str(dim): grid[dim].values.tolist() for dim in grid["condition"].dims if dim != "member"}
        cells = {named.format(**place): grid.sel(place) for place in _places(axes)}
        conditions, signs = ({name: one[of].values for name, one in cells.items()} for of in ("condition", "sign"))
        return stats.exists(
            conditions, decides=decides, signs=signs, condition=condition, sign=sign, cell=cell, coordinates=at
        )

    return Rule("exists", what, judge, whole=True)
