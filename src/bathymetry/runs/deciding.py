"""Deciding claims over runs: the numbers of each cell's members, the test of the rule, the finding.

A cell is one combination of the settings that the claim does not compare; cells without any run are left out. Runs that
crashed or still run are left out and counted; where crashed ones would change the verdict if they counted as worst, the
finding says so. A metric that is NaN or infinite has diverged: it never reaches a threshold and ranks last.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

import numpy as np
import xarray as xr

from bathymetry.claims import rules
from bathymetry.claims.judging import Judged
from bathymetry.claims.stating import slugs
from bathymetry.core.errors import InputError
from bathymetry.core.showing import joined, label, plural
from bathymetry.runs.at import At, value_at
from bathymetry.runs.claims import Claim
from bathymetry.runs.dataset import Runs
from bathymetry.runs.laid import WHOLE, histories
from bathymetry.runs.pairs import matched, pair
from bathymetry.runs.run import History, Scalar
from bathymetry.runs.settings import is_same
from bathymetry.runs.wording import order_words, part_of
from bathymetry.stats import Part, group_tests
from bathymetry.stats.per_member import regression_slope
from bathymetry.stats.verdict import CONFIDENCE, Verdict, combine, not_run
from bathymetry.stats.wording import percent, percent_range

CLAIMS = "claims."  # the start of their names
_MOST_WORDS, _MOST_SENTENCES = 25, 3  # of a sentence, and of a finding that says each part's outcome
Values = np.ndarray[Any, np.dtype[np.float64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]
Side = Literal["above", "below"]


@dataclass(frozen=True)
class Laid:
    """Runs that are laid out, with all that they logged."""

    results: xr.Dataset
    runs: Runs | None  # None: only what the arrays hold
    higher_is_better: Mapping[str, bool]  # of metrics whose direction is stated
    at: At
    paired: bool | None

    @property
    def axes(self) -> list[str]:
        return [str(dim) for dim in self.results["status"].dims if dim != "member"]

    def histories(self, metric: str) -> Iterator[tuple[tuple[int, ...], History]]:
        """What each run logged of a metric."""
        if self.runs is not None:
            yield from ((index, run.metrics[metric]) for index, run in self.runs.items() if metric in run.metrics)
            return
        yield from histories(self.results, metric)

    def thinned(self, metric: str) -> bool:
        """Whether only some steps of what was logged are there."""
        return self.runs is None and "thinned" in self.results[f"{metric}_history"].attrs


def judged(claims: Sequence[Claim], laid: Laid) -> tuple[list[Judged], list[str]]:
    """Decide claims; also say which runs were left out of them."""
    found, notes = list[Judged](), list[str]()
    for place, (claim, name) in enumerate(zip(claims, slugs([one.name or one.text for one in claims]), strict=True)):
        one = _Deciding(claim, laid, f"claims[{place + 1}]")
        found.append(one.judged(f"{CLAIMS}{name}"))
        notes += [note for note in one.notes if note not in notes]
    return found, notes


@dataclass(frozen=True)
class _Cell:
    """Where one part of a claim lies."""

    at: Mapping[str, str]
    index: tuple[Any, ...]  # along the axes of the runs; slice(None) along the one that the claim compares


class _Deciding:
    """Decides one claim."""

    def __init__(self, claim: Claim, laid: Laid, where: str) -> None:
        self._claim, self._laid, self._where = claim, laid, where
        self.notes: list[str] = []
        self._status = laid.results["status"].transpose(*laid.axes, "member").values
        self._places = {axis: self._places_along(axis) for axis in laid.axes}
        self._cells = [one for one in self._all_cells() if (self._own(self._status, one) != "missing").any()]
        self._direction = laid.higher_is_better.get(claim.metric, None)
        if claim.higher_is_better is not None:
            self._direction = claim.higher_is_better
        self._point = claim.point or laid.at
        self._is_paired = False
        self._side: Any = claim.direction

    def judged(self, name: str) -> Judged:
        """The claim with its verdict and finding."""
        verdict = self._verdict(crashed_are_worst=False)
        crashed = sum(int((self._own(self._status, one) == "crashed").sum()) for one in self._cells)
        rule = self._rule()
        finding = _finding(rule, verdict, self._condition if self._claim.rule == "majority" else "")
        if self._claim.rule == "best_of" and len(verdict.parts) == 1 and verdict.members:
            finding = self._outcome(verdict.parts[0], finding)
        if crashed and (other := self._verdict(crashed_are_worst=True).decision) != verdict.decision:
            runs = "the crashed run" if crashed == 1 else f"the {crashed} crashed runs"
            finding += f" If {runs} counted as worst, it would be {other}."
        return Judged(name, self._claim.text, rule.words, verdict, finding)

    def _places_along(self, axis: str) -> list[int]:
        """The places along an axis that the claim is about."""
        claim, values = self._claim, self._laid.results[axis].values.tolist()
        if axis in claim.where:
            return [self._place(axis, claim.where[axis], values)]
        if axis == claim.along and claim.rule in ("stochastic_order", "best_of"):
            return [self._place(axis, value, values) for value in claim.compared]
        return list(range(len(values)))

    def _place(self, axis: str, value: Scalar, values: Sequence[Any]) -> int:
        found = [place for place, one in enumerate(values) if is_same(value, one)]
        if not found:
            remedy = f"none of the runs that are compared has it; {axis} is {joined([*map(label, values)], 'or')}"
            raise InputError(self._where, f"{axis}={value}", remedy)
        return found[0]

    @property
    def _several(self) -> list[str]:
        """The axes along which the claim has several parts."""
        claim = self._claim
        return [one for one, places in self._places.items() if one not in (claim.along, *claim.where) and places[1:]]

    def _all_cells(self) -> Iterator[_Cell]:
        axes, along = self._laid.axes, self._claim.along
        several = {axis: places for axis, places in self._places.items() if axis != along}
        for places in product(*several.values()):
            at = dict(zip(several, places, strict=True))
            shown = {axis: place for axis, place in at.items() if axis in self._several}
            names = {axis: label(self._named(axis, place)) for axis, place in shown.items()}
            yield _Cell(names, tuple(at.get(axis, slice(None)) for axis in axes))

    def _named(self, axis: str, place: int) -> Any:
        return self._laid.results[axis].values.tolist()[place]

    def _own(self, array: np.ndarray[Any, Any], cell: _Cell) -> np.ndarray[Any, Any]:
        """An array's part in a cell: along the setting that is compared, if there is one, and the members."""
        own: np.ndarray[Any, Any] = array[cell.index]
        return own[self._places[self._claim.along]] if self._claim.along is not None else own

    def _numbers(self, metric: str, *, crashed_are_worst: bool) -> tuple[Values, Mask]:
        """One number of each run, NaN or infinite where it diverged, and which runs count."""
        values, there = np.full(self._status.shape, np.nan), np.zeros(self._status.shape, dtype=bool)
        measure = self._measure()
        for index, logged in self._laid.histories(metric):
            number = measure(logged)
            if number is not None:
                values[index], there[index] = number, True
        if self._laid.thinned(metric):
            self.notes.append(f"claims see {self._laid.results[f'{metric}_history'].attrs['thinned']} of {metric} only")
        whole = np.isin(self._status, WHOLE)
        lacking = sum(int((self._own(whole & ~there, one)).sum()) for one in self._cells)
        if lacking:
            words = f"{lacking} {plural('run', lacking)} without a value of {metric} {self._point.words}"
            self.notes.append(f"{words} left out of “{self._claim.text.removesuffix('.')}”")
        counted = whole & there
        if crashed_are_worst:
            crashed = self._status == "crashed"
            values, counted = np.where(crashed, np.nan, values), counted | crashed
        return values, counted

    def _measure(self) -> Callable[[History], float | None]:
        """The number that a run has in the claim; None where it has none."""
        claim, point, higher = self._claim, self._point, self._direction
        if claim.rule in ("majority", "exists"):
            if claim.point is None:
                return lambda logged: float(self._meets(logged.value[logged.step <= self._until]).any())
            higher = claim.above is not None
        elif point.kind == "best" and higher is None:
            remedy = f"whether higher or lower {claim.metric} is best is not stated; expected higher_is_better"
            raise InputError(f"{self._where}.at", "best", remedy)

        def measured(logged: History) -> float | None:
            number = value_at(logged, point, higher_is_better=bool(higher))
            if number is None or claim.rule not in ("majority", "exists"):
                return number
            return float(self._meets(np.array([number]))[0])

        return measured

    @property
    def _until(self) -> float:
        return np.inf if self._claim.by_step is None else self._claim.by_step

    def _meets(self, values: Values) -> Mask:
        level = self._claim.level
        met = values > level if self._claim.above is not None else values < level
        return np.asarray(met & np.isfinite(values))

    @property
    def _condition(self) -> str:
        """What members do, as the end of a sentence: "reach val/loss < 0.1 by step 5,000"."""
        claim = self._claim
        words = f"reach {claim.metric} {'<' if claim.above is None else '>'} {claim.level:g}"
        if claim.by_step is not None:
            words += f" by step {claim.by_step:,.12g}"
        return words if claim.point is None else f"{words} {claim.point.words}"

    def _rule(self) -> rules.Rule:
        """How the claim is decided, in words."""
        made: rules.Rule = getattr(self, f"_rule_of_{self._claim.rule}")()
        return replace(made, cells=dict.fromkeys(self._several), names_axes=True)

    def _verdict(self, *, crashed_are_worst: bool) -> Verdict:
        judge = getattr(self, f"_part_of_{self._claim.rule}")
        numbers = [self._numbers(one, crashed_are_worst=crashed_are_worst) for one in self._claim.metrics]
        parts = []
        for cell in self._cells:
            own = [(self._own(values, cell), self._own(whole, cell)) for values, whole in numbers]
            parts.append(replace(judge(*own), coordinates=dict(cell.at)))
        settings = joined([f"{name}={label(value)}" for name, value in self._claim.where.items()])
        nothing = [not_run(f"no run has {settings}", {})]
        return combine(self._claim.rule, parts or nothing)

    def _rule_of_majority(self) -> rules.Rule:
        return rules.majority(f"members that {self._condition}; runs that diverged do not")

    def _part_of_majority(self, own: tuple[Values, Mask]) -> Part:
        values, whole = own
        return group_tests.majority(values[whole] == 1)

    def _rule_of_exists(self) -> rules.Rule:
        along, what = str(self._claim.along), self._condition
        sign = what.replace("reach", "reaches", 1)
        made = rules.exists(
            f"runs that {what}", "supported", condition=what, sign=sign, cell=f"value of {along}", named="{}"
        )
        parts = " All parts have to support it, and one that contradicts is enough." if self._several else ""
        return replace(made, how=f"{made.how}{parts}")

    def _part_of_exists(self, own: tuple[Values, Mask]) -> Part:
        along, what = str(self._claim.along), self._condition
        names = [f"{along} {label(self._named(along, place))}" for place in self._places[along]]
        cells = {name: row[there] == 1 for name, row, there in zip(names, *own, strict=True) if there.any()}
        sign = what.replace("reach", "reaches", 1)
        return group_tests.exists(
            cells, cells, decides="supported", condition=what, sign=sign, cell=f"value of {along}"
        )

    def _rule_of_median_in_interval(self) -> rules.Rule:
        low, high = float(self._claim.low or 0), float(self._claim.high or 0)
        return rules.median_in_interval(f"{self._quantity}, {low:g} to {high:g}", low, high)

    def _part_of_median_in_interval(self, own: tuple[Values, Mask]) -> Part:
        values, whole = own
        return group_tests.median_in_interval(values[whole], float(self._claim.low or 0), float(self._claim.high or 0))

    def _rule_of_correlation(self) -> rules.Rule:
        first, second = self._claim.metrics
        return rules.correlation(f"the rank correlation of {first} and {second}", first, second, self._side)

    def _part_of_correlation(self, one: tuple[Values, Mask], other: tuple[Values, Mask]) -> Part:
        both = one[1] & other[1]
        first, second = self._claim.metrics
        return group_tests.correlation(one[0][both], other[0][both], expected=self._side, first=first, second=second)

    def _rule_of_median_sign(self) -> rules.Rule:
        line = f"a straight line of {self._quantity} against {self._claim.over}"
        return rules.median_sign(f"the slope of {line}, fitted to each member by least squares", self._side)

    def _part_of_median_sign(self, own: tuple[Values, Mask]) -> Part:
        values, whole = own
        along = str(self._claim.along)
        x = np.array([self._named(along, place) for place in self._places[along]], dtype=np.float64)
        there = whole.any(axis=0)
        rows = np.where(whole, values, np.nan)[:, there].T
        slopes = regression_slope(np.log(x) if self._claim.is_log else x, rows)
        quantity = f"median slope of {self._claim.metric} on {self._claim.over}"
        return group_tests.median_sign(slopes, expected=self._side, quantity=quantity)

    def _rule_of_stochastic_order(self) -> rules.Rule:
        first, second = map(self._called, self._claim.compared)
        how = order_words(first, self._side, second, is_paired=self._is_paired)
        what = f"{self._quantity}, {first} {self._side} {second}"
        return rules.Rule("stochastic_order", what, f"{how} {self._ranked}", lambda part: part)

    def _part_of_stochastic_order(self, own: tuple[Values, Mask]) -> Part:
        values, whole = own
        return self._order(values, whole, 0, 1, CONFIDENCE)

    def _rule_of_best_of(self) -> rules.Rule:
        first, second = ([self._called(one) for one in some] for some in (self._claim.candidates, self._claim.others))
        made = rules.best_of(self._quantity, first, second, dim=str(self._claim.along), relation=self._side)
        tests = " Tests are sign tests of pairs." if self._is_paired else ""
        return replace(made, how=f"{made.how}{tests} {self._ranked}")

    def _part_of_best_of(self, own: tuple[Values, Mask]) -> Part:
        values, whole = own
        names = [self._called(one) for one in self._claim.compared]
        count = len(self._claim.candidates)
        return group_tests.best_of_pairs(
            names[:count],
            names[count:],
            lambda one, other, level: self._order(values, whole, names.index(one), names.index(other), level),
            relation=self._side,
        )

    def _order(self, values: Values, whole: Mask, first: int, second: int, confidence: float) -> Part:
        """Whether the first is above or below the second."""
        names = (self._called(self._claim.compared[first]), self._called(self._claim.compared[second]))
        a, b, is_paired, note = matched(
            (values[first], values[second]),
            (whole[first], whole[second]),
            names=names,
            members=str(self._laid.results.attrs["members"]),
            paired=self._laid.paired,
        )
        self.notes += [note] if note else []
        self._is_paired = self._is_paired or is_paired
        if min(len(a), len(b)) == 0:
            return not_run(f"no run of {names[1] if len(a) else names[0]} is whole", {})
        is_above = self._side == "above"
        directions = [is_above if self._direction is None else self._direction]
        if self._direction is None and not (np.isfinite(a).all() and np.isfinite(b).all()):
            directions = [is_above, not is_above]
        parts = []
        for higher in directions:
            groups, sides = ((a, b), names) if higher == is_above else ((b, a), names[::-1])
            found = pair(*groups, names=sides, at={}, paired=is_paired, higher_is_better=higher, confidence=confidence)
            parts.append(part_of(found, "above" if higher else "below", confidence))
        part = max(parts, key=lambda one: 1.0 if one.p is None else one.p)
        if len({one.direction for one in parts}) > 1:  # it depends on where those that diverged rank
            p = None if part.p is None else 1.0
            return replace(part, p=p, decision="undecided", direction="neither")
        return part

    def _outcome(self, part: Part, finding: str) -> str:
        """What becomes of candidates and others, and the pair that decides, with the interval that its test has."""
        candidates, others = len(self._claim.candidates), len(self._claim.others)
        if candidates == others == 1:
            return finding
        if len(finding.split()) > _MOST_WORDS:
            one = f"one of {candidates} is clearly {self._side} each of {others} others"
            other = f"one of the {others} others is clearly {self._side} each of {candidates}"
            finding = {"supported": one, "contradicted": other}.get(part.decision, one.replace("one of", "none of", 1))
            finding = f"{finding[:1].upper()}{finding[1:]}."
        tests = self._claim.candidates if part.estimate >= 0.5 else self._claim.others
        share, ends = percent(part.estimate), percent_range(*part.interval)
        return f"{finding} The pair that decides has {share} % ({100 - 5 / len(tests):.4g} % interval {ends})."

    @property
    def _ranked(self) -> str:
        if self._direction is None:
            return "As no direction is stated, runs that diverged may rank at either end."
        return f"Runs that diverged rank {'lowest' if self._direction else 'highest'}."

    @property
    def _quantity(self) -> str:
        return f"{self._claim.metric} {self._point.words}"

    def _called(self, value: Scalar) -> str:
        """How a value is called: a text by itself, a number with its setting."""
        return value if isinstance(value, str) else f"{self._claim.along} {label(value)}"


def _finding(rule: rules.Rule, verdict: Verdict, condition: str) -> str:
    """The outcome with its interval, in sentences of at most 25 words."""
    tested = [part for part in verdict.parts if part.decision != "not tested"]
    if len(tested) == 1 and len(verdict.parts) == 1 and tested[0].members:
        (part,) = tested
        if condition:
            return f"{part.summary} {condition}."
        if rule.kind in ("stochastic_order", "best_of"):
            return f"{part.finding}."
    whole = rule.finding(verdict)
    if len(whole.split()) <= _MOST_WORDS or not tested:
        return whole
    sentences = [f"{one.rstrip('.')}." for one in whole.split("; ")]  # that begin with names, as they are spelled
    if len(sentences) <= _MOST_SENTENCES and all(len(one.split()) <= _MOST_WORDS for one in sentences):
        return " ".join(sentences)
    counts = {one: sum(part.decision == one for part in verdict.parts) for one in ("supported", "contradicted")}
    open_ = len(verdict.parts) - sum(counts.values())
    words = [f"{one} in {count}" for one, count in counts.items() if count] + [f"undecided in {open_}"] * bool(open_)
    part = max(tested, key=lambda one: -1.0 if one.p is None else one.p)
    place = ", ".join(f"{axis.replace('_', ' ')} {value}" for axis, value in part.coordinates.items())
    start = f"{joined(words)} of {len(verdict.parts)} parts"
    least = f"{part.finding or part.summary} {condition}".strip()
    return f"{start[:1].upper()}{start[1:]}. Least clear for {place}: {least}."
