"""The charts of a comparison: learning curves, final values, and differences with their intervals.

Each compared setting has one colour. Further axes are panels. What would make a page too large is thinned, and said.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from bathymetry.charts import Figure, Reference, attrs, dots, lines
from bathymetry.charts.axes import are_unlike, thin
from bathymetry.charts.forest import Estimate, forest
from bathymetry.core.showing import joined, label, plural
from bathymetry.runs.at import read_at
from bathymetry.runs.comparing import Comparison
from bathymetry.runs.laid import LEFT_OUT
from bathymetry.runs.pairs import Pair
from bathymetry.stats.wording import number, p_value

_MOST_COLOURS, _MOST_PANELS, _MOST_ROWS, _MOST_PAIRS = 8, 12, 40, 40
_MOST_POINTS, _FEWEST_POINTS, _POINTS = 60_000, 40, 200  # of all lines together; of one
_LINED = 50  # members that each have a line; of more, charts draw ten
_NAMED = 3  # runs that a finding names
_EARLY = 0.95  # of the last step: runs that end before it are said
_FAR, _FAR_ALONG = 30.0, 1000.0  # values so many times beyond the range of nine in ten leave an axis; along a run
_LETTERS, _NARROW = 60, 36  # that have room on a row of a single panel, and of one of several
_NAME = 24  # letters of a name
_FEW = 4  # settings whose bands can be told apart in a small chart
_NINE_IN_TEN = (0.05, 0.95)
_OWN_AXES = " Each panel has an axis of its own, for their ranges differ."
Array = np.ndarray[Any, Any]


@np.errstate(over="ignore")  # of numbers near the largest there are, a range is infinite
def figures_of(found: Comparison) -> tuple[Figure, ...]:
    """Draw a comparison, and the runs of further metrics that its claims are about."""
    figures: list[Figure] = []
    metrics = [*([found.metric] if found.metric else []), *(one for one in found.metrics if one != found.metric)]
    for place, metric in enumerate(metrics):
        about = _about(found, metric)
        shown, notes = _shown(about)
        own = [*_learning(about, shown, notes), _final(about, shown, notes)]
        figures += [replace(one, name=f"{one.name}-{place + 1}") if place else one for one in own]
        figures += _differences(about) if metric == found.metric else []
    return tuple(figures)


def _about(found: Comparison, metric: str) -> Comparison:
    """The comparison as if it were on one metric and along one setting, as charts need it."""
    results, compare = found.results, found.compare
    axes = [str(dim) for dim in results[metric].dims if dim != "member"]
    if compare not in axes:
        compare = axes[0] if axes else "runs"
    if not axes:
        results = results.expand_dims({compare: ["all runs"]})
    scale = found.scale if metric == found.metric else "log" if _is_falling(results, metric) else "linear"
    is_high = found.higher_is_better if metric == found.metric else True
    pairs = found.pairs if metric == found.metric else ()
    return replace(
        found, metric=metric, pairs=pairs, compare=compare, results=results, scale=scale, higher_is_better=is_high
    )


def _is_falling(results: xr.Dataset, metric: str) -> bool:
    """Whether a metric whose direction nobody states goes down along the runs, as a loss does."""
    whole = results[f"{metric}_history"].transpose(..., "member").values
    rows = np.moveaxis(whole, -2, -1).reshape(-1, whole.shape[-2])
    ends = [own[np.isfinite(own)][[0, -1]] for own in rows if np.isfinite(own).any()]
    return bool(ends) and bool(np.median([last - first for first, last in ends]) < 0)


def _shown(found: Comparison) -> tuple[xr.Dataset, list[str]]:
    """The settings and panels that are drawn: those with the best medians first where there are too many."""
    results, notes = found.results, list[str]()
    count = results.sizes[found.compare]
    if count > _MOST_COLOURS:
        values = _counted(found, results).transpose(found.compare, ...).values.reshape(count, -1)
        values = np.where(np.isfinite(values), values, -np.inf if found.higher_is_better else np.inf)
        middle = np.median(values, axis=1)
        order = np.argsort(-middle if found.higher_is_better else middle, kind="stable")
        results = results.isel({found.compare: order})
    axes = _others(found)
    if axes:
        names = [[f"{name}={label(one)}" for one in results[name].values.tolist()] for name in axes]
        heads = [", ".join(some) for some in _product(names)]
        plain = results.drop_vars([*axes], errors="ignore")
        results = plain.stack(panel=axes, create_index=False).assign_coords(panel=heads)
        if len(heads) > _MOST_PANELS:
            notes.append(f"{_MOST_PANELS} of {len(heads)} panels")
            results = results.isel(panel=np.linspace(0, len(heads) - 1, _MOST_PANELS).round().astype(int))
    return results, notes


def _product(names: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [()]
    for some in names:
        found = [(*before, one) for before in found for one in some]
    return found


def _others(found: Comparison) -> list[str]:
    return [str(dim) for dim in found.results[found.metric].dims if dim not in (found.compare, "member")]


def _counted(found: Comparison, results: xr.Dataset) -> xr.DataArray:
    """Final values of the runs that count; NaN also where one diverged."""
    values = results[found.metric].where(~results["status"].isin(LEFT_OUT))
    return values.where(np.isfinite(values))


def _learning(found: Comparison, shown: xr.Dataset, notes: list[str]) -> Iterator[Figure]:
    """Draw the histories of all runs, up to where each ends."""
    name = f"{found.metric}_history"
    (step,) = [str(dim) for dim in shown[name].dims if dim not in shown[found.metric].dims]
    if shown.sizes[step] < 2:
        return
    said = list(notes)
    facet = "panel" if "panel" in shown.dims else None
    if shown.sizes[found.compare] > _MOST_COLOURS:
        said.append(f"the {_MOST_COLOURS} best of {shown.sizes[found.compare]} values of {found.compare}")
        shown = shown.isel({found.compare: slice(_MOST_COLOURS)})
    lined = min(shown.sizes["member"], _LINED) if shown.sizes["member"] <= _LINED else 10
    each = shown.sizes[found.compare] * (lined + 4)
    if facet and each * shown.sizes["panel"] * _FEWEST_POINTS > _MOST_POINTS:
        most = max(1, _MOST_POINTS // (each * _FEWEST_POINTS))
        said.append(f"{most} of {shown.sizes['panel']} panels")
        shown = shown.isel(panel=np.linspace(0, shown.sizes["panel"] - 1, most).round().astype(int))
    points = min(_POINTS, max(_FEWEST_POINTS, _MOST_POINTS // (each * shown.sizes.get("panel", 1))))
    kept = thin(shown.sizes[step], points, logarithmic=False)
    thinned = shown[name].attrs.get("thinned") or len(kept) < shown.sizes[step]
    said += [f"{len(kept)} of {shown.sizes[step]:,} steps"] if thinned else []
    values = _carried(found, shown, name, step).isel({step: kept})
    finite = values.values[np.isfinite(values.values)]
    is_log = found.scale == "log" and finite.size > 0 and finite.min() > 0 and _most_times(values, facet) > 10
    steps = shown[step].values
    values = values.rename({step: "steps"}).assign_coords(steps=xr.Variable("steps", steps[kept], attrs("step")))
    values = values.assign_attrs(_named(str(found.metric), "log" if is_log else "linear"))
    parts = _parts(values, facet, is_log=is_log)
    domains = [_domain(_finite(part), _FAR_ALONG, is_log=is_log) for part in parts]
    panels = [
        panel
        for part, domain in zip(parts, domains, strict=True)
        for panel in lines(
            part,
            "steps",
            found.compare,
            facet=facet,
            x_scale="linear",
            centre="median",
            ends=True,
            domain=domain,
            height=260 if facet or shown.sizes[found.compare] <= _FEW else 340,
            **_compared_at(found, steps),
        )
    ]
    reading = (
        "Each faint line is one run, up to where it ends; the strong line is the median with its pointwise 95 % "
        "interval, of the runs that reach its end. Between logged steps a run has the value logged last."
    )
    title = f"{found.metric} along the {'steps' if step == 'step' else step}"
    reading += f" Shown: {joined(said)}." if said else ""
    axes = _OWN_AXES if len(parts) > 1 else ""
    yield Figure("learning", title, tuple(panels), _ends(found) + axes + _beyond(parts, domains), reading)


def _named(metric: str, scale: str) -> dict[str, Any]:
    """The attributes of a user's metric, whose name stays as it is spelled."""
    words = f"{metric} (log scale)" if scale == "log" else metric
    return attrs(words, scale) | {"spelled": 1}


def _finite(values: xr.DataArray) -> Array:
    return np.asarray(values.values[np.isfinite(values.values)])


def _parts(values: xr.DataArray, facet: str | None, *, is_log: bool) -> list[xr.DataArray]:
    """What shares an axis: all, or each panel by itself where one would be squeezed on an axis of all."""
    panels = _panels(values, facet)
    spaced = [np.quantile(np.log(own) if is_log else own, _NINE_IN_TEN) for own in map(_finite, panels) if own.size]
    return panels if are_unlike(spaced) else [values]


def _panels(values: xr.DataArray, facet: str | None) -> list[xr.DataArray]:
    return [values] if facet is None else [values.isel({facet: [k]}) for k in range(values.sizes[facet])]


def _most_times(values: xr.DataArray, facet: str | None) -> float:
    """How many times its least value a panel's greatest is, at most."""
    return float(max(own.max() / own.min() for own in map(_finite, _panels(values, facet)) if own.size))


def _carried(found: Comparison, shown: xr.Dataset, name: str, step: str) -> xr.DataArray:
    """Histories without the gaps between logged steps; NaN from where a run diverged for good, or ends."""
    dims = [one for one in shown[name].dims if one != step]
    whole = shown[name].transpose(*dims, step).drop_vars([str(one) for one in shown.coords if one not in dims])
    values = np.array(whole.values, dtype=float)
    rows, steps = values.reshape(-1, values.shape[-1]), shown[step].values
    there = np.isfinite(rows)
    last_finite = np.where(there.any(axis=1), rows.shape[1] - 1 - there[:, ::-1].argmax(axis=1), -1)
    before = np.maximum.accumulate(np.where(there, np.arange(rows.shape[1]), -1), axis=1)
    filled = np.where(before >= 0, np.take_along_axis(rows, np.maximum(before, 0), axis=1), np.nan)
    last = shown[f"{found.metric}_last_step"].transpose(*dims).values.reshape(-1)
    filled[np.arange(rows.shape[1]) > last_finite[:, None]] = np.nan
    status = shown["status"].transpose(*dims).values.reshape(-1)
    filled[np.isin(status, ("running", "crashed")) & (last == steps[-1]), -1] = np.nan  # no part of the median
    return whole.copy(data=filled.reshape(values.shape)).assign_coords({step: steps})


def _domain(finite: Array, far: float, *, is_log: bool) -> tuple[float, float] | None:
    """An axis without the few values so far away that all others would be one line; None where there are none."""
    values = np.sort(np.log(finite[finite > 0]) if is_log else finite)
    few = max(1, len(values) // 20)
    inner = values[few:-few]
    if len(inner) < 2 or inner[0] == inner[-1]:
        return None
    reach = far * (inner[-1] - inner[0])
    inside = values[(values >= inner[0] - reach) & (values <= inner[-1] + reach)]
    if len(inside) == len(values):
        return None
    air = 0.05 * (inside[-1] - inside[0])
    first, last = (float(np.exp(end)) if is_log else float(end) for end in (inside[0] - air, inside[-1] + air))
    return first, last


def _beyond(parts: Sequence[xr.DataArray], domains: Sequence[tuple[float, float] | None]) -> str:
    """Say how many values are beyond their axes."""
    pairs = [(_finite(part), ends) for part, ends in zip(parts, domains, strict=True) if ends is not None]
    gone = np.concatenate([[], *(own[(own < low) | (own > high)] for own, (low, high) in pairs)])
    if not gone.size:
        return ""
    verb = "is" if len(gone) == 1 else "are"
    far = gone[np.argmax(np.abs(gone))]
    return f" {len(gone):,} {plural('value', len(gone))} {verb} beyond the axis, as far as {number(far, 3)}."


def _compared_at(found: Comparison, steps: Array) -> dict[str, Any]:
    """Mark which part of the histories is compared."""
    at = read_at(found.results.attrs["at"])
    if at.kind == "step":
        return {"references": [Reference(at.number, "compared here", axis="x")]}
    first, last = float(steps[0]), float(steps[-1])
    ends = found.results[f"{found.metric}_last_step"].values
    is_shared = bool((ends[np.isfinite(ends)] == last).all())  # or each run has a part of its own
    is_mean = at.kind == "mean" and first < last and is_shared
    return {"span": (last - at.number * (last - first), last)} if is_mean else {}


def _ends(found: Comparison) -> str:
    """Say which runs do not reach the end."""
    results, words = found.results, list[str]()
    status, last = results["status"], results[f"{found.metric}_last_step"].transpose(*results["status"].dims).values
    axes = [results[dim].values.tolist() for dim in status.dims]
    for name, verb in (("crashed", "crashed"), ("running", "still running")):
        places = np.argwhere(status.values == name)
        if 0 < len(places) <= _NAMED:
            for place in places:
                who = " ".join(label(values[k]) for values, k in zip(axes, place, strict=True))
                end = last[tuple(place)]
                words.append(f"{who} {verb}" + (f" at step {end:,.12g}" if np.isfinite(end) else ""))
        elif len(places):
            words.append(f"{len(places):,} {verb}")
    diverged = sum(count_diverged(found).values())
    words += [f"{diverged:,} diverged"] if diverged else []
    ends = last[np.isin(status.values, ("finished", "unknown")) & np.isfinite(last)]
    if ends.size and ends.min() < _EARLY * ends.max():
        which = "the others end" if words else "some end early,"
        words.append(f"{which} between steps {ends.min():,.12g} and {ends.max():,.12g}")
    count = int((status != "missing").sum())
    return f"Of {count:,} runs {joined(words)}." if words else f"All {count:,} runs reach the end."


def count_diverged(found: Comparison) -> dict[str, int]:
    """Count the runs of each setting whose value is NaN or infinite."""
    counts = ~found.results["status"].isin(LEFT_OUT)
    logged = found.results[f"{found.metric}_last_step"].notnull()
    gone = counts & logged & ~np.isfinite(found.results[found.metric])
    values = found.results[found.compare].values.tolist()
    return {label(one): int(gone.sel({found.compare: one}).sum()) for one in values}


def _final(found: Comparison, shown: xr.Dataset, notes: list[str]) -> Figure:
    """Draw the value of every run that counts."""
    values = _counted(found, shown)
    said = list(notes)
    if shown.sizes[found.compare] > _MOST_ROWS:
        said.append(f"the {_MOST_ROWS} best of {shown.sizes[found.compare]} values of {found.compare}")
        values = values.isel({found.compare: slice(_MOST_ROWS)})
    facet = "panel" if "panel" in values.dims else None
    scale = "log" if found.results[found.metric].attrs.get("scale") == "log" else "linear"
    values = values.drop_vars([str(one) for one in values.coords if one not in values.dims])
    parts = _parts(values, facet, is_log=scale == "log")
    domains = [_domain(_finite(part), _FAR, is_log=scale == "log") for part in parts]
    panels = [
        panel
        for part, domain in zip(parts, domains, strict=True)
        for panel in dots(
            part.assign_attrs(_named(f"{found.metric} {found.at}", scale)),
            str(found.compare),
            facet=facet,
            domain=domain,
            missing="without a value",
            each="run",
            centre="median",
        )
    ]
    diverged = {name: count for name, count in count_diverged(found).items() if count}
    words = joined([f"{count:,} {plural('run', count)} of {name}" for name, count in diverged.items()])
    finding = f"{words} diverged and {'counts' if sum(diverged.values()) == 1 else 'count'} as worst." if words else ""
    reading = (
        "Each dot is one run; the diamond is the median with its 95 % interval, of the runs that have a value. Runs "
        "without one diverged, crashed, still run or are missing."
    )
    reading += f" Shown: {joined(said)}." if said else ""
    axes = _OWN_AXES if len(parts) > 1 else ""
    finding = " ".join(filter(None, (finding, _medians(found))))
    finding = finding or f"Each run of {found.results.sizes[found.compare]} values of {found.compare}."
    finding += axes + _beyond(parts, domains)
    return Figure("final", f"{found.metric} {found.at}", tuple(panels), finding, reading)


def _medians(found: Comparison) -> str:
    """The medians of few settings, as their pairs have them, in which a run that diverged is the worst."""
    middle: dict[str, set[float]] = {}
    for pair in found.pairs:
        for name, value in zip((pair.first, pair.second), pair.centre, strict=True):
            middle.setdefault(name, set()).add(value)
    if not middle or len(middle) > _FEW or _others(found) or any(len(some) > 1 for some in middle.values()):
        return ""
    known = [f"{name} {number(min(some), 3) if np.isfinite(min(some)) else 'none'}" for name, some in middle.items()]
    return f"Medians of what is compared: {joined(known)}."


def _differences(found: Comparison) -> Iterator[Figure]:
    """Draw each pair's difference and, on a scale of ratios, its ratio."""
    if not found.pairs:
        return
    decided = sum(one.decision != "undecided" for one in found.pairs)
    pairs = f"{len(found.pairs):,} {plural('pair', len(found.pairs))}"
    finding = f"{decided:,} of {pairs} {'is' if decided == 1 else 'are'} decided."
    if len(found.pairs) == 1:
        finding = "The pair is decided." if decided else "The pair is undecided."
    better = "right" if found.higher_is_better else "left"
    reading = f"Each dot is the first minus the second, the bar its 95 % interval; the first is better to the {better}."
    said = f" Shown: the first {_MOST_PAIRS} pairs of a panel." if _has_more(found) else ""
    rows = _in_panels(found, "−", [(one.difference, one.interval) for one in found.pairs])
    title = f"Difference in {found.metric}"
    panels, is_shared = forest(rows, title, "linear", 0.0)
    yield Figure("differences", title, tuple(panels), finding + ("" if is_shared else _OWN_AXES), reading + said)
    ratios = [(one.ratio, one.ratio_interval) for one in found.pairs]
    if found.scale == "linear" or any(value is None for value, _ in ratios):
        return
    title = f"{'Odds ratio' if found.scale == 'logit' else 'Ratio'} of {found.metric}"
    reading = reading.replace("minus", "divided by")
    panels, is_shared = forest(_in_panels(found, "/", ratios), f"{title} (log scale)", "log", 1.0)
    yield Figure("ratios", title, tuple(panels), finding + ("" if is_shared else _OWN_AXES), reading + said)


def _in_panels(found: Comparison, sign: str, values: Sequence[Any]) -> dict[str, list[Estimate]]:
    """The rows of each panel, in the order of the pairs."""
    panels: dict[str, list[Estimate]] = {}
    for one, (value, interval) in zip(found.pairs, values, strict=True):
        head = ", ".join(f"{name}={at}" for name, at in one.at.items()) or "All pairs"
        rows = panels.setdefault(head, [])
        if len(rows) < _MOST_PAIRS and len(panels) <= _MOST_PANELS:
            name = f"{_short(one.first)} {sign} {_short(one.second)}"
            low, high = interval
            note = _outcome(one, (_NARROW if one.at else _LETTERS) - len(name))
            rows.append(Estimate(name, value, low, high, note, one.decision != "undecided"))
    return {head: rows for head, rows in panels.items() if rows}


def _short(name: str) -> str:
    return name if len(name) <= _NAME else f"{name[: _NAME - 10]}…{name[-9:]}"


def _has_more(found: Comparison) -> bool:
    panels: dict[str, int] = {}
    for one in found.pairs:
        head = str(dict(one.at))
        panels[head] = panels.get(head, 0) + 1
    return max(panels.values()) > _MOST_PAIRS


def _outcome(one: Pair, room: int) -> str:
    """Who is better, as far as there is room for it, and p."""
    p = "" if one.p is None else p_value(one.p)
    who = "undecided"
    if one.decision != "undecided":
        who = f"{_short(one.first if one.decision == 'supported' else one.second)} is better"
    words = ", ".join(filter(None, (who, p)))
    return words if len(words) <= room else p
