"""Output folders of Bathymetry: each member of a study or sweep is a run, with the axes as its settings."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from bathymetry.runs.run import Format, History, Layout, Run, Scalar, Status, Unit, history
from bathymetry.store.results import RESULT, read_results

_ALONG = ("split", "member", "epoch")
_MOST_PARTS = 20  # values of a further axis, each of which becomes a metric; longer ones are curves of something else
_STATUSES: Mapping[str, Status] = {
    "done": "finished",
    "diverged": "finished",
    "failed": "crashed",
    "pending": "running",
}

Settings = tuple[tuple[str, Scalar], ...]


def _units(root: Path, files: Sequence[Path]) -> list[Unit]:
    found = [one for one in files if one.name == RESULT]
    return [Unit(str(one.parent.relative_to(root)), (one,)) for one in found]


def _read(unit: Unit, layout: Layout) -> list[Run]:  # noqa: ARG001 - the files say all
    (path,) = unit.files
    results = read_results(path)
    study = str(results.attrs.get("study", path.parent.name))
    metrics: dict[Settings, dict[str, History]] = {}
    statuses: dict[Settings, Status] = {}
    for group, node in results.children.items():
        for settings, name, logged, status in _histories(node.to_dataset()):
            own = metrics.setdefault(settings, {})
            own[f"{group}/{name}" if name in own else name] = logged
            statuses[settings] = status
    return [
        Run(
            f"{study} {', '.join(f'{name}={value}' for name, value in settings)}",
            {"study": study, **dict(settings)},
            own,
            statuses[settings],
        )
        for settings, own in metrics.items()
    ]


def _histories(group: xr.Dataset) -> Iterator[tuple[Settings, str, History, Status]]:
    """Yield each metric of each member: its settings, its name, and what was recorded of it."""
    if "member" not in group.dims:
        return
    of_members = [one for name, one in group.data_vars.items() if "member" in one.dims and name != "status"]
    shared = set.intersection(*(set(map(str, one.dims)) for one in of_members)) if of_members else set()
    axes = [str(dim) for dim in group.dims if dim in shared and dim not in _ALONG]
    status, diverged = (
        group[name].transpose(*axes, "member").values if name in group and set(axes) <= set(group[name].dims) else None
        for name in ("status", "diverged")
    )
    for name, values in group.data_vars.items():
        if "member" not in values.dims or values.dtype.kind not in "iuf":
            continue
        metric = str(name).removesuffix("_history")
        if f"{name}_history" in group:
            continue  # the history has the last value, too
        further = [str(dim) for dim in values.dims if dim not in (*axes, *_ALONG)]
        if any(values.sizes[dim] > _MOST_PARTS for dim in further):
            continue
        parts = [dim for dim in ("split", *further) if dim in values.dims]
        laid = values.transpose(*axes, "member", *parts, *(["epoch"] if "epoch" in values.dims else []))
        steps = group["epoch"].values.astype(np.float64) if "epoch" in values.dims else np.zeros(1)
        labels = [group[dim].values.tolist() for dim in (*axes, "member", *parts)]
        numbers = laid.values.astype(np.float64)
        for index in np.ndindex(*map(len, labels)):
            at = [one[place] for one, place in zip(labels, index, strict=True)]
            settings = tuple(zip((*axes, "member"), at, strict=False))
            words = "/".join(map(str, at[len(axes) + 1 :]))
            own = index[: len(axes) + 1]
            logged = _logged(steps, numbers[index], is_diverged=bool(diverged is not None and diverged[own]))
            state = "finished" if status is None else _STATUSES.get(str(status[own]), "unknown")
            yield settings, f"{words}/{metric}" if words else metric, logged, state


def _logged(steps: np.ndarray[Any, Any], values: Any, *, is_diverged: bool) -> History:
    """Leave out epochs that were not recorded: NaN in between, and after a member that stopped early."""
    rows = np.atleast_1d(values)
    there = np.isfinite(rows)
    there[-1] |= is_diverged or not there.any()
    return history(steps[there], rows[there])


FORMAT = Format("Bathymetry", _units, _read, RESULT)
