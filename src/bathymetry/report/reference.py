"""The verdicts and answers of the reference run, which ship with the package."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from bathymetry.claims.judging import Judged, ReferenceVerdict
from bathymetry.report.page_json import claim_of


@dataclass(frozen=True)
class Answer:
    """What the card of a study says."""

    sentence: str
    chart: Mapping[str, Any] | None  # a small chart, as `cards.packed` makes it
    run: str = ""  # whose it is, where that is not the run that leads
    is_reference: bool = False


@cache
def _stored(name: str) -> Mapping[str, Any]:
    stored: Mapping[str, Any] = json.loads(files("bathymetry.studies").joinpath(name).read_text(encoding="utf-8"))
    return stored


@cache
def reference_answers() -> Mapping[str, Answer]:
    """The answers of the reference run by study."""
    return {
        name: Answer(one["sentence"], one["chart"], is_reference=True)
        for name, one in _stored("reference_answers.json").items()
    }


@cache
def reference_claims() -> Mapping[str, Judged]:
    """The claims of the reference run, for example "depth-function.a"."""
    return {one["id"]: claim_of(one, one["id"].partition(".")[0]) for one in _stored("reference_claims.json")["claims"]}


@cache
def reference_verdicts() -> Mapping[str, ReferenceVerdict]:
    """The verdicts of the reference run by claim."""
    versions = _stored("reference_claims.json")["versions"]
    return {
        name: ReferenceVerdict(one.verdict, one.finding, one.p_holm, versions[name.partition(".")[0]])
        for name, one in reference_claims().items()
    }
