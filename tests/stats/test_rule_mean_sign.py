"""A slope claim, and rank correlations member by member."""

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bathymetry import claims
from bathymetry.core.errors import InputError
from bathymetry.stats.group_tests import mean_sign
from bathymetry.stats.intervals import FISHER, LOG, Transform
from bathymetry.stats.per_member import spearman_z

rising = partial(mean_sign, expected="above")
MIRROR = {"supported": "contradicted", "contradicted": "supported", "undecided": "undecided"}
NUMBERS = st.lists(st.integers(-50, 50).map(float), min_size=6, max_size=12).map(np.array)


@given(NUMBERS)
def test_decision_interval_and_p_are_those_of_the_t_test(values):
    part = rising(values)
    if np.ptp(values) == 0:
        assert part.interval == (values[0], values[0])
        assert part.p == (1.0 if values[0] == 0 else 0.0)
        return
    test = stats.ttest_1samp(values, 0.0)
    ends = test.confidence_interval(0.95)
    assert part.p == pytest.approx(test.pvalue)
    assert part.interval == pytest.approx((ends.low, ends.high))
    expected = "supported" if ends.low > 0 else "contradicted" if ends.high < 0 else "undecided"
    assert part.decision == expected


@given(NUMBERS)
def test_turning_the_numbers_round_or_the_claim_round_turns_the_verdict_round(values):
    decision = rising(values).decision
    assert rising(-values).decision == MIRROR[decision]
    assert mean_sign(values, expected="below").decision == MIRROR[decision]


def test_equal_members_decide_by_their_side_of_zero():
    assert rising(np.full(6, 0.1)).decision == "supported"
    assert rising(np.full(6, -0.1)).decision == "contradicted"
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
    values = np.array([0.0, 10, 0, 10, 0, 10, 0, 10]) / 10
    shift = rising(values).interval[0] - 0.0004
    part = rising(values - shift)
    assert part.decision == "supported"
    assert "interval 0.0004 to" in part.summary


def test_numbers_and_rule_stand_in_the_same_unit_on_the_same_side_of_the_line():
    less_a_tenth = Transform("less a tenth", lambda one: one / 100 - 0.1, lambda one: 100 * (one + 0.1))
    part = rising(np.array([0.01, 0.02, 0.01, 0.02, 0.01, 0.02]) - 0.1, shown=less_a_tenth, unit=" %")
    assert part.decision == "contradicted"
    assert "1.5 % (95 % interval 0.9 to 2.1 %" in part.summary
    assert "above 10 %" in claims.mean_sign("it", shown=less_a_tenth, unit=" %").how


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


def test_under_no_tendency_five_percent_are_decided():
    draws = np.random.default_rng(8).normal(size=(2000, 6))
    decided = np.mean([rising(row).decision != "undecided" for row in draws])
    assert decided == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / 2000))
