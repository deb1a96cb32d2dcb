"""A pair of settings in words, and as a part of a claim."""

from dataclasses import replace
from typing import Literal

import numpy as np

from bathymetry.runs.pairs import Needed, Pair, Scale
from bathymetry.stats import Part
from bathymetry.stats.verdict import CONFIDENCE, MINIMUM_MEMBERS, significance_level
from bathymetry.stats.wording import count_of_members, number, percent, percent_range, with_interval, with_p


def part_of(one: Pair, relation: str, confidence: float = CONFIDENCE) -> Part:
    """The pair as a part of a claim."""
    members = min(one.members)
    shown = f"{one.first} {relation} {one.second} in {superiority_words(one, confidence)}"
    direction: Literal["for", "against", "neither"] = (
        "for" if one.superiority > 0.5 else "against" if one.superiority < 0.5 else "neither"
    )
    finding = f"{shown}, {difference_words(one)}"
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
    """The difference with its interval: "difference +0.07 (95 % interval 0.05 to 0.09)"."""
    value, ends = with_interval(one.difference, one.interval)
    sign = "+" if one.difference > 0 else ""
    return f"difference {sign}{value} ({ends})"


def superiority_words(one: Pair, confidence: float = CONFIDENCE) -> str:
    """How often the first is better: "90 % of pairs (95 % interval 55–100 %)"."""
    what = "pairs" if one.paired else "all pairs of runs"
    ends = f"{100 * confidence:.4g} % interval {percent_range(*one.superiority_interval)}"
    return f"{percent(one.superiority)} % of {what} ({ends})"


def order_words(one: str, relation: str, other: str, *, is_paired: bool) -> str:
    """How a claim is decided that one setting is above or below another."""
    test = "the sign test of the pairs" if is_paired else "the permuted test of Brunner and Munzel"
    return (
        f"Supported if {test}, two-sided at 5 %, finds {one} {relation} {other} more often than not, "
        "contradicted if the opposite."
    )


def pair_name(one: Pair) -> str:
    """The pair, with the values of the other axes."""
    at = ", ".join(f"{name}={value}" for name, value in one.at.items())
    return f"{one.first} and {one.second}{f' at {at}' if at else ''}"


def ratio_words(one: Pair, scale: Scale) -> str:
    """The ratio with its interval; nothing on a linear scale."""
    if one.ratio is None or one.ratio_interval is None or not np.isfinite(one.ratio):
        return ""
    low, high = map(number, one.ratio_interval)
    name = "odds ratio" if scale == "logit" else "ratio"
    return (
        f"{name} {number(one.ratio)} ({'no 95 % interval' if low == 'unknown' else f'95 % interval {low} to {high}'})"
    )


def verdict_words(one: Pair) -> str:
    """The verdict as readers say it: "adam is better"."""
    if one.decision == "undecided":
        return "undecided"
    lost = one.p_holm is not None and one.p_holm > significance_level()
    better = one.first if one.decision == "supported" else one.second
    return f"{better} is better{', but not after Holm correction' if lost else ''}"


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
    """The same pair from the other side, as far as how often the first is better."""
    low, high = one.superiority_interval
    return replace(
        one,
        first=one.second,
        second=one.first,
        superiority=1 - one.superiority,
        superiority_interval=(1 - high, 1 - low),
    )


def pair_lines(one: Pair, scale: Scale) -> list[str]:
    """A pair for the terminal, within 100 columns."""
    count = f"{one.members[0]} pairs" if one.paired else f"{one.members[0]} and {one.members[1]} members"
    words = [f"{pair_name(one)}: {verdict_words(one)} ({count}{with_p(one.p)}{_holm(one)})"]
    ahead = one if one.superiority >= 0.5 else turned(one)
    details = [
        difference_words(one),
        ratio_words(one, scale),
        f"{ahead.first} better in {superiority_words(ahead)}",
    ]
    if any(one.diverged):
        details.append(f"diverged: {one.diverged[0]} and {one.diverged[1]}")
    return [*words, *(f"  {detail}" for detail in [*details, needed_words(one)] if detail)]


def _holm(one: Pair) -> str:
    return "" if one.p_holm is None or one.p_holm == one.p else f", {with_p(one.p_holm)[2:]} after Holm"
