"""Running a study: its plan compared with what is stored, the missing chunks trained, the results put together."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from bathymetry.claims.judging import Judgements
from bathymetry.core.errors import InputError, path_of
from bathymetry.core.system import one_thread
from bathymetry.execution.stored import RESULT, set_apart
from bathymetry.execution.training import measure, train_chunk
from bathymetry.execution.work import Task, Work, compare, training_seconds
from bathymetry.store.chunks import checkpoint_path, chunk_path
from bathymetry.store.folder import output_folder, provenance
from bathymetry.store.results import write_results
from bathymetry.studies import Study, find
from bathymetry.studies.plan import MAIN, Coordinate, PlannedEnsemble, assemble

if TYPE_CHECKING:
    from torch import nn

    from bathymetry.charts import Figure
    from bathymetry.studies.base import FigureMark


class Progress:
    """No-op progress callback; subclass it to report progress."""

    def say(self, sentence: str) -> None:
        """Called with a sentence that a reader should know."""

    def begin(self, study: str, chunks: int, seconds: float) -> None:
        """Called before chunks are trained, with their number and about how long they take."""

    def advance(self, label: str, seconds: float) -> None:
        """Called with the chunk being trained and how many of the study's estimated seconds are done."""

    def end(self) -> None:
        """Called when the study's chunks are trained."""


OUT = Path("bathymetry-report")


@dataclass(frozen=True)
class StudyRun:
    """A study with its results; charts and verdicts are made when they are asked for."""

    study: Study
    results: xr.DataTree
    out: Path

    def __repr__(self) -> str:
        verdicts = ", ".join(f"{one.id} {one.verdict.decision}" for one in self.claims)
        return f"StudyRun({self.study.name!r}, out={str(self.out)!r}: {verdicts or 'no claims'})"

    def _repr_html_(self) -> str:
        return f"<p><b>{escape(self.study.question)}</b></p>{self.claims._repr_html_()}"

    @property
    def found_as(self) -> str:
        """The name or file under which the study is found again."""
        return self.study.where if self.study.where.endswith(".py") else self.study.name

    @cached_property
    def claims(self) -> Judgements:
        """Every claim with its verdict and finding."""
        return self.study.judge(self.results)

    @cached_property
    def drawn(self) -> "list[tuple[FigureMark, Figure]]":
        """The charts with what the study says of them."""
        return self.study.draw(self.results)

    @cached_property
    def figures(self) -> "Sequence[Figure]":
        """The charts, in the order of the page."""
        from bathymetry.charts.figure import Figures

        return Figures(one for _, one in self.drawn)

    @cached_property
    def seen(self) -> Sequence[str]:
        """The main findings."""
        return self.study.summary(self.results, self.drawn)

    def networks(self, group: str = MAIN, **coordinates: Coordinate) -> "list[nn.Module]":
        """Read the trained networks of one ensemble.

        Args:
            group: The group of the results that the ensemble's records are in.
            **coordinates: Its coordinates in the results, such as function="cos", network="deep".

        Returns:
            A network for each member as it was at the end, in evaluation mode.
        """
        from bathymetry.execution.stored import stored_networks

        return stored_networks(self.study, self.out, group, coordinates)


def run_study(
    study: str | Path | type[Study] | Study,
    *,
    preset: str = "quick",
    out: Path | str = OUT,
    progress: Progress | None = None,
    **fields: Any,
) -> StudyRun:
    """Run a study, training only what is not stored yet.

    Args:
        study: Its name, a path to a file that defines one, its class, or the class with settings.
        preset: "quick", "full" or "smoke".
        out: The output folder; several studies may share one.
        progress: Receives how it goes.
        **fields: Settings that differ from the preset, or from those of the instance.

    Returns:
        The study with its results.

    Raises:
        InputError: If there is no such study, preset or setting, or the progress is none.
    """
    if progress is not None and not all(
        callable(getattr(progress, one, None)) for one in ("say", "begin", "advance", "end")
    ):
        raise InputError("progress", progress, "expected an object with the methods of run.Progress")
    if isinstance(study, Study):
        one = study.model_copy(update=fields) if fields else study
    else:
        one = (study if isinstance(study, type) else find(study)).preset(preset, **fields)
    _check_device(one)
    with output_folder(path_of("out", out)) as folder:
        return _run(one, folder, progress or Progress())


def _run(study: Study, out: Path, progress: Progress) -> StudyRun:
    for note in study.planned.notes:
        progress.say(note)
    work = compare(out, study.planned, read=True)
    for sentence in work.damaged:
        progress.say(sentence)
    if work.reused:
        progress.say(f"{study.name}: {work.reused} of {work.members} members are stored and used again.")
    _train(study, work, out, progress)
    return put_together(study, work, out, progress)


def _train(study: Study, work: Work, out: Path, progress: Progress) -> None:
    todo = [(task, members) for task in work.ensembles for members in task.missing]
    if not todo:
        return
    progress.begin(study.name, len(todo), work.seconds)
    done, trained = 0.0, 0
    try:
        for task, members in todo:
            begun, seconds, label = done, training_seconds(task, members), _label(task, members)

            def report(share: float, begun: float = begun, seconds: float = seconds, label: str = label) -> None:
                progress.advance(label, begun + share * seconds)

            report(0.0)
            task.add(train_chunk(study, task.place, task.name, members, out, report, progress.say))
            done, trained = done + seconds, trained + 1
    except KeyboardInterrupt as stopped:
        begun_too = any(checkpoint_path(chunk_path(out, task.name, members)).exists() for task, members in todo)
        checkpoint = ", and a checkpoint of the training under way" if begun_too else ""
        stored = f"{trained} of the {len(todo)} chunks of {study.name} that were to be trained"
        stopped.args = (f"{stored} are stored in {out}{checkpoint}; the same command continues from there",)
        raise
    finally:
        progress.end()


def _label(task: Task, members: range) -> str:
    numbers = f"member {members[0]}" if len(members) == 1 else f"members {members[0]} to {members[-1]}"
    return ", ".join(map(str, task.planned.coordinates.values())) or numbers


def put_together(study: Study, work: Work, out: Path, progress: Progress | None = None) -> StudyRun:
    """Make a study's results from its chunks, all of which are stored, and store them."""
    seconds: dict[str, float] = {}
    records, ensembles = [], {id(task.planned): task for task in work.ensembles}
    ranges: dict[str, list[list[int]]] = {}  # by the hash of their config, which several ensembles may share
    for task in (*work.ensembles, *work.joints):
        planned = task.planned
        if isinstance(planned, PlannedEnsemble):
            chunk = task.chunk(out)
            ranges.setdefault(task.name, []).append([task.members.start, task.members.stop])
        else:
            if task.missing:
                of = [ensembles[id(one)].chunk(out) for one in planned.of]
                task.add(measure(task, of, out, study.device))
            chunk = task.chunks[task.members]
        records.append((planned, chunk.record))
        seconds[planned.group] = seconds.get(planned.group, 0.0) + chunk.provenance.get("seconds", 0.0)
    attributes = {
        "study": study.name,
        "found_as": study.where if study.where.endswith(".py") else study.name,
        "question": study.question,
        "settings": study.model_dump(mode="json"),
        "data": dict(study.planned.data),
        "notes": list(study.planned.notes),
        "chunks": ranges,
        "seconds": {group: round(spent, 3) for group, spent in seconds.items()},
        "provenance": dict(provenance(study.device)),
    }
    with one_thread():
        results = xr.DataTree.from_dict(study.described(study.derive(assemble(records))))
    results.attrs = attributes
    moved = set_apart(out / study.name / RESULT, attributes)
    if moved and progress is not None:
        progress.say(moved)
    write_results(out / study.name / RESULT, results)
    return StudyRun(study, results, out)


def _check_device(study: Study) -> None:
    if study.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise InputError("device", "cuda", "this machine has no usable CUDA device; expected cpu")
