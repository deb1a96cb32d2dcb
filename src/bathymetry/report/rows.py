"""The rows of the page's claims: where both runs' effects are drawn, and what stands in each column.

Rows with one statistic stand together under one axis, whose supporting side is always the right one. A row has a lane
for the reference run and one for this run; each draws the part that decides its verdict, and the others as small dots.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from bathymetry.claims.judging import Judged
from bathymetry.stats import Part, Verdict
from bathymetry.stats.verdict import Decision, Kind

WIDTH = 216.0  # pixels of a lane
_ROOM = 9.0  # pixels left free at both ends
_LETTERS = 34  # that have room in a lane
_SHARES: tuple[Kind, ...] = ("majority", "stochastic_order", "best_of")
_NUMBER = re.compile(r"^(?P<name>.*?)\s*(?P<value>[-−]?\d[\d.,]*(?:e[-−+]?\d+)?(?: %)?)(?P<rest>[^()]*?) \(")


@dataclass(frozen=True)
class Axis:
    """What stands above the rows of one statistic."""

    title: str
    left: str  # its ends; empty where each row has its own
    right: str
    middle: str  # the value that decides; empty where there is none
    neutral: float | None  # where it is, in pixels
    has_intervals: bool = True


@dataclass(frozen=True)
class Lane:
    """One run's side of a row."""

    run: str  # "reference" or "this"
    decision: Decision
    effect: str  # "0 of 10"
    where: str  # of the part that is drawn: "cos, shallow"
    members: str
    p: float | None
    note: str = ""  # where nothing can be drawn
    at: float | None = None  # in pixels
    low: float = 0.0
    high: float = 0.0
    others: tuple[float, ...] = ()  # the estimates of the other parts


@dataclass(frozen=True)
class Row:
    """A claim."""

    claim: Judged
    letter: str
    lanes: tuple[Lane, ...]  # the one that leads first
    parts: tuple[tuple[Part, Lane], ...]  # this run's, on the same axis
    neutral: float | None


@dataclass(frozen=True)
class Rows:
    """The claims of one statistic under their axis."""

    axis: Axis
    rows: tuple[Row, ...]


def rows_of(claims: Sequence[Judged], *, reference_leads: bool, noun: str = "network") -> tuple[Rows, ...]:
    """Lay out claims, those with one statistic together, in the order in which the statistics first occur.

    `noun` is what a member is.
    """
    groups: dict[str, list[Judged]] = {}
    for claim in claims:
        groups.setdefault("share" if claim.verdict.kind in _SHARES[1:] else claim.verdict.kind, []).append(claim)
    return tuple(
        Rows(_axis(some[0].verdict.kind, f"{noun}s"), tuple(_row(one, reference_leads) for one in some))
        for some in groups.values()
    )


def deciding(verdict: Verdict) -> Part | None:
    """The part that a verdict's p is of: the weakest of a supported claim, the clearest that speaks against another."""
    parts = [one for one in verdict.parts if one.decision != "not tested"]
    if not parts or verdict.decision == "not tested":
        return None
    with_p = [one for one in parts if one.p is not None]
    against = [one for one in with_p if one.direction == "against"]
    if verdict.decision != "supported" and against:
        return min(against, key=lambda one: one.p or 0.0)
    unknown = [one for one in parts if one.p is None]
    return (unknown or [max(with_p, key=lambda one: one.p or 0.0)])[0]


def _axis(kind: Kind, members: str = "networks") -> Axis:
    middle = WIDTH / 2
    if kind == "majority":
        return Axis(f"Share of {members}", "0 %", "100 %", "50 %", middle)
    if kind in _SHARES:
        return Axis(f"Share of pairs of {members}", "0 %", "100 %", "50 %", middle)
    if kind == "correlation":
        return Axis(f"Rank correlation over {members}", "", "", "0", middle)
    if kind == "median_sign":
        return Axis(f"Median over {members}, each row on its own scale", "", "", "threshold", middle)
    if kind == "median_in_interval":
        return Axis(f"Median over {members}, each row on its own scale", "", "", "", None)
    return Axis(f"{members.capitalize()} at one point", "", "", "", None, has_intervals=False)


@dataclass(frozen=True)
class _Scale:
    """From values of a statistic to pixels, the side that supports the claim being the right one."""

    low: float
    high: float
    is_signed: bool = False

    def place(self, part: Part) -> tuple[float, float, float]:
        """Where a part's estimate and the ends of its interval are."""
        turned = self.is_signed and part.direction != "neither" and (part.estimate > 0) != (part.direction == "for")
        shares = [(one - self.low) / (self.high - self.low) for one in (part.estimate, *part.interval)]
        inside = [min(max(1 - one if turned else one, 0.0), 1.0) for one in shares]
        middle, *ends = (round(_ROOM + (WIDTH - 2 * _ROOM) * one, 1) for one in inside)
        return middle, min(ends), max(ends)


def _scale(kind: Kind, parts: Sequence[Part]) -> _Scale | None:
    drawn = [one for one in parts if _is_drawn(one)]
    if kind in _SHARES:
        return _Scale(0.0, 1.0)
    if not drawn:
        return None
    ends = [end for one in drawn for end in (one.estimate, *one.interval)]
    if kind in ("median_sign", "correlation"):
        reach = 1.0 if kind == "correlation" else max(map(abs, ends)) or 1.0
        return _Scale(-reach, reach, is_signed=True)
    low, high = min(ends), max(ends)
    return _Scale(low, high) if high > low else _Scale(low - 1, high + 1)


def _is_drawn(part: Part) -> bool:
    return all(map(math.isfinite, (part.estimate, *part.interval)))


def _row(claim: Judged, reference_leads: bool) -> Row:
    verdicts = [("this", claim.verdict)]
    if claim.reference is not None:
        verdicts.append(("reference", claim.reference.verdict))
    kind = claim.verdict.kind
    scale = _scale(kind, [part for _, verdict in verdicts for part in verdict.parts])
    lanes = [_lane(run, verdict, scale) for run, verdict in verdicts]
    parts = tuple((part, _lane_of("this", part, claim.verdict, scale)) for part in claim.verdict.parts)
    neutral = _axis(kind).neutral
    if reference_leads:
        lanes.reverse()
    name = claim.id.rpartition(".")[2]
    return Row(claim, "" if "-" in name else name, tuple(lanes), parts, neutral)  # words of its text say no more


def _lane(run: str, verdict: Verdict, scale: _Scale | None) -> Lane:
    part = deciding(verdict)
    if part is None:
        return Lane(run, verdict.decision, "", "", "", None, note=_note(verdict.reason))
    lane = _lane_of(run, part, verdict, scale)
    others = [one for one in verdict.parts if one is not part and _is_drawn(one)]
    dots = tuple(scale.place(one)[0] for one in others) if scale is not None else ()
    return Lane(**{**vars(lane), "decision": verdict.decision, "p": verdict.p, "others": dots})


def _note(reason: str) -> str:
    """Why there is nothing to draw, as far as it has room; the opened row says all of it."""
    if reason.startswith("the claim needs"):
        return "other data or schedule"
    if reason.startswith("this run did not include"):
        return "other functions or networks"
    return reason if len(reason) <= _LETTERS else f"{reason[: _LETTERS - 1].rstrip()}…"


def _lane_of(run: str, part: Part, verdict: Verdict, scale: _Scale | None) -> Lane:
    where = part.place
    decision: Decision = "not tested" if verdict.decision == "not tested" else part.decision
    members = f"{part.members}" if part.members else ""
    if part.decision == "not tested":
        return Lane(run, decision, "", where, members, None, note=part.summary)
    words = _effect(part, verdict.kind)
    if scale is None or not _is_drawn(part):
        return Lane(run, decision, words, where, members, part.p)
    at, low, high = scale.place(part)
    return Lane(run, decision, words, where, members, part.p, at=at, low=low, high=high)


def _effect(part: Part, kind: Kind) -> str:
    """The effect in a few letters: "0 of 10", "90 % of pairs", "+2.9 % per doubling"."""
    if part.effect:
        return part.effect
    if kind == "majority":
        return f"{round(part.estimate * part.members):,} of {part.members:,}" if math.isfinite(part.estimate) else "–"
    if kind in _SHARES:
        return f"{100 * part.estimate:.0f} % of pairs" if math.isfinite(part.estimate) else "–"
    found = _NUMBER.match(part.summary)
    if kind == "exists" or found is None:
        counted = re.search(r"\d+ of \d+", part.summary)
        return counted[0] if counted else "–"
    return found["value"]
