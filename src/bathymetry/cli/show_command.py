"""`bathymetry show STUDY`: its settings, its claims and how each is decided, its figures."""

import textwrap
from dataclasses import dataclass
from typing import Annotated

import tyro

from bathymetry.cli.parsing import as_text, parse, say
from bathymetry.stats.verdict import RULES, SEVERAL
from bathymetry.studies import PRESETS, Study, find


@dataclass(frozen=True)
class ShowCommand:
    """Show a study's settings, its claims and how each is decided, and its figures."""

    study: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="STUDY", help="its name, or a file of your own")]


def main(arguments: list[str]) -> None:
    """Run the command.

    Args:
        arguments: What stands behind its name.
    """
    study = find(parse(ShowCommand, "show", arguments).study)
    say(f"{study.name}: {study.question}\n")
    say(_wrapped(study.about))
    say("\nSettings (for each preset)")
    _settings(study)
    say("\nClaims")
    for claim in study.claims():
        mark = " †" if claim.absolute else ""
        say(f"  {study.name}.{claim.letter}{mark}  {claim.text}")
        say(_wrapped(f"{_named(claim.kind)}: {claim.rule}", "      "))
    say("\nHow a kind of claim is decided, from at least 6 members")
    for kind in dict.fromkeys(claim.kind for claim in study.claims()):
        say(_wrapped(f"{_named(kind)}: {RULES[kind]}", "  "))
    if study.claims():
        say(_wrapped(SEVERAL, "  "))
    if any(claim.absolute for claim in study.claims()):
        say("  † is tested only on the protocol's own data and schedule.")
    say("\nFigures")
    for figure in study.figures():
        say(f"  {figure.words}")


def _named(kind: str) -> str:
    return kind.replace("_", " ")


def _settings(study: type[Study]) -> None:
    each = {name: study.preset(name) for name in PRESETS}
    for field, description in study.model_fields.items():
        values = {name: _typed(getattr(settings, field)) for name, settings in each.items()}
        shown = values["full"]
        others = [f"{name}: {value}" for name, value in values.items() if value != shown]
        beside = f"   ({', '.join(others)})" if others else ""
        say(f"  --{field.replace('_', '-'):<18} {shown}{beside}")
        say(_wrapped(description.description or "", " " * 23))


def _typed(value: object) -> str:
    text = as_text(value)
    return " ".join(text) if isinstance(text, tuple) else str(text)


def _wrapped(words: str, indent: str = "") -> str:
    return textwrap.fill(words, 100, initial_indent=indent, subsequent_indent=indent)
