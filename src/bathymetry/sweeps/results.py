"""The results of a sweep: one dataset over its axes, complete or not, with the status of every member.

Variables lie over the axes of a grid, or over `point` with the axes as coordinates, and over `member`. What is not
stored yet, or could not be computed, is NaN.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import xarray as xr

from bathymetry.charts import attrs
from bathymetry.core.showing import label, rounded_apart
from bathymetry.data import Data
from bathymetry.models import MLPConfig
from bathymetry.models.mlp import parameter_count
from bathymetry.studies.base import PlannedEnsemble
from bathymetry.sweeps.axes import Axis, Point, Range
from bathymetry.sweeps.measures import title_of

Status = Literal["pending", "failed", "diverged", "done"]
STATUSES: tuple[Status, ...] = get_args(Status)
UNFINISHED: Sequence[Status] = ("pending", "failed")

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Found:
    """What is stored of one ensemble: records of ranges of members, and of those that failed the error."""

    planned: PlannedEnsemble
    records: Mapping[range, xr.Dataset]
    failed: Mapping[range, str] = field(default_factory=dict)

    def of_plan(self) -> "Found":
        """The same without members that are stored and not planned, as another sweep may have more of them."""
        wanted, records = self.planned.members, {}
        for have, record in self.records.items():
            if kept := range(max(have.start, wanted.start), min(have.stop, wanted.stop)):
                rows = slice(kept.start - have.start, kept.stop - have.start)
                records[kept] = record if kept == have else record.isel(member=rows)
        failed = {one: error for one, error in self.failed.items() if one.start < wanted.stop > wanted.start < one.stop}
        return Found(self.planned, records, failed)


def gathered(
    found: Sequence[Found], points: Sequence[Point], axes: Sequence[Axis], measure: Sequence[str], *, is_grid: bool
) -> xr.Dataset:
    """Put together what is stored of a sweep's ensembles, which are in the order of its points."""
    found = [one.of_plan() for one in found]
    members, count = len(found[0].planned.members), len(found)
    splits = _splits(found)
    epochs = _epochs(found)
    shape = (count, members)
    scores = _nothing_yet(found, (len(splits), *shape), epochs)
    errors = np.array([next(iter(one.failed.values()), "") for one in found])
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
                scores[quantity][own, place, rows] = values[..., -1]
                if epochs:
                    whole = scores[f"{quantity}_history"]
                    whole[np.ix_(own, [place], range(rows.start, rows.stop), at)] = values[:, None]

    dims = [axis.name for axis in axes] if is_grid else ["point"]
    labels = {axis.name: axis.labels([point.values[axis.path] for point in points]) for axis in axes}
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
    if any(errors):
        data["error"] = laid_out(errors, [], [])
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


def values_at_points(results: xr.Dataset, axes: Sequence[Axis]) -> list[dict[str, str]]:
    """The values of the axes at each point of a sweep that is no grid, with four digits or as many as differ."""
    columns = [list(map(label, rounded_apart(results[axis.name].values.tolist()))) for axis in axes]
    return [dict(zip([axis.name for axis in axes], row, strict=True)) for row in zip(*columns, strict=True)]


def in_words(values: Mapping[str, str]) -> str:
    """Values with their axes: "learning rate 0.01, width 20"."""
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in values.items())


def table(results: xr.Dataset, axes: Sequence[Axis]) -> pd.DataFrame:
    """One row for each point: its axes, the median of each variable over members, and how many are done.

    Where points lie on no grid, their number comes first. Where some failed, how many did, and why.
    """
    dims = [dim for dim in results["status"].dims if dim != "member"]
    points = results.stack(point=dims) if dims != ["point"] else results
    columns: dict[str, Any] = {} if points is not results else {"point": results["point"].values}
    columns |= {axis.name: points[axis.name].values for axis in axes}
    for name, values in points.data_vars.items():
        if values.dtype.kind == "f" and "epoch" not in values.dims:
            middle = values.median("member")
            splits = results["split"].values.tolist() if "split" in values.dims else []
            columns |= {f"{split}_{name}": middle.sel(split=split).values for split in splits}
            if not splits:
                columns[str(name)] = middle.values
    columns["done"] = (points["status"] == "done").sum("member").values
    if "error" in points:
        columns["failed"] = (points["status"] == "failed").sum("member").values
        columns["error"] = points["error"].values
    return pd.DataFrame(columns)


def _splits(found: Sequence[Found]) -> list[str]:
    names = [record.variables["split"].values.tolist() for one in found for record in one.records.values()]
    return list(dict.fromkeys(split for some in names for split in some)) or ["train", "test"]


def _nothing_yet(found: Sequence[Found], shape: Sequence[int], epochs: Sequence[int]) -> dict[str, Array]:
    """NaN for every quantity that is recorded at some point: accuracy where there are classes."""
    names = ["loss", "accuracy"] if any(map(_has_accuracy, found)) else ["loss"]
    ends = {name: np.full(shape, np.nan) for name in names}
    histories = {f"{name}_history": np.full((*shape, len(epochs)), np.nan) for name in names} if epochs else {}
    return {one: values for name in names for one, values in {**ends, **histories}.items() if one.startswith(name)}


def _has_accuracy(one: Found) -> bool:
    data = one.planned.config.data
    has_classes = isinstance(data, Data) and data.classes is not None
    return has_classes or any("accuracy" in some for some in one.records.values())


def _epochs(found: Sequence[Found]) -> list[int]:
    """All epochs that are recorded, where a history is; the first and the last as long as nothing is stored."""
    if all(one.planned.config.record_at is not None for one in found):
        return []
    recorded = (record.variables["epoch"].values.tolist() for one in found for record in one.records.values())
    ends = {0, max(one.planned.config.num_epochs for one in found)}
    return sorted({epoch for some in recorded for epoch in some} or ends)


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
        if variable.dtype.kind == "f":
            variable.attrs |= _attributes(str(name))
    results["status"].attrs |= {"long_name": "done, diverged, failed or pending"}
    if "error" in results:
        results["error"].attrs |= {"long_name": "why members failed"}
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
