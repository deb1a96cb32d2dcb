"""Scales: their closed forms and the way back."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bathymetry.core.errors import InputError
from bathymetry.stats.intervals import FISHER, IDENTITY, LOG, accuracy, logit, logit_accuracy


def test_logit_of_all_none_and_half():
    assert logit(np.array([0, 50, 100]), 100) == pytest.approx([-math.log(201), 0, math.log(201)])


@given(st.integers(1, 60_000), st.data())
def test_a_count_comes_back_from_its_logit(total, data):
    count = data.draw(st.integers(0, total))
    assert float(accuracy(logit(count, total), total)) == pytest.approx(count / total, abs=1e-9)


def test_what_lies_beyond_all_right_comes_back_as_all_right():
    assert accuracy(np.array([-800.0, 800.0]), 100).tolist() == [0.0, 1.0]


def test_accuracy_in_single_precision_is_not_refused_for_its_rounding():
    assert float(logit_accuracy(60_000).forward(np.array(np.float32(1.0)))) == pytest.approx(math.log(120_001))


@pytest.mark.parametrize("count", [-1, 101])
def test_impossible_counts_are_refused(count):
    with pytest.raises(InputError, match="expected counts from 0 to 100"):
        logit(count, 100)


@pytest.mark.parametrize("total", [0, math.inf, math.nan, "100"])
def test_a_total_of_nothing_or_without_end_is_refused(total):
    with pytest.raises(InputError, match=f"total = {total}"):
        logit_accuracy(total)


@pytest.mark.parametrize("scale", [IDENTITY, LOG, FISHER, logit_accuracy(1000)])
def test_every_scale_leads_back(scale):
    values = np.array([0.001, 0.2, 0.5, 0.999])
    assert scale.backward(scale.forward(values)) == pytest.approx(values)


@pytest.mark.parametrize("scale", [IDENTITY, LOG, FISHER, logit_accuracy(1000)])
def test_a_diverged_member_stays_without_a_number(scale):
    assert np.isnan(scale.forward(np.array([np.nan, 0.5]))).tolist() == [True, False]


def test_a_loss_of_zero_is_minus_infinity_and_one_below_zero_no_number():
    assert LOG.forward(np.array([0.0]))[0] == -math.inf
    assert math.isnan(LOG.forward(np.array([-1.0]))[0])
