"""`bathymetry list`: the studies with their questions."""

from dataclasses import dataclass

from bathymetry.cli.parsing import parse, say
from bathymetry.studies import listed


@dataclass(frozen=True)
class ListCommand:
    """List the studies with their questions."""


def main(arguments: list[str]) -> None:
    """Run the command.

    Args:
        arguments: What stands behind its name.
    """
    parse(ListCommand, "list", arguments)
    part = ""
    for name, study in listed().items():
        if study.part != part:
            say(f"{'' if not part else chr(10)}{study.part}")
            part = study.part
        say(f"  {name:<22} {study.question}")
