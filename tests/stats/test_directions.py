"""In every rule that has a direction one argument decides it, and the words say what the decision says."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bathymetry.core.errors import InputError
from bathymetry.stats import best_of, correlation, exists, mean_sign, stochastic_order

MIRROR = {"supported": "contradicted", "contradicted": "supported", "undecided": "undecided"}
GROUP = st.lists(st.integers(-20, 20).map(float), min_size=6, max_size=9).map(np.array)
RELATIONS = [(True, "above"), (True, "after"), (False, "below"), (False, "before")]


def really(a, b, relation):
    """In how many pairs the relation holds, ties counting half, by looking at all of them."""
    wins = [(x > y) if relation in ("above", "after") else (x < y) for x in a for y in b]
    ties = [x == y for x in a for y in b]
    return (sum(wins) + sum(ties) / 2) / len(wins)


@pytest.mark.parametrize(("larger", "relation"), RELATIONS)
@given(a=GROUP, b=GROUP)
def test_an_order_counts_the_pairs_in_which_its_words_hold(larger, relation, a, b):
    part = stochastic_order(a, b, larger_is_better=larger, relation=relation, first="A", second="B")
    assert part.estimate == pytest.approx(really(a, b, relation))
    assert part.summary.startswith(f"A {relation} B in ")
    if part.decision == "supported":
        assert part.finding.startswith(f"A {relation} B (")
        assert np.mean(a) != np.mean(b) or part.estimate > 0.5
    elif part.decision == "contradicted":
        assert part.finding.startswith(f"B {relation} A (")
    else:
        assert f"A not clearly {relation} B (" in part.finding


@pytest.mark.parametrize("larger", [True, False])
@given(a=GROUP, b=GROUP)
def test_swapping_negating_and_turning_round_each_mirror_an_order(larger, a, b):
    part = stochastic_order(a, b, larger_is_better=larger)
    for mirrored in (
        stochastic_order(b, a, larger_is_better=larger),
        stochastic_order(-a, -b, larger_is_better=larger),
        stochastic_order(a, b, larger_is_better=not larger),
    ):
        assert mirrored.decision == MIRROR[part.decision]
        assert mirrored.p == pytest.approx(part.p)
    assert stochastic_order(-a, -b, larger_is_better=not larger).decision == part.decision


@pytest.mark.parametrize("larger", [True, False])
@given(a=GROUP, b=GROUP)
def test_the_better_of_two_is_the_one_that_the_words_name(larger, a, b):
    relation = "above" if larger else "below"
    part = best_of({"A": a}, {"B": b}, larger_is_better=larger)
    pair = stochastic_order(a, b, larger_is_better=larger, first="A", second="B")
    assert (part.decision, part.p, part.summary) == (pair.decision, pair.p, pair.summary)
    assert best_of({"A": -a}, {"B": -b}, larger_is_better=not larger).decision == part.decision
    assert best_of({"B": b}, {"A": a}, larger_is_better=larger).decision == MIRROR[part.decision]
    assert f"A is {relation} B" in part.rule


@pytest.mark.parametrize("larger", [True, False])
@given(a=GROUP, b=GROUP, c=GROUP, d=GROUP)
def test_among_several_the_words_of_each_pair_are_true(larger, a, b, c, d):
    groups = {"A": a, "B": b, "C": c, "D": d}
    relation = "above" if larger else "below"
    part = best_of({"A": a, "B": b}, {"C": c, "D": d}, larger_is_better=larger)
    for words in part.summary.split("; ")[:2]:
        name = words[0]
        for rival, percent in re.findall(rf"{relation} (\w) in ([\d.]+) % of pairs", words):
            share = really(groups[name], groups[rival], relation)
            assert float(percent) == pytest.approx(100 * share, abs=0.6)
    mirrored = best_of({"A": -a, "B": -b}, {"C": -c, "D": -d}, larger_is_better=not larger)
    assert (mirrored.decision, mirrored.p) == (part.decision, part.p)


@pytest.mark.parametrize(("expected", "other"), [("above", "below"), ("below", "above")])
@given(values=GROUP)
def test_the_sign_of_a_mean_and_the_words_agree(expected, other, values):
    part = mean_sign(values, expected=expected)
    side = "above" if values.mean() > 0 else "below"
    if part.decision != "undecided":
        assert (part.decision == "supported") == (side == expected)
    assert f"lies {expected} zero, contradicted if {other}" in part.rule
    assert mean_sign(-values, expected=expected).decision == MIRROR[part.decision]
    assert mean_sign(values, expected=other).decision == MIRROR[part.decision]
    assert mean_sign(-values, expected=other).decision == part.decision


@pytest.mark.parametrize(("expected", "other"), [("above", "below"), ("below", "above")])
@pytest.mark.parametrize("seed", range(6))
def test_the_sign_of_a_correlation_and_the_words_agree(expected, other, seed):
    chance = np.random.default_rng(seed)
    x = chance.normal(size=25)
    y = (-1) ** seed * x + chance.normal(size=25)
    part = correlation(x, y, expected=expected)
    side = "above" if np.corrcoef(x, y)[0, 1] > 0 else "below"
    assert part.decision == ("supported" if side == expected else "contradicted")
    assert f"lies {expected} zero, contradicted if {other}" in part.rule
    assert correlation(x, y, expected=other).decision == MIRROR[part.decision]
    assert correlation(x, -y, expected=other).decision == part.decision


@pytest.mark.parametrize("decides", ["supported", "contradicted"])
def test_a_cell_decides_what_it_is_said_to_decide(decides):
    part = exists({"a": np.ones(6, dtype=bool)}, decides=decides)
    assert part.decision == decides
    assert part.rule.startswith(f"{decides.capitalize()} by one cell in which 6 or more members")


@pytest.mark.parametrize(("larger", "relation"), [(not larger, relation) for larger, relation in RELATIONS])
def test_words_that_contradict_the_direction_are_refused(larger, relation):
    with pytest.raises(InputError, match=f"relation = {relation}: it contradicts larger_is_better={larger}"):
        stochastic_order(np.arange(6.0), np.arange(6.0), larger_is_better=larger, relation=relation)


@pytest.mark.parametrize("relation", ["beside", "", 3, None.__class__, ["above"]])
def test_words_without_a_direction_are_refused(relation):
    with pytest.raises(InputError, match="relation"):
        stochastic_order(np.arange(6.0), np.arange(6.0), larger_is_better=True, relation=relation)


@pytest.mark.parametrize(
    "call",
    [
        lambda: stochastic_order(np.arange(6.0), np.arange(6.0)),
        lambda: best_of({"it": np.arange(6.0)}, {"a": np.arange(6.0)}),
        lambda: best_of({"a": np.arange(6.0)}, {"b": np.arange(6.0)}),
        lambda: mean_sign(np.arange(6.0)),
        lambda: correlation(np.arange(20.0), np.arange(20.0)),
        lambda: exists({"a": np.ones(6, dtype=bool)}),
    ],
)
def test_no_rule_has_a_direction_of_its_own(call):
    with pytest.raises(TypeError, match="missing 1 required keyword-only argument"):
        call()
