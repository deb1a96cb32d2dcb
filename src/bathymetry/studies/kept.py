"""Verdicts of kept full runs, shipped with the package, to stand beside claims that a smaller run can't judge."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bathymetry.statistics import Decision


@dataclass(frozen=True)
class KeptVerdict:
    """What the kept full run says of a claim."""

    verdict: "Decision"
    finding: str
    members: int


@cache
def kept_verdicts() -> Mapping[str, KeptVerdict]:
    """Read the verdicts of the kept full runs.

    Returns:
        Verdicts by claim, for example "depth-function.a".
    """
    text = files("bathymetry.studies").joinpath("kept_claims.json").read_text(encoding="utf-8")
    return {one["id"]: KeptVerdict(one["verdict"], one["finding"], one["members"]) for one in json.loads(text)}
