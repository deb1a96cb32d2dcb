"""`bm.compare`: which of several settings is better on a metric, decided over the members of each."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import combinations, product
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from bathymetry.claims.judging import Judged, Judgements
from bathymetry.claims.rules import Rule
from bathymetry.core.errors import InputError, did_you_mean
from bathymetry.core.showing import joined, label, plural
from bathymetry.runs.at import read_at, value_at
from bathymetry.runs.dataset import Grouping
from bathymetry.runs.pairs import Needed, Pair, Scale, Values, pair, transform_of
from bathymetry.runs.reading import names, read_all, values
from bathymetry.runs.run import History, Scalar
from bathymetry.stats import Part, holm
from bathymetry.stats.verdict import MINIMUM_MEMBERS, combine, not_run, significance_level
from bathymetry.stats.wording import count_of_members, number, percent, percent_range, with_interval, with_p

if TYPE_CHECKING:
    import pandas as pd

LEFT_OUT = ("running", "crashed", "too short", "missing")
_MOST_PAIRS = 1_000


@dataclass(frozen=True)
class Comparison:
    """Settings compared on a metric: the pairs, the claims with their verdicts, and the runs that they rest on."""

    metric: str
    higher_is_better: bool
    at: str  # the point of the histories, in words
    compare: str
    scale: Scale
    pairs: tuple[Pair, ...]
    claims: Judgements
    results: xr.Dataset
    left_out: tuple[str, ...]  # what was left out, or settled, when the runs were read
    source: str  # the tool

    def __str__(self) -> str:
        return "\n".join(
            [self.title, "", *(line for one in self.pairs for line in pair_lines(one, self)), *self.left_out]
        )

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(pair_name(one))}</td>"
            f"<td>{escape(difference_words(one))}</td><td>{escape(superiority_words(one))}</td>"
            f"<td><b>{escape(verdict_words(one))}</b></td></tr>"
            for one in self.pairs
        )
        return f"<p>{escape(self.title)}</p><table>{rows}</table>"

    @property
    def title(self) -> str:
        """What is compared: "val/accuracy at the last step, higher is better"."""
        return f"{self.metric} {self.at}, {'higher' if self.higher_is_better else 'lower'} is better"

    def to_dict(self) -> dict[str, Any]:
        """All numbers and verdicts in plain values, for JSON."""
        return {
            "metric": self.metric,
            "higher_is_better": self.higher_is_better,
            "at": str(self.results.attrs["at"]),
            "compare": self.compare,
            "scale": self.scale,
            "pairs": [_fields(one) for one in self.pairs],
            "claims": [
                {
                    "id": one.id,
                    "text": one.text,
                    "verdict": one.verdict.decision,
                    "finding": one.finding,
                    "p": one.verdict.p,
                    "p_holm": one.p_holm,
                    "members": one.verdict.members,
                }
                for one in self.claims
            ],
            "left_out": list(self.left_out),
            "source": self.source,
        }


def compare(
    runs: "str | os.PathLike[str] | pd.DataFrame | xr.Dataset",
    metric: str,
    *,
    compare: str,
    higher_is_better: bool,
    members: str = "seed",
    by: Sequence[str] = (),
    at: str = "last",
    baseline: Scalar = None,
    paired: bool | None = None,
    examples: int | None = None,
    where: Mapping[str, Scalar | Sequence[Scalar]] | None = None,
    ignore: Sequence[str] = (),
    step: str | None = None,
    run: str | None = None,
    format: str | None = None,  # noqa: A002 - the word of the command line
    cache: bool = True,
) -> Comparison:
    """Decide which settings are better on a metric.

    The verdict is about the probability of superiority, P(a run of the first is better) + ½ P(they are level): by the
    permuted test of Brunner and Munzel (Neubert and Brunner 2007), or of pairs, which share a seed, by the sign test. A
    run whose metric is NaN or infinite diverged and counts as worst; runs that crashed or still run are left out.

    Args:
        runs: A folder, file or frame with runs (see `bm.runs.read`), or what that returned.
        metric: Its name.
        compare: The setting whose values are compared.
        higher_is_better: The metric's direction.
        members: The setting that tells members apart; "run" where each run is a member.
        by: Settings that become axes; a claim must hold for each of their values.
        at: Which number of a history counts: "last", "best", "step:N" or "mean:last-10%".
        baseline: A value of `compare`; the others are each compared with it, and not with each other.
        paired: Whether runs with one seed form a pair; None: where at least half of the seeds are shared.
        examples: Of how many examples an accuracy is a share; it is then compared by odds as well.
        where: Values that settings must have.
        ignore: Settings that may differ among the members.
        step: The column of a table that counts steps.
        run: The column of a table that names the run.
        format: The tool, where a folder holds files of several.
        cache: Whether what was read is stored in the user's cache.

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
    if not isinstance(higher_is_better, bool | np.bool_):
        raise InputError("higher_is_better", higher_is_better, "expected True or False, the metric's direction")
    if isinstance(runs, xr.Dataset):
        results, left_out = _retaken(runs, metric, at, higher_is_better), tuple(runs.attrs.get("left_out", ()))
    else:
        grouping = Grouping(members, compare, names("by", by), values(where or {}), names("ignore", ignore))
        options: dict[str, Any] = {"step": step, "run": run, "format": format, "cache": cache}
        results, left, _ = read_all(runs, grouping, (metric,), at=at, higher_is_better=higher_is_better, **options)
        left_out = left.sentences
    return compared(results, metric, compare, higher_is_better, baseline, paired, examples, left_out)


def compared(
    results: xr.Dataset,
    metric: str,
    compare: str,
    higher_is_better: bool,
    baseline: Scalar = None,
    paired: bool | None = None,
    examples: int | None = None,
    left_out: Sequence[str] = (),
) -> Comparison:
    """Compare runs that are laid out."""
    if compare not in results[metric].dims:
        raise InputError("compare", compare, f"expected an axis of the runs: {joined(_axes(results, metric), 'or')}")
    settings = results[compare].values.tolist()
    if len(settings) < 2:
        remedy = f"all runs have {label(settings[0])}; expected a setting with several values"
        raise InputError("compare", compare, remedy)
    scale = _scale(results[metric].values, higher_is_better=higher_is_better, examples=examples)
    transform = transform_of(scale, examples)
    pairs: list[Pair] = []
    claims: list[Judged] = []
    for place, (one, other) in enumerate(_chosen_pairs(settings, compare, baseline)):
        found: list[Pair | Part] = []
        for cell in _cells(results, metric, compare):
            at = {name: label(value) for name, value in cell.items()}
            own = results.sel(cell)
            a, b, is_paired, note = _members(own, metric, compare, one, other, paired)
            if min(len(a), len(b)) == 0:
                empty = label(one if not len(a) else other)
                found.append(not_run(f"no run of {empty} is whole", at))
                continue
            found.append(
                pair(
                    a,
                    b,
                    names=(label(one), label(other)),
                    at=at,
                    paired=is_paired,
                    higher_is_better=higher_is_better,
                    transform=transform,
                )
            )
            left_out = [*left_out, *([note] if note and note not in left_out else [])]
        pairs += [one_pair for one_pair in found if isinstance(one_pair, Pair)]
        claims.append(_claim(place, label(one), label(other), metric, found, higher_is_better=higher_is_better))
    adjusted = holm([one.p for one in pairs])
    pairs = [replace(one, p_holm=p) for one, p in zip(pairs, adjusted, strict=True)]
    of_claims = holm([one.verdict.p for one in claims])
    judged = Judgements(replace(one, p_holm=p) for one, p in zip(claims, of_claims, strict=True))
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
        judged,
        results,
        (*_statuses(results), *_lengths(results, metric), *left_out),
        source,
    )


def _axes(results: xr.Dataset, metric: str) -> list[str]:
    return [str(dim) for dim in results[metric].dims if dim != "member"]


def _cells(results: xr.Dataset, metric: str, compare: str) -> list[dict[str, Any]]:
    axes = {name: results[name].values.tolist() for name in _axes(results, metric) if name != compare}
    return [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]


def _chosen_pairs(values: Sequence[Any], compare: str, baseline: Scalar) -> list[tuple[Any, Any]]:
    """All pairs, or each other value with the baseline."""
    if baseline is None:
        found = list(combinations(values, 2))
    else:
        same = [one for one in values if str(one) == str(baseline)]
        if not same:
            known = [str(one) for one in values]
            remedy = f"{did_you_mean(baseline, known)}expected a value of {compare}: {joined(known, 'or')}"
            raise InputError("baseline", baseline, remedy)
        found = [(one, same[0]) for one in values if one != same[0]]
    if len(found) > _MOST_PAIRS:
        remedy = f"{len(values)} values make {len(found):,} pairs; choose a baseline, or fewer with where"
        raise InputError("compare", compare, remedy)
    return found


def _members(
    results: xr.Dataset, metric: str, compare: str, one: Any, other: Any, paired: bool | None
) -> tuple[Values, Values, bool, str]:
    """The values of both settings' members that are whole; paired, of those that both have."""
    sides = [results.sel({compare: value}) for value in (one, other)]
    whole = [~side["status"].isin(LEFT_OUT).values for side in sides]
    values = [side[metric].values for side in sides]
    shared = whole[0] & whole[1]
    fewest = min(int(some.sum()) for some in whole)
    can_pair = results.attrs["members"] != "run"
    if paired and not can_pair:
        raise InputError("paired", True, "each run is a member by itself; expected a setting as members, such as seed")
    is_paired = can_pair and 2 * int(shared.sum()) >= fewest > 0 if paired is None else paired
    if not is_paired:
        return values[0][whole[0]], values[1][whole[1]], False, ""
    alone = int((whole[0] ^ whole[1]).sum())
    members = results.attrs["members"]
    name = f"{label(one)} and {label(other)}"
    note = f"{alone} {plural('run', alone)} of {name} left out: the other has no run of that {members}" if alone else ""
    return values[0][shared], values[1][shared], True, note


def _statuses(results: xr.Dataset) -> list[str]:
    """How many runs are left out by their status."""
    status = results["status"].values
    found = []
    for name, words in (
        ("crashed", "crashed and left out"),
        ("running", "unfinished and left out"),
        ("too short", "too short for the step that is compared and left out"),
        ("missing", f"missing of the {results.attrs['members']}s that others have"),
    ):
        count = int((status == name).sum())
        if count and not (name == "missing" and results.attrs["members"] == "run"):
            found.append(f"{count} {plural('run', count)} {words}")
    return found


def _lengths(results: xr.Dataset, metric: str) -> list[str]:
    """Say so where the last values were logged at different steps."""
    point = read_at(results.attrs["at"])
    last = results[f"{metric}_last_step"].values[~results["status"].isin(LEFT_OUT).values]
    last = last[np.isfinite(last)]
    if point.kind == "step" or not last.size or last.min() == last.max():
        return []
    least, most = (f"{one:,.12g}" for one in (last.min(), last.max()))
    return [f"the runs end between step {least} and step {most}; --at step:{last.min():.12g} compares them at one step"]


def _scale(values: Any, *, higher_is_better: bool, examples: int | None) -> Scale:
    """Losses are compared by ratios as well, accuracies by odds where it is known out of how many."""
    finite = values[np.isfinite(values)]
    if examples is not None:
        if not len(finite) or finite.min() < 0 or finite.max() > 1:
            raise InputError("examples", examples, "the metric is no share; expected values from 0 to 1")
        return "logit"
    return "log" if len(finite) and not higher_is_better and finite.min() > 0 else "linear"


def _claim(
    place: int, one: str, other: str, metric: str, found: Sequence[Pair | Part], *, higher_is_better: bool
) -> Judged:
    """State "one above other", with one part for each cell of the other axes."""
    relation = "above" if higher_is_better else "below"
    text = f"{one} is {relation} {other} on {metric}."
    is_paired = any(isinstance(some, Pair) and some.paired for some in found)
    test = "the sign test of the pairs" if is_paired else "the permuted test of Brunner and Munzel"
    how = (
        f"Supported if {test}, two-sided at 5 %, finds {one} {relation} {other} more often than not, "
        "contradicted if the opposite."
    )
    parts = [some if isinstance(some, Part) else part_of(some, relation) for some in found]
    verdict = combine("stochastic_order", parts)
    rule = Rule("stochastic_order", metric, how, lambda _: parts[0])
    letter = ascii_lowercase[place] if place < len(ascii_lowercase) else f"claim{place + 1}"
    return Judged(
        f"compare.{letter}", text, f"{metric}, {one} {relation} {other}. {how}", verdict, rule.finding(verdict)
    )


def part_of(one: Pair, relation: str) -> Part:
    """The pair as a part of a claim."""
    members = min(one.members)
    shown = f"{one.first} {relation} {one.second} in {superiority_words(one)}"
    direction: Literal["for", "against", "neither"] = (
        "for" if one.superiority > 0.5 else "against" if one.superiority < 0.5 else "neither"
    )
    finding = f"{shown}, {difference_words(one)}"
    return Part(
        one.decision,
        one.superiority,
        one.superiority_interval,
        one.p,
        members,
        f"{shown[:-1]}{with_p(one.p)}, {count_of_members(members)})" if shown.endswith(")") else shown,
        dict(one.at),
        finding,
        direction,
    )


def pair_name(one: Pair) -> str:
    """The pair, with the values of the other axes."""
    at = ", ".join(f"{name}={value}" for name, value in one.at.items())
    return f"{one.first} and {one.second}{f' at {at}' if at else ''}"


def difference_words(one: Pair) -> str:
    """The difference with its interval: "difference +0.07 (95 % interval 0.05 to 0.09)"."""
    value, ends = with_interval(one.difference, one.interval)
    sign = "+" if one.difference > 0 else ""
    return f"difference {sign}{value} ({ends})"


def superiority_words(one: Pair) -> str:
    """How often the first is better: "90 % of pairs (95 % interval 55–100 %)"."""
    what = "pairs" if one.paired else "all pairs of runs"
    return f"{percent(one.superiority)} % of {what} (95 % interval {percent_range(*one.superiority_interval)})"


def ratio_words(one: Pair, scale: Scale) -> str:
    """The ratio with its interval; nothing on a linear scale."""
    if one.ratio is None or one.ratio_interval is None or not np.isfinite(one.ratio):
        return ""
    low, high = map(number, one.ratio_interval)
    name = "odds ratio" if scale == "logit" else "ratio"
    return (
        f"{name} {number(one.ratio)} ({'no 95 % interval' if low == 'unknown' else f'95 % interval {low} to {high}'})"
    )


def verdict_words(one: Pair) -> str:
    """The verdict as readers say it: "adam is better"."""
    if one.decision == "undecided":
        return "undecided"
    lost = one.p_holm is not None and one.p_holm > significance_level()
    better = one.first if one.decision == "supported" else one.second
    return f"{better} is better{', but not after Holm correction' if lost else ''}"


def needed_words(one: Pair) -> str:
    """How many members would settle an undecided pair."""
    if one.needed is None:
        return ""
    what = "pairs" if one.paired else "members each"
    have = min(one.members)
    if have < MINIMUM_MEMBERS:
        return f"a verdict needs at least {MINIMUM_MEMBERS} {what}, and there are {have}"
    return _needed(one.needed, what, have)


def _needed(needed: Needed, what: str, have: int) -> str:
    if needed.members is None:
        return f"neither is ahead, so no number of {what} is likely to settle it"
    least = f"{needed.least:,}" if needed.least is not None else "very many"
    most = "no limit" if needed.most is None else f"{needed.most:,}"
    more = max(needed.members - have, 0)
    return (
        f"about {needed.members:,} {what} ({more:,} more) would decide with 80 % power if the truth is as observed; "
        f"from {least} to {most} within its interval"
    )


def turned(one: Pair) -> Pair:
    """The same pair from the other side, as far as how often the first is better."""
    low, high = one.superiority_interval
    return replace(
        one,
        first=one.second,
        second=one.first,
        superiority=1 - one.superiority,
        superiority_interval=(1 - high, 1 - low),
    )


def pair_lines(one: Pair, whole: Comparison) -> list[str]:
    """A pair for the terminal, within 100 columns."""
    count = f"{one.members[0]} pairs" if one.paired else f"{one.members[0]} and {one.members[1]} members"
    words = [f"{pair_name(one)}: {verdict_words(one)} ({count}{with_p(one.p)}{_holm(one)})"]
    ahead = one if one.superiority >= 0.5 else turned(one)
    details = [
        difference_words(one),
        ratio_words(one, whole.scale),
        f"{ahead.first} better in {superiority_words(ahead)}",
    ]
    if any(one.diverged):
        details.append(f"diverged: {one.diverged[0]} and {one.diverged[1]}")
    return [*words, *(f"  {detail}" for detail in [*details, needed_words(one)] if detail)]


def _holm(one: Pair) -> str:
    return "" if one.p_holm is None or one.p_holm == one.p else f", {with_p(one.p_holm)[2:]} after Holm"


def _fields(one: Pair) -> dict[str, Any]:
    fields = {name: getattr(one, name) for name in Pair.__dataclass_fields__}
    if one.needed is not None:
        fields["needed"] = {"members": one.needed.members, "least": one.needed.least, "most": one.needed.most}
    return fields | {"at": dict(one.at)}


def _retaken(runs: xr.Dataset, metric: str, at: object, higher_is_better: bool) -> xr.Dataset:
    """The runs with the values at another point of their histories than they were read with."""
    if metric not in runs or f"{metric}_history" not in runs:
        known = [str(name).removesuffix("_history") for name in runs if str(name).endswith("_history")]
        raise InputError("metric", metric, f"{did_you_mean(metric, known)}expected one of {joined(known, 'or')}")
    point = read_at(at)
    if runs.attrs.get("at") == str(point) and point.kind != "best":
        return runs
    whole = runs[f"{metric}_history"]
    (dim,) = [str(name) for name in whole.dims if name not in runs[metric].dims]
    steps, rows = whole[dim].values, whole.transpose(..., dim).values
    last = runs[f"{metric}_last_step"].transpose(*[name for name in whole.dims if name != dim]).values
    found = np.full(last.shape, np.nan)
    for index in np.ndindex(*last.shape):
        there = np.isfinite(rows[index]) | (steps == last[index])
        value = value_at(History(steps[there], rows[index][there]), point, higher_is_better=higher_is_better)
        found[index] = np.nan if value is None else value
    changed = runs[metric].copy(data=found)
    return runs.assign({metric: changed}).assign_attrs(at=str(point))
