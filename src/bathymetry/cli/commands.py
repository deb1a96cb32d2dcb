"""The commands that train nothing: list, show, report, export and data."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from bathymetry.cli.parsing import UsageError, parse
from bathymetry.cli.terminal import OpenFlag, PredictOption, print_outcome, say, wrapped
from bathymetry.core.errors import InputError
from bathymetry.core.showing import flag_of, joined
from bathymetry.studies import find
from bathymetry.studies.catalogue import entries
from bathymetry.studies.settings import PRESETS, as_text

if TYPE_CHECKING:  # so that listing the studies need not wait for PyTorch
    from bathymetry.studies import Study

_OUT = "bathymetry-report"
_DOWNLOADS = ("mnist", "fashion-mnist", "kmnist")
_Folder = tyro.conf.Positional[
    Annotated[str, tyro.conf.arg(metavar="DIR", help="the output folder, or an address such as s3://bucket/run1")]
]


@dataclass(frozen=True)
class ListCommand:
    """List the studies with their questions."""


def list_(arguments: list[str]) -> None:
    parse(ListCommand, "list", arguments)
    chapter = ""
    for name, study in entries().items():
        if study.chapter != chapter:
            say(f"\n{study.chapter}" if chapter else study.chapter)
            chapter = study.chapter
        say(f"  {name:<22} {study.question}")


@dataclass(frozen=True)
class ShowCommand:
    """Show a study's settings, its claims and how each is decided, and its figures."""

    study: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="STUDY", help="its name, or a file of your own")]]


def show(arguments: list[str]) -> None:
    from bathymetry.stats.verdict import SEVERAL

    study = find(parse(ShowCommand, "show", arguments, "bathymetry show capacity").study)
    say(f"{study.name}: {study.question}\n")
    say(wrapped(study.about))
    say("\nSettings (for each preset)")
    _show_settings(study)
    claims = study.claims()
    say("\nClaims")
    for claim in claims:
        say(f"  {study.name}.{claim.letter}{' †' if claim.absolute else ''}  {claim.text}")
        say(wrapped(f"{claim.rule.kind.replace('_', ' ')}: {claim.rule.words}", "      "))
    if claims:
        say(wrapped(SEVERAL, "  "))
    if any(claim.absolute for claim in claims):
        say("  † tested only with the data and schedule of the preset `full`.")
    say("\nFigures")
    for figure in study.figures():
        say(f"  {figure.words}")


def _show_settings(study: "type[Study]") -> None:
    presets = {name: study.preset(name) for name in PRESETS}
    for field, info in study.model_fields.items():
        values = {name: " ".join(as_text(getattr(settings, field), info)) for name, settings in presets.items()}
        others = [f"{name}: {value}" for name, value in values.items() if value != values["full"]]
        differing = f"   ({', '.join(others)})" if others else ""
        say(f"  {flag_of(field):<20} {values['full']}{differing}")
        say(wrapped(info.description or "", " " * 23))


@dataclass(frozen=True)
class ReportCommand:
    """Write the page, claims.json, provenance.json and the figures again from what is stored, without training.

    Studies that do not come with Bathymetry are shown as they were stored. To judge and draw one again, name the file
    that defines it with --study, which runs the code in it.
    """

    folder: _Folder = _OUT
    study: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        tyro.conf.arg(
            metavar="FILE", help="a study of your own, whose code is run (repeatable)", help_behavior_hint=""
        ),
    ] = ()
    predict: PredictOption = None
    open: OpenFlag = False


def report(arguments: list[str]) -> None:
    command = parse(ReportCommand, "report", arguments)
    if command.folder in entries() and not Path(command.folder).exists():
        raise InputError("folder", command.folder, f"that is a study; expected an output folder, such as {_OUT}")
    from bathymetry.report.publishing import publish

    predictions = None
    if command.predict is not None:
        from bathymetry.cli.predict import read_predictions
        from bathymetry.report.publishing import study_folders
        from bathymetry.store.storage import place_of

        folders = study_folders(place_of("folder", command.folder))
        own = [find(one) for one in command.study]
        predictions = read_predictions(command.predict, own, [one.name for one in folders])
    page, claims = publish(command.folder, command.study, predictions=predictions)
    print_outcome(page, claims, opens=command.open)


@dataclass(frozen=True)
class ExportCommand:
    """Write stored results as plain tables, one for all quantities that share their dimensions."""

    folder: _Folder
    format: Annotated[Literal["csv", "parquet"], tyro.conf.arg(help="file format of the tables")] = "csv"


def export(arguments: list[str]) -> None:
    command = parse(ExportCommand, "export", arguments, f"bathymetry export {_OUT}")
    from bathymetry.store.folder import check_output_folder, nothing_in
    from bathymetry.store.results import RESULT, export, read_results
    from bathymetry.store.storage import exists, names, place_of

    out = place_of("folder", command.folder)
    check_output_folder(out)
    studies = [out / name for name in names(out) if exists(out / name / RESULT)]
    results = [study / name for study in studies for name in names(study) if re.fullmatch(r"result.*\.nc", name)]
    if not results:
        raise InputError("folder", out, nothing_in(out))
    for path in results:  # a result with other settings is `result-HASH.nc`, and has a folder of its own
        folder = out / "tables" / (path.parent.name + path.stem.removeprefix("result"))
        for table in export(read_results(path), folder, command.format):
            say(str(table))


@dataclass(frozen=True)
class DataCommand:
    """List the data sets with where they are and their digests, or fetch one: bathymetry data fetch mnist."""

    action: tyro.conf.Positional[
        Annotated[Literal["list", "fetch"], tyro.conf.arg(help="list the data sets, or download one")]
    ] = "list"
    name: tyro.conf.Positional[
        Annotated[str, tyro.conf.arg(metavar="NAME", help=joined(_DOWNLOADS, "or"), help_behavior_hint="")]
    ] = ""


def data(arguments: list[str]) -> None:
    if arguments and arguments[0].lower() in _DOWNLOADS:
        raise InputError("action", arguments[0], f"to download it: bathymetry data fetch {arguments[0].lower()}")
    command = parse(DataCommand, "data", arguments)
    from bathymetry.data import fetch
    from bathymetry.data.datasets import available

    if command.action == "fetch":
        if not command.name:
            raise UsageError("name: missing; for example bathymetry data fetch mnist.")
        say(f"Stored in {fetch(command.name)}")
        return
    if command.name:
        raise UsageError(f"data list takes no name; {command.name} is one too many.")
    for one in available():
        say(f"{one.name:<15} {'present' if one.at_hand else 'missing':<8} {one.source}")
        if one.digest:
            say(f"{'':<15} {'':<8} digest {one.digest}")
    say("A folder with four files in MNIST's format and a .npz file work as well: --data PATH.")
