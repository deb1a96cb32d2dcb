"""The verdicts of the reference run, which ship with the package."""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from bathymetry.claims.judging import Judged, ReferenceVerdict
from bathymetry.report.page_json import claim_of


@cache
def _stored() -> Mapping[str, Any]:
    stored: Mapping[str, Any] = json.loads(
        files("bathymetry.studies").joinpath("reference_claims.json").read_text(encoding="utf-8")
    )
    return stored


@cache
def reference_claims() -> Mapping[str, Judged]:
    """The claims of the reference run, for example "depth-function.a"."""
    return {one["id"]: claim_of(one, one["id"].partition(".")[0]) for one in _stored()["claims"]}


@cache
def reference_verdicts() -> Mapping[str, ReferenceVerdict]:
    """The verdicts of the reference run by claim."""
    versions = _stored()["versions"]
    return {
        name: ReferenceVerdict(one.verdict, one.finding, one.p_holm, versions[name.partition(".")[0]])
        for name, one in reference_claims().items()
    }
