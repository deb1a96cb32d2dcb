"""A claim: a sentence that a study can support or contradict, with the rule that decides."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr

    from bathymetry.stats import Kind, Part


def nothing_beside(results: "xr.DataTree") -> str:
    """Say nothing beside a finding.

    Args:
        results: The study's results.

    Returns:
        No sentence.
    """
    del results
    return ""


@dataclass(frozen=True)
class Claim:
    """One claim of a study."""

    letter: str  # "a": the claim is known as STUDY.a
    text: str  # what is claimed, as the homework report has it
    kind: "Kind"
    rule: str  # how it is decided, in words
    decide: "Callable[[xr.DataTree], Sequence[Part]]"  # no parts where the results have nothing to judge by
    # † in the protocol: it has an absolute number, or speaks of where training ends, so that on other data or another
    # schedule it is not tested
    absolute: bool = False
    beside: "Callable[[xr.DataTree], str]" = (
        nothing_beside  # what the finding would mislead without, a sentence or none
    )

    def _repr_html_(self) -> str:
        """Show the claim in a notebook."""
        mark = " †" if self.absolute else ""
        decided = f"{self.kind.replace('_', ' ')}: {self.rule}"
        return f"<p><b>{escape(self.letter)}{mark}</b> {escape(self.text)}<br>{escape(decided)}</p>"
