"""`bm.runs.aggregate`: settings compared over many tasks with a few runs each."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from bathymetry.charts import attrs
from bathymetry.core.errors import InputError, did_you_mean
from bathymetry.core.showing import joined
from bathymetry.runs.at import read_at
from bathymetry.runs.laid import logs, retaken, statuses
from bathymetry.stats.aggregate import (
    RESAMPLES,
    Aggregate,
    interquartile_mean,
    mean_score,
    median_score,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
)
from bathymetry.stats.validation import numbers

_COUNTED = ("finished", "unknown")  # runs that are whole, and not too short for the point
_THRESHOLDS = 101


def aggregate(
    results: xr.Dataset,
    metric: str,
    *,
    tasks: str,
    higher_is_better: bool = True,
    target: float | None = None,
    thresholds: Sequence[float] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> xr.Dataset:
    """Aggregate a metric over tasks and runs, with 95 % intervals by the stratified bootstrap.

    Each task has the same weight, so the metric has to be on one scale in all of them, such as a normalised return. A
    run that diverged (NaN) ranks last; one that crashed, still runs, is too short or never logged the metric is left
    out; `runs` says how many count, and the attribute `left_out` how many do not. Agarwal et al. 2021, "Deep
    Reinforcement Learning at the Edge of the Statistical Precipice", NeurIPS, arXiv:2108.13264.

    Args:
        results: What `bm.runs.read` returned, with the tasks as an axis (`by`).
        metric: Its name.
        tasks: The axis of the tasks.
        higher_is_better: The metric's direction.
        target: The value that counts as solved, for the optimality gap; None for no gap.
        thresholds: Of the performance profile; 101 from the least to the greatest value where None.
        resamples: How many tables are drawn.
        seed: Of the draws.

    Returns:
        Over the compared setting `interquartile_mean`, `median` and `mean` of the tasks' means, `optimality_gap`,
        `profile` (the share of runs that are better than each `threshold`), and `improvement` (the probability that a
        run is better than one of each `other` setting); with each its `…_interval` along `bound`, low and high.

    Raises:
        InputError: If an axis or the metric is not there, or a task has no whole run of a setting.

    Example:
        >>> import pandas as pd
        >>> rows = [("a", game, seed, seed + (game == "pong")) for game in ("pong", "go") for seed in range(4)]
        >>> rows = pd.DataFrame(rows, columns=["agent", "game", "seed", "score"])
        >>> from bathymetry.runs import read
        >>> runs = read(rows, members="seed", compare="agent", by=["game"])
        >>> float(aggregate(runs, "score", tasks="game").interquartile_mean.sel(agent="a"))
        2.0
    """
    if not isinstance(higher_is_better, bool | np.bool_):
        raise InputError("higher_is_better", higher_is_better, "expected True or False, the metric's direction")
    scores, settings, axis = _scores(results, metric, tasks, higher_is_better)
    sign = 1 if higher_is_better else -1
    draws: dict[str, Any] = {"resamples": resamples, "seed": seed}
    found: dict[str, tuple[list[str], np.ndarray[Any, Any]]] = {}

    def enter(name: str, of: list[Aggregate], flip: int = 1) -> None:
        found[name] = ([axis], np.array([flip * one.value for one in of]))
        found[f"{name}_interval"] = (
            [axis, "bound"],
            np.array([sorted(flip * end for end in one.interval) for one in of]),
        )

    enter("interquartile_mean", [interquartile_mean(one, **draws) for one in scores], sign)
    enter("median", [median_score(one, **draws) for one in scores], sign)
    enter("mean", [mean_score(one, **draws) for one in scores], sign)
    if target is not None:
        enter("optimality_gap", [optimality_gap(one, sign * target, **draws) for one in scores])
    tau = _thresholds(scores, sign) if thresholds is None else numbers("thresholds", thresholds)
    profiles = [performance_profile(one, sign * tau, **draws) for one in scores]
    found["profile"] = ([axis, "threshold"], np.array([one.share for one in profiles]))
    found["profile_interval"] = (
        [axis, "threshold", "bound"],
        np.array([np.stack([one.low, one.high], axis=-1) for one in profiles]),
    )
    pairs = [[probability_of_improvement(one, other, **draws) for other in scores] for one in scores]
    found["improvement"] = ([axis, "other"], np.array([[one.value for one in row] for row in pairs]))
    found["improvement_interval"] = (
        [axis, "other", "bound"],
        np.array([[one.interval for one in row] for row in pairs]),
    )
    coordinates = {axis: settings, "other": settings, "threshold": tau, "bound": ["low", "high"]}
    made = xr.Dataset(found, coordinates).assign_attrs(
        metric=metric, tasks=tasks, resamples=resamples, seed=seed, confidence=0.95, left_out=statuses(results, metric)
    )
    for name in made.data_vars:
        made[name].attrs |= attrs(f"{str(name).replace('_', ' ')} of {metric}")
    made["threshold"].attrs |= attrs(metric)
    made["runs"] = ([axis, tasks], np.array([[len(own) for own in one] for one in scores]))
    return made.assign_coords({tasks: results[tasks]})


def _scores(
    results: xr.Dataset, metric: str, tasks: str, higher_is_better: bool
) -> tuple[list[list[np.ndarray[Any, Any]]], list[Any], str]:
    """Take for each setting and task the whole runs, larger being better, and name the axis of the settings."""
    if not isinstance(results, xr.Dataset) or "status" not in results:
        raise InputError("results", type(results).__name__, "expected what bm.runs.read returned")
    if not isinstance(metric, str) or f"{metric}_history" not in results:
        known = [str(name) for name in results.data_vars if f"{name}_history" in results]
        raise InputError("metric", metric, f"{did_you_mean(metric, known)}expected one of {joined(known, 'or')}")
    axes = [str(name) for name in results[metric].dims if name != "member"]
    if tasks not in axes:
        raise InputError(
            "tasks", tasks, f"{did_you_mean(tasks, axes)}expected an axis of the runs (by): {joined(axes, 'or')}"
        )
    others = [name for name in axes if name != tasks]
    if len(others) != 1:
        remedy = f"expected one axis besides {tasks}, found {joined(others) or 'none'}; choose values with .sel"
        raise InputError("results", f"axes {joined(axes)}", remedy)
    results = retaken(results, metric, read_at(results.attrs["at"]), higher_is_better=higher_is_better)
    values = results[metric].transpose(others[0], tasks, "member").values
    is_whole = results["status"].isin(_COUNTED) & logs(results, metric)
    sign = 1 if higher_is_better else -1
    settings = results[others[0]].values.tolist()
    scores = []
    for setting, own, whole in zip(
        settings, values, is_whole.transpose(others[0], tasks, "member").values, strict=True
    ):
        each = [sign * row[keep] for row, keep in zip(own, whole, strict=True)]
        empty = next((str(name) for name, row in zip(results[tasks].values, each, strict=True) if not len(row)), None)
        if empty is not None:
            remedy = f"no whole run of {others[0]}={setting}; leave the task or the setting out with .sel"
            raise InputError("tasks", f"{tasks}={empty}", remedy)
        scores.append(each)
    return scores, settings, others[0]


def _thresholds(scores: list[list[np.ndarray[Any, Any]]], sign: int) -> np.ndarray[Any, Any]:
    """Space thresholds evenly over all finite values."""
    everything = sign * np.concatenate([row for one in scores for row in one])
    finite = everything[np.isfinite(everything)]
    if not finite.size:
        raise InputError("results", "runs that all diverged", "expected a finite value")
    return np.linspace(finite.min(), finite.max(), _THRESHOLDS)
