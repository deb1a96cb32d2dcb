"""`bathymetry export DIR --format csv|parquet`: stored results as plain tables."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from bathymetry.cli.parsing import parse, say
from bathymetry.core.errors import InputError


@dataclass(frozen=True)
class ExportCommand:
    """Write stored results as plain tables, one for all quantities that share their dimensions."""

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DIR", help="the output folder")]
    format: Annotated[Literal["csv", "parquet"], tyro.conf.arg(help="which kind of table")] = "csv"


def main(arguments: list[str]) -> None:
    """Run the command.

    Args:
        arguments: What stands behind its name.

    Raises:
        InputError: If the folder holds no results.
    """
    given = parse(ExportCommand, "export", arguments)
    from bathymetry.store import export, is_output_folder, read_results

    results = sorted(given.folder.glob("*/result*.nc")) if is_output_folder(given.folder) else []
    if not results:
        raise InputError("folder", given.folder, "it holds no results of Bathymetry; give one that a run wrote")
    for path in results:  # a result with other settings is `result-HASH.nc`, and has a folder of its own
        folder = given.folder / "tables" / (path.parent.name + path.stem.removeprefix("result"))
        for table in export(read_results(path), folder, given.format):
            say(str(table))
