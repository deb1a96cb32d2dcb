"""`bathymetry run STUDY ... [settings]`: train what is missing, measure, judge, and write the page."""

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import tyro

from bathymetry.cli.parsing import Values, as_text, did_you_mean, parse, say
from bathymetry.core.errors import InputError
from bathymetry.core.showing import joined
from bathymetry.studies import PRESETS, SHIPPED, Preset, find, listed

if TYPE_CHECKING:  # so that listing the studies need not wait for xarray and PyTorch
    from bathymetry.execution import Work
    from bathymetry.studies import Study

_FIGURE_SECONDS = 0.6  # to draw one twice, as SVG and PNG
_OWN: Mapping[str, Values] = {"--preset": "one", "--out": "one", "--plan": "none"}


def main(arguments: list[str]) -> None:
    """Run the command.

    Args:
        arguments: Command-line arguments after the subcommand: studies or "all", then settings.

    Raises:
        InputError: If no study is named.
    """
    if not arguments or arguments[0] in ("--help", "-h"):
        say(_help())
        return
    first = next((place for place, one in enumerate(arguments) if one.startswith("-")), len(arguments))
    names, rest = arguments[:first], arguments[first:]
    if not names:
        raise InputError(
            "study", arguments[0], "name the study first: bathymetry run depth-function, or bathymetry run all"
        )
    chosen = _chosen(names)
    late = [one for before, one in pairwise(rest) if one in listed() and not before.startswith("--")]
    if late:
        raise InputError("study", late[0], "name all studies before the first option")
    preset = _preset(rest)
    fields = list(dict.fromkeys(field for study in chosen for field in study.model_fields))
    title = " ".join(names)
    command = _command(chosen, fields, preset)
    given = parse(command, f"run {title}", rest, _flags(chosen, fields))
    if not given.out.strip():
        raise InputError("out", "nothing", "expected the path of a folder")
    changes = {field: _stripped(value) for field in fields if (value := getattr(given, field)) is not None}
    studies = [
        study.preset(preset, **{field: value for field, value in changes.items() if _has(study, field)})
        for study in chosen
    ]
    for field in changes:
        lacking = [study.name for study in chosen if not _has(study, field)]
        if lacking:
            have, run = ("has", "runs") if len(lacking) == 1 else ("have", "run")
            say(f"{joined(lacking)} {have} no setting {_flag(field)} and {run} without it.")
    _run(studies, preset, Path(given.out.strip()), given.plan)


def _chosen(names: Sequence[str]) -> "list[type[Study]]":
    """Find the studies, each once."""
    found: dict[str, type[Study]] = {}
    for name in names:
        for study in [find(one) for one in listed()] if name == "all" else [find(name)]:
            other = found.setdefault(study.name, study)
            if other is not study:
                remedy = f"{other.where} is called {study.name} too; run one of them at a time"
                raise InputError("study", name, remedy)
    return list(found.values())


def _run(studies: "Sequence[Study]", preset: str, out: Path, plan_only: bool) -> None:
    from bathymetry.cli.findings import tell
    from bathymetry.cli.terminal import Terminal
    from bathymetry.execution import compare, run_study
    from bathymetry.report import StudyCodeError, publish
    from bathymetry.store import check_folder

    check_folder(out)
    sources = {name: source for study in studies for name, source in study.planned.data.items()}
    named = [f"{name} ({source.partition(', digest')[0]})" for name, source in sources.items()]
    say(f"Data: {'; '.join(named)}.")
    works = [(study, compare(out, study.planned)) for study in studies]
    for study, work in works:
        say(f"{study.name}: {work.members} networks, {work.reused} of them stored; {_words(work)}.")
    training, measuring = (sum(getattr(work, name) for _, work in works) for name in ("seconds", "measuring_seconds"))
    drawing = _FIGURE_SECONDS * sum(len(study.figures()) for study in studies)
    parts = f"training {_duration(training)}, measuring {_duration(measuring)}, drawing {_duration(drawing)}"
    say(f"In all about {_duration(training + measuring + drawing)}: {parts}.")
    if plan_only:
        return
    say(f"Preset {preset}; results go to {out}.")
    for study in studies:
        run_study(study, out=out, progress=Terminal())
    say("Drawing the figures and writing the page.")
    problem: StudyCodeError | None = None
    try:
        page, claims = publish(out, [type(study) for study in studies if study.name not in SHIPPED])
    except StudyCodeError as error:
        page, claims, problem = error.page, error.claims, error
    names = {study.name for study in studies}
    tell([claim for claim in claims if claim.id.rpartition(".")[0] in names])
    say(f"\nPage: {page}")
    if problem is not None:
        raise problem


def _words(work: "Work") -> str:
    """Say what a study has to do, about how long it takes and how much memory."""
    memory = f"up to {work.bytes / 1e9:.1f} GB of memory"
    chunks = f"{work.num_chunks} chunk{'' if work.num_chunks == 1 else 's'} to train, about {_duration(work.seconds)}"
    done = [chunks if work.num_chunks else "nothing to train"]
    if work.measurements:
        each = f"{work.measurements} measurement{'' if work.measurements == 1 else 's'}"
        done.append(f"{each}, about {_duration(work.measuring_seconds)}")
    return "; ".join([*done, memory])


def _preset(arguments: Sequence[str]) -> str:
    """Find the preset first, for it decides the defaults of all other settings."""
    for place, argument in enumerate(arguments):
        flag, equals, value = argument.partition("=")
        if flag == "--preset":
            name = value if equals else (arguments[place + 1] if place + 1 < len(arguments) else "")
            if name not in get_args(Preset):
                remedy = f"{did_you_mean(name.lower(), PRESETS)}give one of {', '.join(PRESETS)}"
                raise InputError("preset", name or "nothing", remedy)
            return name
    return "quick"


def _command(chosen: "Sequence[type[Study]]", fields: Sequence[str], preset: str) -> type[Any]:
    """Make the dataclass that tyro reads: every setting as text, for the settings themselves to check."""
    columns: list[Any] = [
        ("preset", Annotated[Literal["quick", "full", "smoke"], tyro.conf.arg(help="what the defaults are")], preset),
        ("out", Annotated[str, tyro.conf.arg(metavar="DIR", help="the output folder")], "bathymetry-report"),
        ("plan", Annotated[bool, tyro.conf.arg(help="say what would be done, and stop")], False),
    ]
    for field in fields:
        having = [study for study in chosen if _has(study, field)]
        kind: Any = (tuple[str, ...] if _takes_several(having[0], field) else str) | None
        option = tyro.conf.arg(
            help=_described(field, having, len(chosen), preset), metavar=_metavar(having[0], field),
            help_behavior_hint="",
        )  # fmt: skip
        columns.append((field, Annotated[kind, option], None))
    question = chosen[0].question if len(chosen) == 1 else f"Run {joined([study.name for study in chosen])}."
    documentation = f"{question}\n\nWhat is stored in the output folder is used again; only what is missing is trained."
    return dataclasses.make_dataclass("Run", columns, frozen=True, namespace={"__doc__": documentation})


def _described(field: str, having: "Sequence[type[Study]]", count: int, preset: str) -> str:
    """Explain a setting: what it is, the default of the preset, and which studies have it if others do not."""
    words = dict.fromkeys(study.model_fields[field].description or "" for study in having)
    texts = [as_text(getattr(study.preset(preset), field)) for study in having]
    defaults = {" ".join(text) if isinstance(text, tuple) else text for text in texts}
    default = defaults.pop() if len(defaults) == 1 else "each study's own"
    only = f"; {joined([study.name for study in having])} only" if len(having) < count else ""
    return f"{'; '.join(words)}{only} (default: {'all' if default == 'None' else default})"


def _takes_several(study: "type[Study]", field: str) -> bool:
    return isinstance(as_text(getattr(study.preset("full"), field)), tuple)


def _metavar(study: "type[Study]", field: str) -> str:
    annotation = study.model_fields[field].annotation
    words: Mapping[Any, str] = {int: "INT", float: "FLOAT"}
    return words.get(annotation, "TEXT [TEXT ...]" if "tuple" in str(annotation) else "TEXT")


def _flags(chosen: "Sequence[type[Study]]", fields: Sequence[str]) -> dict[str, Values]:
    having = {field: next(study for study in chosen if _has(study, field)) for field in fields}
    several = {_flag(field): _takes_several(study, field) for field, study in having.items()}
    return {**_OWN, **{flag: "several" if one else "one" for flag, one in several.items()}}


def _flag(field: str) -> str:
    return f"--{field.replace('_', '-')}"


def _stripped(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else tuple(one.strip() for one in value)


def _has(study: "type[Study]", field: str) -> bool:
    return field in study.model_fields


def _duration(seconds: float) -> str:
    if seconds < 1:
        return "1 s" if seconds > 0 else "0 s"
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _help() -> str:
    lines = [f"  {name:<22} {study.question}" for name, study in listed().items()]
    return "\n".join(
        [
            "usage: bathymetry run STUDY [STUDY ...] [SETTINGS]",
            "",
            "Train what is missing, measure, judge, and write the page. STUDY is one or several of",
            "",
            *lines,
            f"  {'all':<22} every study; a setting applies to those that have it",
            f"  {'PATH.py':<22} a study of your own",
            "",
            "bathymetry run STUDY --help lists its settings.",
        ]
    )
