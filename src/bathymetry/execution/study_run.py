"""Running studies: their plans compared with what is stored, the missing chunks trained, the results put together."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from torch import nn

from bathymetry.charts import Figure
from bathymetry.charts.figure import Figures
from bathymetry.claims.judging import Judgements
from bathymetry.core.errors import IncompleteError, InputError
from bathymetry.core.randomness import preserve_rng_state, stream_seed
from bathymetry.core.system import default_settings, one_thread
from bathymetry.core.tensors import running_statistics
from bathymetry.execution import Progress
from bathymetry.execution.assemble import assemble
from bathymetry.execution.executors import executor
from bathymetry.execution.jobs import Receipt, Say
from bathymetry.execution.schedule import TRIES, Schedule
from bathymetry.execution.work import Shard, Work, compare, share_of
from bathymetry.store import chunks, storage
from bathymetry.store.chunks import config_hash
from bathymetry.store.folder import output_folder, provenance, writing
from bathymetry.store.results import RESULT, keep_earlier_result, write_results
from bathymetry.store.storage import Place, place_of
from bathymetry.studies import Study, find
from bathymetry.studies.base import MAIN, Coordinate, FigureMark, PlannedEnsemble
from bathymetry.sweeps.reading import SPECIFICATION, as_yaml, portable
from bathymetry.sweeps.sweep import Sweep
from bathymetry.training.ensemble import build_members

OUT = Path("bathymetry-report")
_METHODS = ("say", "begin", "advance", "end")  # of Progress
_NONE, _LISTED = "no coordinates", 12  # ensembles named in an error
_FAILED = 3  # that are named besides the first


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
        location = self.study.location
        return location if location.endswith(".py") or isinstance(self.study, Sweep) else self.study.name

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

    @cached_property
    def answer(self) -> str:
        """The answer to the study's question, in one sentence."""
        return self.study.answer(self.results, self.drawn)

    def networks(self, group: str = MAIN, **coordinates: Coordinate) -> list[nn.Module]:
        """Read the trained networks of one ensemble.

        Args:
            group: The group of the results that the ensemble's records are in.
            **coordinates: Its coordinates in the results, such as function="cos", network="deep".

        Returns:
            A network for each member as it was at the end, in evaluation mode.

        Raises:
            InputError: If no ensemble or several have these coordinates, or if not all of its networks are stored.
        """
        planned = self._ensemble(group, coordinates)
        config, identity = planned.config, config_hash(planned.config.description())
        if chunks.missing(chunks.stored(self.out, identity), planned.members):
            raise InputError("networks", _words(group, coordinates), self._why_missing(identity))
        chunk = chunks.load(self.out, identity, planned.members)
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

    def _why_missing(self, identity: str) -> str:
        failed = [*chunks.failures(self.out, identity).values()]
        kind = "sweep" if isinstance(self.study, Sweep) else "study"
        if failed:
            return f"training failed ({failed[0]})"
        return f"not all of these networks are trained yet; run the {kind}, which trains only what is missing"

    def _ensemble(self, group: str, coordinates: Mapping[str, Coordinate]) -> PlannedEnsemble:
        """Find the one ensemble that has these coordinates."""
        if isinstance(self.study, Sweep) and group == MAIN:
            return self.study.ensemble_at(coordinates)
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


def checked_progress(progress: Progress | None) -> Progress:
    """Something with the methods of Progress; by default one that reports nothing."""
    if progress is not None and not all(callable(getattr(progress, one, None)) for one in _METHODS):
        raise InputError("progress", progress, "expected an instance of a subclass of bathymetry.execution.Progress")
    return Progress() if progress is None else progress


def run_study(
    study: str | Path | type[Study] | Study,
    *,
    preset: str = "quick",
    out: str | Place = OUT,
    workers: int = 1,
    max_memory: int | None = None,
    scheduler: str | None = None,
    local_cluster: int | None = None,
    progress: Progress | None = None,
    **fields: Any,
) -> StudyRun:
    """Run a study, training only what is not stored yet.

    Args:
        study: Its name, a path to a file that defines one, its class, or the class with settings.
        preset: "quick", "full" or "smoke".
        out: The output folder, or an address such as "s3://bucket/run1"; several studies may share one.
        workers: How many chunks to train at once, each in a process with one thread; 1 trains in this process. The
            results are the same with any number.
        max_memory: The memory in bytes that all workers together may take, as estimated. Defaults to four fifths of
            what is free.
        scheduler: The address of a Dask scheduler, such as "tcp://HOST:8786", whose workers train instead.
        local_cluster: How many workers of a Dask cluster to start on this machine for the run, instead.
        progress: An instance of a subclass of `bathymetry.execution.Progress`, whose methods are called as chunks are
            trained. Defaults to none.
        **fields: Settings that differ from the preset, or from those of the instance.

    Returns:
        The study with its results.

    Raises:
        InputError: If there is no such study, preset or setting, or the progress is none.
        IncompleteError: If a chunk failed three times; the others are stored.
    """
    progress = checked_progress(progress)
    if isinstance(study, Study):
        one = study.model_copy(update=fields) if fields else study
    else:
        one = (study if isinstance(study, type) else find(study)).preset(preset, **fields)
    options: dict[str, Any] = {"scheduler": scheduler, "local_cluster": local_cluster}
    place = place_of("out", out)
    (run,) = run_studies([one], out=place, workers=workers, max_memory=max_memory, progress=progress, **options)
    return run


def run_studies(
    studies: Sequence[Study],
    *,
    out: Place,
    progress: Progress,
    workers: int = 1,
    max_memory: int | None = None,
    scheduler: str | None = None,
    local_cluster: int | None = None,
    shard: Shard | None = None,
    only_failed: bool = False,
    where: Callable[[PlannedEnsemble], bool] | None = None,
) -> list[StudyRun]:
    """Run several studies, the chunks of all of them side by side.

    Results are put together of studies whose chunks are all stored then, and of sweeps, which need not be complete; a
    shard leaves that to the run without one. `where` says which ensembles to train now.
    """
    executes = executor(studies, out, workers, max_memory, scheduler, local_cluster)
    for one in studies:
        check_device(one)
    with output_folder(out) as folder, default_settings():
        whole = [_compared(one, folder, progress) for one in studies]
        works = [work.only(where) for work in whole]
        failed_in = folder if only_failed else None
        share = share_of(works, shard)
        if shard is not None and not share:
            progress.say(f"Nothing falls in share {shard[0]}/{shard[1]}: there are more shares than chunks.")
        for one, work in zip(studies, whole, strict=True):
            if work.reused and (share is None or share):
                progress.say(f"{one.name}: {work.reused} of {work.members} members are stored and used again.")
        jobs = [work.jobs(one, share, failed_in) for one, work in zip(studies, works, strict=True)]
        schedule = Schedule(job for some in jobs for job in some)
        runs: dict[int, StudyRun] = {}
        failed: list[Receipt] = []
        left = set(range(len(studies)))

        def finish() -> None:
            """Put together every study whose jobs have ended."""
            for place in sorted(left if shard is None else ()):
                if not schedule.unfinished(job.id for job in jobs[place]):
                    left.remove(place)
                    if works[place].refresh(folder) or isinstance(studies[place], Sweep):
                        with writing(folder):
                            runs[place] = put_together(studies[place], works[place], folder, progress.say)

        finish()
        with closing(executes.receipts(schedule, studies, folder, progress)) as receipts:
            for receipt in receipts:
                if receipt.status == "failed":
                    failed.append(receipt)
                    chunks.save_failure(folder, receipt.id, receipt.error, receipt.traceback)
                finish()
        if failed:
            raise _incomplete(failed, out)
        return [runs[place] for place in sorted(runs)]


def _compared(study: Study, out: Place, progress: Progress) -> Work:
    work = compare(out, study.planned, read=True)
    for sentence in (*study.planned.notes, *work.damaged):
        progress.say(sentence)
    return work


def _incomplete(failed: Sequence[Receipt], out: Place) -> IncompleteError:
    """Say which ensembles failed, each once, and why the first did."""
    first = failed[0]
    others = list(dict.fromkeys(one.label for one in failed if one.label != first.label))
    sentences = [f"{first.label} failed {TRIES} times: {first.error.rstrip('.')}."]
    if others:
        named = "; ".join(others[:_FAILED]) + "; …" * (len(others) > _FAILED)
        sentences.append(f"{len(others)} more failed ({named}).")
    sentences.append(f"Everything else is stored in {out}; the same command tries {'them' if others else 'it'} again.")
    return IncompleteError(" ".join(sentences))


def put_together(study: Study, work: Work, out: Place, say: Say = lambda _: None) -> StudyRun:
    """Make a study's results from its chunks, all of which are stored, and store them."""
    seconds: dict[str, float] = {}
    records = []
    ranges: dict[str, list[list[int]]] = {}  # by the hash of their config, which several ensembles may share
    for task in (*work.ensembles, *work.joints):
        planned = task.planned
        if isinstance(study, Sweep):  # whose chunks may be many, and some missing
            ranges[task.config_hash] = [[one.start, one.stop] for one in task.chunks]
            spent = sum(one.provenance.get("seconds", 0.0) for one in task.chunks.values())
        else:
            is_joint = not isinstance(planned, PlannedEnsemble)
            chunk = task.chunks[task.members] if is_joint else task.chunk(out)
            if not is_joint:
                ranges.setdefault(task.config_hash, []).append([task.members.start, task.members.stop])
            records.append((planned, chunk.record))
            spent = chunk.provenance.get("seconds", 0.0)
        seconds[planned.group] = seconds.get(planned.group, 0.0) + spent
    with one_thread(), preserve_rng_state(stream_seed(study.seed, -1, "measurement")):
        if isinstance(study, Sweep):
            groups = {MAIN: study.gathered(work.found(out))}
        else:
            groups = study.derive(assemble(records))
        results = xr.DataTree.from_dict(study.described(groups))
        machine = dict(provenance(study.device))
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
        "provenance": machine,
    }
    path = out / study.name / RESULT
    if moved := keep_earlier_result(path, results.attrs):
        say(moved)
        if isinstance(study, Sweep) and not portable(study):
            say(f"If a file that {study.name} names has changed since, that command trains with the file as it is now.")
    write_results(path, results)
    if isinstance(study, Sweep):
        storage.write(path.with_name(SPECIFICATION), as_yaml(study))
    return run
