"""The results of a sweep: one dataset over its axes, complete or not, with the status of every member.

Variables lie over the axes of a grid, or over `point` with the axes as coordinates, and over `member`. What is not
stored yet, or could not be computed, is NaN.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import xarray as xr

from bathymetry.charts import attrs
from bathymetry.models import MLPConfig
from bathymetry.models.mlp import parameter_count
from bathymetry.studies.base import PlannedEnsemble
from bathymetry.sweeps.axes import Axis, Point, Range, coordinates
from bathymetry.sweeps.measures import title_of

Status = Literal["pending", "failed", "diverged", "done"]
STATUSES: tuple[Status, ...] = get_args(Status)
UNFINISHED: Sequence[Status] = ("pending", "failed")

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Found:
    """What is stored of one ensemble: records of ranges of members, and the members that failed."""

    planned: PlannedEnsemble
    records: Mapping[range, xr.Dataset]
    failed: Sequence[range] = ()


def gathered(
    found: Sequence[Found], points: Sequence[Point], axes: Sequence[Axis], measure: Sequence[str], *, is_grid: bool
) -> xr.Dataset:
    """Put together what is stored of a sweep's ensembles, which are in the order of its points."""
    members, count = len(found[0].planned.members), len(found)
    splits = _splits(found)
    epochs = _epochs(found)
    shape = (count, members)
    scores: dict[str, Array] = {}
    probed = {name: np.full(shape, np.nan) for name in measure}
    status = np.full(shape, "pending", dtype=f"<U{max(map(len, STATUSES))}")
    for place, one in enumerate(found):
        for range_ in one.failed:
            status[place, range_.start : range_.stop] = "failed"
        for range_, record in one.records.items():
            rows = slice(range_.start, range_.stop)
            variables = record.variables
            status[place, rows] = np.where(variables["diverged"].values, "diverged", "done")
            for name in measure:
                probed[name][place, rows] = variables[name].values[:, -1]
            own = [splits.index(split) for split in variables["split"].values.tolist()]
            at = [epochs.index(epoch) for epoch in variables["epoch"].values.tolist()] if epochs else []
            for quantity in ("loss", "accuracy"):
                if quantity not in variables:
                    continue
                values = variables[quantity].values  # split, member, epoch
                end = scores.setdefault(quantity, np.full((len(splits), *shape), np.nan))
                end[own, place, rows] = values[..., -1]
                if epochs:
                    history = (len(splits), *shape, len(epochs))
                    whole = scores.setdefault(f"{quantity}_history", np.full(history, np.nan))
                    whole[np.ix_(own, [place], range(rows.start, rows.stop), at)] = values[:, None]
    scores.setdefault("loss", np.full((len(splits), *shape), np.nan))

    dims = [axis.name for axis in axes] if is_grid else ["point"]
    labels = {axis.name: coordinates([point.values[axis.path] for point in points]) for axis in axes}
    across = {name: list(dict.fromkeys(values)) for name, values in labels.items()} if is_grid else {}
    sizes = [len(values) for values in across.values()] if is_grid else [count]

    def laid_out(values: Array, before: Sequence[str], after: Sequence[str]) -> xr.Variable:
        lead = len(before)
        reshaped = values.reshape(*values.shape[:lead], *sizes, *values.shape[lead + 1 :])
        return xr.Variable((*before, *dims, *after), reshaped)

    data: dict[str, xr.Variable] = {}
    for name, values in scores.items():
        data[name] = laid_out(values, ["split"], ["member", "epoch"] if name.endswith("history") else ["member"])
    data |= {name: laid_out(values, [], ["member"]) for name, values in probed.items()}
    data["status"] = laid_out(status, [], ["member"])
    data["diverged"] = laid_out(status == "diverged", [], ["member"])
    positions: dict[str, Any] = {name: (name, values) for name, values in across.items()}
    if not is_grid:
        positions = {"point": range(count)} | {name: ("point", values) for name, values in labels.items()}
    results = xr.Dataset(data, {**positions, "split": splits, "member": list(found[0].planned.members)})
    if epochs:
        results = results.assign_coords(epoch=epochs)
    parameters = [_parameters(one) for one in found]
    if None not in parameters and "parameters" not in results.coords:
        results = results.assign_coords(parameters=_squeezed(laid_out(np.array(parameters), [], []), dims))
    return _described(_with_examples(results, found), axes)


def table(results: xr.Dataset, axes: Sequence[Axis]) -> pd.DataFrame:
    """One row for each point: its axes, how many members are done, and the median of each variable over them."""
    dims = [dim for dim in results["status"].dims if dim != "member"]
    points = results.stack(point=dims) if dims != ["point"] else results
    columns: dict[str, Any] = {axis.name: points[axis.name].values for axis in axes}
    for name, values in points.data_vars.items():
        if values.dtype.kind == "f" and "epoch" not in values.dims:
            middle = values.median("member")
            splits = results["split"].values.tolist() if "split" in values.dims else []
            columns |= {f"{split} {name}": middle.sel(split=split).values for split in splits}
            if not splits:
                columns[str(name)] = middle.values
    columns["done"] = (points["status"] == "done").sum("member").values
    return pd.DataFrame(columns)


def _splits(found: Sequence[Found]) -> list[str]:
    names = [record.variables["split"].values.tolist() for one in found for record in one.records.values()]
    return list(dict.fromkeys(split for some in names for split in some)) or ["train", "test"]


def _epochs(found: Sequence[Found]) -> list[int]:
    """All epochs that are recorded, where a history is."""
    if all(one.planned.config.record_at is not None for one in found):
        return []
    recorded = (record.variables["epoch"].values.tolist() for one in found for record in one.records.values())
    return sorted({epoch for some in recorded for epoch in some})


def _with_examples(results: xr.Dataset, found: Sequence[Found]) -> xr.Dataset:
    """Add of how many examples each set has, where that is the same at every point."""
    known = {
        tuple(record.variables["examples"].values.tolist())
        for one in found
        for record in one.records.values()
        if record.variables["split"].values.tolist() == results["split"].values.tolist()
    }
    return results.assign_coords(examples=("split", list(known.pop()))) if len(known) == 1 else results


def _parameters(one: Found) -> int | None:
    network = one.planned.config.network
    return parameter_count(network.widths) if isinstance(network, MLPConfig) else None


def _squeezed(values: xr.Variable, dims: Sequence[str]) -> xr.Variable:
    """Leave out the dimensions along which nothing changes."""
    for dim in dims:
        first = values.isel({dim: 0})
        if bool((values == first).all()):
            values = first
    return values


def _described(results: xr.Dataset, axes: Sequence[Axis]) -> xr.Dataset:
    """Give variables and axes the attributes by which charts name and space them."""
    for axis in axes:
        values = results[axis.name]
        scale = "log" if _is_logarithmic(axis, values.values) else "linear"
        values.attrs |= attrs(axis.name.replace("_", " "), scale)
    for name, variable in results.data_vars.items():
        if str(name) not in ("status", "diverged"):
            variable.attrs |= _attributes(str(name))
    results["status"].attrs |= {"long_name": "done, diverged, failed or pending"}
    return results


def _attributes(name: str) -> dict[str, str]:
    quantity = name.removesuffix("_history")
    if quantity in ("loss", "accuracy"):
        return attrs(quantity, "log" if quantity == "loss" else "accuracy")
    return attrs(*title_of(name))


def _is_logarithmic(axis: Axis, values: Array) -> bool:
    """Whether values are spaced by factors rather than by differences."""
    if isinstance(axis.values, Range):
        return axis.values.scale == "log"
    if values.dtype.kind not in "iuf" or values.min() <= 0 or len(set(values.tolist())) < 2:
        return False
    ordered = np.unique(values).astype(float)
    if len(ordered) == 2:
        return bool(ordered[1] >= 5 * ordered[0])
    steps, factors = np.diff(ordered), np.diff(np.log(ordered))
    return bool(factors.std() / factors.mean() < steps.std() / steps.mean())
