"""`bathymetry data`: what there is, from where, with digest; `bathymetry data fetch NAME` downloads."""

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from bathymetry.cli.parsing import parse, say
from bathymetry.core.errors import InputError

_FETCHED = ("mnist", "fashion-mnist", "kmnist")


@dataclass(frozen=True)
class DataCommand:
    """List the data sets with where they are and their digests, or fetch one: bathymetry data fetch mnist."""

    action: Annotated[
        tyro.conf.Positional[Literal["list", "fetch"]], tyro.conf.arg(help="list what there is, or fetch a data set")
    ] = "list"
    name: Annotated[
        tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME", help="which: mnist, fashion-mnist or kmnist")
    ] = ""


def main(arguments: list[str]) -> None:
    """Run the command.

    Args:
        arguments: What stands behind its name.

    Raises:
        InputError: If no data set is named to fetch.
    """
    if arguments and arguments[0].lower() in _FETCHED:
        raise InputError("action", arguments[0], f"to download it: bathymetry data fetch {arguments[0].lower()}")
    given = parse(DataCommand, "data", arguments)
    from bathymetry.data import available, fetch

    if given.action == "fetch":
        if not given.name:
            raise InputError("name", "nothing", "say which: bathymetry data fetch mnist, fashion-mnist or kmnist")
        say(f"Stored in {fetch(given.name)}")
        return
    for one in available():
        say(f"{one.name:<15} {'at hand' if one.at_hand else 'missing':<8} {one.source}")
        if one.digest:
            say(f"{'':<15} {'':<8} digest {one.digest}")
    say("A folder with four files in MNIST's format and a .npz file work as well: --data PATH.")
