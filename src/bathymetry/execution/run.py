"""Running a study: its plan compared with what is stored, the missing units trained, the results put together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from bathymetry.core.errors import InputError, path_of
from bathymetry.core.resources import one_thread
from bathymetry.execution.earlier import set_apart
from bathymetry.execution.networks import stored_networks
from bathymetry.execution.work import EnsembleWork, Work, inspect, joint, train_unit
from bathymetry.store import Unit, checkpoint_path, collect, output_folder, unit_path, write_results
from bathymetry.store.folder import provenance
from bathymetry.studies.catalogue import find
from bathymetry.studies.judging import Judged, judge
from bathymetry.studies.plan import Coordinate, Plan
from bathymetry.studies.results import Placed, assemble
from bathymetry.studies.settings import StudySettings
from bathymetry.studies.study import Study

if TYPE_CHECKING:
    from torch import nn

    from bathymetry.charts import Figure


class Progress:
    """Hears how a run goes, and says nothing of it; inherit from it to say something."""

    def say(self, sentence: str) -> None:
        """Hear a sentence.

        Args:
            sentence: What a reader should know.
        """

    def begin(self, study: str, units: int, seconds: float) -> None:
        """Hear that units are about to be trained.

        Args:
            study: Which study.
            units: How many units.
            seconds: About how long they take.
        """

    def advance(self, unit: str, seconds: float) -> None:
        """Hear how far a unit has come.

        Args:
            unit: Which unit.
            seconds: How many of the estimated seconds of the study are done.
        """

    def end(self) -> None:
        """Hear that the study's units are done."""


OUT = Path("bathymetry-report")
RESULT = "result.nc"


@dataclass(frozen=True)
class StudyRun:
    """A study with its results; charts and verdicts are made from them when they are asked for."""

    study: Study
    results: xr.DataTree
    out: Path
    found_as: str = ""  # the name or file that its caller gave, for the command that makes it again

    def __repr__(self) -> str:
        told = ", ".join(f"{one.id} {one.verdict.decision}" for one in self.claims)
        return f"StudyRun({self.study.name!r}, out={str(self.out)!r}: {told or 'no claims'})"

    def _repr_html_(self) -> str:
        """Show the verdicts in a notebook."""
        rows = "".join(
            f"<tr><td>{escape(one.text)}</td><td><b>{one.verdict.decision}</b></td><td>{escape(one.finding)}</td></tr>"
            for one in self.claims
        )
        return f"<p><b>{escape(self.study.question)}</b></p><table>{rows}</table>"

    @cached_property
    def claims(self) -> tuple[Judged, ...]:
        """Every claim with its verdict and finding."""
        return judge(self.study, self.results)

    @cached_property
    def figures(self) -> "Sequence[Figure]":
        """The charts, in the order of the page."""
        from bathymetry.charts.figure import Figures

        return Figures(self.study.figures(self.results))

    @cached_property
    def seen(self) -> Sequence[str]:
        """What was seen, in plain words."""
        return tuple(self.study.seen(self.results))

    def networks(self, group: str = "", **coordinates: Coordinate) -> "list[nn.Module]":
        """Read the trained networks of one ensemble, as they were at the end.

        Args:
            group: The group of the results that the ensemble's records are in; "" for the results proper.
            **coordinates: Its coordinates in the results, such as function="cos", network="deep".

        Returns:
            A network for each member, in evaluation mode.
        """
        return stored_networks(self.study, self.results.attrs["settings"], self.out, group, coordinates)


def run_study(
    study: str | Study,
    *,
    preset: str = "quick",
    out: Path | str = OUT,
    progress: Progress | None = None,
    **fields: Any,
) -> StudyRun:
    """Run a study, training only what is not stored yet.

    Args:
        study: Its name, a path to a file that defines one, or the study itself.
        preset: "quick", "full" or "smoke".
        out: The output folder; several studies may share one.
        progress: Who hears how it goes.
        **fields: Settings that differ from the preset.

    Returns:
        The study with its results.

    Raises:
        InputError: If there is no such study, preset or config, or the progress is none.
    """
    one = study if isinstance(study, Study) else find(study)
    heard = Progress() if progress is None else progress
    if not all(callable(getattr(heard, one, None)) for one in ("say", "begin", "advance", "end")):
        raise InputError("progress", progress, "expected an object with the methods of execution.Progress")
    settings = one.settings.preset(preset, **fields)
    _check_device(settings)
    with output_folder(path_of("out", out)) as folder:
        return _run(one, settings, folder, str(study) if not isinstance(study, Study) else one.name, progress)


def _run(study: Study, settings: StudySettings, out: Path, found_as: str, progress: Progress | None) -> StudyRun:
    heard = progress or Progress()
    plan = study.plan(settings)
    for note in plan.notes:
        heard.say(note)
    work = inspect(out, plan)
    for sentence in work.set_aside:
        heard.say(sentence)
    if work.reused:
        heard.say(f"{study.name}: {work.reused} of {work.members} members are stored and used again.")
    _train(study, work, out, settings.device, heard)
    return put_together(study, settings, plan, work, out, found_as, heard)


def put_together(
    study: Study,
    settings: StudySettings,
    plan: Plan,
    work: Work,
    out: Path,
    found_as: str,
    heard: Progress | None = None,
) -> StudyRun:
    """Make a study's results from its units, all of which are stored, and store them.

    Args:
        study: The study.
        settings: Its settings.
        plan: Its plan.
        work: The plan's ensembles with their names in the store.
        out: The output folder.
        found_as: The name or file under which the study was found.
        heard: Who hears if an earlier result is moved out of the way.

    Returns:
        The study with its results.
    """
    records, seconds = _records(plan, work, out, settings.device)
    attributes = {
        "study": study.name,
        "found_as": str(Path(found_as).resolve()) if found_as.endswith(".py") else found_as,
        "question": study.question,
        "settings": settings.model_dump(mode="json"),
        "data": dict(plan.data),
        "notes": list(plan.notes),
        "units": _ranges(work),
        "seconds": {group: round(spent, 3) for group, spent in seconds.items()},
        "provenance": dict(provenance(settings.device)),
    }
    with one_thread():
        results = study.derive(settings, assemble(records, attributes))
    results.attrs = attributes
    moved = set_apart(out / study.name / RESULT, attributes)
    if moved and heard is not None:
        heard.say(moved)
    write_results(out / study.name / RESULT, results)
    return StudyRun(study, results, out, found_as)


def _train(study: Study, work: Work, out: Path, device: str, heard: Progress) -> None:
    if not work.units:
        return
    heard.begin(study.name, work.units, work.seconds)
    done, trained = 0.0, 0
    try:
        for one in work.ensembles:
            for members in one.missing:
                label = ", ".join(map(str, one.planned.coordinates.values())) or _numbers(members)
                whole = Work((EnsembleWork(one.planned, one.name, one.description, (members,)),)).seconds
                begun = done

                def hear(share: float, label: str = label, begun: float = begun, whole: float = whole) -> None:
                    heard.advance(label, begun + share * whole)

                hear(0.0)
                train_unit(one, members, out, device, hear, heard.say)
                done, trained = done + whole, trained + 1
    except KeyboardInterrupt as stopped:
        stopped.args = (_what_is_stored(study, work, out, trained),)
        raise
    finally:
        heard.end()


def _ranges(work: Work) -> dict[str, list[list[int]]]:
    """Give the members by the hash of their config, which several ensembles may share."""
    ranges: dict[str, list[list[int]]] = {}
    for one in work.ensembles:
        ranges.setdefault(one.name, []).append([one.planned.members.start, one.planned.members.stop])
    return ranges


def _numbers(members: range) -> str:
    return f"member {members[0]}" if len(members) == 1 else f"members {members[0]} to {members[-1]}"


def _what_is_stored(study: Study, work: Work, out: Path, trained: int) -> str:
    """Say what an interrupted run leaves, and how to go on."""
    units = [(one.name, members) for one in work.ensembles for members in one.missing]
    begun = sum(checkpoint_path(unit_path(out, name, members)).exists() for name, members in units)
    checkpoint = ", and a checkpoint of the training under way" if begun else ""
    stored = f"{trained} of the {len(units)} chunks of {study.name} that were to be trained"
    return f"{stored} are stored in {out}{checkpoint}; the same command goes on from there"


def _records(
    plan: Plan, work: Work, out: Path, device: str
) -> tuple[Mapping[str, Sequence[Placed]], Mapping[str, float]]:
    """Read all records, make the joint measurements that are missing, and add up the seconds that each group took."""
    names = {id(one.planned): one.name for one in work.ensembles}
    placed: dict[str, list[Placed]] = {"": []}
    seconds: dict[str, float] = {}

    def put(group: str, coordinates: Mapping[str, Coordinate], unit: Unit) -> None:
        placed.setdefault(group, []).append((coordinates, unit.record))
        seconds[group] = seconds.get(group, 0.0) + unit.provenance.get("seconds", 0.0)

    for one in work.ensembles:
        put(one.planned.group, one.planned.coordinates, collect(out, one.name, one.planned.members))
    for measurement in plan.joints:
        of = tuple(names[id(one)] for one in measurement.of)
        put(measurement.group, measurement.coordinates, joint(measurement, of, out, device))
    return {name: some for name, some in placed.items() if some}, seconds


def _check_device(settings: StudySettings) -> None:
    if settings.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise InputError("device", "cuda", "this machine has no usable CUDA device; give cpu")
