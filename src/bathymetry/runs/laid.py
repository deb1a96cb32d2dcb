"""Runs that are laid out already, as `bm.runs.read` returns them, taken at another point or as a part."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import xarray as xr

from bathymetry.core.errors import InputError
from bathymetry.core.showing import joined, plural
from bathymetry.runs.at import At, read_at, value_at
from bathymetry.runs.laying import check_reached
from bathymetry.runs.run import History, Scalar
from bathymetry.runs.settings import is_same

LEFT_OUT = ("running", "crashed", "too short", "missing")
WHOLE = ("finished", "unknown", "too short")  # too short for what is compared, not for every claim


def histories(results: xr.Dataset, metric: str) -> Iterator[tuple[tuple[int, ...], History]]:
    """What each run logged of a metric, as the arrays hold it, along the axes of the runs and `member`."""
    whole = results[f"{metric}_history"]
    outer = results["status"].dims
    (dim,) = [str(name) for name in whole.dims if name not in outer]
    steps, rows = whole[dim].values, whole.transpose(*outer, dim).values
    last = results[f"{metric}_last_step"].transpose(*outer).values
    diverged = f"{metric}_diverged" in results
    nan = results[f"{metric}_diverged"].transpose(*outer, dim).values if diverged else np.zeros(rows.shape, dtype=bool)
    for index in np.ndindex(*last.shape):
        there = ~np.isnan(rows[index]) | nan[index] | (steps == last[index])
        if there.any():
            yield index, History(steps[there], rows[index][there])


def retaken(results: xr.Dataset, metric: str, point: At, *, higher_is_better: bool) -> xr.Dataset:
    """Take a metric's values at another point than they were read with; runs are too short for this metric alone."""
    is_same_point = results.attrs.get("at") == str(point) and point.kind != "best"
    outer = results["status"].dims
    before = results[metric].transpose(*outer).values
    found, status = np.full(before.shape, np.nan), results["status"].values.copy()
    known = list(histories(results, metric))
    check_reached(metric, point, results[f"{metric}_last_step"].values, [logged.step[0] for _, logged in known])
    for index, logged in known:
        value = value_at(logged, point, higher_is_better=higher_is_better)
        found[index] = np.nan if value is None else value
        if status[index] in WHOLE:
            status[index] = (
                "too short" if value is None else "unknown" if status[index] == "too short" else status[index]
            )
    made = xr.Variable(outer, before if is_same_point else found, results[metric].attrs)
    return results.assign({metric: made, "status": results["status"].copy(data=status)}).assign_attrs(at=str(point))


def part_of_runs(
    results: xr.Dataset,
    members: str,
    by: Sequence[str],
    where: Mapping[str, Sequence[Scalar]],
    others: Mapping[str, object],
) -> xr.Dataset:
    """Apply what is asked of runs that are laid out; refuse what only a reader can do."""
    axes, own = [str(dim) for dim in results["status"].dims if dim != "member"], str(results.attrs["members"])
    for field, value in (("members", None if members in (own, "seed") else members), *others.items()):
        if value is not None and value != ():
            remedy = f"the runs are laid out already, with {own} as members; leave it out, or say it to bm.runs.read"
            raise InputError(field, value, remedy)
    for field, name in [("by", name) for name in by] + [("where", name) for name in where]:
        if name not in axes:
            raise InputError(
                field, name, f"the runs are laid out already; expected an axis of them: {joined(axes, 'or')}"
            )
    for name, wanted in where.items():
        known = results[name].values.tolist()
        for value in wanted:
            if not any(is_same(value, one) for one in known):
                raise InputError("where", f"{name}={value}", f"expected a value that a run has: {joined(known, 'or')}")
        results = results.isel({name: [k for k, one in enumerate(known) if any(is_same(v, one) for v in wanted)]})
    return results


def logs(results: xr.Dataset, metric: str) -> xr.DataArray:
    """Which runs have logged a metric at all."""
    return results[f"{metric}_last_step"].notnull()


def statuses(results: xr.Dataset, metric: str | None = None) -> list[str]:
    """How many runs are left out by their status, or because they never logged the metric."""
    status = results["status"].values
    found = []
    for name, words in (
        ("crashed", "crashed and left out"),
        ("running", "unfinished and left out"),
        ("too short", "too short for the step that is compared and left out"),
        ("missing", f"missing of the {results.attrs['members']}s that others have"),
    ):
        is_there = logs(results, metric).values if metric is not None and name == "too short" else True
        count = int(((status == name) & is_there).sum())
        if count and not (name == "missing" and results.attrs["members"] == "run"):
            found.append(f"{count} {plural('run', count)} {words}")
    if metric is not None and (count := int((results["status"].isin(WHOLE) & ~logs(results, metric)).sum())):
        found.append(f"{count} {plural('run', count)} without a value of {metric} left out")
    return found


def lengths(results: xr.Dataset, metric: str) -> list[str]:
    """Say so where the last values were logged at different steps."""
    point = read_at(results.attrs["at"])
    last = results[f"{metric}_last_step"].values[~results["status"].isin(LEFT_OUT).values]
    last = last[np.isfinite(last)]
    if point.kind == "step" or not last.size or last.min() == last.max():
        return []
    least, most = (f"{one:,.12g}" for one in (last.min(), last.max()))
    return [f"the runs end between step {least} and step {most}; --at step:{last.min():.12g} compares them at one step"]
