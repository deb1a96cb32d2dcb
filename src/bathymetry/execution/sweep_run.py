"""Running a sweep, and one configuration as an objective for an optimizer of hyperparameters."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from pydantic import PrivateAttr

from bathymetry.core.errors import InputError, StorageError, did_you_mean, whole_number
from bathymetry.core.showing import joined
from bathymetry.core.system import one_thread
from bathymetry.execution import Progress
from bathymetry.execution.jobs import train_chunk
from bathymetry.execution.load_study import with_data_seed
from bathymetry.execution.study_run import OUT, StudyRun, checked_progress, run_studies
from bathymetry.execution.work import compare
from bathymetry.models import MLPConfig
from bathymetry.store import chunks, storage
from bathymetry.store.chunks import chunk_path, config_hash
from bathymetry.store.folder import check_folder, output_folder
from bathymetry.store.results import RESULT, read_results
from bathymetry.store.storage import Place, exists, place_of
from bathymetry.studies.base import MAIN, Planned, PlannedEnsemble, Study
from bathymetry.sweeps.measures import PROBES, measurements
from bathymetry.sweeps.reading import read_file, sweep_of
from bathymetry.sweeps.results import UNFINISHED, table
from bathymetry.sweeps.sweep import Sweep
from bathymetry.training import TrainingConfig, train

_OF_THE_COMMAND = ("plan", "shard", "rerun", "print", "open")  # options that are no arguments of bm.sweep
_NO_METRICS = ("loss", "accuracy", "diverged", "stopped_at")


@dataclass(frozen=True, repr=False)
class SweepRun(StudyRun):
    """A sweep with its results, which need not be complete."""

    @property
    def dataset(self) -> xr.Dataset:
        """Everything over the axes, with the status of every member."""
        return self.results[MAIN].to_dataset()

    @property
    def table(self) -> pd.DataFrame:
        """One row for each point: its axes, the median of each variable over members, and how many are done."""
        assert isinstance(self.study, Sweep)
        return table(self.dataset, self.study.specification.axis_list)


def sweep(
    spec: str | Path | Mapping[str, Any] | Sweep | None = None,
    *,
    out: str | Place = OUT,
    run: bool = True,
    where: Mapping[str, Any] | None = None,
    workers: int = 1,
    max_memory: int | None = None,
    scheduler: str | None = None,
    local_cluster: int | None = None,
    progress: Progress | None = None,
    **fields: Any,
) -> SweepRun:
    """Train an ensemble at every point of a specification's axes, reusing what is stored.

    Args:
        spec: The path of a YAML file, or the fields of a specification.
        out: The output folder; several sweeps and studies may share one.
        run: Whether to train what is missing; False opens what is stored, also while another process runs the sweep.
        where: Values of axes, such as {"width": 30}; only those points are trained now.
        workers: How many chunks to train at once, each in a process with one thread; 1, the default, trains in this
            process, where `bathymetry sweep` takes all cores.
        max_memory: The memory in bytes that all workers together may take, as estimated.
            Defaults to four fifths of what is free.
        scheduler: The address of a Dask scheduler, such as "tcp://HOST:8786", whose workers train instead.
        local_cluster: How many workers of a Dask cluster to start on this machine for the run, instead.
        progress: An instance of a subclass of `bathymetry.execution.Progress`, whose methods are called as chunks are
            trained. Defaults to none.
        **fields: Fields of the specification that differ from `spec`, or all of them.

    Returns:
        The sweep with its results over the axes; `status` says of every member whether it is done, diverged, failed or
        pending.

    Raises:
        InputError: If the specification is not what is expected.
        IncompleteError: If a chunk failed three times; the others are stored, and `run=False` opens them.

    Example:
        >>> axes = {"learning_rate": [0.001, 0.01], "width": [4, 8]}
        >>> folder = getfixture("tmp_path")
        >>> run = sweep(name="two-axes", axes=axes, data={"samples": 32}, members=2, out=folder)
        >>> run.dataset["loss"].dims, run.dataset["loss"].shape
        (('split', 'learning_rate', 'width', 'member'), (2, 2, 2, 2))
    """
    if not isinstance(run, bool):
        raise InputError("run", run, "expected True or False")
    made = read_sweep(spec, fields)
    made.check()
    chosen = points_where(made, where or {})
    if not run:
        place = place_of("out", out)
        if not exists(place):
            raise InputError("out", place, "there is no such folder; expected one that the sweep was run into")
        return open_sweep(made, place)
    options: dict[str, Any] = {"workers": workers, "max_memory": max_memory, "where": chosen}
    options |= {"scheduler": scheduler, "local_cluster": local_cluster}
    (found,) = run_studies([made], out=place_of("out", out), progress=checked_progress(progress), **options)
    return SweepRun(found.study, found.results, found.out)


def read_sweep(spec: object, fields: Mapping[str, Any]) -> Sweep:
    """Make a sweep from a file or fields, with changes."""
    for name in _OF_THE_COMMAND:
        if name in fields:
            taken = [one.name for one in signature(sweep).parameters.values() if one.kind is one.KEYWORD_ONLY]
            remedy = f"only the command `bathymetry sweep` has it; bm.sweep takes {joined(taken)}"
            raise InputError(name, fields[name], f"{remedy}, and the fields of a specification")
    if isinstance(spec, Sweep):
        return spec
    if isinstance(spec, str | Path):
        made = read_file(Path(spec))
        return sweep_of({**made.fields, **fields}) if fields else made
    return sweep_of(dict(fields) if spec is None else {**spec, **fields} if isinstance(spec, Mapping) else spec)


def open_sweep(made: Sweep, out: Place) -> SweepRun:
    """Open what is stored of a sweep, whoever works in the folder; nothing is changed there.

    Results that are complete are read as they were put together; else every chunk is read.
    """
    finished = _finished(made, out)
    if finished is not None:
        return finished
    work = compare(out, made.planned, read=True, repair=False)
    groups = {MAIN: made.gathered(work.found(out))}
    results = xr.DataTree.from_dict(made.described(groups))
    results.attrs = {"study": made.name, "settings": made.model_dump(mode="json"), "notes": [], "data": {}}
    return SweepRun(made, results, out)


def _finished(made: Sweep, out: Place) -> SweepRun | None:
    """The results of this very sweep, if they are complete and of the configs as they are now."""
    results = _put_together(made, out)
    if results is None or results[MAIN]["status"].isin(UNFINISHED).any():
        return None
    same_data = results.attrs.get("data") == dict(made.planned.data)
    same_configs = {*results.attrs.get("chunks", ())} == {config_hash(one) for one in _descriptions(made)}
    return SweepRun(made, results, out) if same_data and same_configs else None


def _put_together(made: Sweep, out: Place) -> xr.DataTree | None:
    """The results that were put together of a sweep with these settings, if there are any."""
    path = out / made.name / RESULT
    try:
        results = read_results(path) if exists(path) else None
    except StorageError:  # what can be read is in the chunks
        return None
    settings = results.attrs.get("settings") if results else None
    is_same = isinstance(settings, dict) and with_data_seed(Sweep, settings) == made.model_dump(mode="json")
    return results if is_same else None


def _descriptions(made: Sweep) -> list[Any]:
    return [one.config.description() for one in made.planned.ensembles]


def changes_since(made: Sweep, out: Place) -> Sequence[str]:
    """What decides numbers and is not as it was for the stored results of this sweep: network, data, ….

    A specification may name a file that has another content now, so that its networks are trained again.
    """
    results = _put_together(made, out)
    if results is None:
        return ()
    planned = {config_hash(one): one for one in _descriptions(made)}
    for config in results.attrs.get("chunks", ()):
        if config not in planned:
            try:
                earlier = json.loads(storage.read(chunk_path(out, config, range(1)).with_name("config.json")))
                return [name for name in earlier if all(one[name] != earlier[name] for one in planned.values())]
            except (
                StorageError,
                ValueError,
                TypeError,
                LookupError,
                RecursionError,
            ):  # damaged
                return ()
    return ()


def points_where(made: Sweep, where: Mapping[str, Any]) -> Callable[[PlannedEnsemble], bool] | None:
    """Whether an ensemble lies where the axes have certain values; None for all."""
    if not where:
        return None
    chosen = made.chosen(where)
    kept = {id(one) for one, is_chosen in zip(made.planned.ensembles, chosen, strict=True) if is_chosen}
    return lambda planned: id(planned) in kept


class _OneConfig(Study):
    """One configuration, whose chunks are stored like those of any study."""

    _config: TrainingConfig = PrivateAttr()

    @classmethod
    def of(cls, config: TrainingConfig, members: int) -> "_OneConfig":
        made = cls.model_validate({"members": members})
        made._config = config
        return made

    def plan(self) -> Planned:
        yield PlannedEnsemble({}, self._config, range(self.members))


def objective(
    config: TrainingConfig,
    *,
    members: int = 10,
    metric: str = "test_loss",
    out: str | Place | None = None,
) -> tuple[float, float]:
    """Train an ensemble and return the mean of a quantity at the end, and its standard error over members.

    Args:
        config: What is trained. `record_at=()` records the first and last epoch alone.
        members: How many members.
        metric: A set of examples and what, such as "test_loss" or "train_accuracy", the name of a measurement of the
            config, or for an `MLPConfig` a probe of the training loss, any that a sweep's `measure` takes: "sharpness".
        out: An output folder: members of this very config that are stored there are used again, others are stored.

    Returns:
        Mean and standard error over members, infinite where a member diverged.

    Raises:
        InputError: If an argument is not what is expected, or the quantity was not recorded.

    Example:
        >>> import bathymetry as bm
        >>> data = bm.data.function("sin", samples=32)
        >>> config = bm.TrainingConfig(bm.MLPConfig((1, 8, 1)), data, epochs=5)
        >>> mean, error = objective(config, members=3)
        >>> mean > error > 0
        True
    """
    if not isinstance(config, TrainingConfig):
        raise InputError("config", config, "expected a bm.TrainingConfig")
    whole_number("members", members, 2, 100_000)
    if metric in PROBES and metric not in config.measurements and isinstance(config.network, MLPConfig):
        config = measurements(config, [metric])
    if out is None:
        records = [train(config, members=members).record]
    else:
        records = _stored_records(config, members, place_of("out", out))
    values = np.concatenate([_at_the_end(record, metric) for record in records])
    if not np.isfinite(values).all():
        return math.inf, math.inf
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(members))


def _stored_records(config: TrainingConfig, members: int, out: Place) -> list[xr.Dataset]:
    """Train what is not stored, and read the records of all members."""
    study = _OneConfig.of(config, members)
    check_folder(out)
    with output_folder(out):
        pass
    (task,) = compare(out, study.planned).ensembles
    for range_ in task.missing:
        with one_thread():
            train_chunk(study, 0, task.config_hash, range_, out)
    return [chunks.load(out, task.config_hash, range(members)).record]


def _at_the_end(record: xr.Dataset, metric: str) -> np.ndarray[Any, np.dtype[Any]]:
    """One number for each member; NaN for one that diverged."""
    quantities = [name for name in ("loss", "accuracy") if name in record]
    splits = record["split"].values.tolist()
    known = {f"{split}_{name}": record[name].sel(split=split) for split in splits for name in quantities}
    known |= {str(name): one for name, one in record.data_vars.items() if name not in _NO_METRICS}
    if not isinstance(metric, str) or metric not in known:
        names = list(dict.fromkeys([*known, *PROBES]))
        raise InputError("metric", metric, f"{did_you_mean(metric, names)}expected one of {', '.join(names)}")
    values = known[metric].where(~record["diverged"])
    along = [dim for dim in values.dims if dim != "member"]
    if len(along) > 1:
        raise InputError("metric", metric, "expected a measurement with one number per member and epoch")
    if along:
        values = values.isel({along[0]: -1})
    return np.asarray(values.values, dtype=float)
