"""`bathymetry report DIR`: the page again, from what is stored."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from bathymetry.cli.parsing import parse, say
from bathymetry.core.errors import InputError
from bathymetry.studies import studies


@dataclass(frozen=True)
class ReportCommand:
    """Write the page, claims.json, provenance.json and the figures again from what is stored, without training."""

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DIR", help="the output folder")] = Path(
        "bathymetry-report"
    )


def main(arguments: list[str]) -> None:
    """Run the command.

    Args:
        arguments: What stands behind its name.

    Raises:
        InputError: If a study is named instead of a folder.
    """
    folder = parse(ReportCommand, "report", arguments).folder
    if str(folder) in studies() and not folder.exists():
        raise InputError("folder", folder, "expected the output folder, whose page has all of its studies")
    from bathymetry.cli.findings import tell
    from bathymetry.report import publish

    page, claims = publish(folder)
    tell(claims)
    say(f"\nPage: {page}")
