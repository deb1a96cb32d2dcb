"""Aggregates over tasks, from runs that were read, against the plain functions and by hand."""

import numpy as np
import pandas as pd
import pytest

import bathymetry as bm
from bathymetry.core.errors import InputError
from bathymetry.stats.aggregate import interquartile_mean, performance_profile, probability_of_improvement

AGENTS, GAMES = ("dqn", "ppo"), ("go", "pong", "tag")
VALUES = {
    (agent, game): np.random.default_rng([a, g]).normal(a, 1, size=3 + g)  # unevenly many seeds
    for a, agent in enumerate(AGENTS)
    for g, game in enumerate(GAMES)
}


def runs(change=lambda rows: rows):
    rows = pd.DataFrame([
        {"agent": agent, "game": game, "seed": seed, "score": value}
        for (agent, game), own in VALUES.items()
        for seed, value in enumerate(own)
    ])  # fmt: skip
    return bm.runs.read(change(rows), members="seed", compare="agent", by=["game"], cache=False)


def of(agent, sign=1):
    return [sign * VALUES[agent, game] for game in GAMES]


def test_everything_is_that_of_the_plain_functions():
    made = bm.runs.aggregate(runs(), "score", tasks="game", target=1.0, thresholds=[0.0, 1.0], resamples=500)
    for agent in AGENTS:
        own = interquartile_mean(of(agent), resamples=500)
        one = made.sel(agent=agent)
        assert float(one.interquartile_mean) == pytest.approx(own.value)
        assert one.interquartile_mean_interval.values == pytest.approx(own.interval)
        means = [values.mean() for values in of(agent)]
        assert float(one["mean"]) == pytest.approx(np.mean(means))
        assert float(one["median"]) == pytest.approx(np.median(means))
        gap = np.mean([1 - np.minimum(values, 1).mean() for values in of(agent)])
        assert float(one.optimality_gap) == pytest.approx(gap)
        profile = performance_profile(of(agent), [0.0, 1.0], resamples=500)
        np.testing.assert_allclose(one.profile, profile.share)
        np.testing.assert_allclose(one.profile_interval.sel(bound="high"), profile.high)
        assert one.runs.values.tolist() == [3, 4, 5]
    better = probability_of_improvement(of("ppo"), of("dqn"), resamples=500)
    assert float(made.improvement.sel(agent="ppo", other="dqn")) == pytest.approx(better.value)
    assert float(made.improvement.sel(agent="ppo", other="ppo")) == 0.5


def test_of_a_metric_that_should_be_low_signs_are_those_of_the_metric():
    made = bm.runs.aggregate(runs(), "score", tasks="game", higher_is_better=False, target=0.0, resamples=500)
    own = interquartile_mean(of("ppo"), resamples=1)
    assert float(made.interquartile_mean.sel(agent="ppo")) == pytest.approx(own.value)
    low, high = made.interquartile_mean_interval.sel(agent="ppo").values
    assert low < own.value < high
    assert float(made.improvement.sel(agent="ppo", other="dqn")) < 0.5
    gap = np.mean([np.maximum(values, 0).mean() for values in of("ppo")])
    assert float(made.optimality_gap.sel(agent="ppo")) == pytest.approx(gap)
    tau = float(made.threshold[40])
    below = np.mean([(values < tau).mean() for values in of("ppo")])
    assert float(made.profile.sel(agent="ppo")[40]) == pytest.approx(below)


def test_a_run_that_diverged_counts_and_one_that_is_not_there_does_not():
    def diverged(rows):
        return rows.assign(score=rows.score.where((rows.agent != "ppo") | (rows.game != "go") | (rows.seed != 0)))

    made = bm.runs.aggregate(runs(diverged), "score", tasks="game", resamples=10)
    assert made.runs.sel(agent="ppo").values.tolist() == [3, 4, 5]
    assert float(made["mean"].sel(agent="ppo")) == -np.inf
    assert np.isfinite(made.interquartile_mean.sel(agent="ppo"))


def test_what_is_not_there_is_named():
    with pytest.raises(InputError, match="tasks = gane: did you mean game"):
        bm.runs.aggregate(runs(), "score", tasks="gane")
    with pytest.raises(InputError, match="metric = scores: did you mean score"):
        bm.runs.aggregate(runs(), "scores", tasks="game")
    with pytest.raises(InputError, match="tasks = game=go: no whole run of agent=ppo"):
        bm.runs.aggregate(runs(lambda rows: rows[(rows.agent != "ppo") | (rows.game != "go")]), "score", tasks="game")
    with pytest.raises(InputError, match="expected one axis besides game, found none"):
        bm.runs.aggregate(runs().isel(agent=0), "score", tasks="game")
