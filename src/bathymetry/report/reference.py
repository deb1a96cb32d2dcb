"""The verdicts of the reference run, which ship with the package."""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from bathymetry.claims.judging import ReferenceVerdict
from bathymetry.report.page_json import claim_of


@cache
def reference_verdicts() -> Mapping[str, ReferenceVerdict]:
    """The verdicts of the reference run by claim, for example "depth-function.a"."""
    text = files("bathymetry.studies").joinpath("reference_claims.json").read_text(encoding="utf-8")
    stored = json.loads(text)
    verdicts = {}
    for one in stored["claims"]:
        study = one["id"].partition(".")[0]
        read = claim_of(one, study)
        verdicts[read.id] = ReferenceVerdict(read.verdict, read.finding, one["p_holm"], stored["versions"][study])
    return verdicts
