"""From the parts of a claim to its verdict: it holds if it holds for each network, function or quantity.

- Supported if every part is, each at 5 %: an intersection–union test, for which no correction is due (Berger 1982,
  Technometrics 24:295). p is the largest of the parts'.
- Contradicted if one part is at 5 % divided by the number of parts (Bonferroni; Dunn 1961, Journal of the American
  Statistical Association 56:52). p is that part's, times the number of parts.
- Undecided otherwise. p is the smallest of a part that points against the claim, times the number of parts; if none
  does, the largest of the parts', or unknown where a part has no p.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final, Literal

import numpy as np

from bathymetry.core.errors import InputError
from bathymetry.stats.validation import number
from bathymetry.stats.wording import count_of_members, p_value

Kind = Literal["majority", "stochastic_order", "median_sign", "median_in_interval", "best_of", "correlation", "exists"]
Decision = Literal["supported", "contradicted", "undecided", "not tested"]
Direction = Literal["for", "against", "neither"]

CONFIDENCE: Final = 0.95  # two-sided, of every interval and test unless a rule says otherwise
CORRELATION_MEMBERS: Final = 20  # with fewer, its test errs too often where numbers depend without correlating
MINIMUM_MEMBERS: Final = 6  # with five, even five of five leaves the share's interval reaching below one half
RENAMED: Final[Mapping[str, str]] = {  # words of earlier versions, as stored files still have them
    "share": "majority",
    "order": "stochastic_order",
    "slope": "median_sign",
    "mean_sign": "median_sign",
    "region": "median_in_interval",
    "mean_in_interval": "median_in_interval",
    "best": "best_of",
    "not judged": "not tested",
}
SEVERAL: Final = (
    f"A verdict needs {MINIMUM_MEMBERS} members. A claim with several parts is supported if every part is supported at "
    "the 5 % level; its p is the largest of theirs. It is contradicted if one part is contradicted at 5 % divided by "
    "the number of parts; its p is that part's p times their number."
)
_OBSTACLES: Final[Mapping[Kind, str]] = {  # why a part with enough members is undecided
    "majority": "the interval of the share includes one half",
    "stochastic_order": "neither is clearly ahead of the other",
    "median_sign": "the interval of the median includes 0",
    "median_in_interval": "the interval of the median extends beyond the region",
    "best_of": "none is clearly ahead of all those that it is compared with",
    "correlation": "the interval of the correlation includes 0",
    "exists": "no cell in which every member does",
}
_NUMBER = re.compile(r"[-−]?\d[\d.,]*(e[-+]?\d+)?")
_BY_SIGNS: Final[Mapping[Kind, str]] = {  # the rules whose smallest p is that of all members on one side
    "majority": "a majority",
    "median_sign": "a median",
    "median_in_interval": "a median",
}


@dataclass(frozen=True)
class Part:
    """One test among those that decide a claim."""

    decision: Decision
    estimate: float  # the effect, in the unit of the statistic; NaN if there is none
    interval: tuple[float, float]  # 95 %, of a best claim as its tests need it; NaN if there is none
    p: float | None  # two-sided; None where the rule has no test, or the part cannot decide
    members: int  # how many members were judged; of the smaller group where there are two
    summary: str  # the numbers in words; of a part that was not tested, why
    coordinates: Mapping[str, str] = field(default_factory=dict)  # which network, function or quantity it is about
    finding: str = ""  # the outcome in plain words, with few numbers; empty where the summary is short enough
    direction: Direction = "neither"  # on which side of the claim the estimate lies, however clearly
    effect: str = ""  # the estimate in a unit that readers know, such as "+2.9 % per doubling", where it has another

    @property
    def place(self) -> str:
        """What it is about, in words: a text by itself, a number with its axis."""
        return ", ".join(
            f"{axis.replace('_', ' ')} {value}" if _NUMBER.fullmatch(value) else value
            for axis, value in self.coordinates.items()
        )


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
        p = "" if self.p is None else f", p = {self.p:.2g}"
        reason = f"<br>{escape(self.reason)}" if self.reason else ""
        rows = "".join(
            f"<tr><td>{escape(part.place)}</td><td>{escape(part.decision)}</td><td>{escape(part.summary)}</td></tr>"
            for part in self.parts
        )
        return f"<p><b>{escape(self.decision)}</b>{p}{reason}</p>" + (f"<table>{rows}</table>" if rows else "")


def significance_level(confidence: float = CONFIDENCE) -> float:
    return round(1 - confidence, 12)  # not 0.050000000000000044


def is_clear(p: float | None, confidence: float = CONFIDENCE) -> bool:
    return p is not None and p < significance_level(confidence)


def decision_of(p: float | None, direction: Direction, confidence: float = CONFIDENCE) -> Decision:
    if direction == "neither" or not is_clear(p, confidence):
        return "undecided"
    return "supported" if direction == "for" else "contradicted"


def side_of(value: float, line: float, *, expect_above: bool = True) -> Direction:
    if value == line or np.isnan(value):
        return "neither"
    return "for" if (value > line) == expect_above else "against"


def agreeing(interval: tuple[float, float], line: float, estimate: float, *, clear: bool) -> tuple[float, float]:
    """Keep ties and rounding from putting an end of an interval on the other side of a line than p says."""
    low, high = interval
    if not clear:
        return min(low, line), max(high, line)
    return (max(low, line), high) if estimate > line else (low, min(high, line))


def not_run(reason: str, coordinates: Mapping[str, str]) -> Part:
    """Make the part of a claim that was not run, so that the claim cannot be supported without it."""
    nan = float("nan")
    return Part("not tested", nan, (nan, nan), None, 0, reason, coordinates)


def combine(kind: Kind, parts: Sequence[Part]) -> Verdict:
    """Decide a claim from its parts; those that were not run count as parts without p. *exists* has no p."""
    tested = [part for part in parts if part.decision != "not tested"]
    decision: Decision = "not tested"
    p: float | None = None
    if tested and kind == "exists":
        decisions = {part.decision for part in parts}
        if "contradicted" in decisions:
            decision = "contradicted"
        else:
            decision = "supported" if decisions == {"supported"} else "undecided"
    elif tested:
        decision, p = _tests(parts)
    members = min((part.members for part in tested), default=0)
    return Verdict(kind, decision, tuple(parts), members, p, _reason(kind, decision, parts))


def _tests(parts: Sequence[Part]) -> tuple[Decision, float | None]:
    known = [part.p for part in parts if part.p is not None]
    largest = max(known) if len(known) == len(parts) else None
    if is_clear(largest) and all(part.direction == "for" for part in parts):
        return "supported", largest
    against = [part.p for part in parts if part.direction == "against" and part.p is not None]
    if not against:
        return "undecided", largest
    p = min(1.0, len(parts) * min(against))
    return ("contradicted" if is_clear(p) else "undecided"), p


def _reason(kind: Kind, decision: Decision, parts: Sequence[Part]) -> str:
    """Name what stands in the way, parts with the same obstacle together; nothing where the claim is decided."""
    if not parts:
        return "there was nothing to test"
    if decision in {"supported", "contradicted"}:
        return ""
    groups: dict[tuple[Decision, str], list[str]] = {}
    for part in parts:
        if part.decision != "supported":
            key = part.decision, _obstacle(kind, part, len(parts))
            groups.setdefault(key, []).append(part.place)
    supported = sum(part.decision == "supported" for part in parts)
    reasons = [obstacle for _, obstacle in groups]
    if supported or len(groups) > 1 or any(part.decision == "contradicted" for part in parts):
        reasons = [f"supported in {supported} of {len(parts)} parts"] if supported else []
        for (outcome, obstacle), names in groups.items():
            about = " and ".join(filter(None, names))
            if decision == "not tested":
                reasons.append(f"{about}: {obstacle}" if about else obstacle)
            else:
                reasons.append(f"{outcome} for {about} ({obstacle})" if about else f"{outcome} ({obstacle})")
    if kind in _BY_SIGNS and any(part.direction == "against" for part in parts):
        reasons += _limit_of_signs(_BY_SIGNS[kind], parts)
    return "; ".join(reasons)


def members_needed(kind: Kind) -> int:
    """How many members a verdict by a rule of some kind needs at least."""
    return CORRELATION_MEMBERS if kind == "correlation" else MINIMUM_MEMBERS


def _obstacle(kind: Kind, part: Part, parts: int) -> str:
    """Say why a part is undecided or not tested, or does not contradict a claim of so many parts by itself."""
    if part.decision == "contradicted" and part.p is not None:
        return f"alone, {p_value(part.p)}; times {parts} parts, {min(1.0, parts * part.p):.2g}"
    if part.decision == "not tested":
        return part.summary
    needed = members_needed(kind)
    if part.members < needed:
        return f"{count_of_members(part.members)}, fewer than the {needed} that a verdict needs"
    if kind == "median_in_interval" and part.p is None:
        return "members diverged"
    if kind == "correlation" and np.isnan(part.estimate):
        return part.summary
    return _OBSTACLES[kind]


def _limit_of_signs(what: str, parts: Sequence[Part]) -> list[str]:
    """Say so where even a part in which every member is on the other side could not contradict a claim of several."""
    members, count = max(part.members for part in parts), len(parts)
    smallest = 2.0 ** (1 - members)  # the two-sided p of all members on one side
    if members < MINIMUM_MEMBERS or is_clear(count * smallest):
        return []
    numbers = f"{count} × {smallest:.2g} is above {significance_level():g}"
    return [f"with {members} members {what} over {count} parts cannot be contradicted ({numbers})"]


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Adjust p values for their number by Holm's step-down rule.

        p̃₍ᵢ₎ = min(1, max over j ≤ i of (n − j + 1) p₍ⱼ₎), p₍₁₎ ≤ … ≤ p₍ₙ₎

    Holm 1979, Scandinavian Journal of Statistics 6:65. The chance of any false rejection stays below the level, however
    the tests depend on each other.

    Args:
        p: One p value per claim; None for a claim without one, which is not counted.

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
    tested = sorted((number("p", value, low=0, high=1), place) for place, value in enumerate(p) if value is not None)
    adjusted: list[float | None] = [None] * len(p)
    running = 0.0
    for rank, (value, place) in enumerate(tested):
        running = max(running, min(1.0, (len(tested) - rank) * value))
        adjusted[place] = running
    return adjusted
