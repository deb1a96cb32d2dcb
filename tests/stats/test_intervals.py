"""Intervals against closed forms and against what they promise: to cover."""

import math

import numpy as np
import pytest
from scipy import stats

from bathymetry.core.errors import InputError
from bathymetry.stats import clopper_pearson, mean_interval
from bathymetry.stats.intervals import (
    IDENTITY,
    LOG,
    logit_accuracy,
    median_interval,
    superiority_interval,
)

T_5 = 2.570581835636314  # 97.5 % point of Student's t with 5 degrees of freedom, from tables


@pytest.mark.parametrize("members", [6, 8, 10, 30])
def test_all_of_n_has_the_nth_root_of_0_025_as_its_lower_end(members):
    low, high = clopper_pearson(members, members)
    assert low == pytest.approx(0.025 ** (1 / members), abs=1e-12)
    assert high == 1.0


def test_tabled_clopper_pearson_intervals():
    assert clopper_pearson(10, 10) == pytest.approx((0.6915, 1), abs=5e-5)
    assert clopper_pearson(6, 6) == pytest.approx((0.5407, 1), abs=5e-5)
    assert clopper_pearson(8, 10) == pytest.approx((0.4439, 0.9748), abs=5e-5)
    assert clopper_pearson(0, 10) == pytest.approx((0, 0.3085), abs=5e-5)


def test_none_of_none_may_be_any_share():
    assert clopper_pearson(0, 0) == (0.0, 1.0)


def test_the_share_of_failures_mirrors_that_of_successes():
    for count in range(11):
        low, high = clopper_pearson(count, 10)
        assert clopper_pearson(10 - count, 10) == pytest.approx((1 - high, 1 - low), abs=1e-12)


@pytest.mark.parametrize("members", [6, 8, 10])
def test_clopper_pearson_never_covers_less_than_it_says(members):
    intervals = [clopper_pearson(count, members) for count in range(members + 1)]
    for truth in np.linspace(0.01, 0.99, 197):
        chances = stats.binom.pmf(np.arange(members + 1), members, truth)
        covered = sum(c for c, (low, high) in zip(chances, intervals, strict=True) if low <= truth <= high)
        assert covered >= 0.95 - 1e-12


def test_more_than_all_is_refused():
    with pytest.raises(InputError, match="count = 7: expected at most 6"):
        clopper_pearson(7, 6)


def test_the_interval_of_a_mean_by_hand():
    """1 … 6: mean 3.5, s² = 17.5/5 = 3.5, standard error √(3.5/6)."""
    half, band = T_5 * math.sqrt(3.5 / 6), mean_interval(np.arange(1, 7))
    assert (band.low, band.high) == pytest.approx((3.5 - half, 3.5 + half), abs=1e-12)


@pytest.mark.parametrize("values", [[], [1.0]])
def test_the_mean_of_fewer_than_two_values_has_no_interval(values):
    assert math.isnan(mean_interval(np.array(values)).low)
    assert math.isnan(mean_interval(np.array(values)).high)


def test_the_interval_covers_the_mean_of_six_normal_numbers_in_95_percent():
    band = mean_interval(np.random.default_rng(1).normal(2.0, 3.0, size=(6, 4000)))
    covered = np.mean((band.low <= 2.0) & (band.high >= 2.0))
    assert covered == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 4000))


@pytest.mark.parametrize("members", [6, 8, 10])
def test_complete_separation_leaves_the_interval_a_width(members):
    """θ̂ = 1: with x = 1 − θ the equation x² = z² V has the single root that is not 0, found here by bisection."""
    low, high = superiority_interval(1.0, members, members)
    assert high == 1.0

    def excess(x):
        n = members - 1
        spread = 1 + n * x / (1 + x) + n * (1 - x) / (2 - x)
        return x - 1.959963984540054**2 * (1 - x) * spread / members**2

    left, right = 0.0, 1.0
    for _ in range(60):
        middle = (left + right) / 2
        left, right = (middle, right) if excess(middle) < 0 else (left, middle)
    assert low == pytest.approx(1 - left, abs=1e-9)
    assert 0.6 < low < 0.9


@pytest.mark.parametrize(("m", "n"), [(6, 6), (7, 9), (10, 10), (6, 30)])
def test_superiority_interval_leaves_out_one_half_exactly_when_the_normal_test_rejects(m, n):
    for u in range(m * n + 1):
        z = abs(u - m * n / 2) / math.sqrt(m * n * (m + n + 1) / 12)
        low, high = superiority_interval(u / (m * n), m, n)
        assert (low > 0.5 or high < 0.5) == (z > 1.959963984540054)


def test_superiority_interval_mirrors_when_the_groups_change_places():
    for estimate in np.linspace(0, 1, 37):
        low, high = superiority_interval(float(estimate), 7, 9)
        assert low <= estimate <= high
        assert superiority_interval(float(1 - estimate), 9, 7) == pytest.approx((1 - high, 1 - low), abs=1e-9)


@pytest.mark.parametrize("members", [6, 10])
@pytest.mark.parametrize("shift", [0.0, 1.0, 2.0])
def test_superiority_interval_covers_for_shifted_normal_groups(members, shift):
    """P(A < B) = Φ(shift / √2) for two normal groups of variance 1."""
    truth = stats.norm.cdf(shift / math.sqrt(2))
    rng = np.random.default_rng([members, int(shift)])
    a, b = rng.normal(0, 1, (2000, members)), rng.normal(shift, 1, (2000, members))
    estimates = (a[:, :, None] < b[:, None, :]).mean(axis=(1, 2))
    ends = {e: superiority_interval(float(e), members, members) for e in np.unique(estimates)}
    covered = np.mean([ends[e][0] <= truth <= ends[e][1] for e in estimates])
    assert 0.93 < covered < 0.995


def test_groups_without_members_have_no_superiority_interval():
    assert all(math.isnan(end) for end in superiority_interval(math.nan, 0, 6))


def test_band_agrees_with_one_interval_after_another():
    values = np.random.default_rng(2).lognormal(size=(3, 7, 5))
    band = mean_interval(values, axis=1, transform=LOG)
    for i in range(3):
        for j in range(5):
            logs = np.log(values[i, :, j])
            low, high = stats.t.interval(0.95, 6, logs.mean(), logs.std(ddof=1) / math.sqrt(7))
            assert band.centre[i, j] == pytest.approx(stats.gmean(values[i, :, j]))
            assert (band.low[i, j], band.high[i, j]) == pytest.approx((math.exp(low), math.exp(high)))
    assert band.centre.shape == (3, 5)


def test_diverged_members_are_left_out_point_by_point_and_counted():
    values = np.array([[1.0, 1.0], [3.0, np.nan], [5.0, 5.0], [np.inf, np.nan]])
    band = mean_interval(values, axis=0, transform=IDENTITY)
    assert band.centre.tolist() == [3.0, 3.0]
    assert band.members.tolist() == [3, 2]
    assert band.left_out.tolist() == [1, 2]
    assert band.high[0] == pytest.approx(3 + 4.302652729911275 * 2 / math.sqrt(3))  # t(2), s = 2


def test_a_point_with_one_member_has_a_centre_and_no_interval_and_one_with_none_has_neither():
    band = mean_interval(np.array([[2.0, np.nan], [np.nan, np.nan]]), axis=0)
    assert band.centre[0] == 2.0
    assert np.isnan([band.low[0], band.high[0], band.centre[1], band.low[1], band.high[1]]).all()


def test_band_of_accuracies_stays_between_none_and_all():
    band = mean_interval(np.array([1.0, 1.0, 0.99, 1.0, 0.98, 1.0]), transform=logit_accuracy(100))
    assert 0.98 < float(band.low) < float(band.centre) < float(band.high) <= 1.0


def test_zero_variance_gives_a_band_without_width():
    band = mean_interval(np.full((6, 4), 0.25), axis=0, transform=LOG)
    assert band.low == pytest.approx(band.high)
    assert band.centre == pytest.approx(np.full(4, 0.25))


@pytest.mark.parametrize(
    ("members", "rank"), [(5, 0), (6, 1), (8, 1), (9, 2), (10, 2), (12, 3), (20, 6), (30, 10), (100, 40)]
)
def test_the_interval_of_a_median_lies_between_the_tabled_order_statistics(members, rank):
    values = np.random.default_rng(0).permutation(np.arange(1.0, members + 1))[:, None]
    middle, low, high = (one.item() for one in median_interval(values))
    assert middle == (members + 1) / 2
    if rank == 0:
        assert math.isnan(low)
        assert math.isnan(high)
    else:
        assert (low, high) == (rank, members + 1 - rank)


def test_what_never_was_counts_as_late_in_a_median():
    middle, low, high = (one.item() for one in median_interval(np.array([3.0, 1.0, 2.0, 5.0, np.inf, np.inf])[:, None]))
    assert (middle, low, high) == (4.0, 1.0, np.inf)
