"""Rank correlations over members, held to SciPy and to their own honesty."""

from functools import partial

import numpy as np
import pytest
from scipy import stats

from bathymetry.stats.group_tests import correlation

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
