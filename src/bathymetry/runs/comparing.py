"""`bm.compare`: which of several settings is better on a metric, decided over the members of each."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bathymetry.charts.figure import Figures
from bathymetry.claims.judging import Judged, Judgements
from bathymetry.core.errors import InputError, whole_number
from bathymetry.core.showing import joined, label
from bathymetry.runs import automatic
from bathymetry.runs.answer import answer, remarks
from bathymetry.runs.at import At, read_at
from bathymetry.runs.claims import Claim, Known, directions, read_claims, resolved
from bathymetry.runs.dataset import Grouping, Runs, dataset
from bathymetry.runs.deciding import CLAIMS, Laid
from bathymetry.runs.deciding import judged as judge_claims
from bathymetry.runs.files import quietly
from bathymetry.runs.laid import LEFT_OUT, lengths, logs, part_of_runs, retaken, statuses
from bathymetry.runs.pairs import (
    Pair,
    Scale,
    Values,
    matched,
    pair,
    transform_of,
)
from bathymetry.runs.reading import names, read_runs, stored_directions, values
from bathymetry.runs.run import Scalar
from bathymetry.runs.wording import (
    difference_words,
    pair_lines,
    pair_name,
    superiority_words,
    verdict_words,
)
from bathymetry.stats import Part
from bathymetry.stats.verdict import not_run

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Comparison:
    """Settings compared on a metric: the pairs, the claims with their verdicts, and the runs that they rest on."""

    metric: str | None  # None of claims alone
    higher_is_better: bool | None  # None where it is not stated
    at: str  # the point of the histories, in words
    compare: str | None
    scale: Scale
    pairs: tuple[Pair, ...]
    claims: Judgements
    results: xr.Dataset
    left_out: tuple[str, ...]  # what was left out, or settled, when the runs were read
    source: str  # the tool

    def __str__(self) -> str:
        return "\n".join(
            [
                self.title,
                answer(self),
                *remarks(self),
                "",
                *(line for one in self.pairs for line in pair_lines(one, self.scale)),
                *map(str, self.stated),
                *self.left_out,
            ]
        )

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(pair_name(one))}</td>"
            f"<td>{escape(difference_words(one))}</td><td>{escape(superiority_words(one))}</td>"
            f"<td><b>{escape(verdict_words(one))}</b></td></tr>"
            for one in self.pairs
        )
        return f"<p>{escape(self.title)}</p><table>{rows}</table>{Judgements(self.stated)._repr_html_()}"

    @property
    def stated(self) -> tuple[Judged, ...]:
        """The claims that the user states, without those of the pairs."""
        return tuple(one for one in self.claims if one.id.startswith(CLAIMS))

    @property
    def title(self) -> str:
        """What is compared: "val/accuracy at the last step, higher is better"."""
        if self.metric is None:
            return f"Claims on {joined(self.metrics)}"
        return f"{self.metric} {self.at}, {'higher' if self.higher_is_better else 'lower'} is better"

    @property
    def figures(self) -> Figures:
        """Learning curves, final values, and differences with their intervals."""
        from bathymetry.runs.figures import figures_of

        return Figures(figures_of(self))

    @property
    def metrics(self) -> list[str]:
        """All metrics that are compared or claimed of."""
        return [str(name).removesuffix("_history") for name in self.results if str(name).endswith("_history")]

    def to_dict(self) -> dict[str, Any]:
        """All numbers and verdicts in plain values, for JSON."""
        return {
            "metric": self.metric,
            "higher_is_better": self.higher_is_better,
            "at": str(self.results.attrs["at"]),
            "compare": self.compare,
            "scale": self.scale,
            "pairs": [_fields(one) for one in self.pairs],
            "claims": [_claim_fields(one) for one in self.claims],
            "left_out": list(self.left_out),
            "source": self.source,
        }


def compare(
    runs: "str | os.PathLike[str] | pd.DataFrame | xr.Dataset",
    metric: str | None = None,
    *,
    compare: str | None = None,
    higher_is_better: bool | None = None,
    members: str = "seed",
    by: Sequence[str] = (),
    at: str = "last",
    claims: Sequence[str | Mapping[str, Any]] = (),
    baseline: Scalar = None,
    paired: bool | None = None,
    examples: int | None = None,
    where: Mapping[str, Scalar | Sequence[Scalar]] | None = None,
    ignore: Sequence[str] = (),
    step: str | None = None,
    run: str | None = None,
    format: str | None = None,  # noqa: A002 - the word of the command line
    cache: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Decide which settings are better on a metric, and what else is claimed of the runs.

    The verdict is about the probability of superiority, P(a run of the first is better) + ½ P(they are level): by the
    permuted test of Brunner and Munzel (Neubert and Brunner 2007), or of pairs, which share a seed, by the sign test. A
    run whose metric is NaN or infinite diverged and counts as worst; runs that crashed or still run are left out.

    Args:
        runs: A folder, file or frame with runs (see `bm.runs.read`), or what that returned; of that, `where` and `at`
            choose again, and `ignore`, `step`, `run` and `format` are refused.
        metric: Its name; with claims it may be left out together with `compare`, and then no pairs are made.
        compare: The setting whose values are compared.
        higher_is_better: The metric's direction.
        members: The setting that tells members apart; "run" where each run is a member.
        by: Settings that become axes; a claim must hold for each of their values.
        at: Which number of a history counts: "last", "best", "step:N" or "mean:last-10%".
        claims: Sentences such as "adam above sgd on val/accuracy", or fields (docs/how-to/claims-over-runs.md).
        baseline: A value of `compare`; the others are each compared with it, and not with each other.
        paired: Whether runs with one seed form a pair; None: where at least half of the seeds are shared.
        examples: Of how many examples an accuracy is a share; it is then compared by odds as well.
        where: Values that settings must have.
        ignore: Settings that may differ among the members.
        step: The column of a table that counts steps.
        run: The column of a table that names the run.
        format: The tool, where a folder holds files of several.
        cache: Whether what was read is stored in the user's cache.
        progress: Called with how many files or folders are read, and of how many.

    Returns:
        The comparison: pairs, claims with verdicts, and the runs.

    Raises:
        InputError: If a name is unknown, or fewer than two settings have members.

    Example:
        >>> import pandas as pd
        >>> rows = pd.DataFrame({"net": ["A"] * 6 + ["B"] * 6, "seed": [*range(6)] * 2, "loss": [*range(1, 13)]})
        >>> found = compare(rows, "loss", compare="net", higher_is_better=False)
        >>> found.pairs[0].decision, found.pairs[0].difference, found.pairs[0].p
        ('supported', -6.0, 0.03125)
    """
    stated = read_claims(claims)
    _check(metric, compare, higher_is_better, stated)
    examples = None if examples is None else whole_number("examples", examples, 1, 2**53)
    if paired is not None and not isinstance(paired, bool | np.bool_):
        raise InputError("paired", paired, "expected True, False or None")
    higher, needed = bool(higher_is_better), [metric] if metric is not None else []
    where_laid: Runs | None = None
    if isinstance(runs, xr.Dataset):
        others = {"ignore": names("ignore", ignore), "step": step, "run": run, "format": format}
        known = Known.laid(runs)
        runs = part_of_runs(runs, members, names("by", by), values({} if where is None else where), others)
        if metric is not None:
            known.metric(metric, "metric")
        results = runs if metric is None else retaken(runs, metric, read_at(at), higher_is_better=higher)
        _check_direction(runs.attrs.get("directions", ()), metric, higher=higher)
        left_out = tuple(runs.attrs.get("left_out", ()))
        own = resolved(stated, known, str(runs.attrs["members"]), compare)
    else:
        grouping = Grouping(
            members, compare, names("by", by), values({} if where is None else where), names("ignore", ignore)
        )
        grouping = _with(grouping, [name for one in stated for name in one.settings])
        every = dict.fromkeys([*needed, *(name for one in stated for name in one.metrics)])
        source_options: dict[str, Any] = {"step": step, "run": run, "format": format, "cache": cache}
        source = read_runs(runs, grouping, [*every], **source_options, advance=progress or quietly)
        _check_direction(stored_directions(source.runs, grouping), metric, higher=higher)
        own = resolved(stated, Known.of(source.runs), members, compare)
        grouping = _with(grouping, [name for one in own for name in one.settings])
        options: dict[str, Any] = {"higher_is_better": higher, "also": [*every]}
        results, left, where_laid = dataset(source, grouping, needed, read_at(at), **options)
        left_out = left.sentences
    laid = Laid(results, where_laid, directions(metric, higher_is_better, own), read_at(at), paired)
    judged, notes = judge_claims(own, laid)
    if metric is None or compare is None:
        return _without_pairs(own, judged, results, read_at(at), higher_is_better, [*left_out, *notes])
    left_out = (*left_out, *notes)
    return compared(results, metric, compare, higher, baseline, paired, examples, left_out, judged)


def _check(metric: object, compare: object, higher_is_better: object, claims: Sequence[Claim]) -> None:
    """Refuse what does not go together."""
    for field, value in (("metric", metric), ("compare", compare)):
        is_left_out = value is None and claims and metric is None and compare is None
        if not is_left_out and (not isinstance(value, str) or not value):
            raise InputError(field, value, "expected a name, or claims that name what they are about")
    if not isinstance(higher_is_better, bool | np.bool_) and not (metric is None and higher_is_better is None):
        raise InputError("higher_is_better", higher_is_better, "expected True or False, the metric's direction")


def _check_direction(stored: Sequence[str] | str, metric: str | None, *, higher: bool) -> None:
    """Refuse a direction other than that which the tool has stored."""
    stated = "higher" if higher else "lower"
    for one in [stored] if isinstance(stored, str) else stored:  # a file of arrays makes a text of a list of one
        better, _, name = one.partition(" ")
        if name == metric and better != stated:
            remedy = f"the runs have stored that {better} values of {metric} are better; state that direction"
            raise InputError("higher_is_better", higher, remedy)


def _with(grouping: Grouping, settings: Sequence[str]) -> Grouping:
    """Settings that claims name become axes."""
    more = [one for one in dict.fromkeys(settings) if one not in grouping.axes]
    return replace(grouping, by=(*grouping.by, *more))


def _without_pairs(
    claims: Sequence[Claim],
    judged: Sequence[Judged],
    results: xr.Dataset,
    at: At,
    higher_is_better: bool | None,
    left_out: Sequence[str],
) -> Comparison:
    """Claims alone."""
    along = next((one.along for one in claims if one.along is not None), None)
    return Comparison(
        None,
        higher_is_better,
        at.words,
        along,
        "linear",
        (),
        Judgements(automatic.adjusted([], [], judged, has_baseline=False)[1]),
        results,
        (*statuses(results), *left_out),
        str(results.attrs.get("source", "")),
    )


def compared(
    results: xr.Dataset,
    metric: str,
    compare: str,
    higher_is_better: bool,
    baseline: Scalar = None,
    paired: bool | None = None,
    examples: int | None = None,
    left_out: Sequence[str] = (),
    more: Sequence[Judged] = (),
) -> Comparison:
    """Compare runs that are laid out; `more` are claims that have been judged already."""
    if compare not in results[metric].dims:
        raise InputError("compare", compare, f"expected an axis of the runs: {joined(_axes(results, metric), 'or')}")
    settings = results[compare].values.tolist()
    if len(settings) < 2:
        remedy = f"all runs have {label(settings[0])}; expected a setting with several values"
        raise InputError("compare", compare, remedy)
    counts = ~results["status"].isin(LEFT_OUT) & logs(results, metric)
    scale = _scale(results[metric].where(counts).values, higher_is_better=higher_is_better, examples=examples)
    transform = transform_of(scale, examples)
    chosen = automatic.chosen_pairs(settings, compare, baseline)
    called = [(label(one), label(other)) for one, other in chosen]
    groups: list[list[Pair | Part]] = []
    for (one, other), both in zip(chosen, called, strict=True):
        found: list[Pair | Part] = []
        for cell in _cells(results, metric, compare):
            at = {name: label(value) for name, value in cell.items()}
            own = results.sel(cell)
            a, b, is_paired, note = _members(own, metric, compare, one, other, paired)
            if min(len(a), len(b)) == 0:
                found.append(not_run(f"no run of {both[bool(len(a))]} is whole", at))
                continue
            options: dict[str, Any] = {"higher_is_better": higher_is_better, "transform": transform}
            found.append(pair(a, b, names=both, at=at, paired=is_paired, **options))
            left_out = [*left_out, *([note] if note and note not in left_out else [])]
        groups.append(found)
    has_baseline = baseline is not None
    ids = automatic.ids(called, has_baseline=has_baseline)
    made = [
        automatic.claim(name, both, metric, some, has_baseline=has_baseline)
        for name, both, some in zip(ids, called, groups, strict=True)
    ]
    pairs, claims = automatic.adjusted(groups, made, more, has_baseline=has_baseline)
    if pairs and all(max(one.members) < 2 for one in pairs):
        raise InputError("members", results.attrs["members"], "each setting has one member; a verdict needs six")
    point = read_at(results.attrs["at"]).words
    source = str(results.attrs.get("source", ""))
    return Comparison(
        metric,
        bool(higher_is_better),
        point,
        compare,
        scale,
        tuple(pairs),
        Judgements(claims),
        results,
        (*statuses(results, metric), *lengths(results, metric), *left_out),
        source,
    )


def _axes(results: xr.Dataset, metric: str) -> list[str]:
    return [str(dim) for dim in results[metric].dims if dim != "member"]


def _cells(results: xr.Dataset, metric: str, compare: str) -> list[dict[str, Any]]:
    axes = {name: results[name].values.tolist() for name in _axes(results, metric) if name != compare}
    return [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]


def _members(
    results: xr.Dataset, metric: str, compare: str, one: Any, other: Any, paired: bool | None
) -> tuple[Values, Values, bool, str]:
    """The values of both settings' members that are whole; those that never logged the metric are not."""
    sides = [results.sel({compare: value}) for value in (one, other)]
    first, second = ((~side["status"].isin(LEFT_OUT) & logs(side, metric)).values for side in sides)
    values = (sides[0][metric].values, sides[1][metric].values)
    called = (label(one), label(other))
    return matched(values, (first, second), names=called, members=str(results.attrs["members"]), paired=paired)


def _scale(values: Any, *, higher_is_better: bool, examples: int | None) -> Scale:
    """Losses are compared by ratios as well, accuracies by odds where it is known out of how many."""
    finite = values[np.isfinite(values)]
    if examples is not None:
        if len(finite) and (finite.min() < 0 or finite.max() > 1):
            raise InputError("examples", examples, "the metric is no share; expected values from 0 to 1")
        return "logit"
    return "log" if len(finite) and not higher_is_better and finite.min() > 0 else "linear"


def _claim_fields(one: Judged) -> dict[str, Any]:
    return {
        "id": one.id,
        "rule": one.verdict.kind,
        "text": one.text,
        "verdict": one.verdict.decision,
        "finding": one.finding,
        "reason": one.verdict.reason,
        "p": one.verdict.p,
        "p_holm": one.p_holm,
        "members": one.verdict.members,
        "parts": [
            {
                "at": dict(part.coordinates),
                "verdict": part.decision,
                "estimate": part.estimate,
                "interval": part.interval,
                "p": part.p,
                "members": part.members,
            }
            for part in one.verdict.parts
        ],
    }


def _fields(one: Pair) -> dict[str, Any]:
    fields = {name: getattr(one, name) for name in Pair.__dataclass_fields__}
    if one.needed is not None:
        fields["needed"] = {"members": one.needed.members, "least": one.needed.least, "most": one.needed.most}
    return fields | {"at": dict(one.at)}
