"""`bm.runs.read`: runs of other tools as labelled arrays."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bathymetry.core.errors import InputError
from bathymetry.runs.at import read_at
from bathymetry.runs.dataset import Grouping, dataset
from bathymetry.runs.files import Advance, Source, quietly, read_source
from bathymetry.runs.run import Layout, Run, Scalar
from bathymetry.runs.settings import is_same, parsed, with_one_spelling
from bathymetry.runs.table import STEPS

if TYPE_CHECKING:
    import pandas as pd


def read(
    path: "str | os.PathLike[str] | pd.DataFrame",
    *,
    members: str,
    compare: str | None = None,
    by: Sequence[str] = (),
    metrics: Sequence[str] | None = None,
    at: str = "last",
    higher_is_better: bool = True,
    where: Mapping[str, Scalar | Sequence[Scalar]] | None = None,
    ignore: Sequence[str] = (),
    step: str | None = None,
    run: str | None = None,
    format: str | None = None,  # noqa: A002 - the word of the command line
    cache: bool = True,
) -> xr.Dataset:
    """Read training runs that another tool recorded.

    Formats: CSV, Parquet and JSON Lines (tidy, or one file per run), TensorBoard, W&B, MLflow, Trackio, Lightning,
    Optuna, Hydra, and pandas or polars frames. Nothing is contacted, and no file is changed.

    Args:
        path: A folder, a file, or a frame.
        members: The setting that tells members apart, such as "seed"; "run" where each run is a member.
        compare: The setting whose values are compared, such as "optimizer".
        by: Further settings that become axes.
        metrics: The metrics that are read; all where None.
        at: Which number of a history is its final value: "last", "best", "step:N" or "mean:last-10%".
        higher_is_better: What "best" means.
        where: Values that settings must have.
        ignore: Settings that may differ among the members.
        step: The column of a table that counts steps.
        run: The column of a table that names the run.
        format: The tool, where a folder holds files of several.
        cache: Whether what was read is stored in the user's cache, by the digests of the files.

    Returns:
        For each metric its final values over `compare`, `by` and `member`, and `METRIC_history` over `step` as well;
        `status` and `run` of each member; and as attributes the tool, the files' digests, and what was left out.

    Raises:
        InputError: If nothing is found, a name is unknown, or what is a member is not clear.

    Example:
        >>> import pandas as pd
        >>> rows = pd.DataFrame({"optimizer": ["adam", "sgd"] * 2, "seed": [0, 0, 1, 1], "loss": [0.1, 0.4, 0.2, 0.3]})
        >>> runs = read(rows, members="seed", compare="optimizer")
        >>> runs["loss"].sel(optimizer="adam").values.tolist()
        [0.1, 0.2]
    """
    if not isinstance(higher_is_better, bool | np.bool_):
        raise InputError("higher_is_better", higher_is_better, "expected True or False, what best means")
    grouping = Grouping(
        members, compare, names("by", by), values({} if where is None else where), names("ignore", ignore)
    )
    wanted = None if metrics is None else names("metrics", metrics)
    point = read_at(at)
    source = read_runs(path, grouping, wanted, step=step, run=run, format=format, cache=cache)
    results, left, _ = dataset(source, grouping, wanted, point, higher_is_better=higher_is_better)
    return results.assign_attrs(left_out=list(left.sentences), directions=stored_directions(source.runs, grouping))


def stored_directions(runs: Sequence[Run], grouping: Grouping) -> list[str]:
    """What the runs' tool has stored of metrics: "lower loss"."""
    kept = [
        one
        for one in runs
        if all(any(is_same(one.config.get(name), value) for value in some) for name, some in grouping.where.items())
    ]
    return list(dict.fromkeys(f"{better} {metric}" for one in kept for metric, better in one.directions.items()))


def read_runs(
    path: object,
    grouping: Grouping,
    metrics: Sequence[str] | None,
    *,
    step: str | None = None,
    run: str | None = None,
    format: str | None = None,  # noqa: A002
    cache: bool = True,
    workers: int | None = None,
    advance: Advance = quietly,
) -> Source:
    """Read runs, as far as they are needed for a grouping and some metrics; all where None."""
    for field, value in (("members", grouping.members), ("compare", grouping.compare), ("step", step), ("run", run)):
        if (value is not None or field == "members") and (not isinstance(value, str) or not value):
            raise InputError(field, value, "expected the name of a setting or column")
    if format is not None and not isinstance(path, str | os.PathLike):
        raise InputError("format", format, "only files have a format; leave it out")
    if grouping.members in (*STEPS, step):
        remedy = "it counts the steps of a run; expected a setting such as seed, or run"
        raise InputError("members", grouping.members, remedy)
    keys = tuple(name for name in (*grouping.axes, grouping.members, *grouping.where) if name != "run")
    layout = Layout(tuple(dict.fromkeys(keys)), tuple(metrics or ()), step, run)
    source = read_source(path, layout, tool=format, cached=cache, workers=workers, advance=advance)
    return replace(source, runs=with_one_spelling(source.runs))


def names(field: str, given: object) -> tuple[str, ...]:
    listed = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, list | tuple) else None
    if listed is None or not all(isinstance(one, str) for one in listed):
        raise InputError(field, given, "expected names")
    return listed


def values(where: Mapping[str, object]) -> dict[str, tuple[Scalar, ...]]:
    if not isinstance(where, Mapping):
        raise InputError("where", where, 'expected values by name, such as {"optimizer": "adam"}')
    found: dict[str, tuple[Scalar, ...]] = {}
    for name, one in where.items():
        plain: Any = one.tolist() if hasattr(one, "tolist") else one
        listed = tuple(plain) if isinstance(plain, list | tuple | set) else (plain,)
        if not listed or not all(isinstance(value, Scalar) for value in listed):
            raise InputError("where", f"{name}={one}", "expected a value, or several in a list")
        found[name] = listed
    return found


def read_where(words: Sequence[str]) -> dict[str, list[Scalar]]:
    """Read SETTING=VALUE; several values of one setting are alternatives."""
    found: dict[str, list[Scalar]] = {}
    for one in words:
        name, equals, value = one.partition("=")
        if not equals or not name.strip():
            raise InputError("where", one, "expected SETTING=VALUE, such as optimizer=adam")
        found.setdefault(name.strip(), []).append(parsed(value.strip()))
    return found
