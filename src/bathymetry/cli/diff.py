"""`bathymetry diff A B`: which verdicts changed between two runs."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from bathymetry.cli.parsing import parse
from bathymetry.cli.terminal import OpenFlag, open_page, say, wrapped
from bathymetry.core.errors import InputError

if TYPE_CHECKING:  # so that the help need not wait for PyTorch
    from bathymetry.report.differences import Comparison
    from bathymetry.stats import Verdict

_PAGE = "bathymetry-diff.html"
_RUN = "an output folder, a claims.json, or the word reference: the stored reference run"


@dataclass(frozen=True)
class DiffCommand:
    """Which verdicts changed between two runs, with both effects and their intervals.

    A and B are output folders, claims.json files, or the word reference. For example:
      bathymetry diff run1 run2
      bathymetry diff reference bathymetry-report --out diff.html --open
      bathymetry diff run1/claims.json run2/claims.json --json

    The exit status is 0 whether or not verdicts changed; with --exit-code it is 1 if some did.
    """

    a: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="A", help=_RUN, help_behavior_hint="")]]
    b: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="B", help="the same", help_behavior_hint="")]]
    out: Annotated[str | None, tyro.conf.arg(metavar="FILE.html", help="write a page, too", help_behavior_hint="")] = (
        None
    )
    open: OpenFlag = False
    json: tyro.conf.FlagCreatePairsOff[
        Annotated[bool, tyro.conf.arg(help="print JSON instead, each claim as in claims.json", help_behavior_hint="")]
    ] = False
    exit_code: tyro.conf.FlagCreatePairsOff[
        Annotated[bool, tyro.conf.arg(help="end with status 1 if a verdict changed", help_behavior_hint="")]
    ] = False


def diff(arguments: list[str]) -> int:
    """Compare two runs; return the exit status."""
    command = parse(DiffCommand, "diff", arguments, "bathymetry diff run1 run2")
    page = command.out or (_PAGE if command.open else None)
    if page is not None and not page.endswith(".html"):
        raise InputError("out", page, "expected the name of a page, such as diff.html")
    from bathymetry.report.differences import compare, comparison_page
    from bathymetry.store.folder import is_output_folder
    from bathymetry.store.storage import place_of, write

    place = None if page is None else place_of("out", page)
    if place is not None and place.name == "report.html" and is_output_folder(place.parent):
        raise InputError("out", page, "that is the page of an output folder; expected another name, such as diff.html")
    found = compare(command.a, command.b)
    if command.json:
        say(json.dumps(_fields(found), indent=1, ensure_ascii=False, allow_nan=False))
    else:
        _print(found)
    if place is not None:
        write(place, comparison_page(found).encode(errors="replace"))
        if not command.json:
            say(f"\nPage: {place}")
        if command.open:
            open_page(place)
    return int(command.exit_code and bool(found.changed))


def _print(found: "Comparison") -> None:
    """Print what changed, what only one of the two has tested, and in what their settings differ."""
    say(f"A  {found.a.name}\nB  {found.b.name}\n\n{wrapped(found.counts)}")
    for claim in found.changed:
        assert claim.reference is not None
        say(f"\n{wrapped(claim.text, f'{claim.id}  ', '    ')}")
        for run, verdict in (("A", claim.reference.verdict), ("B", claim.verdict)):
            say(wrapped(_outcome(verdict), f"  {run}  ", "     "))
    if found.tested_in_one:
        say("\nTested in one only (A → B)")
    for claim in found.tested_in_one:
        assert claim.reference is not None
        say(wrapped(f"{claim.id}  {claim.reference.decision} → {claim.verdict.decision}", "  ", "    "))
    say("")
    for note in found.notes:
        say(wrapped(note, "", "  "))


def _outcome(verdict: "Verdict") -> str:
    """A verdict with its n and p, and the numbers of the part that decides it."""
    from bathymetry.report.page import p_value
    from bathymetry.report.rows import deciding

    part = deciding(verdict)
    if part is None:
        return f"{verdict.decision}: {verdict.reason}" if verdict.reason else verdict.decision
    where = part.place
    p = "" if verdict.p is None else f", p {'' if verdict.p < 0.001 else '= '}{p_value(verdict.p)}"
    return f"{verdict.decision}, n = {verdict.members}{p}: {f'{where}: ' if where else ''}{part.summary}"


def _fields(found: "Comparison") -> dict[str, Any]:
    """Write a comparison as plain fields, the claims as `claims.json` has them."""
    from bathymetry.core.showing import plain
    from bathymetry.report.page_json import claim_fields

    changed, tested_in_one = ({one.id for one in some} for some in (found.changed, found.tested_in_one))
    claims = {
        one: {
            "changed": one in changed,
            "tested_in_one_only": one in tested_in_one,
            "a": claim_fields(found.a.claims[one]),
            "b": claim_fields(found.b.claims[one]),
        }
        for one in (claim.id for claim in found.both)
    }
    runs = {"a": found.a.name, "b": found.b.name}
    only = dict(zip(("only_in_a", "only_in_b"), map(list, found.only), strict=True))
    whole: dict[str, Any] = plain(
        runs | {"settings": found.settings, "unknown_settings": found.unknown, "claims": claims} | only
    )
    return whole
