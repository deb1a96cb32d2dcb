"""Running a study: its plan compared with what is stored, the missing chunks trained, the results put together."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from html import escape
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from torch import Tensor, nn

from bathymetry.charts import Figure
from bathymetry.charts.figure import Figures
from bathymetry.claims.judging import Judgements
from bathymetry.core.errors import DamagedError, InputError, StorageError, abridged
from bathymetry.core.system import HeldSignals, one_thread, return_free_memory
from bathymetry.core.tensors import running_statistics
from bathymetry.execution import Progress
from bathymetry.execution.work import Task, Work, compare, training_seconds
from bathymetry.store import chunks, storage
from bathymetry.store.chunks import Chunk, checkpoint_path, chunk_path, config_hash
from bathymetry.store.folder import output_folder, provenance
from bathymetry.store.results import RESULT, keep_earlier_result, write_results
from bathymetry.store.storage import Place, place_of
from bathymetry.studies import JointMeasurement, Study, find
from bathymetry.studies.base import MAIN, Coordinate, FigureMark, Groups, PlannedEnsemble
from bathymetry.training import Measurement, Trained, TrainingConfig, TrainingState, train
from bathymetry.training.checkpoint import Checkpoint
from bathymetry.training.ensemble import build_members

OUT = Path("bathymetry-report")
_NONE, _LISTED = "no coordinates", 12  # ensembles named in an error
CHECKPOINT_EVERY = 60.0  # seconds: what a fault can lose of a chunk
Say = Callable[[str], None]  # receives a sentence that a reader should know
Placed = tuple[Mapping[str, Coordinate], xr.Dataset]


@dataclass(frozen=True)
class StudyRun:
    """A study with its results; charts and verdicts are made when they are first used."""

    study: Study
    results: xr.DataTree
    out: Place

    def __repr__(self) -> str:
        verdicts = ", ".join(f"{one.id} {one.verdict.decision}" for one in self.claims)
        return f"StudyRun({self.study.name!r}, out={str(self.out)!r}: {verdicts or 'no claims'})"

    def _repr_html_(self) -> str:
        return f"<p><b>{escape(self.study.question)}</b></p>{self.claims._repr_html_()}"

    @property
    def found_as(self) -> str:
        """The name or file under which the study is found again."""
        return self.study.location if self.study.location.endswith(".py") else self.study.name

    @cached_property
    def claims(self) -> Judgements:
        """Every claim with its verdict and finding."""
        return self.study.judge(self.results)

    @cached_property
    def drawn(self) -> list[tuple[FigureMark, Figure]]:
        """The charts with what the study says of them."""
        return self.study.draw(self.results)

    @cached_property
    def figures(self) -> Sequence[Figure]:
        """The charts, in the order of the page."""
        return Figures(one for _, one in self.drawn)

    @cached_property
    def main_findings(self) -> Sequence[str]:
        """The main findings, a sentence each."""
        return self.study.main_findings(self.results, self.drawn)

    def networks(self, group: str = MAIN, **coordinates: Coordinate) -> list[nn.Module]:
        """Read the trained networks of one ensemble.

        Args:
            group: The group of the results that the ensemble's records are in.
            **coordinates: Its coordinates in the results, such as function="cos", network="deep".

        Returns:
            A network for each member as it was at the end, in evaluation mode.
        """
        planned = self._ensemble(group, coordinates)
        config = planned.config
        chunk = chunks.load(self.out, config_hash(config.description()), planned.members)
        modules = build_members(config.network, planned.members, config.seed, same_start=config.same_start)
        kept = running_statistics(modules[0])
        if kept:
            where = f" in layer {kept[0]}" if kept[0] else ""
            remedy = "these are not stored; expected a network without, or bm.train"
            raise InputError("networks", f"{type(modules[0]).__name__} with running statistics{where}", remedy)
        last = chunk.snapshots[max(chunk.snapshots)]
        for member, module in enumerate(modules):
            own = dict(module.to(config.dtype).named_parameters())
            with torch.no_grad():
                for name, values in last.items():
                    own[name].copy_(torch.from_numpy(values[member]))
            module.eval()
        return modules

    def _ensemble(self, group: str, coordinates: Mapping[str, Coordinate]) -> PlannedEnsemble:
        """Find the one ensemble that has these coordinates."""
        planned, wanted = self.study.planned.ensembles, coordinates.items()
        found = [one for one in planned if one.group == group and wanted <= one.coordinates.items()]
        if len(found) == 1:
            return found[0]
        words, there = _words(group, coordinates), [_words(one.group, one.coordinates) for one in found or planned]
        if there == [_NONE]:
            remedy = "no ensemble has these coordinates; this study has one: call networks() without coordinates"
        else:
            which = f"{len(found)} ensembles have" if found else "no ensemble has"
            more = f"; {len(there)} in all" if len(there) > _LISTED else ""
            remedy = f"{which} these coordinates; expected those of one: {'; '.join(there[:_LISTED])}{more}"
        raise InputError("networks", words, remedy)


def _words(group: str, coordinates: Mapping[str, Coordinate]) -> str:
    words = [f"group={group!r}"] if group != MAIN else []
    return ", ".join([*words, *(f"{name}={value!r}" for name, value in coordinates.items())]) or _NONE


def check_device(study: Study) -> None:
    if study.device == "cuda" and not torch.cuda.is_available():
        raise InputError("device", "cuda", "this machine has no usable CUDA device; expected cpu")


def run_study(
    study: str | Path | type[Study] | Study,
    *,
    preset: str = "quick",
    out: str | Place = OUT,
    progress: Progress | None = None,
    **fields: Any,
) -> StudyRun:
    """Run a study, training only what is not stored yet.

    Args:
        study: Its name, a path to a file that defines one, its class, or the class with settings.
        preset: "quick", "full" or "smoke".
        out: The output folder, or an address such as "s3://bucket/run1"; several studies may share one.
        progress: Receives how it goes.
        **fields: Settings that differ from the preset, or from those of the instance.

    Returns:
        The study with its results.

    Raises:
        InputError: If there is no such study, preset or setting, or the progress is none.
    """
    progress = Progress() if progress is None else progress
    if not all(callable(getattr(progress, one, None)) for one in ("say", "begin", "advance", "end")):
        raise InputError("progress", progress, "expected an object with the methods of bathymetry.execution.Progress")
    if isinstance(study, Study):
        one = study.model_copy(update=fields) if fields else study
    else:
        one = (study if isinstance(study, type) else find(study)).preset(preset, **fields)
    check_device(one)
    with output_folder(place_of("out", out)) as folder:
        work = compare(folder, one.planned, read=True)
        for sentence in (*one.planned.notes, *work.damaged):
            progress.say(sentence)
        if work.reused:
            progress.say(f"{one.name}: {work.reused} of {work.members} members are stored and used again.")
        if work.todo:
            _train(one, work, folder, progress)
        return put_together(one, work, folder, progress.say)


def _train(study: Study, work: Work, out: Place, progress: Progress) -> None:
    todo = work.todo
    progress.begin(study.name, len(todo), work.seconds)
    done, trained = 0.0, 0
    try:
        for task, members in todo:
            begun, seconds, label = done, training_seconds(task, members), _label(task, members)

            def report(share: float, begun: float = begun, seconds: float = seconds, label: str = label) -> None:
                progress.advance(label, begun + share * seconds)

            report(0.0)
            task.add(train_chunk(study, task.index, task.config_hash, members, out, report, progress.say))
            done, trained = done + seconds, trained + 1
            return_free_memory()
    except KeyboardInterrupt as stopped:
        begun_too = any(
            storage.exists(checkpoint_path(chunk_path(out, task.config_hash, members))) for task, members in todo
        )
        checkpoint = ", and a checkpoint of the training under way" if begun_too else ""
        stored = f"{trained} of the {len(todo)} chunks of {study.name} that were to be trained"
        stopped.args = (f"{stored} are stored in {out}{checkpoint}; the same command continues from there",)
        raise
    finally:
        progress.end()


def _label(task: Task, members: range) -> str:
    numbers = f"member {members[0]}" if len(members) == 1 else f"members {members[0]} to {members[-1]}"
    return ", ".join(map(str, task.planned.coordinates.values())) or numbers


def train_chunk(
    study: Study,
    index: int,
    planned_hash: str,
    members: range,
    out: Place,
    progress: Callable[[float], None] | None = None,
    say: Say = lambda _: None,
) -> Chunk:
    """Train members of one ensemble of a study's plan, whose config has this hash there, and store them.

    All arguments can be sent to another process: a study travels as the location of its class and its settings.
    """
    config = study.planned.ensembles[index].config
    description = config.description()
    if config_hash(description) != planned_hash:
        cause = (
            "code or data differ, or a function changes a global value that it reads: keep such a value in the function"
        )
        raise StorageError(f"Ensemble {index} of {study.name} has another config than planned ({cause}).")
    with HeldSignals():  # a chunk that is done is stored before Ctrl-C or SIGTERM stops the run
        begun = time.perf_counter()
        left = checkpoint_path(chunk_path(out, planned_hash, members))
        trained = _trained(config, members, out, left, say, device=study.device, progress=progress)
        machine = {**provenance(study.device), "seconds": time.perf_counter() - begun, "backend": trained.backend}
        snapshots = {
            epoch: {name: tensor.cpu().numpy() for name, tensor in parameters.items()}
            for epoch, parameters in trained.snapshots.items()
        }
        chunk = Chunk(members, trained.record, snapshots, machine)
        chunks.save(out, planned_hash, description, chunk)
        storage.delete(left)
    return chunk


def _trained(config: TrainingConfig, members: range, out: Place, left: Place, say: Say, **options: Any) -> Trained:
    """Train from the checkpoint that is left; one that can't be used is quarantined, and training starts again."""

    def keep(checkpoint: Checkpoint) -> None:
        arrays = {name: one.numpy() for name, one in checkpoint.tensors.items()}
        chunks.write_checkpoint(left, arrays, checkpoint.state)

    measured = {name: _on_one_thread(one) for name, one in config.named_measurements.items()}
    config = replace(config, measurements=measured)
    begin = partial(train, config, members=members, checkpoint=keep, checkpoint_every=CHECKPOINT_EVERY, **options)
    try:
        read = chunks.read_checkpoint(left)
        if read is None:
            return begin()
        arrays, state = read
        return begin(resume=Checkpoint({name: torch.from_numpy(array) for name, array in arrays.items()}, state))
    except DamagedError as error:
        sentence = str(error)
    except InputError as error:
        if error.field != "resume":
            raise
        sentence = f"Training can't continue from {left}: it is {abridged(str(error.value))}."
    say(f"{sentence} It was moved to {chunks.quarantine(out, left)} and the training starts again.")
    return begin()


def _on_one_thread(one: Measurement) -> Measurement:
    """Measure with one thread: training is the same with any number of them, measurements are not."""

    def measured(state: TrainingState) -> Tensor:
        with one_thread():
            return one.function(state)

    return replace(one, function=measured)


def put_together(study: Study, work: Work, out: Place, say: Say = lambda _: None) -> StudyRun:
    """Make a study's results from its chunks, all of which are stored, and store them."""
    seconds: dict[str, float] = {}
    records, ensembles = [], {id(task.planned): task for task in work.ensembles}
    ranges: dict[str, list[list[int]]] = {}  # by the hash of their config, which several ensembles may share
    for task in (*work.ensembles, *work.joints):
        planned = task.planned
        if isinstance(planned, PlannedEnsemble):
            chunk = task.chunk(out)
            ranges.setdefault(task.config_hash, []).append([task.members.start, task.members.stop])
        else:
            if task.missing:
                of = [ensembles[id(one)].chunk(out) for one in planned.of]
                task.add(_measure(planned, task, of, out, study.device))
            chunk = task.chunks[task.members]
        records.append((planned, chunk.record))
        seconds[planned.group] = seconds.get(planned.group, 0.0) + chunk.provenance.get("seconds", 0.0)
    with one_thread():
        results = xr.DataTree.from_dict(study.described(study.derive(assemble(records))))
    run = StudyRun(study, results, out)
    results.attrs = {
        "study": study.name,
        "found_as": run.found_as,
        "question": study.question,
        "settings": study.model_dump(mode="json"),
        "data": dict(study.planned.data),
        "notes": list(study.planned.notes),
        "chunks": ranges,
        "seconds": {group: round(spent, 3) for group, spent in seconds.items()},
        "provenance": dict(provenance(study.device)),
    }
    path = out / study.name / RESULT
    if moved := keep_earlier_result(path, results.attrs):
        say(moved)
    write_results(path, results)
    return run


def assemble(records: Iterable[tuple[PlannedEnsemble | JointMeasurement, xr.Dataset]]) -> Groups:
    """Put records together along their coordinates, in the order of the plan; NaN where none was planned."""
    placed: dict[str, list[Placed]] = {}
    sizes: dict[str, list[Mapping[str, int]]] = {}
    for planned, record in records:
        if isinstance(planned, PlannedEnsemble):
            sizes.setdefault(planned.group, []).append(_sizes(planned))
            record = record.drop_vars("examples", errors="ignore")  # ensembles may differ in it
        placed.setdefault(planned.group, []).append((planned.coordinates, record.drop_attrs()))
    groups = {}
    for name, some in placed.items():
        group = _joined(some, list(dict.fromkeys(dim for coordinates, _ in some for dim in coordinates)))
        known = sizes.get(name, [])
        if known and "split" in group.dims and all(one == known[0] for one in known):
            group = group.assign_coords(examples=("split", [known[0][one] for one in group["split"].values.tolist()]))
        groups[name] = group
    return groups


def _sizes(planned: PlannedEnsemble) -> dict[str, int]:
    """How many examples each set has by which the members are evaluated."""
    config = planned.config
    sets = {name: len(one.examples) for name, one in config.evaluation_sets(planned.members[:1]).items()}
    return sets if config.evaluate_on is not None else {"train": len(config.train_examples), **sets}


def _joined(placed: Sequence[Placed], dims: Sequence[str]) -> xr.Dataset:
    if not dims:
        return placed[0][1]
    along, rest = dims[0], dims[1:]
    values = list(dict.fromkeys(coordinates[along] for coordinates, _ in placed))
    pieces = [_joined([one for one in placed if one[0][along] == value], rest) for value in values]
    labelled = [piece.expand_dims({along: [value]}) for piece, value in zip(pieces, values, strict=True)]
    if len(labelled) == 1:
        return labelled[0]
    joined = xr.concat(labelled, dim=along, join="outer", coords="minimal", compat="override", data_vars="all")
    return joined.reindex({dim: _in_order(labelled, dim) for dim in rest}) if rest else joined


def _in_order(pieces: Sequence[xr.Dataset], dim: str) -> list[Any]:
    return list(dict.fromkeys(value for piece in pieces for value in piece[dim].values.tolist()))


def _measure(joint: JointMeasurement, task: Task, of: Sequence[Chunk], out: Place, device: str) -> Chunk:
    """Make a measurement over several ensembles and store its record, as a chunk without parameters."""
    begun = time.perf_counter()
    with one_thread():
        record = joint.function(of)
    machine = {**provenance(device), "seconds": time.perf_counter() - begun}
    chunk = Chunk(task.members, record, {}, machine)
    chunks.save(out, task.config_hash, task.description, chunk)
    return chunk
