"""`bathymetry run STUDY [settings]`: train what is missing, measure, judge, and write the page."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import tyro

from bathymetry.cli.parsing import as_text, parse, say
from bathymetry.core.errors import InputError
from bathymetry.studies import PRESETS, Preset, Study, StudySettings, find, studies

_OWN = ("preset", "out", "plan")
_COMMON = ("data", "members", "seed", "device")


def main(arguments: list[str]) -> None:
    """Run the command.

    Args:
        arguments: What stands behind its name: a study or "all", then its settings.

    Raises:
        InputError: If no study is named.
    """
    if not arguments or arguments[0] in ("--help", "-h"):
        say(_help())
        return
    name, rest = arguments[0], arguments[1:]
    if name.startswith("-"):
        raise InputError("study", name, "name the study first: bathymetry run depth-function, or bathymetry run all")
    chosen = list(studies().values()) if name == "all" else [find(name)]
    preset = _preset(rest)
    usual = chosen[0].settings.preset(preset)
    fields = [one for one in _COMMON if one in _fields_of(chosen)] if name == "all" else list(type(usual).model_fields)
    command = _command(chosen, fields, preset, name)
    given = parse(command, f"run {name}", rest, [f"--{one.replace('_', '-')}" for one in (*_OWN, *fields)])
    changes = {field: _stripped(value) for field in fields if (value := getattr(given, field)) is not None}
    found_as = [name] if name != "all" else [study.name for study in chosen]
    settings = [
        study.settings.preset(preset, **{field: value for field, value in changes.items() if _has(study, field)})
        for study in chosen
    ]
    _run(list(zip(found_as, chosen, settings, strict=True)), preset, Path(given.out), given.plan)


def _run(chosen: Sequence[tuple[str, Study, StudySettings]], preset: str, out: Path, plan_only: bool) -> None:
    from bathymetry.cli.findings import tell
    from bathymetry.cli.terminal import Terminal
    from bathymetry.execution import look, run_study
    from bathymetry.report import publish
    from bathymetry.store import check_folder

    check_folder(out)
    plans = [(study, study.plan(settings)) for _, study, settings in chosen]
    sources = {name: source for _, plan in plans for name, source in plan.data.items()}
    named = [f"{name} ({source.partition(', digest')[0]})" for name, source in sources.items()]
    say(f"Data: {'; '.join(named)}.")
    works = [(study, look(out, plan)) for study, plan in plans]
    for study, work in works:
        training = f"{work.units} units to train, about {_duration(work.seconds)}" if work.units else "nothing to train"
        if work.measurements:
            training += f", and {work.measurements} measurements on top"
        memory = f"up to {work.bytes / 1e9:.1f} GB of memory"
        say(f"{study.name}: {work.members} networks, {work.reused} of them stored; {training}, {memory}.")
    if plan_only:
        return
    seconds = sum(work.seconds for _, work in works)
    training = f"training takes about {_duration(seconds)}" if seconds else "there is nothing to train"
    say(f"Preset {preset}; results go to {out}; {training}, what is to be measured and drawn comes on top.")
    for found_as, _, settings in chosen:
        changes = settings.model_dump()
        run_study(found_as, preset=preset, out=out, progress=Terminal(), **changes)
    say("Drawing the figures and writing the page.")
    page, claims = publish(out)
    names = {study.name for _, study, _ in chosen}
    tell([claim for claim in claims if claim.id.rpartition(".")[0] in names])
    say(f"\nPage: {page}")


def _preset(arguments: Sequence[str]) -> str:
    """Find the preset first, for it decides the defaults of all other settings."""
    for place, argument in enumerate(arguments):
        flag, equals, value = argument.partition("=")
        if flag == "--preset":
            name = value if equals else (arguments[place + 1] if place + 1 < len(arguments) else "")
            if name not in get_args(Preset):
                raise InputError("preset", name or "nothing", f"give one of {', '.join(PRESETS)}")
            return name
    return "quick"


def _command(chosen: Sequence[Study], fields: Sequence[str], preset: str, name: str) -> type[Any]:
    """Make the dataclass that tyro reads: every setting as text, for the settings themselves to check."""
    columns: list[Any] = [
        ("preset", Annotated[Literal["quick", "full", "smoke"], tyro.conf.arg(help="what the defaults are")], preset),
        ("out", Annotated[str, tyro.conf.arg(metavar="DIR", help="the output folder")], "bathymetry-report"),
        ("plan", Annotated[bool, tyro.conf.arg(help="say what would be done, and stop")], False),
    ]
    for field in fields:
        study = next(one for one in chosen if _has(one, field))
        text = as_text(getattr(study.settings.preset(preset), field))
        several = isinstance(text, tuple)
        kind: Any = (tuple[str, ...] if several else str) | None
        shown = " ".join(text) if several else text
        words = f"{study.settings.model_fields[field].description} (default: {'all' if shown == 'None' else shown})"
        option = tyro.conf.arg(help=words, metavar=_metavar(study, field), help_behavior_hint="")
        columns.append((field, Annotated[kind, option], None))
    question = chosen[0].question if len(chosen) == 1 else "Run every study, with settings that all of them have."
    documentation = f"{question}\n\nWhat is stored in the output folder is used again; only what is missing is trained."
    return dataclasses.make_dataclass(f"Run_{name}", columns, frozen=True, namespace={"__doc__": documentation})


def _metavar(study: Study, field: str) -> str:
    annotation = study.settings.model_fields[field].annotation
    words: Mapping[Any, str] = {int: "INT", float: "FLOAT"}
    return words.get(annotation, "TEXT [TEXT ...]" if "tuple" in str(annotation) else "TEXT")


def _fields_of(chosen: Sequence[Study]) -> set[str]:
    return {field for study in chosen for field in study.settings.model_fields}


def _stripped(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else tuple(one.strip() for one in value)


def _has(study: Study, field: str) -> bool:
    return field in study.settings.model_fields


def _duration(seconds: float) -> str:
    if seconds < 1:
        return "1 s"
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _help() -> str:
    lines = [f"  {study.name:<22} {study.question}" for study in studies().values()]
    return "\n".join(
        [
            "usage: bathymetry run STUDY [SETTINGS]",
            "",
            "Train what is missing, measure, judge, and write the page. STUDY is one of",
            "",
            *lines,
            f"  {'all':<22} every study, with settings that all of them have",
            f"  {'PATH.py':<22} a study of your own",
            "",
            "bathymetry run STUDY --help lists its settings.",
        ]
    )
