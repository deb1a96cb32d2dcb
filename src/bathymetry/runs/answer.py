"""The outcome of a comparison in one sentence, and what it rests on."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

from bathymetry.claims.judging import Judged
from bathymetry.core.showing import joined, plural
from bathymetry.runs.pairs import Pair
from bathymetry.runs.wording import leading, settled_by, signed, verdict_words, with_ends
from bathymetry.stats.verdict import MINIMUM_MEMBERS, Decision, is_clear
from bathymetry.stats.wording import percent

if TYPE_CHECKING:
    from bathymetry.runs.comparing import Comparison

LOOKS = (
    "A verdict looked at after every run errs more often: without any difference, the sign test is clear at some time "
    "in 11 % of cases up to 20 pairs, and in 17 % up to 50. Choose the number of members beforehand, and decide then."
)
_NAMED = 3  # pairs that are lost and named


def answer(found: "Comparison") -> str:
    """The outcome in one sentence."""
    if not found.pairs:
        return counted("", found.claims)
    if len(found.pairs) == 1:
        return _of_one(found.pairs[0])
    scores = _wins(found)
    best = max(scores, key=lambda name: scores[name][0] - scores[name][1])
    won, lost, of = scores[best]
    decided = sum(one.decision != "undecided" for one in found.pairs)
    most = max(min(one.members) for one in found.pairs)
    if most < MINIMUM_MEMBERS:
        return (
            f"No pair can be decided: a verdict needs {MINIMUM_MEMBERS} runs on each side, and no pair has over {most}."
        )
    if not decided:
        return f"None of the {len(found.pairs):,} pairs is decided: no {found.compare} is clearly better than another."
    if baseline := _baseline(found):
        return _against(found, baseline)
    if won == of:
        return f"{best} is better than every other {found.compare}; {_decided(found, decided)}."
    wins = f"{best} wins {won} of its {of} pairs, loses {lost or 'none'}{_lost_to(found, best)}"
    return f"No {found.compare} beats all others: {wins}; {_decided(found, decided)}."


def remarks(found: "Comparison") -> list[str]:
    """What is said once of all pairs: over what p is adjusted, and that there are too few runs."""
    said = [correction(found)] if correction(found) else []
    few = sum(min(one.members) < MINIMUM_MEMBERS for one in found.pairs)
    if 0 < few < len(found.pairs):
        verb = "has" if few == 1 else "have"
        said.append(
            f"{few:,} of {len(found.pairs):,} pairs {verb} fewer than the {MINIMUM_MEMBERS} runs a verdict needs."
        )
    if few and found.pairs[0].at:
        said.append("For many tasks with few seeds each, bm.runs.aggregate estimates over all tasks at once.")
    return said


def correction(found: "Comparison") -> str:
    """Over how many tests p is adjusted; empty where there is only one."""
    counts = {
        "pair": sum(one.p is not None for one in found.pairs),
        "stated claim": sum(one.verdict.p is not None for one in found.stated),
    }
    if sum(counts.values()) < 2:
        return ""
    words = joined([f"{count:,} {plural(name, count)}" for name, count in counts.items() if count])
    return f"Holm's correction is over all {words} together."


def counted(which: str, claims: Sequence[Judged]) -> str:
    """How many claims are supported, contradicted and undecided."""
    verdicts = Counter(one.verdict.decision for one in claims)
    counts = joined([f"{verdicts[one]} {one}" for one in get_args(Decision) if verdicts[one]])
    return f"Of {len(claims)} {which}{plural('claim', len(claims))}, {counts}."


def _decided(found: "Comparison", decided: int) -> str:
    clear = sum(one.decision != "undecided" and is_clear(one.p_holm) for one in found.pairs)
    after = "" if clear == decided else f" ({clear:,} after Holm)"
    return f"{decided:,} of {len(found.pairs):,} pairs are decided{after}"


def _of_one(one: Pair) -> str:
    if min(one.members) < MINIMUM_MEMBERS:
        have = f"there are {min(one.members)}; the difference is {signed(one)}"
        return f"Undecided: a verdict needs {MINIMUM_MEMBERS} runs on each side, and {have}."
    if one.decision == "undecided":
        more = "" if one.needed is None or one.needed.members is None else f"; {settled_by(one)} would settle it"
        return f"Undecided: the difference is {signed(one)}{more}."
    ahead = leading(one)
    turns = ahead.interval if ahead.difference >= 0 else (-ahead.interval[1], -ahead.interval[0])
    value, ends = with_ends(abs(ahead.difference), turns, is_decided=True)
    pairs = "pairs" if one.paired else "pairs of runs"
    share = f"{percent(ahead.superiority)} % of {pairs}"
    return f"{verdict_words(one, short=True)}: by {value} ({ends}), and ahead in {share}."


def _wins(found: "Comparison") -> dict[str, tuple[int, int, int]]:
    """How many pairs each setting wins and loses, and in how many it is."""
    counts: dict[str, tuple[int, int, int]] = {}
    for one in found.pairs:
        for name, side in ((one.first, "supported"), (one.second, "contradicted")):
            won, lost, of = counts.get(name, (0, 0, 0))
            is_lost = one.decision not in (side, "undecided")
            counts[name] = (won + (one.decision == side), lost + is_lost, of + 1)
    return counts


def _baseline(found: "Comparison") -> str:
    """The setting that all others are compared with, where they are not compared with each other."""
    firsts, seconds = ({getattr(one, side) for one in found.pairs} for side in ("first", "second"))
    return found.pairs[0].second if len(seconds) == 1 < len(firsts) else ""


def _against(found: "Comparison", baseline: str) -> str:
    """How the others do against a baseline: "1 of 3 pairs is better (adam), 2 are undecided (nag, rmsprop)"."""
    words = []
    for decision, called in (("supported", "better"), ("contradicted", "worse"), ("undecided", "undecided")):
        some = [one.first for one in found.pairs if one.decision == decision]
        names = list(dict.fromkeys(some))
        more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
        if some:
            words.append(f"{len(some):,} {called} ({', '.join(names[:_NAMED])}{more})")
    return f"Of {len(found.pairs):,} pairs with the baseline {baseline}, {joined(words)}."


def _lost_to(found: "Comparison", name: str) -> str:
    """To which others a setting loses, and where: " (to td3 at task=walker)"."""
    lost = []
    for one in found.pairs:
        if (one.first, one.decision) == (name, "contradicted") or (one.second, one.decision) == (name, "supported"):
            at = ", ".join(f"{axis}={value}" for axis, value in one.at.items())
            lost.append(f"{one.second if one.first == name else one.first}{f' at {at}' if at else ''}")
    if not lost:
        return ""
    more = f" and {len(lost) - _NAMED:,} more" if len(lost) > _NAMED else ""
    return f" (to {', '.join(lost[:_NAMED])}{more})"
