"""`bathymetry merge FOLDER ... --out FOLDER`: one page of the networks of many people."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from bathymetry.cli.parsing import lasting_place, parse
from bathymetry.cli.terminal import OpenFlag, print_outcome, say
from bathymetry.core.errors import InputError


@dataclass(frozen=True)
class MergeCommand:
    """Merge the results in several output folders, such as those of a class, and write the page of all of them.

    Settings and data have to agree, but for the seed and the number of members. A network that is in several folders,
    with the same seed and number, counts once. The folders stay as they are.
    """

    folders: tyro.conf.Positional[
        Annotated[
            tuple[str, ...],
            tyro.conf.arg(metavar="FOLDER ...", help="the output folders, at least two", help_behavior_hint=""),
        ]
    ]
    out: Annotated[str, tyro.conf.arg(metavar="DIR", help="the folder of the merged results")] = "bathymetry-merged"
    study: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        tyro.conf.arg(
            metavar="FILE", help="a study of your own, whose code is run (repeatable)", help_behavior_hint=""
        ),
    ] = ()
    open: OpenFlag = False


def merge(arguments: list[str]) -> None:
    """Merge the folders that the command line names."""
    command = parse(MergeCommand, "merge", arguments, "bathymetry merge anna ben --out class")
    if not command.out.strip():
        raise InputError("out", command.out, "expected the path of a folder, such as class")
    from bathymetry.execution.merge import merge as merged
    from bathymetry.report.publishing import publish
    from bathymetry.store.storage import place_of
    from bathymetry.studies import find

    out, own = lasting_place(command.out), [find(one) for one in command.study]
    for sentence in merged([place_of("folder", one) for one in command.folders], out, own):
        say(sentence)
    say("Drawing the figures and writing the page.")
    page, claims = publish(out, own)
    print_outcome(page, claims, opens=command.open)
