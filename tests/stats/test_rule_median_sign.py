"""A claim about the sign of a median, and rank correlations member by member."""

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bathymetry import claims
from bathymetry.core.errors import InputError
from bathymetry.stats.group_tests import median_sign
from bathymetry.stats.intervals import FISHER, LOG, Transform
from bathymetry.stats.per_member import spearman_z

rising = partial(median_sign, expected="above")
MIRROR = {"supported": "contradicted", "contradicted": "supported", "undecided": "undecided"}
NUMBERS = st.lists(st.integers(-50, 50).map(float), min_size=6, max_size=12).map(np.array)


@given(NUMBERS)
def test_decision_interval_and_p_are_those_of_the_sign_test(values):
    part, ordered, members = rising(values), np.sort(values), len(values)
    assert part.estimate == np.median(values)
    p = [stats.binomtest(int(more.sum()), members, alternative="greater").pvalue for more in (values > 0, values < 0)]
    assert part.p == pytest.approx(min(1.0, 2 * min(p)))
    out = {6: 0, 7: 0, 8: 0, 9: 1, 10: 1, 11: 1, 12: 2}[members]  # on each side, from tables of the binomial
    assert part.interval == (ordered[out], ordered[-1 - out])
    expected = "supported" if ordered[out] > 0 else "contradicted" if ordered[-1 - out] < 0 else "undecided"
    assert part.decision == expected


def test_a_member_at_zero_counts_for_neither_side():
    values = np.array([0.0, 0, 1, 2, 3, 4, 5, 6, 7, 8])
    assert rising(values).p == pytest.approx(2 * (45 + 10 + 1) / 1024)
    assert rising(values).decision == "undecided"
    assert rising(values + 1).p == pytest.approx(2 / 1024)


@given(NUMBERS)
def test_turning_the_numbers_round_or_the_claim_round_turns_the_verdict_round(values):
    decision = rising(values).decision
    assert rising(-values).decision == MIRROR[decision]
    assert median_sign(values, expected="below").decision == MIRROR[decision]


def test_equal_members_decide_by_their_side_of_zero():
    assert rising(np.full(6, 0.1)).decision == "supported"
    assert rising(np.full(6, -0.1)).decision == "contradicted"
    assert rising(np.full(6, 0.1)).p == 0.03125
    nothing = rising(np.zeros(6))
    assert (nothing.decision, nothing.p, nothing.interval) == ("undecided", 1.0, (0.0, 0.0))


def test_members_without_a_number_are_left_out_and_counted():
    part = rising(np.array([1.0, 2, 3, 4, 5, 6, np.nan, np.inf]))
    assert (part.decision, part.members, part.estimate) == ("supported", 6, 3.5)
    assert "2 of 8" in part.summary


@pytest.mark.parametrize("values", [[], [np.nan] * 6, [1.0], [1.0, 1.1, 1.2, 1.1, 1.0], [1.0] * 5 + [np.nan]])
def test_fewer_than_six_numbers_decide_nothing(values):
    part = rising(np.array(values))
    assert part.decision == "undecided"
    assert part.p is None


def test_one_number_has_no_interval_and_no_number_no_estimate():
    assert math.isnan(rising(np.array([1.0])).interval[0])
    assert rising(np.array([1.0])).p is None
    assert math.isnan(rising(np.array([])).estimate)


def test_z_is_shown_as_a_correlation_and_a_log_ratio_as_a_ratio():
    z = np.arctanh(np.array([0.5, 0.52, 0.48, 0.51, 0.49, 0.5]))
    assert rising(z, quantity="rank correlation", shown=FISHER).summary.startswith("rank correlation 0.500 ")
    ratio = rising(np.log(np.array([2.0, 2.1, 1.9, 2.0, 2.05, 1.95])), quantity="ratio", shown=LOG)
    assert ratio.summary.startswith("ratio 2.00 ")
    assert ratio.estimate == pytest.approx(math.log(2), abs=0.01)


def test_a_bound_near_zero_is_not_rounded_onto_it():
    part = rising(np.array([0.0004, 1, 1, 1, 1, 1, 1]))
    assert part.decision == "supported"
    assert "interval 0.0004 to" in part.summary


def test_numbers_and_rule_stand_in_the_same_unit_on_the_same_side_of_the_line():
    less_a_tenth = Transform("less a tenth", lambda one: one / 100 - 0.1, lambda one: 100 * (one + 0.1))
    part = rising(np.array([0.01, 0.02, 0.01, 0.02, 0.01, 0.02]) - 0.1, shown=less_a_tenth, unit=" %")
    assert part.decision == "contradicted"
    assert "1.5 % (95 % interval 1.0 to 2.0 %" in part.summary
    assert "above 10 %" in claims.median_sign("it", shown=less_a_tenth, unit=" %").how


def test_rank_correlations_of_unequal_lengths_are_refused():
    with pytest.raises(InputError, match="expected the shape of x"):
        spearman_z(np.zeros(6), np.zeros(5))


def test_rank_correlation_is_scipys_member_by_member_with_ties():
    rng = np.random.default_rng(7)
    x, y = rng.integers(0, 5, (6, 20)), rng.integers(0, 5, (6, 20))
    expected = [stats.spearmanr(a, b).statistic for a, b in zip(x, y, strict=True)]
    assert np.tanh(spearman_z(x, y)) == pytest.approx(expected)


def test_a_perfect_rank_correlation_stays_finite_and_beyond_the_next_best():
    up = np.arange(5.0)
    swapped = np.array([0.0, 1, 2, 4, 3])
    assert spearman_z(up, up) > spearman_z(up, swapped)
    assert np.isfinite(spearman_z(up, up))
    assert spearman_z(up, -up) == pytest.approx(-float(spearman_z(up, up)))


def test_without_a_rank_correlation_there_is_no_number():
    constant = np.array([[1.0, 1, 1], [1, 2, 3], [1, 2, 3]])
    other = np.array([[1.0, 2, 3], [1, np.nan, 3], [1, 2, 3]])
    assert np.isnan(spearman_z(constant, other)).tolist() == [True, True, False]
    assert math.isnan(spearman_z(np.array([1.0, 2.0]), np.array([1.0, 2.0])))


def test_under_no_tendency_as_many_are_decided_as_the_binomial_says():
    draws = np.random.default_rng(8).exponential(size=(2000, 6)) - math.log(2)
    decided = np.mean([rising(row).decision != "undecided" for row in draws])
    assert decided == pytest.approx(2 / 64, abs=4 * math.sqrt(2 / 64 * 62 / 64 / 2000))
