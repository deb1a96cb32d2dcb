"""A share claim: every count of every size, the interval deciding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bathymetry.stats.group_tests import majority

MIRROR = {"supported": "contradicted", "contradicted": "supported", "undecided": "undecided"}


def members(count, total):
    return np.arange(total) < count


@pytest.mark.parametrize(
    ("count", "total", "decision"),
    [
        (6, 6, "supported"),
        (0, 6, "contradicted"),
        (5, 6, "undecided"),
        (10, 10, "supported"),
        (9, 10, "supported"),  # two-sided binomial p = 22/1024
        (8, 10, "undecided"),  # 112/1024
        (1, 10, "contradicted"),
        (5, 5, "undecided"),
        (0, 0, "undecided"),
    ],
)
def test_counts_that_decide(count, total, decision):
    assert majority(members(count, total)).decision == decision


def test_the_numbers_of_eight_of_ten():
    part = majority(members(8, 10))
    assert part.estimate == 0.8
    assert part.interval == pytest.approx((0.4439, 0.9748), abs=5e-5)
    assert part.p == pytest.approx(112 / 1024)
    assert part.members == 10


@given(st.integers(0, 40), st.integers(0, 40))
def test_the_opposite_condition_has_the_opposite_verdict(count, rest):
    holds = members(count, count + rest)
    assert majority(~holds).decision == MIRROR[majority(holds).decision]


@given(st.integers(0, 40), st.integers(0, 40))
def test_interval_and_p_agree(count, rest):
    part = majority(members(count, count + rest))
    assert (part.p is None) == (count + rest < 6)
    assert part.p is None or (part.p < 0.05) == (part.interval[0] > 0.5 or part.interval[1] < 0.5)


def test_nobody_is_undecided():
    part = majority(np.array([], dtype=bool))
    assert (part.decision, part.p, part.members) == ("undecided", None, 0)


def test_a_bound_just_above_one_half_is_not_rounded_onto_it():
    """13 of 17: the lower end is 0.5010, and 50 % would not decide."""
    part = majority(members(13, 17))
    assert part.decision == "supported"
    assert "50.1–93 %" in part.summary
