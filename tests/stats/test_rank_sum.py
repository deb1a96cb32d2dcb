"""Mann and Whitney's test against counting by hand, against every deal, and against scipy."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bathymetry.core.errors import InputError
from bathymetry.stats import mann_whitney

SMALL = st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0, np.inf]), min_size=1, max_size=5)


def superiority_by_pairs(a, b):
    return np.mean([1.0 if x < y else 0.5 if x == y else 0.0 for x in a for y in b])


def p_by_every_deal(a, b):
    """The slow twin: deal the pooled numbers in every way and count those at least as far out on either side."""
    pool, size = [*a, *b], len(a)
    seen = superiority_by_pairs(a, b)
    dealt = []
    for chosen in combinations(range(len(pool)), size):
        rest = [pool[i] for i in range(len(pool)) if i not in chosen]
        dealt.append(superiority_by_pairs([pool[i] for i in chosen], rest))
    low = np.mean([d <= seen + 1e-9 for d in dealt])
    high = np.mean([d >= seen - 1e-9 for d in dealt])
    return min(1.0, 2 * min(low, high))


@given(SMALL, SMALL)
def test_ties_and_infinities_agree_with_every_deal(a, b):
    test = mann_whitney(np.array(a), np.array(b))
    assert test.exact
    assert test.superiority == pytest.approx(superiority_by_pairs(a, b))
    assert test.p == pytest.approx(p_by_every_deal(a, b))


@pytest.mark.parametrize(("members", "deals"), [(6, 924), (8, 12870), (10, 184756)])
def test_complete_separation_is_two_deals_of_all(members, deals):
    test = mann_whitney(np.arange(members), np.arange(members) + 100)
    assert test.superiority == 1.0
    assert test.p == pytest.approx(2 / deals)


@pytest.mark.parametrize("sizes", [(6, 6), (6, 9), (10, 10), (12, 7), (40, 60)])
def test_without_ties_it_is_scipys_exact_test(sizes):
    rng = np.random.default_rng(sizes)
    for shift in (0.0, 0.5, 1.5):
        a, b = rng.normal(size=sizes[0]), rng.normal(shift, size=sizes[1])
        assert mann_whitney(a, b).p == pytest.approx(stats.mannwhitneyu(a, b, method="exact").pvalue)


def test_one_number_against_one_says_nothing():
    assert mann_whitney(np.array([1.0]), np.array([2.0])).p == 1.0


def test_all_ties_say_nothing():
    test = mann_whitney(np.full(6, np.inf), np.full(6, np.inf))
    assert (test.superiority, test.p) == (0.5, 1.0)
    assert mann_whitney(np.full(80, 1.0), np.full(80, 1.0)).p == 1.0


def test_an_empty_group_says_nothing():
    test = mann_whitney(np.array([]), np.arange(6))
    assert np.isnan(test.superiority)
    assert test.p == 1.0


def test_two_of_ten_against_none_is_fishers_exact_test():
    """Two finite times among infinite ones: the chance that both fall into A is (10·9)/(20·19)."""
    a = np.array([5.0, 5.0] + [np.inf] * 8)
    assert mann_whitney(a, np.full(10, np.inf)).p == pytest.approx(2 * 90 / 380)


def test_many_numbers_use_the_normal_approximation_with_its_tie_correction():
    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 5, 90), rng.integers(1, 6, 90)
    test = mann_whitney(a, b)
    assert not test.exact
    assert test.p == pytest.approx(stats.mannwhitneyu(a, b, method="asymptotic").pvalue)
    assert test.superiority == pytest.approx(superiority_by_pairs(a, b))


def test_exact_and_approximate_agree_where_one_hands_over_to_the_other():
    rng = np.random.default_rng(4)
    a, b = rng.normal(0, 1, 50), rng.normal(0.4, 1, 50)
    assert mann_whitney(a, b).exact
    assert mann_whitney(a, b).p == pytest.approx(stats.mannwhitneyu(a, b, method="asymptotic").pvalue, rel=0.05)


def test_a_member_without_a_number_has_no_place_in_an_order():
    with pytest.raises(InputError, match="b = NaN: expected numbers; put infinity"):
        mann_whitney(np.arange(6.0), np.array([np.nan, 1.0]))
