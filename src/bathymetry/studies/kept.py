"""Verdicts of the reference run, shipped with the package, to stand beside claims that a smaller run cannot test."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import cast

from bathymetry.stats.verdict import RENAMED, Decision


@dataclass(frozen=True)
class KeptVerdict:
    """What the reference run says of a claim."""

    verdict: Decision
    finding: str
    members: int


@cache
def kept_verdicts() -> Mapping[str, KeptVerdict]:
    """Read the verdicts of the reference run.

    Returns:
        Verdicts by claim, for example "depth-function.a".
    """
    text = files("bathymetry.studies").joinpath("kept_claims.json").read_text(encoding="utf-8")
    return {
        one["id"]: KeptVerdict(
            cast("Decision", RENAMED.get(one["verdict"], one["verdict"])), one["finding"], one["members"]
        )
        for one in json.loads(text)
    }
