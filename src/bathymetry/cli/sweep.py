"""`bathymetry sweep SPEC.yaml`: show the plan, train what is missing at every point, and write the page."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from bathymetry.cli.job_arrays import check_print, print_array
from bathymetry.cli.parsing import parse
from bathymetry.cli.run import OPTIONS, data_line, execution_options, output_place
from bathymetry.cli.terminal import OpenFlag, TerminalProgress, before_training, counted, duration, print_outcome, say
from bathymetry.core.errors import IncompleteError, InputError
from bathymetry.core.showing import joined, rounded, rounded_apart

if TYPE_CHECKING:
    import xarray as xr

    from bathymetry.execution.sweep_run import SweepRun
    from bathymetry.execution.work import Work
    from bathymetry.store.storage import Place
    from bathymetry.sweeps.sweep import Sweep

_ROWS = 40  # of the table of points
_OF_STUDIES = {
    "--predict": "predictions are about the claims of a study; those of a sweep have none",
    "--preset": "presets are of studies, and a sweep has none; its fields are in the specification",
}


@dataclass(frozen=True)
class SweepCommand:
    """Train an ensemble at every point of a sweep, and write the page.

    What is stored in the output folder is used again; only what is missing is trained.
    """

    spec: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="SPEC.yaml", help="the specification")]]
    out: Annotated[str, tyro.conf.arg(metavar="DIR", help="the output folder, or an address")] = "bathymetry-report"
    plan: tyro.conf.FlagCreatePairsOff[
        Annotated[bool, tyro.conf.arg(help="print what would be done, and stop", help_behavior_hint="")]
    ] = False
    where: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        tyro.conf.arg(
            metavar="AXIS=VALUE", help="train only these points (repeatable: all must hold)", help_behavior_hint=""
        ),
    ] = ()
    open: OpenFlag = False


def _command() -> type[Any]:
    """The command with the options of execution, which `run` has too."""
    options = [
        (name, Annotated[str | None, tyro.conf.arg(metavar=metavar, help=words, help_behavior_hint="")], None)
        for name, metavar, words in OPTIONS
    ]
    documentation = {"__doc__": SweepCommand.__doc__}
    return make_dataclass("Sweep", options, bases=(SweepCommand,), frozen=True, namespace=documentation)


def sweep(arguments: list[str]) -> None:
    """Run a sweep as the command line says."""
    if (planned := _planned(arguments)) is not None:
        _run(*planned)


@before_training()
def _planned(arguments: list[str]) -> "tuple[Sweep, Place, dict[str, Any], bool] | None":
    """Show the plan; return what is to be run, if anything is."""
    _check_no_field(arguments)
    command = parse(_command(), "sweep", arguments, "bathymetry sweep SPEC.yaml")
    if not command.out.strip():
        raise InputError("out", command.out, "expected the path of a folder, or an address such as s3://bucket/run1")
    where, options = _where(command.where), execution_options(command)
    check_print(command)
    out = None if command.print else output_place(command.out, options)
    from bathymetry.execution.executors import KEYWORDS, executor
    from bathymetry.execution.study_run import check_device
    from bathymetry.execution.sweep_run import changes_since, open_sweep, points_where
    from bathymetry.execution.work import compare, share_of
    from bathymetry.store.folder import check_folder
    from bathymetry.sweeps.reading import files_of, read_file

    made = read_file(command.spec)
    if out is not None and not command.plan:
        executor([made], out, **{name: options[name] for name in KEYWORDS})  # before trials, which may take long
    made.check()
    options["where"] = points_where(made, where)
    if out is None:
        points = [word for name, value in where.items() for word in ("--where", f"{name}={value}")]
        words = ["sweep", command.spec, *points]
        print_array(command, [made], words, options["workers"], options["where"], files_of(made))
        return None
    check_folder(out)
    check_device(made)
    stored, changed = open_sweep(made, out), changes_since(made, out)
    say(data_line(made.planned.data))
    say(f"{made.name}: {made.in_words()}.")
    say(_counts(stored.dataset, changed))
    work = compare(out, made.planned).only(options["where"])
    part = work.part(share_of([work], options["shard"]), out if options["only_failed"] else None)
    if options["only_failed"] and not part.todo:
        if changed and work.todo:
            remedy = f"their {joined(changed)} changed, so that all are pending; run the sweep without --rerun"
            raise InputError("rerun", "failed", remedy)
        say("No point has failed.")
        return None
    if work.todo:
        say("A chunk is up to ten members of one point, which are trained together.")
    say(_plan(part, options["workers"], command.shard))
    if begun := part.begun_in(out):
        say(f"What was being trained continues from its {begun}.")
    if repeated := len(work.ensembles) - len({one.config_hash for one in work.ensembles}):
        have = "has" if repeated == 1 else "have"
        say(f"{repeated:,} of {counted(len(work.ensembles), 'point')} {have} the values of another, and its networks.")
    if made.few_members:
        say(made.few_members)
    return None if command.plan else (made, out, options, command.open)


def _check_no_field(arguments: Sequence[str]) -> None:
    """Refuse an option that is a field of the specification, as settings are options of `run`, or only of `run`."""
    own = {one.name for one in fields(_command())}
    words = [one.partition("=")[0] for one in arguments if one.startswith("--")]
    others = [one for one in words if one[2:].replace("-", "_") not in own]
    if others:
        from bathymetry.sweeps.reading import field_names

        spec = next((one for one in arguments if one.endswith((".yaml", ".yml"))), "the file")
        for one in others:
            if one in _OF_STUDIES:
                raise InputError("option", one, _OF_STUDIES[one])
            if one[2:].replace("-", "_") in field_names():
                remedy = f"it is a field of the specification; write it into {Path(spec).name}"
                raise InputError("option", one, remedy)


def _plan(work: "Work", workers: int, shard: str | None) -> str:
    """How many networks are to be trained, about how long that takes and how much memory."""
    share = "" if shard is None else f"Share {shard.strip()}: "
    if not work.todo:
        return f"{share}nothing to train." if share else "Nothing to train."
    from bathymetry.execution.calibration import calibrate

    estimate = calibrate(work)
    networks = counted(sum(len(members) for _, members in work.todo), "network")
    at_once = f" with {workers} workers" if workers > 1 else ""
    tried = f"measured on {counted(estimate.trials, 'short training')}"
    memory = f"up to {work.bytes / 1e9:.1f} GB of memory for each worker"
    lasts = f"about {duration(estimate.seconds(workers))}{at_once} ({tried})"
    lasts = lasts if estimate.trials else "the time is not estimated, because trials of it fail"
    return f"{share}{networks} to train in {counted(len(work.todo), 'chunk')}, {lasts}; {memory}."


def _run(made: "Sweep", out: "Place", options: dict[str, Any], opens: bool) -> None:
    """Train what is missing, and write the page of what is there; then say what failed."""
    from bathymetry.execution.study_run import run_studies
    from bathymetry.execution.sweep_run import open_sweep
    from bathymetry.report.publishing import publish

    incomplete: IncompleteError | None = None
    try:
        run_studies([made], out=out, progress=TerminalProgress(), **options)
    except IncompleteError as error:
        incomplete = error
    run = open_sweep(made, out)
    say(_table(run, [axis.name for axis in made.specification.axis_list]))
    say(f"\n{_counts(run.dataset)}")
    if options["shard"] is not None:  # one of many workers; the command without --shard writes the page
        stored = "The share is stored" if incomplete is None else "What was trained of the share is stored"
        say(f"{stored}; when all shares have ended, the same command without --shard writes the page.")
        if incomplete is not None:
            raise incomplete
        return
    say("Drawing the figures and writing the page.")
    page, claims = publish(out, workers=options["workers"])
    print_outcome(page, [one for one in claims if one.id.rpartition(".")[0] == made.name], opens=opens)
    if incomplete is not None:
        raise incomplete


def _where(words: Sequence[str]) -> dict[str, str]:
    """Read AXIS=VALUE, several of which must all hold."""
    found: dict[str, str] = {}
    for one in words:
        name, equals, value = one.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise InputError("where", one, "expected AXIS=VALUE, such as learning_rate=0.1")
        if name.strip() in found:
            raise InputError("where", one, f"{name.strip()} has a value already; expected each axis once")
        found[name.strip()] = value.strip()
    return found


def _counts(results: "xr.Dataset", changed: Sequence[str] = ()) -> str:
    """How many networks are done, diverged, failed and pending, and what has changed since they were trained."""
    status = results["status"]
    counts = {name: int((status == name).sum()) for name in ("done", "diverged", "failed", "pending")}
    words = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    why = f" (their {joined(changed)} changed since they were trained)" if changed and counts["pending"] else ""
    return f"{counted(status.size, 'network')}: {words}{why}."


def _table(run: "SweepRun", axes: Sequence[str]) -> str:
    """The median over members of each variable at every point, or at the first of many."""
    whole = run.table.drop(columns="error", errors="ignore")  # which has a sentence of its own
    for axis in axes:
        values = whole[axis].tolist()
        if (apart := rounded_apart(values)) != list(map(rounded, values)):
            whole[axis] = apart
    shown = whole.head(_ROWS).to_string(index=False, float_format=lambda value: f"{value:.4g}", na_rep="–")
    rest = f"\n… {len(whole):,} points in all; `bathymetry export` writes them" if len(whole) > _ROWS else ""
    return f"\nMedian over members\n{shown}{rest}"
