"""Claims over the axes of a sweep: how a specification states them, and the evidence that each one takes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import xarray as xr

from bathymetry.claims import rules
from bathymetry.claims.judging import Claim
from bathymetry.claims.stating import letter, rule_of
from bathymetry.core.errors import InputError, did_you_mean, is_real
from bathymetry.core.showing import joined, label
from bathymetry.stats import Part
from bathymetry.stats.verdict import CONFIDENCE, not_run
from bathymetry.stats.wording import percent, percent_range, with_p
from bathymetry.sweeps.axes import Axis, Range
from bathymetry.sweeps.measures import title_of
from bathymetry.sweeps.results import UNFINISHED, in_words, values_at_points

_ALWAYS = ("rule", "text", "variable")
_FIELDS: Mapping[str, Sequence[str]] = {
    "majority": (*_ALWAYS, "above", "below"),
    "stochastic_order": (*_ALWAYS, "along", "first", "second", "direction"),
    "best_of": (*_ALWAYS, "along", "candidates", "others", "direction"),
    "median_sign": (*_ALWAYS, "over", "direction"),
    "median_in_interval": (*_ALWAYS, "low", "high"),
    "correlation": (*_ALWAYS, "with", "direction"),
    "exists": (*_ALWAYS, "above", "below", "decides"),
}
_SCALES: Mapping[str, Callable[[xr.DataArray], xr.DataArray]] = {"log": np.log}
_MOST_CLAIMS = 100


@dataclass(frozen=True)
class Stated:
    """A claim of a specification, with what makes its evidence from the results."""

    claim: Claim
    evidence: Callable[[xr.Dataset], Any]


def read_claims(claims: object, axes: Sequence[Axis], measure: Sequence[str], *, is_grid: bool) -> tuple[Stated, ...]:
    """Read the claims of a specification."""
    if not isinstance(claims, tuple | list) or len(claims) > _MOST_CLAIMS:
        raise InputError("claims", claims, f"expected a list of at most {_MOST_CLAIMS}, each with its rule")
    return tuple(_Reader(place, one, axes, measure, is_grid).stated() for place, one in enumerate(claims))


def claim_name(place: int) -> str:
    """How errors call a claim: by its letter, as the page does, and not by a number that counts from 0 or 1."""
    return f"claim {letter(place).removeprefix('claim')}"


class _Reader:
    """Reads one claim; every complaint names it."""

    def __init__(self, place: int, given: object, axes: Sequence[Axis], measure: Sequence[str], is_grid: bool) -> None:
        self._where = claim_name(place)
        if not isinstance(given, Mapping):
            raise InputError(self._where, given, "expected fields such as {rule: median_sign, variable: test loss, …}")
        self._given, self._axes, self._measure, self._is_grid = given, axes, measure, is_grid
        self._letter = letter(place)

    @property
    def _dims(self) -> list[str]:
        """The dimensions of the results that tell points apart."""
        return [one.name for one in self._axes] if self._is_grid else ["point"]

    def stated(self) -> Stated:
        """The claim and its evidence."""
        rule = rule_of(self._given, self._where, _FIELDS)
        text = self._text("text")
        made, evidence = getattr(self, f"_{rule}")()
        made = replace(made, names_axes=True)
        axes = () if self._is_grid else self._axes
        tested = partial(_tested, made, evidence, axes)
        return Stated(Claim(self._letter, text, made, "main", False), tested)

    def _get(self, name: str) -> Any:
        if self._given.get(name) is None:
            raise InputError(f"{self._where}.{name}", None, "this rule needs it")
        return self._given[name]

    def _text(self, name: str) -> str:
        value = self._get(name)
        if not isinstance(value, str) or not value.strip():
            raise InputError(f"{self._where}.{name}", value, "expected text")
        return value

    def _one_of(self, name: str, known: Sequence[str] | Mapping[str, Any]) -> str:
        value = self._get(name)
        if value not in tuple(known):
            raise InputError(f"{self._where}.{name}", value, f"{did_you_mean(value, known)}expected {', '.join(known)}")
        return str(value)

    def _number(self, name: str) -> float:
        value = self._get(name)
        if not is_real(value):
            raise InputError(f"{self._where}.{name}", value, "expected a number")
        return float(value)

    def _variable(self, field: str = "variable") -> tuple[str, Callable[[xr.Dataset], xr.DataArray]]:
        """Read "log test loss": a scale, a set of examples and a quantity; or the name of a probe."""
        words = self._text(field).split()
        scale = words.pop(0) if len(words) > 1 and words[0] in _SCALES else ""
        split = words.pop(0) if len(words) > 1 and words[0] in ("train", "test") else None
        quantity = "_".join(words)
        scores = ("loss", "accuracy")
        if quantity not in (scores if split else self._measure):
            names = [f"{split} {quantity}" for quantity in scores for split in ("train", "test")]
            known = [*names, *self._measure]
            remedy = f"{did_you_mean(self._given[field], known)}expected {', '.join(known)}, or log before one of them"
            raise InputError(f"{self._where}.{field}", self._given[field], remedy)

        def chosen(results: xr.Dataset) -> xr.DataArray:
            if quantity not in results:
                raise InputError(f"{self._where}.{field}", quantity, "it was not recorded")
            values = results[quantity] if split is None else results[quantity].sel(split=split, drop=True)
            with np.errstate(divide="ignore", invalid="ignore"):
                made = _SCALES[scale](values) if scale else values
            return made.drop_vars([name for name in made.coords if name not in made.dims])

        name = title_of(quantity)[0] if split is None else f"{split} {quantity}"
        whole = f"{scale} {name}".strip()
        return whole, lambda results: chosen(results).assign_attrs(long_name=whole)

    def _axis(self, field: str) -> Axis:
        value = self._get(field)
        names = [one.name for one in self._axes]
        if value not in names:
            raise InputError(
                f"{self._where}.{field}",
                value,
                f"it is not an axis of this grid; {did_you_mean(value, names)}expected {joined(names, 'or')}",
            )
        return self._axes[names.index(value)]

    def _along(self) -> Axis:
        if not self._is_grid:
            raise InputError(f"{self._where}.along", self._get("along"), "only a grid has it; expected sample: grid")
        return self._axis("along")

    def _value(self, field: str, axis: Axis, value: Any) -> Any:
        known = [] if isinstance(axis.values, Range) else [axis.label(one) for one in axis.values]
        found = axis.label(value)
        matching = [one for one in known if one == found or str(one) == str(found)]
        if known and not matching:
            raise InputError(
                f"{self._where}.{field}", value, f"expected a value of {axis.name}: {', '.join(map(str, known))}"
            )
        return matching[0] if matching else found

    def _values(self, field: str, axis: Axis) -> list[Any]:
        values = self._get(field)
        if not isinstance(values, tuple | list) or not values:
            raise InputError(f"{self._where}.{field}", values, "expected a list of values")
        return [self._value(field, axis, one) for one in values]

    def _threshold(self) -> tuple[str, Callable[[xr.DataArray], xr.DataArray]]:
        above, below = (self._given.get(one) for one in ("above", "below"))
        if (above is None) == (below is None):
            raise InputError(f"{self._where}.above", above, "expected above or below, one of them")
        side = "below" if above is None else "above"
        level = self._number(side)
        return f"{side} {level:g}", lambda values: values > level if side == "above" else values < level

    def _majority(self) -> tuple[rules.Rule, Callable[[xr.Dataset], Any]]:
        (name, variable), (words, met) = self._variable(), self._threshold()
        return rules.majority(f"members whose {name} is {words}"), lambda results: met(variable(results))

    def _stochastic_order(self) -> tuple[rules.Rule, Callable[[xr.Dataset], Any]]:
        (name, variable), axis = self._variable(), self._along()
        relation: Any = self._one_of("direction", ("below", "above"))
        first, second = (self._value(one, axis, self._get(one)) for one in ("first", "second"))
        named = f"{axis.name.replace('_', ' ')} {{}}"
        rule = rules.stochastic_order(name, first, second, dim=axis.name, relation=relation, named=named)
        return rule, variable

    def _best_of(self) -> tuple[rules.Rule, Callable[[xr.Dataset], Any]]:
        (name, variable), axis = self._variable(), self._along()
        relation: Any = self._one_of("direction", ("below", "above"))
        candidates, others = self._values("candidates", axis), self._values("others", axis)
        named = f"{axis.name.replace('_', ' ')} {{}}"
        rule = rules.best_of(name, candidates, others, dim=axis.name, relation=relation, named=named)
        counts = len(candidates), len(others)
        return replace(rule, judge=lambda cell: _with_numbers(rule.judge(cell), *counts)), variable

    def _median_sign(self) -> tuple[rules.Rule, Callable[[xr.Dataset], Any]]:
        name, variable = self._variable()
        side: Any = self._one_of("direction", ("below", "above"))
        words = self._text("over").split()
        is_log = len(words) > 1 and words[0] == "log"
        wanted = "_".join(words[is_log:])
        axis = next((one for one in self._axes if one.name == wanted), None)
        known = [one.name for one in self._axes]
        if axis is None or not self._is_grid:
            none = (
                f"{wanted.replace('_', ' ')} is not an axis of this grid; " if self._is_grid else "only a grid has it; "
            )
            which = (
                f'expected {joined(known, "or")} (or "log {known[0]}")' if self._is_grid else "expected sample: grid"
            )
            raise InputError(f"{self._where}.over", self._given["over"], none + which)
        values = axis.values
        ends = [values.low, values.high] if isinstance(values, Range) else [axis.label(one) for one in values]
        if len(ends) < 2 or not all(map(is_real, ends)) or (is_log and min(ends) <= 0):  # type: ignore[operator]
            remedy = f"expected an axis of at least two numbers{', all above 0' if is_log else ''}"
            raise InputError(f"{self._where}.over", self._given["over"], remedy)
        over = f"{'log ' * is_log}{axis.name.replace('_', ' ')}"
        rule = rules.median_sign(f"each member's slope of {name} on {over}", side)
        return rule, lambda results: _slopes(variable(results), axis.name, over, is_log=is_log)

    def _median_in_interval(self) -> tuple[rules.Rule, Callable[[xr.Dataset], Any]]:
        name, variable = self._variable()
        return rules.median_in_interval(name, self._number("low"), self._number("high")), variable

    def _correlation(self) -> tuple[rules.Rule, Callable[[xr.Dataset], Any]]:
        (first, one), (second, other) = self._variable(), self._variable("with")
        side: Any = self._one_of("direction", ("below", "above"))
        if first == second:
            raise InputError(f"{self._where}.with", self._given["with"], "expected another variable")
        rule = rules.correlation(f"the rank correlation of {first} and {second}", first, second, side)
        cells: Any = dict.fromkeys(self._dims)
        return rule.for_each(**cells), lambda results: xr.Dataset({first: one(results), second: other(results)})

    def _exists(self) -> tuple[rules.Rule, Callable[[xr.Dataset], Any]]:
        (name, variable), (words, met) = self._variable(), self._threshold()
        decides: Any = self._one_of("decides", ("supported", "contradicted"))
        rule = rules.exists(
            f"points at which the {name} is {words}",
            decides,
            condition=f"have a {name} {words}",
            sign=f"has a {name} {words}",
            cell="point",
            named="{point}",
        )

        def evidence(results: xr.Dataset) -> xr.Dataset:
            values = variable(results).transpose(*self._dims, "member")
            at = product(*(values[one].values for one in self._dims))
            names = [in_words(dict(zip(self._dims, map(str, one), strict=True))) for one in at]
            if not self._is_grid:
                places = map(in_words, values_at_points(results, self._axes))
                names = [f"{name} ({place})" for name, place in zip(names, places, strict=True)]
            values = met(_best_first(values, names, is_large_best=words.startswith("above")))
            return xr.Dataset({"condition": values, "sign": values})

        return rule, evidence


def _tested(
    rule: rules.Rule, evidence: Callable[[xr.Dataset], Any], axes: Sequence[Axis], results: xr.Dataset
) -> list[Part]:
    """Decide the parts of a claim; one that needs members that are pending or failed is not tested.

    A part about a point that lies on no grid has its values on the axes as coordinates too.
    """
    unfinished = results["status"].isin(UNFINISHED)
    values = values_at_points(results, axes)
    parts = []
    for part in rule(evidence(results)):
        lacking = unfinished
        for axis, name in part.coordinates.items():
            if axis in lacking.dims:
                lacking = lacking.isel({axis: [label(value) == name for value in lacking[axis].values.tolist()]})
        count = int(lacking.sum())
        words = f"{count} of {lacking.size} members are pending or failed"
        coordinates = dict(part.coordinates)
        if axes and "point" in coordinates:
            coordinates |= values[int(coordinates["point"])]
        parts.append(not_run(words, coordinates) if count else replace(part, coordinates=coordinates))
    return parts


def _with_numbers(part: Part, candidates: int, others: int) -> Part:
    """Add to the outcome of several comparisons the numbers of the least clear one."""
    if not part.members or candidates == others == 1:
        return replace(part, finding=part.summary)
    level = 100 - 100 * (1 - CONFIDENCE) / (others if part.estimate < 0.5 else candidates)
    ends = f"{level:.4g} % interval {percent_range(*part.interval)}{with_p(part.p)}"
    words = f"least clear: ahead in {percent(part.estimate)} % of pairs ({ends})"
    return replace(part, finding=f"{part.finding}; {words}")


def _best_first(values: xr.DataArray, names: Sequence[str], *, is_large_best: bool) -> xr.DataArray:
    """Line points up by their medians, the best first, so that of points with equal shares a finding names the best."""
    rows = values.values.reshape(len(names), -1)
    goodness = np.sort(np.where(np.isnan(rows), -np.inf, rows if is_large_best else -rows))
    order = np.argsort(-goodness[:, goodness.shape[1] // 2], kind="stable")
    return xr.DataArray(rows[order], {"point": [names[one] for one in order]}, ("point", "member"))


def _slopes(values: xr.DataArray, dim: str, over: str, *, is_log: bool) -> xr.DataArray:
    """Each member's slope of a straight line over an axis, at every combination of the others."""
    x = values[dim].values.astype(float)
    x = np.log(x) if is_log else x
    centred = xr.DataArray(x - x.mean(), {dim: values[dim]}, dim)
    slope = (values * centred).sum(dim, skipna=False) / float((centred**2).sum())
    return slope.assign_attrs(long_name=f"median slope of {values.attrs['long_name']} on {over}")
