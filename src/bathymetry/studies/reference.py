"""Verdicts of the reference run, shipped with the package, for claims that a smaller run cannot test."""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from bathymetry.claims.judging import ReferenceVerdict


@cache
def reference_verdicts() -> Mapping[str, ReferenceVerdict]:
    """The verdicts of the reference run by claim, for example "depth-function.a"."""
    text = files("bathymetry.studies").joinpath("reference_claims.json").read_text(encoding="utf-8")
    stored = json.loads(text)
    return {
        one["id"]: ReferenceVerdict(
            one["verdict"], one["finding"], one["members"], stored["versions"][one["id"].partition(".")[0]]
        )
        for one in stored["claims"]
    }
