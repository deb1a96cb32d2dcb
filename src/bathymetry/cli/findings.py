"""Telling verdicts and findings on the terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bathymetry.cli.parsing import say

if TYPE_CHECKING:
    from bathymetry.claims import Judged


def tell(claims: "Sequence[Judged]") -> None:
    """Print every claim with its verdict and finding.

    Args:
        claims: The claims of a page.
    """
    for claim in claims:
        say(f"\n{claim.id}  {claim.text}")
        say(f"  {claim.verdict.decision.upper()}  {claim.finding}")
        for remark in claim.remarks:
            say(f"  {remark}")
        if claim.reference is not None:
            say(f"  The reference run: {claim.reference.decision}. {claim.reference.finding}")
