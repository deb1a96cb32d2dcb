"""A pair of settings in words, and as a part of a claim."""

import math
from dataclasses import replace
from typing import Literal

import numpy as np

from bathymetry.runs.pairs import Needed, Pair, Scale
from bathymetry.stats import Part
from bathymetry.stats.verdict import CONFIDENCE, MINIMUM_MEMBERS, Decision, significance_level
from bathymetry.stats.wording import count_of_members, number, percent, percent_range, with_interval, with_p


def part_of(one: Pair, relation: str, confidence: float = CONFIDENCE) -> Part:
    """The pair as a part of a claim."""
    members = min(one.members)
    shown = f"{one.first} {relation} {one.second} in {superiority_words(one, confidence)}"
    direction: Literal["for", "against", "neither"] = (
        "for" if one.superiority > 0.5 else "against" if one.superiority < 0.5 else "neither"
    )
    finding = f"{shown}, median difference {signed(one)}"
    return Part(
        one.decision,
        one.superiority,
        one.superiority_interval,
        one.p,
        members,
        f"{shown[:-1]}{with_p(one.p)}, {count_of_members(members)})" if shown.endswith(")") else shown,
        dict(one.at),
        finding,
        direction,
    )


def difference_words(one: Pair) -> str:
    """The difference with its interval: "median difference, adam − sgd: +0.07 (95 % interval 0.05 to 0.09)"."""
    return f"median difference, {one.first} − {one.second}: {signed(one)}"


def signed(one: Pair) -> str:
    """The difference with its sign and its interval."""
    value, ends = with_ends(one.difference, one.interval, is_decided=one.decision != "undecided")
    return f"{'+' if one.difference > 0 else ''}{value} ({ends})"


def with_ends(
    value: float, interval: tuple[float, float], line: float = 0.0, *, is_decided: bool = False
) -> tuple[str, str]:
    """A number and its interval in words, also where a run that diverged leaves the interval without an end.

    The end of what is decided may lie on the line, which the interval then leaves out: "95 % interval above 0 to 5".
    """
    if any(map(math.isnan, interval)) or not any(map(math.isfinite, (value, *interval))):
        return (number(value) if math.isinf(value) else with_interval(value, interval, (line,))[0]), "no 95 % interval"
    middle = value if math.isfinite(value) else next(one for one in interval if math.isfinite(one))
    known = [end if math.isfinite(end) else middle for end in interval]
    words, ends = with_interval(middle, (known[0], known[1]), (line,))
    shown = ends.removeprefix("95 % interval ").split(" to ")
    low, high = (one if math.isfinite(end) else "no limit" for one, end in zip(shown, interval, strict=True))
    if is_decided:
        low, high = f"{'above ' * (interval[0] == line)}{low}", f"{'below ' * (interval[1] == line)}{high}"
    return (words if math.isfinite(value) else number(value)), f"95 % interval {low} to {high}"


def superiority_words(one: Pair, confidence: float = CONFIDENCE) -> str:
    """How often the first is better: "90 % of pairs (95 % interval 55–100 %)"."""
    what = "pairs" if one.paired else "all pairs of runs"
    ends = f"{100 * confidence:.4g} % interval {percent_range(*one.superiority_interval)}"
    return f"{percent(one.superiority)} % of {what} ({ends})"


def test_words(*, is_paired: bool) -> str:
    """The test that decides."""
    test = "the sign test of the pairs" if is_paired else "the permuted test of Brunner and Munzel"
    return f"{test}, two-sided at 5 %,"


def order_words(one: str, relation: str, other: str, *, is_paired: bool) -> str:
    """How a claim is decided that one setting is above or below another."""
    return (
        f"Supported if {test_words(is_paired=is_paired)} finds {one} {relation} {other} more often than not, "
        "contradicted if the opposite."
    )


def pair_name(one: Pair) -> str:
    """The pair, with the values of the other axes."""
    at = ", ".join(f"{name}={value}" for name, value in one.at.items())
    return f"{one.first} and {one.second}{f' at {at}' if at else ''}"


def ratio_words(one: Pair, scale: Scale) -> str:
    """The ratio with its interval; nothing on a linear scale."""
    if one.ratio is None or one.ratio_interval is None or not 0 < one.ratio < np.inf:
        return ""
    value, ends = with_ends(one.ratio, one.ratio_interval, 1.0, is_decided=one.decision != "undecided")
    return f"{'odds ratio' if scale == 'logit' else 'ratio'}, {one.first} / {one.second}: {value} ({ends})"


def verdict_words(one: Pair, *, short: bool = False) -> str:
    """The verdict as readers say it: "adam is better"."""
    if one.decision == "undecided":
        return "undecided"
    lost = one.p_holm is not None and one.p_holm > significance_level()
    better = one.first if one.decision == "supported" else one.second
    but = " (not after Holm)" if short else ", but not after Holm correction"
    return f"{better} is better{but if lost else ''}"


def needed_words(one: Pair) -> str:
    """How many members would settle an undecided pair."""
    if one.needed is None:
        return ""
    what = "pairs" if one.paired else "members each"
    have = min(one.members)
    if have < MINIMUM_MEMBERS:
        return f"a verdict needs at least {MINIMUM_MEMBERS} {what}, and there are {have}"
    return _needed(one.needed, what, have)


def _needed(needed: Needed, what: str, have: int) -> str:
    if needed.members is None:
        return f"neither is ahead, so no number of {what} is likely to settle it"
    least = f"{needed.least:,}" if needed.least is not None else "very many"
    most = "no limit" if needed.most is None else f"{needed.most:,}"
    more = max(needed.members - have, 0)
    return (
        f"about {needed.members:,} {what} ({more:,} more) would decide with 80 % power if the truth is as observed; "
        f"from {least} to {most} within its interval"
    )


def turned(one: Pair) -> Pair:
    """The same pair with its second as first."""
    low, high = one.superiority_interval
    sides: dict[Decision, Decision] = {"supported": "contradicted", "contradicted": "supported"}
    return replace(
        one,
        first=one.second,
        second=one.first,
        members=one.members[::-1],
        diverged=one.diverged[::-1],
        centre=one.centre[::-1],
        difference=-one.difference,
        interval=(-one.interval[1], -one.interval[0]),
        ratio=None if one.ratio is None else _inverse(one.ratio),
        ratio_interval=None
        if one.ratio_interval is None
        else (_inverse(one.ratio_interval[1]), _inverse(one.ratio_interval[0])),
        superiority=1 - one.superiority,
        superiority_interval=(1 - high, 1 - low),
        decision=sides.get(one.decision, one.decision),
    )


def _inverse(ratio: float) -> float:
    return math.inf if ratio == 0 else 1 / ratio


def settled_by(one: Pair) -> str:
    """How many members would settle it, in few words: "about 32 runs each (from 12, no upper limit)"."""
    if one.needed is None:
        return ""
    what = "pairs" if one.paired else "runs each"
    if min(one.members) < MINIMUM_MEMBERS:
        return f"at least {MINIMUM_MEMBERS} {what}"
    if one.needed.members is None:
        return "no number is likely to"
    least, most = (None if end is None else f"{end:,}" for end in (one.needed.least, one.needed.most))
    ends = f"from {least or 'any number'}, no upper limit" if most is None else f"{least} to {most}"
    return f"about {one.needed.members:,} {what} ({ends})"


def leading(one: Pair) -> Pair:
    """The pair from the side of the one that is ahead."""
    return one if one.superiority >= 0.5 else turned(one)


def pair_lines(one: Pair, scale: Scale) -> list[str]:
    """A pair for the terminal, within 100 columns, its numbers from the side of the one that is ahead."""
    count = f"{one.members[0]} pairs" if one.paired else f"{one.members[0]} and {one.members[1]} members"
    words = [f"{pair_name(one)}: {verdict_words(one)} ({count}{with_p(one.p)}{_holm(one)})"]
    ahead = leading(one)
    details = [
        difference_words(ahead),
        ratio_words(ahead, scale),
        f"{ahead.first} better in {superiority_words(ahead)}",
    ]
    if any(one.diverged):
        details.append(f"diverged: {one.diverged[0]} and {one.diverged[1]}")
    more = "" if min(one.members) < MINIMUM_MEMBERS else needed_words(one)
    return [*words, *(f"  {detail}" for detail in [*details, more] if detail)]


def _holm(one: Pair) -> str:
    return "" if one.p_holm is None or one.p_holm == one.p else f", {with_p(one.p_holm)[2:]} after Holm"
