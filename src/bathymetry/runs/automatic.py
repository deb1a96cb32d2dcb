"""The claims that a comparison makes by itself, one for each two settings, and p adjusted over all of a page.

Nobody has said which of two settings should be better, so without a baseline the claim is that one of them is,
whichever; its test is two-sided. With a baseline the claim is that the other setting is better, and it can be
contradicted.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np

from bathymetry.claims.judging import Judged
from bathymetry.claims.rules import Rule
from bathymetry.claims.stating import slugs
from bathymetry.core.errors import InputError, did_you_mean
from bathymetry.core.showing import joined
from bathymetry.runs.pairs import Pair
from bathymetry.runs.run import Scalar
from bathymetry.runs.settings import is_same
from bathymetry.runs.wording import part_of, test_words, turned
from bathymetry.stats import Part, holm
from bathymetry.stats.verdict import Verdict, combine

_MOST_PAIRS = 1_000


def chosen_pairs(values: Sequence[Any], compare: str, baseline: Scalar) -> list[tuple[Any, Any]]:
    """All pairs, or each other value with the baseline."""
    if baseline is None:
        found = list(combinations(values, 2))
    else:
        same = [one for one in values if is_same(baseline, one)]
        if not same:
            known = [str(one) for one in values]
            remedy = f"{did_you_mean(baseline, known)}expected a value of {compare}: {joined(known, 'or')}"
            raise InputError("baseline", baseline, remedy)
        found = [(one, same[0]) for one in values if one != same[0]]
    if len(found) > _MOST_PAIRS:
        remedy = f"{len(values)} values make {len(found):,} pairs; choose a baseline, or fewer with where"
        raise InputError("compare", compare, remedy)
    return found


def ids(pairs: Sequence[tuple[str, str]], *, has_baseline: bool) -> list[str]:
    """Name claims by their pairs, so that `diff` finds them again among other settings: "compare.adam-sgd"."""
    between = " over " if has_baseline else " "
    return [f"compare.{one}" for one in slugs([between.join(names) for names in pairs])]


def claim(
    name: str, names: tuple[str, str], metric: str, found: Sequence[Pair | Part], *, has_baseline: bool
) -> Judged:
    """Decide whether one of two settings is better, or the first than the baseline, with a part for each cell."""
    first, second = names
    axes = list(dict.fromkeys(axis for some in found for axis in (some.at if isinstance(some, Pair) else ())))
    each = f" for every {joined(axes)}" if axes and len(found) > 1 else ""
    test = test_words(is_paired=any(isinstance(some, Pair) and some.paired for some in found))
    one, other = (combine("stochastic_order", _parts(found, is_turned=turn)) for turn in (False, True))
    if has_baseline:
        verdict = one
        what, text = f"{first} better than {second}", f"{first} is better than {second} on {metric}{each}."
        how = f"Supported if {test} finds {first} better than {second} more often than not, contradicted if worse."
    else:
        verdict = _either(one, other)
        what = f"one of {first} and {second} better than the other"
        text = f"{first} and {second} differ on {metric}."
        how = f"Supported if {test} finds either better than the other more often than not."
        if each:
            text = f"The same one of {first} and {second} is better on {metric}{each}."
            how = f"{how[:-1]}, the same one{each}; contradicted if one is better here and the other there."
    rule = Rule("stochastic_order", metric, how, lambda _: verdict.parts[0], names_axes=True)
    return Judged(name, text, f"{metric}, {what}. {how}", verdict, rule.finding(verdict))


def _parts(found: Sequence[Pair | Part], *, is_turned: bool) -> list[Part]:
    pairs = [turned(one) if is_turned and isinstance(one, Pair) else one for one in found]
    return [part_of(one, "is better than") if isinstance(one, Pair) else one for one in pairs]


def _either(one: Verdict, other: Verdict) -> Verdict:
    """Of two verdicts from the two sides the one that is supported; contradicted if both sides are."""
    if one.decision == other.decision == "contradicted":
        return max(one, other, key=lambda some: some.p or 0.0)
    for some, against in ((one, other), (other, one)):
        if some.decision == "supported" or against.decision == "contradicted":
            return some
    ahead = np.nanmean([part.estimate for part in one.parts if part.members] or [0.5])
    return one if ahead >= 0.5 else other


def adjusted(
    groups: Sequence[Sequence[Pair | Part]], claims: Sequence[Judged], stated: Sequence[Judged], *, has_baseline: bool
) -> tuple[list[Pair], list[Judged]]:
    """Adjust p by Holm's method over one family: every pair in every cell, and every claim that is stated.

    `groups` are the pairs of each of the claims, which hold after the correction if all of their pairs do.
    """
    pairs = [one for some in groups for one in some if isinstance(one, Pair)]
    found = holm([*(one.p for one in pairs), *(one.verdict.p for one in stated)])
    pairs = [replace(one, p_holm=p) for one, p in zip(pairs, found, strict=False)]
    own, made = iter(pairs), []
    for some, one in zip(groups, claims, strict=True):
        cells = [next(own) for cell in some if isinstance(cell, Pair)]
        made.append(replace(one, p_holm=_of_claim(cells, one.verdict, has_baseline=has_baseline)))
    last = [replace(one, p_holm=p) for one, p in zip(stated, found[len(pairs) :], strict=True)]
    return pairs, [*made, *last]


def _of_claim(cells: Sequence[Pair], verdict: Verdict, *, has_baseline: bool) -> float | None:
    """The p of a claim after the correction: that of its least clear pair, or of those that contradict it."""
    if verdict.p is None:
        return None
    if verdict.decision != "contradicted":
        return max([verdict.p, *(one.p_holm for one in cells if one.p_holm is not None)])
    sides = [[one.p_holm or 0.0 for one in cells if (one.superiority > 0.5) == side] for side in (False, True)]
    return max([verdict.p, *(min(some) for some in sides[: 1 if has_baseline else 2])])
