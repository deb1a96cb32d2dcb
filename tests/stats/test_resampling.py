"""The jackknife against closed forms."""

import numpy as np
import pytest

from bathymetry.core.errors import InputError
from bathymetry.stats import jackknife
from bathymetry.stats.group_tests import mean_sign
from bathymetry.stats.per_member import from_left_out


def test_of_a_mean_it_is_the_textbooks_standard_error():
    values = np.random.default_rng(9).normal(size=12)
    result = jackknife(values, np.mean)
    assert result.value == pytest.approx(values.mean())
    assert result.mean == pytest.approx(values.mean())
    assert result.standard_error == pytest.approx(values.std(ddof=1) / np.sqrt(12))
    assert result.pseudo_values == pytest.approx(values)


def test_it_turns_the_biased_variance_into_the_unbiased_one():
    values = np.random.default_rng(10).normal(size=9)
    assert jackknife(values, np.var).mean == pytest.approx(values.var(ddof=1))


def test_statistics_may_be_arrays_and_observations_rows():
    values = np.random.default_rng(11).normal(size=(8, 3))
    result = jackknife(values, lambda some: some.mean(axis=0))
    assert result.standard_error == pytest.approx(values.std(axis=0, ddof=1) / np.sqrt(8))
    assert result.pseudo_values.shape == (8, 3)


def test_pseudo_values_have_the_same_standard_error_as_the_jackknife():
    values = np.random.default_rng(12).lognormal(size=(10, 2))
    result = jackknife(values, lambda some: some[:, 0].mean() / some[:, 1].mean())
    assert result.pseudo_values.std(ddof=1) / np.sqrt(10) == pytest.approx(float(result.standard_error))


def test_what_is_left_out_may_be_known_already():
    values = np.random.default_rng(13).normal(size=7)
    without = np.array([np.delete(values, i).std() for i in range(7)])
    assert from_left_out(values.std(), without).standard_error == pytest.approx(
        float(jackknife(values, np.std).standard_error)
    )


def test_pseudo_values_less_a_number_make_a_slope_claim():
    values = np.full(8, 0.7)
    part = mean_sign(jackknife(values, np.mean).pseudo_values - 0.1, expected="above")
    assert (part.decision, part.members) == ("supported", 8)
    assert part.estimate == pytest.approx(0.6)


def test_one_observation_is_too_few():
    with pytest.raises(InputError, match="observations = 1: expected at least 2"):
        jackknife(np.array([1.0]), np.mean)


@pytest.mark.parametrize("statistic", [lambda some: some, lambda some: "deep", lambda some: [some, 1.0]])
def test_a_statistic_without_one_shape_of_numbers_is_refused(statistic):
    with pytest.raises(InputError, match=r"statistic\(values\) = .*: expected"):
        jackknife(np.arange(5.0), statistic)
