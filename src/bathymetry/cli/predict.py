"""`bathymetry predict STUDY`: a file with every claim, in which the reader predicts the verdicts of a run."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import tyro

from bathymetry.cli.parsing import parse
from bathymetry.cli.terminal import counted, say
from bathymetry.core.errors import InputError, did_you_mean
from bathymetry.core.showing import joined
from bathymetry.studies import find
from bathymetry.studies.catalogue import SHIPPED

if TYPE_CHECKING:  # so that the help need not wait for PyTorch
    from bathymetry.stats.verdict import Decision
    from bathymetry.studies import Study

VERDICTS = ("supported", "contradicted", "undecided")
_EXPECTED = f"expected {joined(VERDICTS, 'or')}"
_PLAIN = re.compile(r"[A-Za-z][\w.-]*")  # what YAML takes for a text without quotes


@dataclass(frozen=True)
class PredictCommand:
    """Write a file for your predictions: every claim of a study, and after it `predicted:`, to be filled in.

    The command `bathymetry run STUDY --predict FILE` shows them next to the verdicts, and counts how many came true.
    """

    studies: tyro.conf.Positional[
        Annotated[
            tuple[str, ...],
            tyro.conf.arg(
                metavar="STUDY ...", help="their names, all, or files of your own", help_behavior_hint="(required)"
            ),
        ]
    ]
    out: Annotated[str, tyro.conf.arg(metavar="FILE", help="the file to write")] = "predictions.yaml"


def predict(arguments: list[str]) -> None:
    """Write the file."""
    from bathymetry.core.system import put

    command = parse(PredictCommand, "predict", arguments, "bathymetry predict capacity")
    named = dict.fromkeys(one for given in command.studies for one in (SHIPPED if given == "all" else [given]))
    for one in named:
        if one.endswith((".yaml", ".yml")):
            remedy = "predictions are about the claims of a study; those of a sweep have none"
            raise InputError("study", one, remedy)
    kinds = list(dict.fromkeys(map(find, named)))
    count = sum(len(kind.claims()) for kind in kinds)
    if not count:
        raise InputError("study", joined(list(named)), "it has no claims to predict")
    path = Path(command.out)
    if not command.out.strip():
        raise InputError("out", command.out, "expected the name of a new file, such as predictions.yaml")
    if path.exists():
        raise InputError("out", command.out, "it is there already; expected the name of a new file")
    put(path, template(kinds).encode())
    say(f"{path} has {counted(count, 'claim')}. Write {joined(VERDICTS, 'or')} after each `predicted:`, and then run")
    say(f"  bathymetry run {' '.join(command.studies)} --predict {path}")


def template(kinds: "Sequence[type[Study]]") -> str:
    """The claims of some studies as YAML, their texts as comments."""
    lines = [f"# Your predictions: write {joined(VERDICTS, 'or')} after `predicted:`, or leave it empty."]
    for kind in kinds:
        lines += ["", f"# {kind.name}: {' '.join(kind.question.split())}"]
        for claim in kind.claims():
            name = f"{kind.name}.{claim.letter}"
            lines += ["", f"# {' '.join(claim.text.split())}", f"{name if _PLAIN.fullmatch(name) else repr(name)}:"]
            lines += ["  predicted:"]
    return "\n".join([*lines, ""])


def read_predictions(file: str, own: "Sequence[type[Study]]", present: Collection[str]) -> "dict[str, Decision]":
    """Read the verdicts that a file predicts, by claim; `present` are the studies that there are verdicts of."""
    from bathymetry.store.yaml_files import read_yaml

    given = read_yaml(Path(file), "predict")
    if not given or not isinstance(given, Mapping):
        remedy = "the file is empty" if given is None or given == {} else "it holds no claims by name"
        raise InputError("predict", file, f"{remedy}; `bathymetry predict STUDY` writes one to fill in")
    letters = {kind.name: [one.letter for one in kind.claims()] for kind in (*map(find, SHIPPED), *own)}
    made = {str(name): _predicted(str(name), one, letters) for name, one in given.items()}
    known = {name: cast("Decision", word) for name, word in made.items() if word}
    if not known:
        raise InputError("predict", file, f"it predicts nothing; {_EXPECTED} after `predicted:`")
    if not any(name.rpartition(".")[0] in present for name in known):
        raise InputError("predict", file, f"it predicts no claim of {joined(sorted(present), 'or')}")
    return known


def _predicted(name: str, given: Any, letters: Mapping[str, Sequence[str]]) -> str:
    """The verdict that is predicted of a claim, or nothing."""
    study, _, letter = name.rpartition(".")
    if study not in letters:
        names = [f"{study}.{letter}" for study, some in letters.items() for letter in some]
        remedy = f"{did_you_mean(name, names)}expected a claim such as {names[0]}"
        raise InputError("predict", name, f"there is no such claim; {remedy}")
    if letter not in letters[study]:
        claims = joined([f"{study}.{one}" for one in letters[study]], "or")
        raise InputError("predict", name, f"there is no such claim; expected {claims}")
    if isinstance(given, Mapping):
        others = [one for one in given if one != "predicted"]
        if others:
            raise InputError(
                name, others[0], f"{did_you_mean(others[0], ['predicted'])}expected predicted: and a verdict"
            )
        given = given.get("predicted")
    if given is None:
        return ""
    given = given.strip().lower() if isinstance(given, str) else given
    if given not in VERDICTS:
        raise InputError(f"{name}.predicted", given, f"{did_you_mean(given, VERDICTS)}{_EXPECTED}")
    return str(given)
