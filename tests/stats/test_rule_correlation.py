"""Rank correlations over members, held to SciPy, to a slow twin and to their own honesty."""

import math
from functools import partial

import numpy as np
import pytest
from scipy import stats

from bathymetry.stats.group_tests import correlation
from bathymetry.stats.rank_correlation import rank_correlation

rising = partial(correlation, expected="above")


def drawn(rho, members, seed):
    chance = np.random.default_rng(seed)
    x, noise = chance.normal(size=(2, members))
    return x, rho * x + np.sqrt(1 - rho**2) * noise


def test_the_estimate_is_spearmans():
    x, y = drawn(0.6, 40, 1)
    part = rising(x, np.exp(y))
    assert part.estimate == pytest.approx(stats.spearmanr(x, y).statistic)
    assert part.decision == "supported"
    assert part.interval[0] < part.estimate < part.interval[1]


@pytest.mark.parametrize(("expected", "decision"), [("above", "contradicted"), ("below", "supported")])
def test_the_expected_side_decides(expected, decision):
    x, y = drawn(-0.9, 30, 1)
    assert correlation(x, y, expected=expected).decision == decision


def test_independent_numbers_are_decided_in_about_one_run_of_twenty():
    decided = [rising(*drawn(0.0, 30, seed)).decision != "undecided" for seed in range(100)]
    assert 0.01 <= np.mean(decided) < 0.13


def test_p_and_interval_agree():
    for seed in range(40):
        part = rising(*drawn(0.35, 25, seed))
        assert (part.p < 0.05) == (part.decision != "undecided")


def test_fewer_than_twenty_members_decide_nothing():
    part = rising(np.arange(19.0), np.arange(19.0))
    assert (part.decision, part.p) == ("undecided", None)


def test_numbers_that_are_all_the_same_correlate_with_nothing():
    part = rising(np.arange(30.0), np.ones(30))
    assert part.decision == "undecided"
    assert np.isnan(part.estimate)


def test_members_without_two_numbers_are_left_out():
    x, y = drawn(0.9, 40, 2)
    x[:10] = np.nan
    assert rising(x, y).members == 30


def slow_statistic(x, y):
    """artanh(ρ) (1 − ρ²) over the error of ρ, whose influence is found by weighing one member a little more."""
    members, step = len(x), 1e-6

    def weighted(weights):
        def ranks(values):
            less, same = values[:, None] > values[None, :], values[:, None] == values[None, :]
            ranked = less @ weights + same @ weights / 2
            return ranked - weights @ ranked

        u, v = ranks(x), ranks(y)
        return weights @ (u * v) / math.sqrt((weights @ u**2) * (weights @ v**2))

    even = np.full(members, 1 / members)
    rho = weighted(even)
    influence = [(weighted(even * (1 - step) + step * np.eye(members)[i]) - rho) / step for i in range(members)]
    error = np.std(influence, ddof=1) / math.sqrt(members)
    return rho, error, math.atanh(rho) * (1 - rho**2) / error


@pytest.mark.parametrize("decimals", [9, 1, 0])
def test_p_and_interval_are_those_of_permutations_of_the_slow_statistic(decimals):
    chance = np.random.default_rng(decimals)
    for rho, seed in ((0.3, 1), (-0.5, 2)):
        x, y = (one.round(decimals) for one in drawn(rho, 20, seed))
        estimate, error, observed = slow_statistic(x, y)
        test = rank_correlation(x, y)
        assert test.rho == pytest.approx(estimate)
        permuted = [slow_statistic(x, chance.permutation(y)) for _ in range(800)]
        studentised = np.abs([one[2] for one in permuted])
        shares = (np.mean(studentised >= abs(observed)), np.mean(np.abs([one[0] for one in permuted]) >= abs(estimate)))
        p = max(shares)
        assert test.p == pytest.approx(p, abs=4.5 * math.sqrt(p * (1 - p) / 800) + 0.002)
        point = (np.arctanh(test.interval[1]) - np.arctanh(test.interval[0])) / 2 / (error / (1 - estimate**2))
        assert np.mean(studentised >= point) == pytest.approx(0.05, abs=4.5 * math.sqrt(0.05 * 0.95 / 800))


def test_swapping_or_turning_round_either_number_leaves_p():
    x, y = (one.round(1) for one in drawn(0.4, 25, 6))
    test = rank_correlation(x, y)
    assert rank_correlation(y, x).p == pytest.approx(test.p, abs=0.01)
    for turned in (rank_correlation(-x, y), rank_correlation(x, -y)):
        assert turned.p == pytest.approx(test.p, rel=1e-9)
        assert turned.rho == pytest.approx(-test.rho)
        assert turned.interval == pytest.approx((-test.interval[1], -test.interval[0]))


def test_a_perfect_correlation_has_an_interval_with_a_width():
    test = rank_correlation(np.arange(20.0), np.arange(20.0) ** 3)
    assert test.rho == pytest.approx(1.0)
    assert 0.9 < test.interval[0] < 1.0 <= test.interval[1]
    assert test.p < 1e-4


def test_the_interval_covers_a_correlation_of_normal_numbers():
    """Spearman's ρ of normal numbers with correlation r is 6/π arcsin(r/2)."""
    truth, covered = 6 / math.pi * math.asin(0.7 / 2), []
    for seed in range(400):
        low, high = rank_correlation(*drawn(0.7, 30, seed)).interval
        covered.append(low <= truth <= high)
    assert 0.91 < np.mean(covered) < 0.985
