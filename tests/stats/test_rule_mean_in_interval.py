"""A region claim: wholly inside, wholly outside, or across an edge."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bathymetry.stats.group_tests import mean_in_interval

AROUND_ZERO = np.array([-2.0, -1, 0, 0, 1, 2])  # mean 0, half width 2.5706 √(2/6) = 1.4841


@pytest.mark.parametrize(
    ("centre", "decision"),
    [(0.0, "supported"), (8.5, "supported"), (8.6, "undecided"), (11.4, "undecided"), (11.5, "contradicted"),
     (-11.5, "contradicted"), (-9.0, "undecided")],
)  # fmt: skip
def test_the_whole_interval_decides(centre, decision):
    assert mean_in_interval(AROUND_ZERO + centre, -10.0, 10.0).decision == decision


def test_a_region_narrower_than_the_interval_supports_nothing():
    assert mean_in_interval(AROUND_ZERO, -0.1, 0.1).decision == "undecided"


@given(st.floats(-20, 20), st.floats(0.1, 10))
def test_p_is_that_of_the_one_sided_tests_and_goes_with_the_decision(centre, spread):
    values = AROUND_ZERO * spread + centre
    part = mean_in_interval(values, -10.0, 10.0)
    above = stats.ttest_1samp(values, -10, alternative="greater").pvalue
    below = stats.ttest_1samp(values, 10, alternative="less").pvalue
    inside = -10 <= values.mean() <= 10
    one_sided = max(above, below) if inside else min(1 - above, 1 - below)
    assert part.p == pytest.approx(min(1, 2 * one_sided), abs=1e-9)
    if abs(part.p - 0.05) > 1e-6:
        assert (part.decision != "undecided") == (part.p < 0.05)


def test_one_diverged_member_keeps_it_from_being_supported_but_not_from_being_contradicted():
    inside = np.append(AROUND_ZERO, np.nan)
    part = mean_in_interval(inside, -10.0, 10.0)
    assert (part.decision, part.members, part.p) == ("undecided", 6, None)
    assert "1 of 7" in part.summary
    assert mean_in_interval(inside + 50, -10.0, 10.0).decision == "contradicted"


def test_equal_members_decide_by_where_they_are():
    assert mean_in_interval(np.full(6, 0.95), 0.945, 0.965).decision == "supported"
    assert mean_in_interval(np.full(6, 0.5), 0.945, 0.965).decision == "contradicted"
    assert mean_in_interval(np.full(6, 0.945), 0.945, 0.965).decision == "supported"
    assert mean_in_interval(np.full(6, 0.95), 0.945, 0.965).p == 0.0


@pytest.mark.parametrize("values", [[], [0.0], [0.0, 0.1, 0.2, 0.1, 0.0], [np.nan] * 8])
def test_fewer_than_six_decide_nothing(values):
    part = mean_in_interval(np.array(values), -10.0, 10.0)
    assert part.decision == "undecided"
    assert part.p is None


def test_a_region_without_an_upper_edge():
    assert mean_in_interval(AROUND_ZERO + 10, 0.0, math.inf).decision == "supported"
    assert mean_in_interval(AROUND_ZERO - 10, 0.0, math.inf).decision == "contradicted"
