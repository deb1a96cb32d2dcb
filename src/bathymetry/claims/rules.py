"""The seven rules: each judges labelled arrays, makes one part per cell, and says in words how it decides.

A cell is one combination of the values along all axes but `member` and those that the rule compares. A part of a claim
that names cells which a run did not include is not tested, and the claim cannot be supported without it.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, Literal, Self, get_args

import numpy as np
import xarray as xr

from bathymetry.core.errors import InputError
from bathymetry.core.showing import joined, label, plural
from bathymetry.stats import Part, Verdict, group_tests
from bathymetry.stats.group_tests import Relation, Side
from bathymetry.stats.intervals import IDENTITY, Transform
from bathymetry.stats.validation import instance, number, one_of
from bathymetry.stats.verdict import CORRELATION_MEMBERS, MINIMUM_MEMBERS, Kind, not_run
from bathymetry.stats.wording import in_units

Evidence = xr.DataArray | xr.Dataset | Iterable[Part]
Coordinates = dict[str, str]


@dataclass(frozen=True)
class Rule:
    """How a claim is decided.

    Called with evidence it returns the parts: of a `DataArray` one per cell, of a `Dataset` one per variable and cell;
    parts pass through.
    """

    kind: Kind
    what: str  # the statistic in words
    how: str  # what supports the claim and what contradicts it, in one sentence
    judge: Callable[[Any], Part]  # one cell → its part
    compared: Mapping[str, Sequence[Any]] = field(default_factory=dict)  # values along an axis that one part compares
    variables: Sequence[str] = ()  # of a Dataset that is judged as a whole
    # What the claim is about, along each axis; None: all that was run
    cells: Mapping[str, Sequence[Any] | None] = field(default_factory=dict)
    own: bool = False
    names_axes: bool = False  # whether the finding says "width 4" rather than "4"

    def __post_init__(self) -> None:
        instance(str, "text", what=self.what)

    def for_each(self, *, own: bool = False, **cells: Sequence[Any] | None) -> Self:
        """Name the cells that the claim is about.

        Args:
            own: Whether the claim is also about a run's own networks or functions: where any along an axis is none of
                those named, it is about those that were run.
            **cells: Values along each axis; None for all that were run.

        Returns:
            The rule with these cells. Cells that were not run become parts that are not tested.
        """
        return replace(self, cells=cells, own=own)

    @property
    def words(self) -> str:
        """The statistic, the axes along which it has several cells, and how it decides."""
        several = [axis.replace("_", " ") for axis, names in self.cells.items() if names is None or len(names) > 1]
        return f"{self.what}{'; for each ' * bool(several)}{' and '.join(several)}. {self.how}"

    def __call__(self, evidence: Evidence, **coordinates: str) -> list[Part]:
        if isinstance(evidence, xr.Dataset) and not self.variables:
            return [part for name, one in evidence.items() for part in self(one, **coordinates, of=str(name))]
        if isinstance(evidence, xr.DataArray | xr.Dataset):
            return self._by_cell(self._checked(evidence), coordinates)
        if not isinstance(evidence, Iterable):
            raise InputError("evidence", evidence, "expected labelled arrays or parts")
        parts = list(evidence)
        for part in parts:
            instance(Part, "a part", evidence=part)
        return parts

    def _checked(self, evidence: xr.DataArray | xr.Dataset) -> xr.DataArray | xr.Dataset:
        """Check the axes and types of the evidence and make its numbers float64."""
        arrays = [evidence]
        if self.variables:
            if not isinstance(evidence, xr.Dataset) or not set(self.variables) <= set(evidence):
                kind = type(evidence).__name__
                raise InputError("evidence", kind, f"expected a Dataset with {joined(self.variables)}")
            evidence = evidence[list(self.variables)]
            arrays = list(evidence.values())
        of_booleans = self.kind in ("majority", "exists")
        kinds, expected = ("b", "one boolean per member") if of_booleans else ("iuf", "one number per member")
        for array in arrays:
            for axis in ("member", *self.compared):
                if axis not in array.dims:
                    raise InputError("evidence", f"axes {tuple(array.dims)}", f"expected the axis {axis!r}")
            if array.size and array.dtype.kind not in kinds:
                raise InputError("evidence", f"{array.dtype} values", f"expected {expected}")
        return evidence.astype(np.bool_ if of_booleans else np.float64)

    def _by_cell(self, evidence: xr.DataArray | xr.Dataset, coordinates: Coordinates) -> list[Part]:
        if self.variables and not self.cells:
            return [replace(self.judge(evidence), coordinates=coordinates)]
        ran = {str(dim): evidence[dim].values.tolist() for dim in evidence.dims if dim != "member"}
        axes = {axis: self._named(axis, values) for axis, values in ran.items() if axis not in self.compared}
        wanted = {**axes, **self.compared}
        missing = {axis: [name for name in names if name not in ran[axis]] for axis, names in wanted.items()}
        cells = _cells(axes)
        run = [at for at in cells if not any(name in missing[axis] for axis, name in at.items())]
        if any(missing[axis] for axis in self.compared) or (cells and not run):
            lacking = {axis.replace("_", " "): names for axis, names in missing.items() if names}
            absent = joined(
                [f"{plural(axis, len(names))} {joined([*map(label, names)])}" for axis, names in lacking.items()]
            )
            for axis, names in missing.items():
                if set(map(str, names)) & set(map(str, ran[axis])):
                    values = joined([*map(repr, ran[axis])])
                    raise InputError(axis, joined([*map(repr, names)]), f"expected one of the coordinates, {values}")
            return [not_run(f"this run did not include {absent}", coordinates)]
        parts = []
        for at in cells:
            part = self.judge(evidence.sel(at)) if at in run else not_run("was not run", {})
            place = coordinates | {axis: label(name) for axis, name in at.items()}
            parts.append(replace(part, coordinates=place))
        return parts

    def _named(self, axis: str, ran: Sequence[Any]) -> Sequence[Any]:
        """Choose the values along an axis that the claim is about."""
        named = self.cells.get(axis)
        return ran if named is None or (self.own and not set(ran) <= set(named)) else named

    def finding(self, verdict: Verdict) -> str:
        """The outcome in one sentence; parts that say the same are named together."""
        parts = [part for part in verdict.parts if part.decision != "not tested"]
        if verdict.decision == "not tested" or not parts:
            return _sentence(verdict.reason)
        if self.kind == "majority":
            who = self.what.partition(";")[0].removeprefix("the share of ")
            return _sentence(f"{who}: {self._counts(parts)}")
        together: dict[str, list[str]] = {}
        for part in parts:
            together.setdefault(part.finding or part.summary, []).append(self._place(part))
        outcomes = dict(zip(together, _shortened([*together]), strict=True))
        words = [f"{joined(names)}: {outcomes[one]}" if any(names) else one for one, names in together.items()]
        begins_with_a_name = self.kind in ("stochastic_order", "best_of") or any(map(any, together.values()))
        if self.names_axes and begins_with_a_name:
            return f"{'; '.join(words)}."  # which stays as its user spells it
        return _sentence("; ".join(words))

    def _place(self, part: Part, between: str = " ") -> str:
        """Where a part lies, in words."""
        if self.names_axes:
            return ", ".join(f"{axis.replace('_', ' ')} {value}" for axis, value in part.coordinates.items())
        return between.join(part.coordinates.values())

    def _counts(self, parts: Sequence[Part]) -> str:
        """How many members of each part do; of many parts with different counts, the fewest and the most."""
        found: dict[tuple[int, int], list[str]] = {}
        for part in parts:
            count = round(part.estimate * part.members) if part.members else 0
            found.setdefault((count, part.members), []).append(self._place(part, ", "))
        if len(found) > 2 and len(parts) > 3:
            (low, of), (high, most) = (choose(found, key=lambda one: one[0] / max(one[1], 1)) for choose in (min, max))
            ends = f"{low} to {high} of {of}" if of == most else f"{low} of {of} to {high} of {most}"
            return f"{ends}, fewest for {joined(found[low, of])}"
        names = {one: f" ({joined(places)})" if any(places) else "" for one, places in found.items()}
        if len({members for _, members in found}) == 1 < len(found):
            return f"{joined([f'{one[0]}{names[one]}' for one in found])} of {parts[0].members}"
        return joined([f"{count} of {members}{names[count, members]}" for count, members in found])


def _cells(axes: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """All combinations of values along some axes."""
    return [dict(zip(axes, names, strict=True)) for names in product(*axes.values())]


def _shortened(outcomes: Sequence[str]) -> list[str]:
    """Say only once what the numbers are, that intervals are of 95 %, and that shares are of pairs."""
    first, *others = outcomes
    quantity = re.split(r"[\d−(]", first, maxsplit=1)[0]
    plain = [one.removeprefix(quantity) if one[len(quantity) :][:1] in "−0123456789" else one for one in others]
    for words, shorter in (("95 % interval ", ""), (" % of pairs)", " %)")):
        plain = [one.replace(words, shorter) for one in plain] if words in first else plain
    return [first, *plain]


def _sentence(words: str) -> str:
    plain = words.partition(" ")[0].rstrip(":,;").isalpha()  # a formula stays as it is written
    return f"{words[:1].upper() if plain else words[:1]}{words[1:]}."


def majority(who: str) -> Rule:
    """Most members meet a condition.

    Args:
        who: Which members are counted, for example "members whose loss falls".

    Returns:
        A rule for booleans over `member`, by the exact interval of their share (Clopper and Pearson 1934, Biometrika
        26:404). The estimate is the share.

    Example:
        >>> (part,) = majority("members")(xr.DataArray(np.ones(6, dtype=bool), dims="member"))
        >>> part.decision, part.p, part.summary
        ('supported', 0.03125, '6 of 6 members (100 %, 95 % interval 54–100 %)')
    """
    instance(str, "text", who=who)
    how = "Supported if the 95 % interval of the share of members lies above one half, contradicted if below."
    return Rule("majority", f"the share of {who}", how, lambda cell: group_tests.majority(cell.values))


def stochastic_order(
    quantity: str, first: Any, second: Any, *, dim: str, relation: Relation, named: str = "{}"
) -> Rule:
    """The members of one network or function come before those of another.

    Args:
        quantity: What is compared.
        first: The value along `dim` that the claim puts first.
        second: The other value.
        dim: The axis along which the two lie.
        relation: "before" or "below" where small numbers are first, "after" or "above" where large ones are. It alone
            decides the direction.
        named: How a value is called, for example "learning rate {}".

    Returns:
        A rule for numbers over `member` and `dim`, by Brunner and Munzel's permuted test (2007), which allows the two
        other spreads. The estimate is the probability of superiority, P(first is ahead) + ½ P(tie), with Newcombe's
        interval (2006). NaN (diverged) and infinity (it never happened) rank last.

    Example:
        >>> loss = xr.DataArray([np.arange(6.0), np.arange(6.0) + 10], {"network": ["A", "B"]}, ("network", "member"))
        >>> (part,) = stochastic_order("loss", "A", "B", dim="network", relation="below")(loss)
        >>> part.decision, part.summary
        ('supported', 'A below B in 100 % of pairs (95 % interval 69–100 %, p = 0.0022)')
    """
    one_of("relation", relation, get_args(Relation))

    def judge(cell: xr.DataArray) -> Part:
        one, other = (cell.sel({dim: name}).values for name in (first, second))
        return group_tests.stochastic_order(one, other, relation=relation, first=names[0], second=names[1])

    names = [named.format(label(value)) for value in (first, second)]
    claimed = f"{names[0]} {relation} {names[1]}"
    how = f"Supported if Brunner and Munzel's two-sided test at 5 % finds {claimed}, contradicted if the opposite."
    return Rule("stochastic_order", f"{quantity}, {claimed}", how, judge, {dim: (first, second)})


def best_of(
    what: str, candidates: Sequence[Any], others: Sequence[Any], *, dim: str, relation: Side, named: str = "{}"
) -> Rule:
    """One of the candidates is better than each of the others.

    Args:
        what: What is compared, and how, in words.
        candidates: Values along `dim`.
        others: The values that they are compared with.
        dim: The axis along which they lie.
        relation: "above" where larger is better, "below" where smaller is.
        named: How a value is called, for example "batch {:,}".

    Returns:
        A rule for numbers over `member` and `dim`. Of c candidates against k others it is supported if a candidate
        beats each other in Brunner and Munzel's tests at 5 %/c, contradicted if one of the others beats every candidate
        at 5 %/k. The estimate is the probability of superiority of the pair that decides. NaN ranks last.
    """
    one_of("relation", relation, get_args(Side))
    for of, values in (("candidates", candidates), ("others", others)):
        if not values:
            raise InputError(of, "none", f"expected at least one value along {dim}")
    first, second = ({named.format(value): value for value in values} for values in (candidates, others))

    def judge(cell: xr.DataArray) -> Part:
        groups = ({name: cell.sel({dim: value}).values for name, value in group.items()} for group in (first, second))
        return group_tests.best_of(*groups, relation=relation)

    how = (
        f"Supported if {' or '.join(first)} is {relation} {joined([*second])} in two-sided tests at "
        f"{5 / len(first):.3g} %, contradicted if {' or '.join(second)} is {relation} {joined([*first])} in tests at "
        f"{5 / len(second):.3g} %."
    )
    return Rule("best_of", what, how, judge, {dim: (*candidates, *others)})


def median_sign(
    what: str,
    expected: Side = "above",
    *,
    shown: Transform = IDENTITY,
    unit: str = "",
    **by_variable: Side,
) -> Rule:
    """The median over members lies on one side of zero.

    Args:
        what: One number per member, in words.
        expected: The side that the claim expects.
        shown: The scale that the numbers are on, so that the finding takes them back: with `stats.FISHER` it is about a
            correlation, with `stats.LOG` about a ratio.
        unit: The unit of the numbers taken back.
        **by_variable: The side for each variable of a Dataset.

    Returns:
        A rule for numbers over `member`, by the sign test and the median's interval between two members, which hold
        for any distribution. Their attribute `long_name` says what they are. Members at zero count for neither side;
        those without a finite number are left out and counted.

    Example:
        >>> (part,) = median_sign("numbers")(xr.DataArray(np.arange(1.0, 7.0), dims="member"))
        >>> part.decision, part.summary
        ('supported', 'median 3.5 (95 % interval 1.0 to 6.0, p = 0.031, 6 members)')
    """
    for side in ({"expected": expected} | by_variable).items():
        one_of(*side, get_args(Side))
    instance(Transform, "a Transform, for example LOG", shown=shown)
    instance(str, "text", unit=unit)

    def judge(cell: xr.DataArray) -> Part:
        side, quantity = by_variable.get(str(cell.name), expected), str(cell.attrs.get("long_name", "median"))
        part = group_tests.median_sign(cell.values, expected=side, quantity=quantity, shown=shown, unit=unit)
        return replace(part, effect=in_units(str(cell.attrs.get("meaning")), part.estimate, part.interval))

    line = float(shown.backward(np.array(0.0)))
    zero = f"{line:g}{unit}" if line else "zero"
    sides = joined([f"{side} {zero} for {name}" for name, side in by_variable.items()]) or f"{expected} {zero}"
    how = f"Supported if the 95 % interval of the median over members lies {sides}, contradicted if on the other side."
    return Rule("median_sign", what, how, judge)


def median_in_interval(what: str, low: float, high: float, *, as_percent: bool = False) -> Rule:
    """The median over members lies between two values.

    Args:
        what: One number per member, and the interval, in words.
        low: The lower end, included.
        high: The upper end, included.
        as_percent: Whether the number is a share, to be written in percent.

    Returns:
        A rule for numbers over `member`: supported if the interval of their median lies wholly inside, contradicted if
        wholly outside, by two one-sided sign tests. A diverged member (NaN) keeps it from being supported.

    Example:
        >>> rule = median_in_interval("test accuracy, 94.5 to 96.5 %", 0.945, 0.965, as_percent=True)
        >>> (part,) = rule(xr.DataArray([0.951, 0.952, 0.953, 0.954, 0.955, 0.956], dims="member"))
        >>> part.decision, part.summary.split(";")[0]
        ('supported', 'median 95.35 % (95 % interval 95.10 to 95.60 %, p = 0.031, 6 members)')
    """
    low, high = number("low", low), number("high", high)
    if not low <= high:
        raise InputError("low", low, f"expected at most high, {high:g}")
    instance(bool, "True or False", as_percent=as_percent)
    how = (
        "Supported if the 95 % interval of the median over members lies wholly inside the region, contradicted if "
        "wholly outside."
    )

    def judge(cell: xr.DataArray) -> Part:
        return group_tests.median_in_interval(cell.values, low, high, as_percent=as_percent)

    return Rule("median_in_interval", what, how, judge)


def correlation(what: str, first: str, second: str, expected: Side) -> Rule:
    """The rank correlation of two quantities over members lies on one side of zero.

    Args:
        what: The correlation in words.
        first: Name of one variable of the evidence.
        second: Name of the other.
        expected: The side that the claim expects.

    Returns:
        A rule for a Dataset with both variables over `member`. The estimate is Spearman's ρ, tested by
        studentised permutations (DiCiccio and Romano 2017). Members with a NaN are left out; with fewer than 20 it is
        undecided.
    """
    instance(str, "the name of a variable", first=first, second=second)
    one_of("expected", expected, get_args(Side))

    def judge(cell: xr.Dataset) -> Part:
        x, y = cell[first].values, cell[second].values
        return group_tests.correlation(x, y, expected=expected, first=first, second=second)

    how = (
        f"Supported if the correlation's 95 % interval over members lies {expected} zero, contradicted if on "
        f"the other side; undecided under {CORRELATION_MEMBERS} members."
    )
    return Rule("correlation", what, how, judge, variables=(first, second))


def exists(
    what: str, decides: Literal["supported", "contradicted"], *, condition: str, sign: str, cell: str, named: str
) -> Rule:
    """One cell in which every member, six or more, meets a condition decides.

    Args:
        what: What is looked at, in words.
        decides: What such a cell makes of the claim.
        condition: The condition as the end of a sentence, "6 of 6 members …".
        sign: A weaker condition, "no member …": if none of any cell meets it, the claim is decided the other way.
        cell: What a cell is, in the singular.
        named: How a cell is called, with its coordinates by name, for example "{images:,} images".

    Returns:
        A rule for a Dataset with the booleans `condition` and `sign` over `member` and the axes of the cells. The
        estimate is the largest share of members in a cell, without interval or p.
    """
    one_of("decides", decides, ("supported", "contradicted"))
    instance(str, "text", condition=condition, sign=sign, cell=cell, named=named)

    def judge(grid: xr.Dataset) -> Part:
        axes = {str(dim): grid[dim].values.tolist() for dim in grid["condition"].dims if dim != "member"}
        cells = {named.format(**at): grid.sel(at) for at in _cells(axes)}
        conditions, signs = ({name: one[of].values for name, one in cells.items()} for of in ("condition", "sign"))
        return group_tests.exists(conditions, signs, decides=decides, condition=condition, sign=sign, cell=cell)

    opposite = "contradicted" if decides == "supported" else "supported"
    how = (
        f"{decides.capitalize()} by one {cell} in which {MINIMUM_MEMBERS} or more members, and all of them, "
        f"{condition}; {opposite} if no member of any {sign}."
    )
    return Rule("exists", what, how, judge, variables=("condition", "sign"))
