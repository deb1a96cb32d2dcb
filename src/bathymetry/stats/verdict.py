"""What a claim's evidence amounts to: the parts that were tested and the decision they lead to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final, Literal

import numpy as np

from bathymetry.core.errors import InputError
from bathymetry.stats.arguments import coordinates_of, number, text

Kind = Literal["majority", "stochastic_order", "mean_sign", "mean_in_interval", "best_of", "correlation", "exists"]
Decision = Literal["supported", "contradicted", "undecided", "not tested"]
Direction = Literal["for", "against", "neither"]

CONFIDENCE: Final = 0.95  # two-sided, of every interval and test unless a rule says otherwise
RENAMED: Final[Mapping[str, str]] = {  # words of earlier versions, as stored files still have them
    "share": "majority",
    "order": "stochastic_order",
    "slope": "mean_sign",
    "region": "mean_in_interval",
    "best": "best_of",
    "not judged": "not tested",
}
MINIMUM_MEMBERS: Final = 6  # with five, even five of five leaves the share's interval reaching below one half


@dataclass(frozen=True)
class Part:
    """One test among those that decide a claim."""

    decision: Decision
    estimate: float  # the effect, in the unit of the statistic; NaN if there is none
    interval: tuple[float, float]  # 95 % unless the rule was given another confidence; NaN if there is none
    p: float | None  # two-sided; None where the rule has no test, or the part cannot decide
    members: int  # how many members were judged; of the smaller group where there are two
    summary: str  # the numbers in words
    coordinates: Mapping[str, str] = field(default_factory=dict)  # which network, function or quantity it is about
    reason: str = ""  # why it is undecided or not tested
    finding: str = ""  # the outcome in plain words, with few numbers; the summary where it is short enough
    rule: str = ""  # what would have supported it and what contradicted it, as the rule that decided had it
    direction: Direction = "neither"  # on which side of the claim the estimate lies, however clearly

    @property
    def in_favour(self) -> bool:
        """Whether the estimate speaks for the claim, however clearly."""
        return self.direction == "for" or (self.direction == "neither" and self.decision == "supported")

    @property
    def against(self) -> bool:
        """Whether the estimate speaks against the claim, however clearly."""
        return self.direction == "against" or self.decision == "contradicted"


@dataclass(frozen=True)
class Verdict:
    """What several parts say of one claim together."""

    kind: Kind
    decision: Decision
    parts: tuple[Part, ...]
    members: int  # of the part with the fewest
    p: float | None  # before Holm's adjustment over all claims
    reason: str = ""  # why it is undecided or not tested, where that needs words

    def _repr_html_(self) -> str:
        """Show the decision and its parts in a notebook."""
        p = "" if self.p is None else f", p = {self.p:.2g}"
        reason = f"<br>{escape(self.reason)}" if self.reason else ""
        rows = "".join(
            f"<tr><td>{escape(', '.join(part.coordinates.values()))}</td><td>{escape(part.decision)}</td>"
            f"<td>{escape(part.summary)}</td></tr>"
            for part in self.parts
        )
        return f"<p><b>{escape(self.decision)}</b>{p}{reason}</p>" + (f"<table>{rows}</table>" if rows else "")


def not_run(reason: str, coordinates: Mapping[str, str]) -> Part:
    """Stand for a part of a claim that was not run, so that the claim cannot be supported without it.

    Args:
        reason: Why it was not tested.
        coordinates: Which network, function or quantity it is about.

    Returns:
        A part without numbers.

    Example:
        >>> not_run("was not run", {"network": "deep"}).decision
        'not tested'
    """
    reason = text("reason", reason)
    nothing = (float("nan"), float("nan"))
    return Part("not tested", float("nan"), nothing, None, 0, reason, coordinates_of(coordinates), reason)


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Adjust p values for their number by Holm's step-down rule.

        p̃₍ᵢ₎ = min(1, max over j ≤ i of (n − j + 1) p₍ⱼ₎), p₍₁₎ ≤ … ≤ p₍ₙ₎

    Holm 1979, Scandinavian Journal of Statistics 6:65. The chance of any false rejection stays below the level, however
    the tests depend on each other.

    Args:
        p: One p value a claim; None for a claim without one, which is not counted.

    Returns:
        The adjusted values in the same order; None where there was none.

    Raises:
        InputError: If a value is neither a number from 0 to 1 nor None.

    Example:
        >>> holm([0.01, None, 0.04, 0.25])
        [0.03, None, 0.08, 0.25]
    """
    if isinstance(p, str) or not isinstance(p, Sequence | np.ndarray) or getattr(p, "ndim", 1) == 0:
        raise InputError("p", p, "expected a list of p values")
    for value in p:
        if value is not None:
            number("p", value, low=0, high=1)
    tested = sorted((float(value), place) for place, value in enumerate(p) if value is not None)
    adjusted: list[float | None] = [None] * len(p)
    running = 0.0
    for rank, (value, place) in enumerate(tested):
        running = max(running, min(1.0, (len(tested) - rank) * value))
        adjusted[place] = running
    return adjusted
