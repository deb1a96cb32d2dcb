"""The test of two groups against counting by hand, against every deal, and against scipy; the sign test likewise."""

import math
import time
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bathymetry.core.errors import InputError
from bathymetry.stats.rank_tests import brunner_munzel, sign_test

SMALL = st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0, np.inf]), min_size=2, max_size=5)
GROUP = st.lists(st.integers(-5, 5).map(float), min_size=6, max_size=12).map(np.array)
SIX_OR_MORE = st.lists(st.integers(-3, 3).map(float), min_size=6, max_size=30).map(np.array)
DIFFERENCES = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=14).map(np.array)


def wins(x, y):
    return Fraction(1) if x < y else Fraction(1, 2) if x == y else Fraction(0)


def squared_statistic(a, b):
    """T² from its definition in fractions, with the sign of T; infinite at complete separation."""
    m, n = len(a), len(b)
    placed_a = [sum(wins(y, x) for y in b) / n for x in a]
    placed_b = [sum(wins(x, y) for x in a) / m for y in b]
    ahead = sum(placed_b) / n - Fraction(1, 2)

    def spread(placed):
        mean = sum(placed) / len(placed)
        return sum((one - mean) ** 2 for one in placed) / (len(placed) - 1) / len(placed)

    variance = spread(placed_a) + spread(placed_b)
    if ahead == 0:
        return Fraction(0)
    return math.copysign(1, ahead) * (ahead**2 / variance if variance else math.inf)


def p_by_every_deal(a, b):
    """The slow twin: deal the pooled numbers in every way and count those at least as far out on either side."""
    pool, size = [*a, *b], len(a)
    observed = abs(squared_statistic(a, b))
    beyond = []
    for chosen in combinations(range(len(pool)), size):
        rest = [pool[i] for i in range(len(pool)) if i not in chosen]
        beyond.append(abs(squared_statistic([pool[i] for i in chosen], rest)) >= observed * (1 - 1e-12))
    return np.mean(beyond)


@given(SMALL, SMALL)
def test_ties_and_infinities_agree_with_every_deal(a, b):
    test = brunner_munzel(np.array(a), np.array(b))
    squared = squared_statistic(a, b)
    assert test.exact
    assert test.superiority == pytest.approx(float(np.mean([float(wins(x, y)) for x in a for y in b])))
    assert test.statistic == pytest.approx(math.copysign(math.sqrt(abs(squared)), squared), abs=1e-12)
    if squared and math.isfinite(squared):
        assert test.error == pytest.approx((test.superiority - 0.5) / test.statistic)
    by_deals = p_by_every_deal(a, b)
    assert test.p >= by_deals - 1e-9
    if math.isinf(test.statistic) or squared == 0:
        assert test.p == pytest.approx(by_deals)


def test_p_is_the_larger_of_every_deal_and_of_scipys_t_distribution():
    rng = np.random.default_rng(0)
    larger = set()
    for _ in range(40):
        a, b = rng.integers(0, 9, 4), rng.integers(1, 10, 4)
        if min(max(a), max(b)) > max(min(a), min(b)):  # scipy divides by zero at complete separation
            by_deals, by_t = p_by_every_deal(a.tolist(), b.tolist()), stats.brunnermunzel(a, b).pvalue
            larger.add(by_deals > by_t)
            assert brunner_munzel(a, b).p == pytest.approx(max(by_deals, by_t))
    assert larger == {True, False}


@pytest.mark.parametrize("sizes", [(6, 6), (6, 9), (10, 10), (20, 20), (12, 7), (40, 60), (60, 60), (6, 300)])
@pytest.mark.parametrize("decimals", [0, 9])
def test_the_statistic_is_scipys_with_and_without_ties(sizes, decimals):
    rng = np.random.default_rng(sizes)
    for shift in (0.0, 0.5, 1.0):
        a = rng.normal(size=sizes[0]).round(decimals)
        b = rng.normal(shift, 3, size=sizes[1]).round(decimals)
        theirs = stats.brunnermunzel(a, b)
        ours = brunner_munzel(a, b)
        assert ours.statistic == pytest.approx(theirs.statistic)
        assert ours.p >= theirs.pvalue * (1 - 1e-9)
        if min(sizes) >= 20:
            assert ours.p == pytest.approx(theirs.pvalue, rel=0.1, abs=0.002)


@pytest.mark.parametrize(("members", "deals"), [(6, 924), (8, 12870), (10, 184756)])
def test_complete_separation_is_two_deals_of_all(members, deals):
    test = brunner_munzel(np.arange(members), np.arange(members) + 100)
    assert (test.superiority, test.statistic, test.exact) == (1.0, math.inf, True)
    assert test.p == pytest.approx(2 / deals)


@pytest.mark.parametrize("sizes", [(11, 11), (20, 20), (6, 200), (60, 60)])
def test_complete_separation_of_many_is_as_clear_as_random_deals_can_say(sizes):
    test = brunner_munzel(np.arange(sizes[0]) + 1000, np.arange(sizes[1]))
    assert (test.superiority, test.statistic, test.exact) == (0.0, -math.inf, False)
    assert test.p <= 2e-4


@given(GROUP, GROUP)
def test_swapping_the_groups_or_turning_the_numbers_round_leaves_p(a, b):
    test = brunner_munzel(a, b)
    for mirrored in (brunner_munzel(b, a), brunner_munzel(-a, -b)):
        assert mirrored.p == pytest.approx(test.p, rel=1e-12)
        assert mirrored.superiority == pytest.approx(1 - test.superiority)
    assert brunner_munzel(np.exp(a), np.exp(b)) == test


def test_the_same_numbers_have_the_same_p_again_where_deals_are_random():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=15).round(1), rng.normal(1, size=17).round(1)
    assert brunner_munzel(a, b) == brunner_munzel(rng.permutation(a), rng.permutation(b))


@pytest.mark.parametrize("large", [2_000, 1])  # members from which on deals are lists of members
def test_random_deals_agree_with_all_deals(monkeypatch, large):
    from bathymetry.stats import rank_tests

    rng = np.random.default_rng(3)
    pairs = [(rng.normal(size=9).round(1), rng.normal(0.8, size=9).round(1)) for _ in range(5)]
    every = [brunner_munzel(a, b).p for a, b in pairs]
    monkeypatch.setattr(rank_tests, "_EVERY_DEAL_UP_TO", 1)
    monkeypatch.setattr(rank_tests, "_LARGE", large)
    for cached in (rank_tests._dealt, rank_tests._random_deals):
        cached.cache_clear()
    random = [brunner_munzel(a, b) for a, b in pairs]
    for cached in (rank_tests._dealt, rank_tests._random_deals):
        cached.cache_clear()
    assert not any(test.exact for test in random)
    for exact, test in zip(every, random, strict=True):
        assert test.p == pytest.approx(
            exact, abs=4 * math.sqrt(exact * (1 - exact) / (40_000 if large > 1 else 10_000)) + 1e-4
        )


@pytest.mark.parametrize(("a", "b"), [(1, 1), (1, 30), (30, 1), (0, 6), (6, 0), (0, 0)])
def test_fewer_than_two_numbers_in_a_group_say_nothing(a, b):
    test = brunner_munzel(np.arange(float(a)), np.arange(float(b)) + 100)
    assert (test.p, test.statistic) == (1.0, 0.0)
    assert math.isnan(test.superiority) if 0 in (a, b) else test.superiority == 1.0


def test_all_ties_say_nothing():
    for size in (6, 12, 80):
        test = brunner_munzel(np.full(size, np.inf), np.full(size, np.inf))
        assert (test.superiority, test.statistic, test.p) == (0.5, 0.0, 1.0)


def test_two_of_ten_against_none_is_clear_to_no_deal_that_shows_less():
    """Two finite times among infinite ones: both fall into one group in 2 (10·9)/(20·19) of all deals."""
    a = np.array([5.0, 5.0] + [np.inf] * 8)
    assert brunner_munzel(a, np.full(10, np.inf)).p == pytest.approx(180 / 380)


def test_a_member_without_a_number_has_no_place_in_an_order():
    with pytest.raises(InputError, match="b = NaN: expected numbers; put infinity"):
        brunner_munzel(np.arange(6.0), np.array([np.nan, 1.0]))


def test_many_ties_make_all_deals_few():
    a, b = np.repeat([1.0, 2, 3], [10, 5, 5]), np.repeat([1.0, 2, 3], [3, 7, 10])
    test = brunner_munzel(a, b)
    assert test.exact
    pool = np.concatenate([a, b])
    chance = np.random.default_rng(4)
    drawn = [abs(stats.brunnermunzel(*np.split(chance.permutation(pool), 2)).statistic) for _ in range(1000)]
    assert test.p == pytest.approx(np.mean(np.array(drawn) >= abs(test.statistic) - 1e-9), abs=0.02)


def test_a_test_of_twenty_against_twenty_takes_well_under_a_second():
    rng = np.random.default_rng(6)
    started = time.perf_counter()
    for members in (12, 16, 20):
        brunner_munzel(rng.normal(size=members), rng.normal(size=members))
    assert time.perf_counter() - started < 1.5  # measured: 0.1 s for the three on an idle processor


@given(DIFFERENCES)
def test_the_sign_test_is_the_binomial_test_in_which_a_tie_counts_for_neither_side(values):
    test, members = sign_test(values), len(values)
    more = max(test.above, test.below)
    assert (test.above, test.below) == (sum(v > 0 for v in values), sum(v < 0 for v in values))
    tail = sum(math.comb(members, k) for k in range(more, members + 1)) / 2**members
    assert test.p == pytest.approx(min(1.0, 2 * tail))
    assert test.median == np.median(values)
    if 0 not in values:
        assert test.p == pytest.approx(stats.binomtest(test.above, members).pvalue)


@given(
    st.lists(st.integers(-3, 3).map(float), min_size=6, max_size=30).map(np.array), st.sampled_from([0.9, 0.95, 0.99])
)
def test_the_interval_leaves_out_zero_exactly_when_the_sign_test_is_clear(values, confidence):
    test = sign_test(values, confidence)
    low, high = test.interval
    if math.isnan(low):
        assert 2 * 0.5 ** len(values) > 1 - confidence
    assert (low > 0 or high < 0) == (test.p < round(1 - confidence, 9))


@pytest.mark.parametrize(("members", "needed"), [(6, 6), (8, 8), (9, 8), (10, 9), (12, 10), (20, 15)])
def test_so_many_of_so_many_have_to_be_on_one_side(members, needed):
    for above in range(members + 1):
        values = np.where(np.arange(members) < above, 1.0, -1.0)
        assert (sign_test(values).p < 0.05) == (max(above, members - above) >= needed)


def test_differences_may_be_infinite_and_few():
    assert sign_test(np.array([np.inf] * 4 + [-np.inf] * 2)).above == 4
    assert math.isnan(sign_test(np.array([np.inf, -np.inf])).median)
    assert math.isnan(sign_test(np.arange(1.0, 6.0)).interval[0])
    assert sign_test(np.array([])).p == 1.0
    with pytest.raises(InputError, match="differences = NaN: expected numbers; put 0 for a pair"):
        sign_test(np.array([1.0, np.nan]))
