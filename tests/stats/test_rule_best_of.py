"""A best claim: each pair a test, all of them needed."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bathymetry.stats.group_tests import best_of, stochastic_order

STEP = np.arange(8.0) / 10
LOW, MIDDLE, HIGH = STEP, STEP + 10, STEP + 20
GROUP = st.lists(st.integers(0, 12).map(float), min_size=6, max_size=8).map(np.array)


def test_it_must_beat_each_other():
    assert best_of({"it": HIGH}, {"a": LOW, "b": MIDDLE}, relation="above").decision == "supported"
    assert best_of({"it": HIGH}, {"a": LOW, "b": HIGH}, relation="above").decision == "undecided"
    assert best_of({"it": MIDDLE}, {"a": LOW, "b": HIGH}, relation="above").decision == "contradicted"


def test_for_losses_the_smaller_is_better():
    assert best_of({"it": LOW}, {"a": MIDDLE, "b": HIGH}, relation="below").decision == "supported"
    assert best_of({"it": HIGH}, {"a": LOW, "b": MIDDLE}, relation="below").decision == "contradicted"


def test_diverged_members_rank_last_for_accuracies_and_for_losses():
    gone = np.full(8, np.nan)
    assert best_of({"it": LOW}, {"a": gone}, relation="above").decision == "supported"
    assert best_of({"it": HIGH}, {"a": gone}, relation="below").decision == "supported"


@given(GROUP, GROUP, GROUP)
@example(np.array([0.0, 1, 2, 2, 2, 2]), np.zeros(6), np.array([0.0] * 7 + [1]))
def test_it_is_the_intersection_of_the_pairwise_order_tests(candidate, a, b):
    part = best_of({"it": candidate}, {"a": a, "b": b}, relation="above")
    pairs = [stochastic_order(-candidate, -other, relation="below") for other in (a, b)]
    if all(pair.decision == "supported" for pair in pairs):
        assert part.decision == "supported"
        assert part.p == max(pair.p for pair in pairs)
        assert part.estimate in {pair.estimate for pair in pairs if pair.p == part.p}  # effect and p are of one pair
    elif any(pair.estimate < 0.5 and 2 * pair.p < 0.05 for pair in pairs):
        assert part.decision == "contradicted"
        assert part.p == min(1.0, 2 * min(pair.p for pair in pairs if pair.estimate < 0.5))
    else:
        assert part.decision == "undecided"


def test_the_p_of_complete_separation():
    assert best_of({"it": HIGH}, {"a": LOW, "b": MIDDLE}, relation="above").p == pytest.approx(2 / 12870)
    assert best_of({"it": LOW}, {"a": MIDDLE, "b": HIGH}, relation="above").p == pytest.approx(2 * 2 / 12870)


def test_fewer_than_six_in_any_group_leave_it_undecided():
    part = best_of({"it": HIGH}, {"a": LOW, "b": MIDDLE[:5]}, relation="above")
    assert (part.decision, part.members, part.p) == ("undecided", 5, None)


def test_a_group_without_members_leaves_it_undecided():
    part = best_of({"it": HIGH}, {"a": LOW, "b": HIGH[:0]}, relation="above")
    assert (part.decision, part.members, part.p) == ("undecided", 0, None)


def test_one_of_two_candidates_is_enough():
    part = best_of({"125": MIDDLE, "500": HIGH}, {"5": LOW, "1500": MIDDLE}, relation="above")
    assert part.decision == "supported"
    assert part.p == pytest.approx(2 * 2 / 12870)  # two candidates, two chances


def test_another_must_beat_both_candidates_to_contradict():
    others = {"5": MIDDLE}
    assert best_of({"125": LOW, "500": LOW}, others, relation="above").decision == "contradicted"
    assert best_of({"125": LOW, "500": MIDDLE}, others, relation="above").decision == "undecided"


def test_different_others_beating_one_candidate_each_contradict_nothing():
    a = np.array([0.0, 1, 2, 3, 4, 5])
    part = best_of({"x": a, "y": a + 3}, {"u": a + 3.5, "v": np.append(a[:1], a[:5] + 3.2)}, relation="above")
    assert part.decision == "undecided"


def test_each_of_two_candidates_is_tested_at_97_5_percent():
    """p = 34/924 = 0.037 is enough for one candidate and not for one of two."""
    better = np.array([4.0, 6, 7, 8, 10, 11])
    worse = np.array([0.0, 1, 2, 3, 5, 9])
    assert best_of({"it": better}, {"a": worse}, relation="above").decision == "supported"
    assert best_of({"x": better, "y": worse}, {"a": worse}, relation="above").decision == "undecided"
