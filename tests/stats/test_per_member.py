"""Differences of pairs and slopes of lines, member by member."""

import math

import numpy as np
import pytest
from scipy import stats

from bathymetry.core.errors import InputError
from bathymetry.stats.intervals import LOG, logit_accuracy
from bathymetry.stats.per_member import paired_difference, regression_slope


def test_paired_differences_are_taken_on_the_scale():
    a, b = np.array([math.e, 1.0, np.nan]), np.array([1.0, math.e, 1.0])
    assert paired_difference(a, b, LOG)[:2] == pytest.approx([1, -1])
    assert math.isnan(paired_difference(a, b, LOG)[2])
    scale = logit_accuracy(100)
    assert paired_difference(np.array([0.5]), np.array([1.0]), scale) == pytest.approx([-math.log(201)])


def test_pairs_that_do_not_pair_are_refused():
    with pytest.raises(InputError, match="expected the shape of a"):
        paired_difference(np.zeros(6), np.zeros(5))


def test_regression_slope_is_scipys_member_by_member():
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=5), rng.normal(size=(7, 5))
    assert regression_slope(x, y) == pytest.approx([stats.linregress(x, row).slope for row in y])


def test_a_member_that_diverged_at_one_point_has_no_slope():
    y = np.array([[1.0, 2.0, 3.0], [1.0, np.nan, 3.0]])
    assert regression_slope(np.arange(3), y)[0] == pytest.approx(1)
    assert math.isnan(regression_slope(np.arange(3), y)[1])


@pytest.mark.parametrize("x", [np.ones(3), np.array([1.0, 2.0, np.inf])])
def test_a_line_through_one_place_is_refused(x):
    with pytest.raises(InputError, match="at least two different finite values"):
        regression_slope(x, np.zeros((2, 3)))


def test_a_line_through_other_points_than_given_is_refused():
    with pytest.raises(InputError, match="expected 3 points"):
        regression_slope(np.arange(3), np.zeros((3, 2)))


def test_a_scale_of_another_kind_is_refused():
    with pytest.raises(InputError, match=r"transform = .*: expected a Transform"):
        paired_difference(np.zeros(6), np.zeros(6), "log")
