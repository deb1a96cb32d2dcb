"""In every rule that has a direction one argument decides it, and the words say what the decision says."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bathymetry.stats.group_tests import best_of, correlation, exists, median_sign, stochastic_order

MIRROR = {"supported": "contradicted", "contradicted": "supported", "undecided": "undecided"}
GROUP = st.lists(st.integers(-20, 20).map(float), min_size=6, max_size=9).map(np.array)
RELATIONS = ["above", "after", "below", "before"]
OPPOSITE = {"above": "below", "below": "above"}


def really(a, b, relation):
    """In how many pairs the relation holds, ties counting half, by looking at all of them."""
    wins = [(x > y) if relation in ("above", "after") else (x < y) for x in a for y in b]
    ties = [x == y for x in a for y in b]
    return (sum(wins) + sum(ties) / 2) / len(wins)


@pytest.mark.parametrize("relation", RELATIONS)
@given(a=GROUP, b=GROUP)
def test_an_order_counts_the_pairs_in_which_its_words_hold(relation, a, b):
    part = stochastic_order(a, b, relation=relation, first="A", second="B")
    assert part.estimate == pytest.approx(really(a, b, relation))
    assert part.summary.startswith(f"A {relation} B in ")
    if part.decision == "supported":
        assert part.finding.startswith(f"A {relation} B (")
        assert np.mean(a) != np.mean(b) or part.estimate > 0.5
    elif part.decision == "contradicted":
        assert part.finding.startswith(f"B {relation} A (")
    else:
        assert f"A not clearly {relation} B (" in part.finding


@pytest.mark.parametrize("relation", ["above", "below"])
@given(a=GROUP, b=GROUP)
def test_swapping_negating_and_turning_round_each_mirror_an_order(relation, a, b):
    part = stochastic_order(a, b, relation=relation)
    for mirrored in (
        stochastic_order(b, a, relation=relation),
        stochastic_order(-a, -b, relation=relation),
        stochastic_order(a, b, relation=OPPOSITE[relation]),
    ):
        assert mirrored.decision == MIRROR[part.decision]
        assert mirrored.p == pytest.approx(part.p)
    assert stochastic_order(-a, -b, relation=OPPOSITE[relation]).decision == part.decision


@pytest.mark.parametrize("relation", ["above", "below"])
@given(a=GROUP, b=GROUP)
def test_the_better_of_two_is_the_one_that_the_words_name(relation, a, b):
    part = best_of({"A": a}, {"B": b}, relation=relation)
    pair = stochastic_order(a, b, relation=relation, first="A", second="B")
    assert (part.decision, part.p, part.summary) == (pair.decision, pair.p, pair.summary)
    assert best_of({"A": -a}, {"B": -b}, relation=OPPOSITE[relation]).decision == part.decision
    assert best_of({"B": b}, {"A": a}, relation=relation).decision == MIRROR[part.decision]


@pytest.mark.parametrize("relation", ["above", "below"])
@given(a=GROUP, b=GROUP, c=GROUP, d=GROUP)
def test_among_several_the_words_of_each_pair_are_true(relation, a, b, c, d):
    groups = {"A": a, "B": b, "C": c, "D": d}
    part = best_of({"A": a, "B": b}, {"C": c, "D": d}, relation=relation)
    pairs = re.findall(rf"(\w) {relation} (\w) in ([\d.]+) % of pairs", part.summary)
    assert [pair[:2] for pair in pairs] == [("A", "C"), ("A", "D"), ("B", "C"), ("B", "D")]
    for name, rival, percent in pairs:
        share = really(groups[name], groups[rival], relation)
        assert float(percent) == pytest.approx(100 * share, abs=0.6)
    mirrored = best_of({"A": -a, "B": -b}, {"C": -c, "D": -d}, relation=OPPOSITE[relation])
    assert (mirrored.decision, mirrored.p) == (part.decision, part.p)


@pytest.mark.parametrize(("expected", "other"), [("above", "below"), ("below", "above")])
@given(values=GROUP)
def test_the_sign_of_a_median_decides(expected, other, values):
    part = median_sign(values, expected=expected)
    side = "above" if np.median(values) > 0 else "below"
    if part.decision != "undecided":
        assert (part.decision == "supported") == (side == expected)
    assert median_sign(-values, expected=expected).decision == MIRROR[part.decision]
    assert median_sign(values, expected=other).decision == MIRROR[part.decision]
    assert median_sign(-values, expected=other).decision == part.decision


@pytest.mark.parametrize(("expected", "other"), [("above", "below"), ("below", "above")])
@pytest.mark.parametrize("seed", range(6))
def test_the_sign_of_a_correlation_decides(expected, other, seed):
    chance = np.random.default_rng(seed)
    x = chance.normal(size=25)
    y = (-1) ** seed * x + chance.normal(size=25)
    part = correlation(x, y, expected=expected)
    side = "above" if np.corrcoef(x, y)[0, 1] > 0 else "below"
    assert part.decision == ("supported" if side == expected else "contradicted")
    assert correlation(x, y, expected=other).decision == MIRROR[part.decision]
    assert correlation(x, -y, expected=other).decision == part.decision


@pytest.mark.parametrize("decides", ["supported", "contradicted"])
def test_a_cell_decides_what_it_is_said_to_decide(decides):
    part = exists({"a": np.ones(6, dtype=bool)}, {}, decides=decides, condition="fit", sign="starts", cell="cell")
    assert part.decision == decides
