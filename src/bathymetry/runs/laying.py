"""Runs that have their places as labelled arrays: final values, histories and statuses over settings and members."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from bathymetry.charts import attrs
from bathymetry.core.errors import InputError
from bathymetry.runs.at import At, value_at
from bathymetry.runs.run import History, Run, Scalar

_MOST_NUMBERS = 20_000_000  # of a history over all runs; longer ones are thinned to _ROWS steps
_ROWS = 1_000

Cell = tuple[Scalar, ...]


def laid_out(
    cells: Mapping[Cell, Mapping[Scalar, Run]],
    axes_named: Sequence[str],
    member: str,
    needed: Sequence[str],
    metrics: Sequence[str],
    at: At,
    *,
    higher_is_better: bool,
) -> tuple[xr.Dataset, dict[tuple[int, ...], Run]]:
    """Lay runs out; `member` says what tells those of a cell apart, and one without a `needed` metric is too short."""
    axes = {name: _ordered([cell[place] for cell in cells]) for place, name in enumerate(axes_named)}
    members = _ordered([one for runs in cells.values() for one in runs])
    shape = (*map(len, axes.values()), len(members))
    place_of = {name: {repr(value): i for i, value in enumerate(values)} for name, values in axes.items()}
    member_of = {repr(member): i for i, member in enumerate(members)}
    dims = [*axes, "member"]
    where = {
        (*(place_of[name][repr(value)] for name, value in zip(axes, cell, strict=True)), member_of[repr(name)]): one
        for cell, runs in cells.items()
        for name, one in runs.items()
    }
    status = np.full(shape, "missing", dtype="<U10")
    ids = np.full(shape, "", dtype=object)
    for index, one in where.items():
        lacks_all = needed and not any(metric in one.metrics for metric in needed)
        status[index] = "too short" if lacks_all and one.status in ("finished", "unknown") else one.status
        ids[index] = one.id
    data: dict[str, Any] = {}
    grids = {
        metric: _grid([one.metrics[metric].step for one in where.values() if metric in one.metrics])
        for metric in metrics
    }
    is_shared = len({steps.tobytes() for steps, _ in grids.values()}) == 1
    for metric in metrics:
        final = np.full(shape, np.nan)
        last = np.full(shape, np.nan)
        logged = {index: one.metrics[metric] for index, one in where.items() if metric in one.metrics}
        for index, history in logged.items():
            value = value_at(history, at, higher_is_better=higher_is_better)
            final[index] = np.nan if value is None else value
            last[index] = history.step[-1] if len(history.step) else np.nan
            if value is None and metric in needed and status[index] in ("finished", "unknown"):
                status[index] = "too short"
        if metric in needed:
            check_reached(metric, at, last, [one.step[0] for one in logged.values() if len(one.step)])
        steps, thinned = grids[metric]
        whole = np.full((*shape, len(steps)), np.nan)
        nan = np.zeros(whole.shape, dtype=bool)
        for index, history in logged.items():
            whole[index] = _on_grid(history, steps, thinned=thinned)
            marks = _on_grid(History(history.step, np.isnan(history.value) * 1.0), steps, thinned=thinned)
            nan[index] = marks == 1
        step = "step" if is_shared else f"{metric} step"
        scale = _scale(final)
        data[metric] = xr.Variable(dims, final, attrs(f"{metric} {at.words}", scale))
        data[f"{metric}_history"] = xr.Variable([*dims, step], whole, attrs(metric, scale))
        data[f"{metric}_last_step"] = xr.Variable(dims, last, {"long_name": f"last step at which {metric} was logged"})
        data[step] = xr.Variable([step], steps, attrs("step"))
        if nan.any():
            words = {"long_name": f"where {metric} was logged as NaN, and not missing"}
            data[f"{metric}_diverged"] = xr.Variable([*dims, step], nan, words)
        if thinned:
            data[f"{metric}_history"].attrs["thinned"] = f"to {len(steps):,} steps"
    data["status"] = xr.Variable(dims, status, {"long_name": "finished, running, crashed, too short or missing"})
    data["run"] = xr.Variable(dims, ids.astype(str), {"long_name": "the run's name in its tool"})
    results = xr.Dataset(data)
    results = results.set_coords(
        [name for name in results.data_vars if str(name).endswith("step") and name in results.dims]
    )
    coordinates = {name: _coordinate(values) for name, values in {**axes, "member": members}.items()}
    results = results.assign_coords(coordinates)
    for name in axes:
        results[name].attrs |= attrs(name)
    results["member"].attrs |= {"long_name": member}
    return results.assign_attrs(Conventions="CF-1.11", members=member, at=str(at)), where


_OWN = ("member", "step", "status", "run")  # names of the arrays themselves


def check_free(compare: str | None, by: Sequence[str], metrics: Sequence[str]) -> None:
    """Refuse settings and metrics of a name that the arrays have for something else."""
    axes = [*by, *([] if compare is None else [compare])]
    every = [*axes, *(name for one in metrics for name in names_of(one))]
    for field, names in (("by", by), ("compare", axes), ("metric", metrics)):
        for name in names:
            if name in _OWN or every.count(name) > 1:
                raise InputError(field, name, "the arrays have this name for something else; rename it in the runs")


def names_of(metric: str) -> list[str]:
    """The names of the arrays of a metric."""
    return [metric, f"{metric}_history", f"{metric}_last_step", f"{metric}_diverged", f"{metric} step"]


def free_of(metrics: Sequence[str]) -> list[str]:
    """The metrics that have a name of their own, where all are read."""
    more = {name for one in metrics for name in names_of(one)[1:]}
    return [one for one in metrics if one not in _OWN and one not in more]


def check_reached(metric: str, at: At, last: np.ndarray[Any, Any], first: Sequence[float]) -> None:
    """Refuse a step at which no run has a value."""
    known = last[np.isfinite(last)]
    if at.kind == "step" and len(first) and min(first) > at.number:
        remedy = f"no run has logged {metric} by then; the first logs it at step {min(first):,.12g}"
        raise InputError("at", str(at), remedy)
    if at.kind == "step" and not (known >= at.number).any():
        ends = f"the longest logs {metric} up to step {known.max():,.12g}" if known.size else f"none logs {metric}"
        raise InputError("at", str(at), f"no run reaches it; {ends}")


def _ordered(values: Sequence[Scalar]) -> list[Scalar]:
    """Sort numbers by size, and anything else as text."""
    distinct = list({repr(one): one for one in values}.values())
    if all(isinstance(one, int | float) and not isinstance(one, bool) for one in distinct):
        return sorted(distinct)  # type: ignore[type-var]
    return sorted(distinct, key=str)


def _coordinate(values: Sequence[Scalar]) -> list[Any]:
    """Values of one kind stay, and mixed ones become text, as arrays and files hold one kind."""
    kinds = {type(one) for one in values}
    if kinds <= {int, float} or (len(kinds) == 1 and kinds != {type(None)}):
        return list(values)
    return [str(one) for one in values]


def _grid(steps: Sequence[np.ndarray[Any, Any]]) -> tuple[np.ndarray[Any, Any], bool]:
    """All steps at which any run logged, or fewer where that would be too many numbers."""
    if not steps:
        return np.zeros(0), False
    first = steps[0]
    if all(one is first or np.array_equal(one, first) for one in steps):
        union = first
    else:
        union = np.unique(np.concatenate(steps))
    if len(union) * len(steps) <= _MOST_NUMBERS:
        return union, False
    return union[np.unique(np.linspace(0, len(union) - 1, _ROWS).round().astype(int))], True


def _on_grid(logged: History, steps: np.ndarray[Any, Any], *, thinned: bool) -> np.ndarray[Any, Any]:
    """A run's values at the steps of all; NaN where it logged nothing."""
    if len(logged.step) == len(steps) and np.array_equal(logged.step, steps):
        return logged.value
    values = np.full(len(steps), np.nan)
    if not len(logged.step):
        return values
    if thinned:
        before = np.searchsorted(logged.step, steps, side="right") - 1
        there = (before >= 0) & (steps <= logged.step[-1])
        values[there] = logged.value[before[there]]
        return values
    values[np.searchsorted(steps, logged.step)] = logged.value
    return values


def _scale(final: np.ndarray[Any, Any]) -> str:
    """A logarithmic axis where positive values span more than a factor of ten."""
    finite = final[np.isfinite(final)]
    return "log" if len(finite) and finite.min() > 0 and finite.max() / 10 > finite.min() else "linear"
