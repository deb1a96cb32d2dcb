"""The rule for a claim that one is the best of several: it must beat each of the others.

An intersection–union test: when each of several tests must reject, each may be made at the full level and no correction
for their number is due. Berger 1982, Technometrics 24:295.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Real

from bathymetry.core.errors import InputError
from bathymetry.statistics.rule_order import order
from bathymetry.statistics.verdict import CONFIDENCE, Decision, Part
from bathymetry.statistics.wording import level, p_value, percent, percent_range, too_few


def best(
    candidate: Real[np.ndarray, " member"],
    others: Mapping[str, Real[np.ndarray, " _"]],
    *,
    larger_is_better: bool,
    name: str = "it",
    confidence: float = CONFIDENCE,
    coordinates: Mapping[str, str] | None = None,
) -> Part:
    """Judge whether a candidate is better than each of the others.

    Supported if it beats each other by Mann and Whitney's test, contradicted if another beats it. See `best_among`.

    Args:
        candidate: One number a member; a diverged one (NaN) ranks last.
        others: The same for those that it is held against, by name.
        larger_is_better: True for accuracies, False for losses.
        name: What the candidate is called.
        confidence: Of each pairwise test, two-sided, from 0 to 1.
        coordinates: What the part is about.

    Returns:
        The part; its estimate is the probability of superiority over the other that comes closest.

    Example:
        >>> part = best(np.arange(6.0) + 9, {"B": np.arange(6.0)}, larger_is_better=True, name="A")
        >>> part.decision, part.summary
        ('supported', 'A above B in 100 % of pairs (95 % interval 69–100 %, p = 0.0022)')
    """
    return best_among(
        {name: candidate},
        others,
        larger_is_better=larger_is_better,
        confidence=confidence,
        coordinates=coordinates,
    )


def best_among(
    candidates: Mapping[str, Real[np.ndarray, " _"]],
    others: Mapping[str, Real[np.ndarray, " _"]],
    *,
    larger_is_better: bool,
    confidence: float = CONFIDENCE,
    coordinates: Mapping[str, str] | None = None,
) -> Part:
    """Judge whether the best is among the candidates: whether one of them is better than each of the others.

    Supported if a candidate beats each other, contradicted if another beats every candidate. With k candidates each
    pairwise test is made with doubt (1 − confidence)/k, Bonferroni's price for having k chances. When supported, p is
    the winner's largest over the others, times k. Otherwise it is that of the evidence against: the strongest other's
    largest over the candidates, times the number of others, where a pair that points the other way counts as 1.

    Args:
        candidates: One number a member for each candidate, by name; a diverged member (NaN) ranks last.
        others: The same for those that they are held against.
        larger_is_better: True for accuracies, False for losses.
        confidence: Of the whole, two-sided, from 0 to 1.
        coordinates: What the part is about.

    Returns:
        The part; its estimate and interval are those of the leading candidate's hardest pair.

    Raises:
        InputError: If there is no candidate or no other.

    Example:
        >>> low, middle, high = np.arange(8.0), np.arange(8.0) + 10, np.arange(8.0) + 20
        >>> part = best_among({"25": middle, "125": high}, {"5": low}, larger_is_better=True)
        >>> part.decision, round(part.p * 12870 / 2, 9)
        ('supported', 2.0)
    """
    for field, groups in (("candidates", candidates), ("others", others)):
        if not groups:
            raise InputError(field, "none", "give at least one group of members")
    each = 1 - (1 - confidence) / len(candidates)
    relation = "above" if larger_is_better else "below"
    pairs = {
        name: {
            rival: order(
                values,
                against,
                first=name,
                second=rival,
                relation=relation,
                larger_first=larger_is_better,
                confidence=each,
            )
            for rival, against in others.items()
        }
        for name, values in candidates.items()
    }
    winners = [name for name, row in pairs.items() if all(part.decision == "supported" for part in row.values())]
    beaters = [rival for rival in others if all(row[rival].decision == "contradicted" for row in pairs.values())]
    decision: Decision = "supported" if winners else "contradicted" if beaters else "undecided"
    if winners:
        p = len(candidates) * min(max(_p(part, ahead=True) for part in pairs[name].values()) for name in winners)
    else:
        p = len(others) * min(max(_p(row[rival], ahead=False) for row in pairs.values()) for rival in others)
    hardest = {name: min(row.values(), key=lambda part: part.estimate) for name, row in pairs.items()}
    leader = max(winners or hardest, key=lambda name: hardest[name].estimate)
    members = min(part.members for row in pairs.values() for part in row.values())
    if len(candidates) == len(others) == 1:
        summary = hardest[leader].summary
    else:
        summary = "; ".join(_words(name, relation, row) for name, row in pairs.items()) + f"; {level(each)}s"
    return Part(
        decision=decision,
        estimate=hardest[leader].estimate,
        interval=hardest[leader].interval,
        p=min(1.0, p),
        members=members,
        summary=summary,
        coordinates=dict(coordinates or {}),
        reason=(too_few(members) or _open(leader, pairs[leader])) if decision == "undecided" else "",
        told=hardest[leader].told if len(candidates) == len(others) == 1 else _told(pairs, relation),
        rule=_rule(list(candidates), list(others), relation, each),
    )


_OPPOSITE = {"above": "below", "below": "above"}


def _told(pairs: Mapping[str, Mapping[str, Part]], relation: str) -> str:
    # Whom each candidate is clearly above, clearly below, and neither; candidates that fare alike are named together.
    alike: dict[str, list[str]] = {}
    for name, row in pairs.items():
        outcomes = [
            (words, [rival for rival, part in row.items() if part.decision == decision])
            for decision, words in (
                ("supported", relation),
                ("contradicted", _OPPOSITE[relation]),
                ("undecided", f"not clearly {relation}"),
            )
        ]
        shared = _shared_word([name, *row])
        told = [f"{words} {_listed([one.removeprefix(shared) for one in names])}" for words, names in outcomes if names]
        alike.setdefault(", ".join(told), []).append(name)
    return "; ".join(f"{_listed(names)} {'is' if len(names) == 1 else 'are'} {told}" for told, names in alike.items())


def _shared_word(names: Sequence[str]) -> str:
    # The word that all names begin with, as "batch " in "batch 5" and "batch 25".
    first = {name.partition(" ")[0] + " " for name in names if " " in name}
    return first.pop() if len(first) == 1 and all(" " in name for name in names) else ""


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def _rule(candidates: Sequence[str], others: Sequence[str], relation: str, confidence: float) -> str:
    level_of_test = f"{100 * (1 - confidence):.4g} %"
    who = candidates[0] if len(candidates) == 1 else f"{' or '.join(candidates)}"
    beaten = candidates[0] if len(candidates) == 1 else "them all"
    shared = _shared_word([*candidates, *others])
    each = f"each of {_listed([one.removeprefix(shared) for one in others])}" if len(others) > 1 else others[0]
    return (
        f"Supported if {who} is {relation} {each} in two-sided tests at {level_of_test}, contradicted if "
        f"{'one of those' if len(others) > 1 else 'that'} is {relation} {beaten}."
    )


def _p(part: Part, *, ahead: bool) -> float:
    # Only a pair that points the way asked for is evidence for it.
    points = part.estimate > 0.5 if ahead else part.estimate < 0.5
    return part.p if points and part.p is not None else 1.0


def _words(name: str, relation: str, row: Mapping[str, Part]) -> str:
    pairs = []
    for rival, part in row.items():
        if not part.members:
            pairs.append(f"against {rival} without members")
            continue
        numbers = f"{percent_range(*part.interval)}, {p_value(1.0 if part.p is None else part.p)}"
        pairs.append(f"{relation} {rival} in {percent(part.estimate)} % of pairs ({numbers})")
    return f"{name} " + ", ".join(pairs)


def _open(name: str, row: Mapping[str, Part]) -> str:
    unbeaten = [rival for rival, part in row.items() if part.decision != "supported"]
    return f"whether {name} beats {', '.join(unbeaten)} stays open"
