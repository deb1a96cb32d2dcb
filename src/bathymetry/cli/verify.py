"""`bathymetry verify DIR`: whether a folder is whole, and its verdicts follow from its results."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from bathymetry.cli.parsing import parse
from bathymetry.cli.terminal import say, wrapped


@dataclass(frozen=True)
class VerifyCommand:
    """Check the digests of results, chunks, pages and figures, and that the stored verdicts follow from the results.

    Nothing is written. The exit status is 0 if all is whole, 1 if something is damaged or a verdict does not follow, 2
    if something could not be checked. Digests show damage, not forgery. The page itself, report.html, has none: it is
    made from what is checked. For example:
      bathymetry verify bathymetry-report
      bathymetry verify bathymetry-report --study own_study.py
    """

    folder: tyro.conf.Positional[
        Annotated[str, tyro.conf.arg(metavar="DIR", help="the output folder, or an address", help_behavior_hint="")]
    ]
    study: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        tyro.conf.arg(
            metavar="FILE", help="a study of your own, whose code is run (repeatable)", help_behavior_hint=""
        ),
    ] = ()


def verify(arguments: list[str]) -> int:
    """Check an output folder; return the exit status."""
    command = parse(VerifyCommand, "verify", arguments, "bathymetry verify bathymetry-report")
    from bathymetry.report.verifying import verify

    found = verify(command.folder, command.study)
    for one in found:
        say(wrapped(one.summary, f"{one.name:<22} ", " " * 23))
        for sentence in (*one.problems, *one.notes):
            say(wrapped(sentence.replace(f"{command.folder.rstrip('/')}/", ""), "  ", "    "))
    say("\nDigests show damage, not forgery: who can change a file can change its digest.")
    if any(one.problems for one in found):
        return 1
    for one in found:
        if one.unchecked is not None:
            raise one.unchecked
    return 0
