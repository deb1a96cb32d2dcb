"""Aggregates over tasks and runs against closed forms, slow obvious twins, and rliable."""

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import numpy as np
import pytest
from scipy import stats

from bathymetry.core.errors import InputError
from bathymetry.stats.aggregate import (
    interquartile_mean,
    mean_score,
    median_score,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
)

ONE_NUMBER = pytest.mark.parametrize("aggregate", [interquartile_mean, mean_score, median_score, optimality_gap])


def table(tasks=3, runs=4, seed=0):
    return np.random.default_rng(seed).normal(size=(tasks, runs))


def uneven(seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=count) for count in (2, 5, 3)]


def weighted(scores):
    """Every run with its weight 1/(T n), by rising score."""
    return sorted((float(x), 1 / (len(scores) * len(own))) for own in scores for x in own)


def slow_interquartile_mean(scores, points=200_001):
    """2 ∫ Q(u) du by the midpoint rule."""
    pairs = weighted(scores)
    ends = np.cumsum([weight for _, weight in pairs])
    u = 0.25 + 0.5 * (np.arange(points) + 0.5) / points
    place = np.minimum(np.searchsorted(ends, u), len(pairs) - 1)
    return np.array([x for x, _ in pairs])[place].mean()


def slow_probability(first, second):
    per_task = [
        np.mean([(x > y) + 0.5 * (x == y) for x in own for y in other])
        for own, other in zip(first, second, strict=True)
    ]
    return np.mean(per_task)


def test_the_interquartile_mean_is_the_trimmed_mean_where_four_divides_the_runs():
    for seed in range(5):
        scores = table(3, 8, seed)
        expected = stats.trim_mean(scores, 0.25, axis=None)
        assert interquartile_mean(scores, resamples=1).value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("scores", [table(3, 5), table(1, 3), table(7, 1), uneven(), uneven(1)])
def test_the_interquartile_mean_is_the_mean_of_quantiles(scores):
    assert interquartile_mean(scores, resamples=1).value == pytest.approx(slow_interquartile_mean(scores), abs=1e-4)


def test_of_one_run_the_aggregate_is_that_run():
    for aggregate in (interquartile_mean, mean_score, median_score):
        result = aggregate([[0.25]], resamples=5)
        assert (result.value, result.interval, result.tasks, result.runs) == (0.25, (0.25, 0.25), 1, 1)


def test_means_medians_and_gaps_are_those_of_the_tasks():
    scores = uneven()
    means = [own.mean() for own in scores]
    assert mean_score(scores).value == pytest.approx(np.mean(means))
    assert median_score(scores).value == pytest.approx(np.median(means))
    expected = 0.3 - np.mean([np.minimum(own, 0.3).mean() for own in scores])
    assert optimality_gap(scores, 0.3).value == pytest.approx(expected)


def test_a_profile_is_the_share_above_each_threshold():
    scores, tau = uneven(), np.linspace(-2, 2, 9)
    expected = [np.mean([(own > t).mean() for own in scores]) for t in tau]
    profile = performance_profile(scores, tau)
    np.testing.assert_allclose(profile.share, expected, atol=1e-12)
    assert (profile.low <= profile.share).all()
    assert (profile.share <= profile.high).all()


def test_the_probability_of_improvement_compares_every_pair_of_runs():
    first, second = uneven(2), uneven(3)
    second[0] = first[0]
    result = probability_of_improvement(first, second)
    assert result.value == pytest.approx(slow_probability(first, second), abs=1e-12)
    other = probability_of_improvement(second, first)
    assert result.value + other.value == pytest.approx(1)


def test_the_bootstrap_of_a_mean_has_the_normal_quantiles_of_its_own_spread():
    """The variance of the mean over drawn tables is Σ sₜ² / nₜ / T², with sₜ² the variance with divisor nₜ."""
    scores = [np.random.default_rng(k).normal(size=40) for k in range(3)]
    error = np.sqrt(sum(own.var() / len(own) for own in scores)) / 3
    low, high = mean_score(scores, resamples=40_000).interval
    centre = np.mean([own.mean() for own in scores])
    assert low == pytest.approx(centre - 1.96 * error, abs=0.03 * error)
    assert high == pytest.approx(centre + 1.96 * error, abs=0.03 * error)


@ONE_NUMBER
def test_intervals_are_those_of_tables_that_are_drawn_one_by_one(aggregate):
    """The slow twin resamples each task by its own indices and aggregates the table that comes of it."""
    scores = uneven(4)
    rng = np.random.default_rng(1)
    drawn = [
        aggregate([own[rng.integers(len(own), size=len(own))] for own in scores], resamples=1).value
        for _ in range(1000)
    ]
    low, high = aggregate(scores, resamples=20_000).interval
    spread = np.std(drawn)
    assert low == pytest.approx(np.quantile(drawn, 0.025), abs=0.3 * spread)
    assert high == pytest.approx(np.quantile(drawn, 0.975), abs=0.3 * spread)


def test_the_interval_of_the_probability_of_improvement_is_that_of_both_being_drawn():
    first, second = table(2, 6, 1), table(2, 4, 2)
    rng = np.random.default_rng(1)

    def again(scores):
        return [own[rng.integers(len(own), size=len(own))] for own in scores]

    drawn = [slow_probability(again(first), again(second)) for _ in range(1500)]
    low, high = probability_of_improvement(first, second, resamples=20_000).interval
    assert low == pytest.approx(np.quantile(drawn, 0.025), abs=0.02)
    assert high == pytest.approx(np.quantile(drawn, 0.975), abs=0.02)


def test_the_same_seed_gives_the_same_interval():
    scores = table(5, 6)
    one = interquartile_mean(scores, resamples=2000, seed=3)
    assert interquartile_mean(scores, resamples=2000, seed=3) == one
    assert interquartile_mean(scores, resamples=2000, seed=4) != one
    assert probability_of_improvement(scores, scores + 0.1, resamples=50) == probability_of_improvement(
        scores, scores + 0.1, resamples=50
    )


def test_a_few_runs_that_diverged_leave_the_interquartile_mean_finite_and_others_not():
    """NaN ranks last: of eight runs, two are cut off below."""
    scores = [[np.nan, 1.0, 2.0, 3.0], [np.nan, 4.0, 5.0, 6.0]]
    assert interquartile_mean(scores).value == pytest.approx((1 + 2 + 3 + 4) / 4)
    assert mean_score(scores).value == -np.inf
    assert optimality_gap(scores).value == np.inf
    assert performance_profile(scores, [0.0]).share.tolist() == [0.75]
    assert probability_of_improvement([[np.nan, 1.0]], [[np.nan, 0.0]]).value == (0.5 + 0 + 1 + 1) / 4
    assert interquartile_mean(scores).interval[0] == -np.inf  # where more of them are drawn


def test_a_task_with_more_runs_has_no_more_weight():
    few = [[0.0, 1.0], [2.0, 4.0]]
    many = [[0.0, 1.0] * 50, [2.0, 4.0]]
    for aggregate in (interquartile_mean, mean_score, median_score, optimality_gap):
        assert aggregate(few, resamples=1).value == pytest.approx(aggregate(many, resamples=1).value)


@pytest.mark.parametrize(
    ("scores", "remedy"),
    [
        ([], "at least one run"),
        ([[1.0], []], "at least one run"),
        ([["a"]], "number"),
        ("abc", "expected for each task"),
        ([[np.inf]], "NaN for a run that diverged"),
        (3, "expected for each task"),
    ],
)
def test_bad_scores_are_refused(scores, remedy):
    with pytest.raises(InputError, match=remedy):
        interquartile_mean(scores)


def test_tasks_that_do_not_match_are_refused():
    with pytest.raises(InputError, match="expected as many as the first has, 1"):
        probability_of_improvement([[1.0]], [[1.0], [2.0]])


@pytest.fixture
def rliable(monkeypatch):
    """Of arch, rliable needs the bootstrap alone; the rest of arch does not work with today's pandas."""
    arch = ModuleType("arch")
    arch.__path__ = list(find_spec("arch").submodule_search_locations)
    monkeypatch.setitem(sys.modules, "arch", arch)
    return import_module("rliable.library"), import_module("rliable.metrics")


@pytest.mark.slow
@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
def test_all_are_those_of_rliable(rliable):
    """Four divides the runs, so that both trim the same; intervals agree within the noise of the draws."""
    library, metrics = rliable

    first, second = table(6, 10, 1)[:, :8] + 0.3, table(6, 10, 2)[:, :8]
    pairs = {
        "interquartile": (interquartile_mean, metrics.aggregate_iqm),
        "mean": (mean_score, metrics.aggregate_mean),
        "median": (median_score, metrics.aggregate_median),
        "gap": (optimality_gap, metrics.aggregate_optimality_gap),
    }
    np.random.seed(0)
    for ours, theirs in pairs.values():
        points, intervals = library.get_interval_estimates(
            {"x": first.T}, lambda scores, theirs=theirs: np.array([theirs(scores)]), reps=5000
        )
        result = ours(first, resamples=50_000)
        assert result.value == pytest.approx(points["x"][0], abs=1e-12)
        width = result.interval[1] - result.interval[0]
        np.testing.assert_allclose(result.interval, intervals["x"][:, 0], atol=0.05 * width)
    points, intervals = library.get_interval_estimates(
        {"x": (first.T, second.T)}, lambda x, y: np.array([metrics.probability_of_improvement(x, y)]), reps=2000
    )
    result = probability_of_improvement(first, second, resamples=50_000)
    assert result.value == pytest.approx(points["x"][0], abs=1e-12)
    np.testing.assert_allclose(result.interval, intervals["x"][:, 0], atol=0.02)
    tau = np.linspace(-2, 2, 11)
    profiles, bounds = library.create_performance_profile({"x": first.T}, tau, reps=2000)
    profile = performance_profile(first, tau, resamples=20_000)
    np.testing.assert_allclose(profile.share, profiles["x"], atol=1e-12)
    np.testing.assert_allclose([profile.low, profile.high], bounds["x"], atol=0.03)
