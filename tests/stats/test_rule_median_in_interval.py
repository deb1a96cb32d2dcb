"""A region claim: wholly inside, wholly outside, or across an edge."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bathymetry.stats.group_tests import median_in_interval

AROUND_ZERO = np.array([-2.0, -1, 0, 0, 1, 2])  # median 0, interval −2 to 2


@pytest.mark.parametrize(
    ("centre", "decision"),
    [(0.0, "supported"), (8.0, "supported"), (8.1, "undecided"), (12.0, "undecided"), (12.1, "contradicted"),
     (-12.1, "contradicted"), (-9.0, "undecided")],
)  # fmt: skip
def test_the_whole_interval_decides(centre, decision):
    assert median_in_interval(AROUND_ZERO + centre, -10.0, 10.0).decision == decision


def test_a_region_narrower_than_the_interval_supports_nothing():
    assert median_in_interval(AROUND_ZERO, -0.1, 0.1).decision == "undecided"


@given(st.integers(-20, 20), st.integers(1, 9), st.integers(6, 13))
def test_p_is_that_of_the_one_sided_tests_and_goes_with_decision_and_interval(centre, spread, members):
    values = np.resize(AROUND_ZERO, members) * spread + centre
    part = median_in_interval(values, -10.0, 10.0)

    def tail(holds):
        return stats.binomtest(int(holds.sum()), members, alternative="greater").pvalue

    if -10 <= np.median(values) <= 10:
        one_sided = max(tail(values >= -10), tail(values <= 10))
    else:
        one_sided = min(tail(values < -10), tail(values > 10))
    low, high = part.interval
    assert part.p == pytest.approx(min(1, 2 * one_sided), abs=1e-12)
    assert (part.decision != "undecided") == (part.p < 0.05)
    assert (part.decision == "supported") == (low >= -10 and high <= 10)
    assert (part.decision == "contradicted") == (low > 10 or high < -10)


def test_one_diverged_member_keeps_it_from_being_supported_but_not_from_being_contradicted():
    inside = np.append(AROUND_ZERO, np.nan)
    part = median_in_interval(inside, -10.0, 10.0)
    assert (part.decision, part.members, part.p) == ("undecided", 6, None)
    assert "1 of 7" in part.summary
    assert median_in_interval(inside + 50, -10.0, 10.0).decision == "contradicted"


def test_equal_members_decide_by_where_they_are():
    assert median_in_interval(np.full(6, 0.95), 0.945, 0.965).decision == "supported"
    assert median_in_interval(np.full(6, 0.5), 0.945, 0.965).decision == "contradicted"
    assert median_in_interval(np.full(6, 0.945), 0.945, 0.965).decision == "supported"
    assert median_in_interval(np.full(6, 0.95), 0.945, 0.965).p == 2**-5


@pytest.mark.parametrize("values", [[], [0.0], [0.0, 0.1, 0.2, 0.1, 0.0], [np.nan] * 8])
def test_fewer_than_six_decide_nothing(values):
    part = median_in_interval(np.array(values), -10.0, 10.0)
    assert part.decision == "undecided"
    assert part.p is None


def test_a_region_without_an_upper_edge():
    assert median_in_interval(AROUND_ZERO + 10, 0.0, math.inf).decision == "supported"
    assert median_in_interval(AROUND_ZERO - 10, 0.0, math.inf).decision == "contradicted"
