"""`bathymetry run STUDY ... [settings]`: train what is missing, measure, judge, and write the page."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import tyro

from bathymetry.cli.job_arrays import check_print, print_array
from bathymetry.cli.parsing import UsageError, lasting_place, parse, parse_bytes, parse_shard
from bathymetry.cli.predict import read_predictions
from bathymetry.cli.terminal import (
    OpenFlag,
    PredictOption,
    TerminalProgress,
    before_training,
    counted,
    duration,
    print_outcome,
    rounded,
    say,
)
from bathymetry.core.errors import IncompleteError, InputError
from bathymetry.core.identity import seed_of
from bathymetry.core.showing import flag_of, joined
from bathymetry.studies import find
from bathymetry.studies.catalogue import SHIPPED, entries
from bathymetry.studies.settings import PRESETS, Networks, Preset, as_text, field_name, is_network

if TYPE_CHECKING:  # so that the help of `run` need not wait for PyTorch
    from bathymetry.execution.work import Work
    from bathymetry.stats.verdict import Decision
    from bathymetry.store.storage import Place
    from bathymetry.studies import Study

_MOST_WORKERS = 10_000
_DATA_SETS = 10  # named in a plan
OPTIONS = (
    ("workers", "N", "chunks trained at once, each in a process with one thread (default: the cores available)"),
    ("max_memory", "SIZE", "memory that all workers may take, such as 8GB (default: four fifths of what is free)"),
    ("scheduler", "ADDRESS", "a Dask scheduler, such as tcp://HOST:8786, whose workers train instead"),
    ("local_cluster", "N", "a Dask cluster of N workers on this machine, started for the run"),
    ("shard", "I/N", "only the I-th of N fixed shares of the chunks, for job arrays"),
    ("rerun", "failed", "only chunks that failed before; what is pending is left alone"),
    ("print", "slurm|kubernetes", "print a job array whose N workers (--workers N) take a share each, and stop"),
)
_FIGURE_SECONDS = 0.5  # of one core, to draw one as SVG and PNG


def run(arguments: list[str]) -> None:
    """Run studies with the settings that the command line names."""
    if not arguments or arguments[0] in ("--help", "-h"):
        say(_help())
    elif (planned := _planned(arguments)) is not None:
        _run(*planned)


@before_training()
def _planned(arguments: list[str]) -> tuple[Any, ...] | None:
    """Show the plan; return what is to be run, if anything is."""
    first = next((at for at, one in enumerate(arguments) if one.startswith("-")), len(arguments))
    names, rest = arguments[:first], arguments[first:]
    if not names:
        raise UsageError(f"study: missing before {arguments[0]}; for example bathymetry run capacity, or run all.")
    kinds = _chosen(names)
    late = [one for before, one in pairwise(rest) if one in entries() and not before.startswith("--")]
    if late:
        raise InputError("study", late[0], "name all studies before the first option")
    preset = _preset(rest)
    chosen = [kind.preset(preset) for kind in kinds]
    fields = dict.fromkeys(field for kind in kinds for field in kind.model_fields)
    having = {field: [study for study in chosen if field in type(study).model_fields] for field in fields}
    command = parse(_command(chosen, having, preset), f"run {' '.join(names)}", rest)
    if not command.out.strip():
        raise InputError("out", command.out, "expected the path of a folder, or an address such as s3://bucket/run1")
    check_print(command)
    changes = {field: _stripped(value) for field in having if (value := getattr(command, field)) is not None}
    studies = [
        kind.preset(preset, **{field: value for field, value in changes.items() if field in kind.model_fields})
        for kind in kinds
    ]
    options = execution_options(command)
    if command.print is not None:
        files = [Path(one) if one.endswith(".py") else one for one in names]
        settings = [
            word
            for field, value in changes.items()
            for word in (flag_of(field), *([value] if isinstance(value, str) else value))
        ]
        print_array(command, studies, ["run", *files, "--preset", preset, *settings], options["workers"])
        return None
    out = output_place(command.out, options)
    for field in ("seed", "data_seed"):
        if field in changes and (number := seed_of(changes[field])) != changes[field]:
            say(f"{field_name(field)} '{changes[field]}' is {number}.")
    for field in changes:
        lacking = [kind.name for kind in kinds if field not in kind.model_fields]
        if lacking:
            verbs = ("has", "runs") if len(lacking) == 1 else ("have", "run")
            say(f"{joined(lacking)} {verbs[0]} no setting {flag_of(field)} and {verbs[1]} without it.")
    predictions = None
    if command.predict is not None:
        own = [kind for kind in kinds if kind.name not in SHIPPED]
        predictions = read_predictions(command.predict, own, [kind.name for kind in kinds])
    if not _has_plan(studies, out, options, plan_only=command.plan) or command.plan:
        return None
    say(f"Preset {preset}; results go to {out}.")
    return studies, out, options, command.open, predictions


def execution_options(command: Any) -> dict[str, Any]:
    """Read how the chunks are trained, of a command that has OPTIONS as texts."""
    from bathymetry.core.system import available_cores

    return {
        "workers": _count("workers", command.workers) or (1 if _is_cluster(command) else available_cores()),
        "scheduler": None if command.scheduler is None else command.scheduler.strip(),
        "local_cluster": _count("local_cluster", command.local_cluster),
        "max_memory": None if command.max_memory is None else parse_bytes("max_memory", command.max_memory),
        "shard": None if command.shard is None else parse_shard(command.shard.strip()),
        "only_failed": _only_failed(command.rerun),
    }


def output_place(out: str, options: Mapping[str, Any]) -> "Place":
    """Read where results go, and refuse options that do not go together, before data are read and times estimated."""
    from bathymetry.execution.executors import KEYWORDS, check_options

    place = lasting_place(out)
    check_options(place, **{name: options[name] for name in KEYWORDS})
    return place


def _count(field: str, text: str | None) -> int | None:
    if text is None:
        return None
    digits = text.strip()
    if not digits.isdecimal() or len(digits) > 20 or not 1 <= int(digits) <= _MOST_WORKERS:  # int refuses 4,301 digits
        raise InputError(field, text, f"expected a whole number from 1 to {_MOST_WORKERS:,}")
    return int(digits)


def _is_cluster(command: Any) -> bool:
    return command.scheduler is not None or command.local_cluster is not None


def _only_failed(text: str | None) -> bool:
    if text not in (None, "failed"):
        raise InputError("rerun", text, "expected failed: only what failed before is tried again")
    return text is not None


def _chosen(names: Sequence[str]) -> "list[type[Study]]":
    """Find the studies, each once."""
    found: dict[str, type[Study]] = {}
    for name in names:
        for study in [find(one) for one in entries()] if name == "all" else [find(name)]:
            other = found.setdefault(study.name, study)
            if other is not study:
                remedy = f"{other.location} is called {study.name} too; run one of them at a time"
                raise InputError("study", name, remedy)
    return list(found.values())


def _has_plan(studies: "Sequence[Study]", out: "Place", options: Mapping[str, Any], *, plan_only: bool) -> bool:
    """Print what is to be done, about how long it takes and how much memory; return whether something is."""
    from bathymetry.data.datasets import read_once
    from bathymetry.execution.executors import KEYWORDS, executor
    from bathymetry.execution.study_run import check_device
    from bathymetry.execution.work import compare, share_of
    from bathymetry.store.folder import check_folder

    check_folder(out)
    for study in studies:
        check_device(study)
    if not plan_only:
        executor(studies, out, **{name: options[name] for name in KEYWORDS})  # before plans, which may take long
    with read_once():  # only while planning: then each study has its own examples, and the whole set is released
        sources = {name: source for study in studies for name, source in study.planned.data.items()}
    say(data_line(sources))
    whole = [compare(out, study.planned) for study in studies]
    share, failed_in = share_of(whole, options["shard"]), out if options["only_failed"] else None
    works = [work.part(share, failed_in) for work in whole]
    if options["only_failed"] and not any(work.todo or work.measurements for work in works):
        say("Nothing has failed.")
        return False
    in_share = "" if share is None else "in this share "
    for study, work, part in zip(studies, whole, works, strict=True):
        say(f"{study.name}: {work.members} networks, {work.reused} of them stored; {in_share}{_words(part, out)}.")
    if any(work.todo for work in works):
        say("A chunk is up to ten members of one ensemble, which are trained together.")
    workers = _workers(options)
    figures = sum(len(study.figures()) for study in studies) if share is None else 0
    say(_total(works, _FIGURE_SECONDS * figures / workers, workers))
    return True


def _workers(options: Mapping[str, Any]) -> int:
    return int(options["local_cluster"] or options["workers"])


def _run(
    studies: "Sequence[Study]",
    out: "Place",
    options: Mapping[str, Any],
    opens: bool,
    predictions: "Mapping[str, Decision] | None",
) -> None:
    """Train, and write the page; then say what failed."""
    from bathymetry.execution.study_run import run_studies
    from bathymetry.report.publishing import StudyCodeError, publish

    incomplete: IncompleteError | None = None
    try:
        run_studies(studies, out=out, progress=TerminalProgress(), **options)
    except IncompleteError as error:
        incomplete = error
    if options["shard"] is not None:
        if incomplete is not None:
            raise incomplete
        written = "the page" if predictions is None else "the page with your predictions"
        say(f"The share is stored; the same command without --shard puts the results together and writes {written}.")
        return
    say("Drawing the figures and writing the page.")
    problem: StudyCodeError | None = None
    try:
        own = [type(study) for study in studies if study.name not in SHIPPED]
        page, claims = publish(
            out, own, workers=None if options["scheduler"] else _workers(options), predictions=predictions
        )
    except StudyCodeError as error:
        page, claims, problem = error.page, error.claims, error
    names = {study.name for study in studies}
    print_outcome(page, [claim for claim in claims if claim.id.rpartition(".")[0] in names], opens=opens)
    if problem is not None or incomplete is not None:
        raise problem or incomplete  # type: ignore[misc]


def data_line(sources: Mapping[str, str]) -> str:
    """Which data a plan uses, or the first of many."""
    named = [f"{name} ({source.partition(', digest')[0]})" for name, source in sources.items()]
    more = f"; {len(named) - _DATA_SETS} more" if len(named) > _DATA_SETS else ""
    return f"Data: {'; '.join(named[:_DATA_SETS])}{more}."


def _words(work: "Work", out: "Place") -> str:
    """What a study has to do, about how long it takes and how much memory."""
    parts = ["nothing to train"]
    if work.todo:
        parts = [f"{counted(len(work.todo), 'chunk')} to train, about {duration(work.seconds)} on one core"]
        if begun := work.begun_in(out):
            parts.append(f"what was being trained continues from its {begun}")
    if work.measurements:
        parts.append(f"{counted(work.measurements, 'measurement')}, {_measuring([work])}")
    return "; ".join([*parts, f"up to {work.bytes / 1e9:.1f} GB of memory"])


def _measuring(works: "Sequence[Work]", workers: int = 1) -> str:
    """About how long measurements take, of which some do not say so."""
    unknown = sum(work.unestimated for work in works)
    if unknown == sum(work.measurements for work in works) > 0:
        return "not estimated"
    about = f"about {duration(sum(work.measuring_seconds for work in works) / workers)}"
    return f"{about} ({unknown} not estimated)" if unknown else about


def _total(works: "Sequence[Work]", drawing: float, workers: int) -> str:
    """The time of everything with so many workers: the sum of the parts as they are printed."""
    training = rounded(sum(work.seconds for work in works) / workers)
    measuring = rounded(sum(work.measuring_seconds for work in works) / workers)
    times = (rounded(training), rounded(measuring), rounded(drawing))
    parts = f"training {duration(training)}, measuring {_measuring(works, workers).removeprefix('about ')}"
    at_once = f" with {workers} workers" if workers > 1 else ""
    return f"In all about {duration(sum(times))}{at_once}: {parts}, drawing {duration(drawing)}."


def _preset(arguments: Sequence[str]) -> str:
    """Find the preset first: it decides the defaults of all other settings."""
    for argument, following in pairwise([*arguments, ""]):
        option, equals, value = argument.partition("=")
        if option == "--preset":
            name = value if equals else following
            return name if name in PRESETS else "quick"  # which `parse` refuses
    return "quick"


def _command(chosen: "Sequence[Study]", having: "Mapping[str, Sequence[Study]]", preset: str) -> type[Any]:
    """Make the dataclass that tyro reads: every setting as text, which the study validates."""
    columns: list[Any] = [
        ("preset", Annotated[Preset, tyro.conf.arg(help="the defaults of all other settings")], preset),
        (
            "out",
            Annotated[
                str, tyro.conf.arg(metavar="DIR", help="the output folder, or an address such as s3://bucket/run1")
            ],
            "bathymetry-report",
        ),
        (
            "plan",
            tyro.conf.FlagCreatePairsOff[
                Annotated[bool, tyro.conf.arg(help="print what would be done, and stop", help_behavior_hint="")]
            ],
            False,
        ),
        ("predict", PredictOption, None),
        ("open", OpenFlag, False),
    ]
    for name, metavar, words in OPTIONS:
        columns.append(
            (name, Annotated[str | None, tyro.conf.arg(metavar=metavar, help=words, help_behavior_hint="")], None)
        )
    for field, studies in having.items():
        words = _description(field, studies, len(chosen))
        option = tyro.conf.arg(help=words, metavar=_metavar(studies[0], field), help_behavior_hint="")
        kind = tuple[str, ...] if isinstance(getattr(studies[0], field), tuple) else str
        columns.append((field, Annotated[kind | None, option], None))
    question = chosen[0].question if len(chosen) == 1 else f"Run {joined([study.name for study in chosen])}."
    documentation = f"{question}\n\nWhat is stored in the output folder is used again; only what is missing is trained."
    return dataclasses.make_dataclass("Run", columns, frozen=True, namespace={"__doc__": documentation})


def _description(field: str, studies: "Sequence[Study]", count: int) -> str:
    """A setting, its default in the preset, and the studies that have it if others do not."""
    words = dict.fromkeys(type(study).model_fields[field].description or "" for study in studies)
    infos = [type(study).model_fields[field] for study in studies]
    values = [as_text(getattr(study, field), info) for study, info in zip(studies, infos, strict=True)]
    defaults = set(map(" ".join, values))
    default = defaults.pop() if len(defaults) == 1 else "each study's own"
    only = f"; {joined([study.name for study in studies])} only" if len(studies) < count else ""
    return f"{'; '.join(words)}{only} (default: {default})"


def _metavar(study: "Study", field: str) -> str:
    """What is to be typed: NUMBER, WIDTHS, FUNCTION, cpu|cuda, …, and whether several."""
    info = type(study).model_fields[field]
    annotation, several = info.annotation, get_origin(info.annotation) is tuple
    if is_network(info) or field.endswith("seed"):
        return "WIDTHS" if is_network(info) else "NUMBER|TEXT"
    if get_origin(annotation) is Literal:
        return "|".join(map(str, get_args(annotation)))
    if annotation == Networks:
        word = "WIDTHS"
    elif re.search(r"\b(int|float)\b", str(annotation)):
        word = "NUMBER|all" if type(None) in get_args(annotation) else "NUMBER"
    else:
        word = {"data": "NAME|PATH", "function": "FUNCTION", "functions": "FUNCTION"}.get(field, "TEXT")
    return f"{word} [{word} ...]" if several else word


def _stripped(value: str | tuple[str, ...]) -> str | tuple[str, ...]:
    return value.strip() if isinstance(value, str) else tuple(one.strip() for one in value)


def _help() -> str:
    lines = "\n".join(f"  {name:<22} {study.question}" for name, study in entries().items())
    return f"""\
usage: bathymetry run STUDY [STUDY ...] [--preset full | quick | smoke] [SETTINGS]

Train what is missing, measure, judge, and write the page. STUDY is one or several of

{lines}
  {"all":<22} every study; a setting applies to those that have it
  {"PATH.py":<22} a study of your own

A preset is the defaults of all settings: full is the reference, quick (the default) takes minutes, smoke seconds.

bathymetry run STUDY --help lists its settings."""
