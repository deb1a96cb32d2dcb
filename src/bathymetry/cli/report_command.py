"""`bathymetry report DIR`: the page again, from what is stored."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from bathymetry.cli.parsing import parse, say
from bathymetry.core.errors import InputError
from bathymetry.studies import SHIPPED


@dataclass(frozen=True)
class ReportCommand:
    """Write the page, claims.json, provenance.json and the figures again from what is stored, without training.

    Studies that do not come with Bathymetry are shown as they were stored. To judge and draw one again, name the file
    that defines it with --study, which runs the code in it.
    """

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DIR", help="the output folder")] = Path(
        "bathymetry-report"
    )
    study: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        tyro.conf.arg(metavar="FILE", help="a study of your own, whose code is run; may be given several times"),
    ] = ()


def main(arguments: list[str]) -> None:
    """Run the command.

    Args:
        arguments: What stands behind its name.

    Raises:
        InputError: If a study is named instead of a folder.
    """
    given = parse(ReportCommand, "report", arguments)
    if str(given.folder) in SHIPPED and not given.folder.exists():
        raise InputError("folder", given.folder, "expected the output folder, whose page has all of its studies")
    from bathymetry.cli.findings import tell
    from bathymetry.report import publish

    page, claims = publish(given.folder, given.study)
    tell(claims)
    say(f"\nPage: {page}")
