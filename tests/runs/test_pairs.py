"""Pairs with ties, runs that diverged and numbers of any size: what is true of them, and what they say."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bathymetry as bm
from bathymetry.core.errors import InputError
from bathymetry.report.page_json import plain
from bathymetry.runs.pairs import pair
from bathymetry.stats.rank_tests import brunner_munzel

MEMBERS = st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0, math.nan]), min_size=6, max_size=9)


def found(first, second, **options):
    options = {"names": ("A", "B"), "at": {}, "paired": False, "higher_is_better": True} | options
    return pair(np.array(first), np.array(second), **options)


def table(first, second, seeds=0):
    """Runs of two nets; from `seeds` on the second has other seeds."""
    own = [("A", seed, value) for seed, value in enumerate(first)]
    own += [("B", seeds + seed, value) for seed, value in enumerate(second)]
    return pd.DataFrame(own, columns=["net", "seed", "loss"])


def compared(first, second, seeds=0, **options):
    options = {"compare": "net", "higher_is_better": False} | options
    return bm.compare(table(first, second, seeds), "loss", **options)


@settings(max_examples=150, deadline=None)
@given(MEMBERS, MEMBERS)
def test_the_interval_of_settings_that_are_swapped_is_the_mirrored_one(first, second):
    one, other = found(first, second), found(second, first)
    assert one.interval == pytest.approx((-other.interval[1], -other.interval[0]), nan_ok=True)
    assert one.difference == pytest.approx(-other.difference, nan_ok=True)
    assert (one.superiority, one.p) == (pytest.approx(1 - other.superiority), other.p)


@settings(max_examples=100, deadline=None)
@given(MEMBERS, MEMBERS)
def test_the_interval_goes_as_far_as_some_shift_that_the_test_does_not_reject(first, second):
    one = found(first, second)
    a, b = (np.nan_to_num(group, nan=-np.inf) for group in (first, second))
    with np.errstate(invalid="ignore"):
        differences = np.where(a[:, None] == b, 0.0, a[:, None] - b)
    known = np.unique(differences[np.isfinite(differences)])
    fits = [brunner_munzel(a - shift, b).p >= 0.05 for shift in (known[1:] + known[:-1]) / 2]
    if not any(fits) or one.p < 0.05 or np.isinf(one.interval).any():
        return
    low, high = np.flatnonzero(fits)[[0, -1]]
    assert one.interval == (min(known[low], 0), max(known[high + 1], 0))


def test_ties_on_both_sides_have_one_interval():
    few, many = np.array([0, 0, 0, 0, 1, 1.0]), np.array([0, 0, 1, 1, 1, 1.0])
    assert brunner_munzel(few + 0.5, many).p >= 0.05 > brunner_munzel(few - 0.5, many).p
    assert found(few, many).interval == (-1.0, 0.0)
    assert found(many, few).interval == (0.0, 1.0)


def test_the_end_of_what_is_decided_is_open_where_ties_put_it_on_the_line():
    a, b = [0, 0, 0, 0, 1, 1, 1, 2], [1, 1, 1, 1, 2, 2, 2, 4]
    result = compared(a, b, paired=False)
    (one,) = result.pairs
    assert one.p < 0.05
    assert one.interval[1] == 0
    assert "to below 0" in str(result)
    back = compared(b, a, paired=False)
    assert "interval above 0" in str(back)


def test_with_too_few_runs_a_ratio_has_no_interval():
    result = compared([1, 2, 3.0], [2, 4, 6.0])
    (one,) = result.pairs
    assert one.ratio == pytest.approx(0.5)
    assert np.isnan(one.ratio_interval).all()
    assert plain(result.to_dict())["pairs"][0]["ratio_interval"] == [None, None]
    assert "infinite" not in str(result) + json.dumps(plain(result.to_dict()))


def test_an_infinite_difference_is_called_so():
    result = compared([math.nan] * 6, range(1, 7))
    assert result.pairs[0].difference == math.inf
    assert "median difference, A − B: +infinite (95 % interval" in str(result) or "−infinite" in str(result)
    assert "no number" not in str(result)
    assert "ratio" not in str(result)


@pytest.mark.parametrize("paired", [True, False])
def test_numbers_of_any_size_are_compared(paired):
    result = compared([1.7e308, *range(5)], [-1.7e308] * 6, paired=paired)
    assert result.pairs[0].decision == "contradicted"
    assert result.figures
    assert compared([1e308, 5e-324, 1, 2, 3, 4], range(1, 7), paired=paired).figures
    tiny = compared([5e-324 * k for k in range(1, 7)], range(1, 7), paired=paired)
    assert tiny.pairs[0].decision == "supported"


def accuracies(**change):
    rows = table([0.90, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96], [0.8, 0.81, 0.82, 0.83, 0.84, 0.85, 0.86])
    rows = rows.assign(status="finished")
    for name, value in change.items():
        rows.loc[0, name] = value
    return bm.compare(rows, "loss", compare="net", higher_is_better=True, examples=1000)


def test_a_share_of_examples_is_asked_of_finite_values_of_runs_that_count():
    (diverged,) = accuracies(loss=math.nan).pairs
    assert diverged.members == (7, 7)
    assert diverged.diverged == (1, 0)
    assert diverged.ratio > 1
    (crashed,) = accuracies(loss=7.0, status="crashed").pairs
    assert crashed.members == (6, 6)
    with pytest.raises(InputError, match="examples = 1000: the metric is no share"):
        accuracies(loss=7.0)


def test_a_step_before_the_first_is_refused():
    rows = pd.DataFrame([
        {"net": net, "seed": seed, "step": step, "loss": seed + step + (net == "A")}
        for net in "AB" for seed in range(6) for step in (5, 10)
    ])  # fmt: skip
    for runs in (rows, bm.runs.read(rows, members="seed", compare="net", cache=False)):
        with pytest.raises(
            InputError, match="at = step:3: no run has logged loss by then; the first logs it at step 5"
        ):
            bm.compare(runs, "loss", compare="net", higher_is_better=False, at="step:3")


@pytest.mark.parametrize("baseline", [1, 1.0, "1.0"])
def test_a_baseline_is_matched_as_a_number(baseline):
    rows = pd.DataFrame([
        {"lr": rate, "seed": seed, "loss": rate + seed} for rate in (0.1, 0.5, 1.0) for seed in range(6)
    ])  # fmt: skip
    made = bm.compare(rows, "loss", compare="lr", higher_is_better=False, baseline=baseline)
    assert [(one.first, one.second) for one in made.pairs] == [("0.1", "1.0"), ("0.5", "1.0")]


def test_a_mean_of_numbers_near_the_largest_is_a_number():
    values = {"A": 1.7e308, "B": 1.6e308}
    rows = pd.DataFrame([
        {"net": net, "seed": seed, "step": step, "loss": value}
        for net, value in values.items() for seed in range(6) for step in range(4)
    ])  # fmt: skip
    found = bm.compare(rows, "loss", compare="net", higher_is_better=False, at="mean:last-100%")
    assert (found.pairs[0].centre, found.pairs[0].diverged) == ((1.7e308, 1.6e308), (0, 0))
