"""`bathymetry sweep SPEC.yaml`: show the plan, train what is missing at every point, and write the page."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from bathymetry.cli.parsing import parse
from bathymetry.cli.terminal import TerminalProgress, counted, print_verdicts, say
from bathymetry.core.errors import InputError, whole_number

if TYPE_CHECKING:
    import xarray as xr

    from bathymetry.execution.sweep_run import SweepRun

_ROWS = 40  # of the table of points


@dataclass(frozen=True)
class SweepCommand:
    """Train an ensemble at every point of a sweep, and write the page.

    What is stored in the output folder is used again; only what is missing is trained.
    """

    spec: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="SPEC.yaml", help="the specification")]]
    out: Annotated[str, tyro.conf.arg(metavar="DIR", help="the output folder")] = "bathymetry-report"
    plan: tyro.conf.FlagCreatePairsOff[
        Annotated[bool, tyro.conf.arg(help="print what would be done, and stop", help_behavior_hint="")]
    ] = False
    where: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        tyro.conf.arg(
            metavar="AXIS=VALUE", help="train only these points (repeatable: all must hold)", help_behavior_hint=""
        ),
    ] = ()


def sweep(arguments: list[str]) -> None:
    """Run a sweep as the command line says."""
    command = parse(SweepCommand, "sweep", arguments, "bathymetry sweep SPEC.yaml")
    if not command.out.strip():
        raise InputError("out", command.out, "expected the path of a folder")
    where = _where(command.where)
    from bathymetry.execution.study_run import check_device
    from bathymetry.execution.sweep_run import open_sweep, points_where, sweep
    from bathymetry.report.publishing import publish
    from bathymetry.store.folder import check_folder
    from bathymetry.store.storage import place_of
    from bathymetry.sweeps.reading import read_file

    made, out = read_file(command.spec), place_of("out", command.out.strip())
    check_folder(out)
    check_device(made)
    points_where(made, where)
    stored = open_sweep(made, out)
    say(f"{made.name}: {made.in_words()}.")
    say(_counts(stored.dataset))
    if command.plan:
        return
    run = sweep(made, out=out, where=where, progress=TerminalProgress())
    say("Drawing the figures and writing the page.")
    page, claims = publish(out)
    say(_table(run))
    print_verdicts([one for one in claims if one.id.rpartition(".")[0] == made.name])
    say(f"\nPage: {page}")


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


def read_shard(words: str) -> tuple[int, int]:
    """Read I/N: the share of the chunks that this worker takes, from 1/N to N/N."""
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", words.strip())
    if not match:
        raise InputError("shard", words, "expected I/N, such as 1/40 for the first of 40 shares")
    share, count = int(match[1]), int(match[2])
    whole_number("shard", count, 1)
    if not 1 <= share <= count:
        raise InputError("shard", words, f"expected from 1/{count} to {count}/{count}")
    return share, count


def _counts(results: "xr.Dataset") -> str:
    status = results["status"]
    counts = {name: int((status == name).sum()) for name in ("done", "diverged", "failed", "pending")}
    words = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    return f"{counted(status.size, 'network')}: {words}."


def _table(run: "SweepRun") -> str:
    """The median over members of each variable at every point, or at the first of many."""
    whole = run.table
    shown = whole.head(_ROWS).to_string(index=False, float_format=lambda value: f"{value:.4g}", na_rep="–")
    rest = f"\n… {len(whole):,} points in all; `bathymetry export` writes them" if len(whole) > _ROWS else ""
    return f"\nMedian over members\n{shown}{rest}"
