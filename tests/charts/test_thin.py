import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bathymetry.charts.axes import spread_out, thin


@given(st.integers(1, 5000), st.integers(2, 300), st.booleans())
def test_what_stays_rises_from_the_first_to_the_last_and_is_not_too_much(length, most, logarithmic):
    kept = thin(length, most, logarithmic)
    assert kept[0] == 0
    assert kept[-1] == length - 1
    assert (np.diff(kept) > 0).all()
    assert len(kept) <= most


def test_a_logarithmic_axis_gets_every_early_epoch_and_few_late_ones():
    kept = thin(1501)
    assert set(range(20)) <= set(kept.tolist())
    assert (np.diff(kept)[-10:] > 20).all()
    assert len(kept) == pytest.approx(200, abs=5)


def test_short_lines_stay_whole():
    assert thin(200).tolist() == list(range(200))


def test_powers_of_ten_are_kept_of_a_million_points():
    assert thin(1_000_000, most=7).tolist() == [0, 9, 99, 999, 9999, 99999, 999999]


def test_epochs_are_drawn_evenly_and_the_early_ones_too():
    kept = spread_out(1501)
    assert len(kept) <= 200
    assert (kept[0], kept[-1]) == (0, 1500)
    assert np.diff(kept).max() <= 16  # a hundred of them are even
    assert set(range(10)) <= set(kept.tolist())
    assert spread_out(200).tolist() == list(range(200))
