"""An order claim: exact test, failures last, symmetry."""

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bathymetry.stats.group_tests import stochastic_order

before = partial(stochastic_order, relation="before")
MIRROR = {"supported": "contradicted", "contradicted": "supported", "undecided": "undecided"}
TIMES = st.lists(
    st.one_of(st.integers(1, 30).map(float), st.sampled_from([np.inf, np.nan])), min_size=6, max_size=10
).map(np.array)


def test_six_before_six_is_supported_and_its_reverse_contradicted():
    early, late = np.arange(6.0), np.arange(6.0) + 10
    part = before(early, late, first="deep", second="shallow")
    assert (part.decision, part.estimate, part.members) == ("supported", 1.0, 6)
    assert part.p == pytest.approx(2 / 924)
    assert part.interval[1] == 1.0
    assert before(late, early).decision == "contradicted"


@given(TIMES, TIMES)
def test_swapping_the_groups_swaps_the_verdict(a, b):
    part, mirrored = before(a, b), before(b, a)
    assert mirrored.decision == MIRROR[part.decision]
    assert mirrored.p == pytest.approx(part.p)
    assert mirrored.estimate == pytest.approx(1 - part.estimate)
    assert mirrored.interval == pytest.approx((1 - part.interval[1], 1 - part.interval[0]), abs=1e-9)


@given(TIMES, TIMES)
def test_only_the_order_of_the_numbers_counts(a, b):
    plain, scaled = before(a, b), before(np.exp(a / 10), np.exp(b / 10))
    assert (plain.decision, plain.p, plain.estimate) == (scaled.decision, scaled.p, scaled.estimate)


@given(TIMES, TIMES)
def test_interval_and_decision_never_disagree_about_one_half(a, b):
    part = before(a, b)
    low, high = part.interval
    assert low <= part.estimate <= high
    if part.decision == "supported":
        assert low >= 0.5
    elif part.decision == "contradicted":
        assert high <= 0.5
    else:
        assert low <= 0.5 <= high


@given(TIMES, TIMES)
def test_a_diverged_member_counts_like_one_that_never_arrives(a, b):
    never = before(np.where(np.isnan(a), np.inf, a), np.where(np.isnan(b), np.inf, b))
    assert before(a, b).p == never.p
    assert before(a, b).estimate == never.estimate


def test_where_larger_comes_first_a_diverged_member_is_still_last():
    good, bad = np.full(6, 0.9), np.array([np.nan] * 5 + [0.1])
    assert stochastic_order(good, bad, relation="above").decision == "supported"
    assert stochastic_order(bad, good, relation="above").decision == "contradicted"


@given(TIMES, TIMES)
def test_negated_numbers_in_descending_order_are_the_same_claim(a, b):
    assert stochastic_order(-a, -b, relation="above").p == before(a, b).p


def test_all_infinite_is_undecided():
    part = before(np.full(10, np.inf), np.full(10, np.inf), first="cos", second="arcsinh")
    assert (part.decision, part.estimate, part.p) == ("undecided", 0.5, 1.0)
    assert part.finding == part.summary


def test_all_diverged_is_undecided_and_said():
    part = before(np.full(6, np.nan), np.full(6, np.nan))
    assert part.decision == "undecided"
    assert "6 of 6 A, 6 of 6 B" in part.summary


def test_those_that_arrive_come_before_those_that_never_do():
    part = before(np.arange(10.0), np.array([5.0] * 2 + [np.inf] * 8), first="deep", second="shallow")
    assert part.decision == "supported"
    assert "8 of 10 shallow" in part.summary


@pytest.mark.parametrize(("a", "b"), [(5, 10), (10, 5), (0, 6), (6, 0), (0, 0)])
def test_fewer_than_six_in_either_group_decide_nothing(a, b):
    part = before(np.arange(float(a)), np.arange(float(b)) + 100)
    assert part.decision == "undecided"
    assert (part.members, part.p) == (min(a, b), None)


def test_an_empty_group_has_no_numbers():
    part = before(np.array([]), np.arange(6.0))
    assert math.isnan(part.estimate)
    assert all(math.isnan(end) for end in part.interval)
    assert part.p is None


def test_a_stricter_test_decides_less():
    """34 of the 924 deals have as large a statistic: p = 0.037, enough at 95 % and not at 97.5 %."""
    a = np.array([0.0, 1, 2, 3, 5, 9])
    b = np.array([4.0, 6, 7, 8, 10, 11])
    assert before(a, b).p == pytest.approx(34 / 924)
    assert before(a, b).decision == "supported"
    assert before(a, b, confidence=0.975).decision == "undecided"


def test_under_no_difference_at_most_five_percent_are_decided():
    rng = np.random.default_rng(5)
    decided = [before(rng.normal(size=6), rng.normal(size=6)).decision != "undecided" for _ in range(1000)]
    assert np.mean(decided) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1000)


@pytest.mark.parametrize("members", [6, 20])
@pytest.mark.parametrize(("spread", "shift"), [(1, 0.74), (5, 0.0), (5, 2.67), (5, 5.28), (50, 0.0)])
def test_the_interval_of_superiority_covers_it_also_where_one_group_spreads_more_widely(members, spread, shift):
    """P(A < B) of normal numbers is Φ(shift / √(1 + spread²)): here 50 to 85 %. Newcombe's alone covers 88 to 96 %."""
    truth = stats.norm.cdf(shift / math.hypot(1, spread))
    chance = np.random.default_rng([members, spread])
    pairs = ((chance.normal(size=members), chance.normal(shift, spread, members)) for _ in range(300))
    intervals = np.array([stochastic_order(*pair, relation="below").interval for pair in pairs])
    assert np.mean((intervals[:, 0] <= truth) & (truth <= intervals[:, 1])) > 0.91  # 3 standard errors below 95 %
