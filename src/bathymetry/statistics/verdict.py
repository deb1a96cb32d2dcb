"""What a claim's evidence amounts to: the parts that were tested and the decision they lead to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

Kind = Literal["share", "order", "slope", "region", "best", "exists"]
Decision = Literal["supported", "contradicted", "undecided", "not judged"]

CONFIDENCE: Final = 0.95  # two-sided, of every interval and test unless a rule says otherwise
MINIMUM_MEMBERS: Final = 6  # with five, even five of five leaves the share's interval reaching below one half


@dataclass(frozen=True)
class Part:
    """One test among those that decide a claim."""

    decision: Decision
    estimate: float  # the effect, in the unit of the statistic; NaN if there is none
    interval: tuple[float, float]  # 95 % unless the rule was given another confidence; NaN if there is none
    p: float | None  # two-sided; None where the rule has no test
    members: int  # how many members were judged; of the smaller group where there are two
    summary: str  # the numbers in words
    coordinates: Mapping[str, str] = field(default_factory=dict)  # which network, function or quantity it is about
    reason: str = ""  # why it is undecided or not judged
    told: str = ""  # the outcome in plain words, with few numbers; the summary where it is short enough
    rule: str = ""  # what would have supported it and what contradicted it, as the rule that decided had it


@dataclass(frozen=True)
class Verdict:
    """What several parts say of one claim together."""

    kind: Kind
    decision: Decision
    parts: tuple[Part, ...]
    members: int  # of the part with the fewest
    p: float | None  # before Holm's adjustment over all claims
    reason: str = ""  # why it is undecided or not judged, where that needs words
