"""Every axis has ticks to read it by: neither a single one nor so many that they touch."""

import numpy as np
import pytest

from bathymetry.charts.axes import Axis, Horizontal


def ticks(axis, drawn):
    return axis.channel(drawn)["axis"].values


def places(*numbers):
    return Horizontal.over(np.array(numbers, float), "Parameters", "log").channel().to_dict()["axis"]["values"]


@pytest.mark.parametrize("ratio", [1.02, 1.1, 1.25, 1.5, 1.9, 2.5, 4.0, 9.0, 30.0, 90.0, 500.0, 1e4, 1e9])
@pytest.mark.parametrize("low", [0.0437, 0.9, 2.3, 51.0])
def test_a_logarithmic_axis_of_any_length_has_three_ticks_or_more_but_no_crowd(low, ratio):
    drawn = np.geomspace(low, low * ratio, 20)
    found = ticks(Axis("Loss", "log"), drawn)
    assert 3 <= len(found) <= 10
    assert found == sorted(set(found))


@pytest.mark.parametrize(
    ("low", "high"), [(0.09, 0.12), (0.23, 0.89), (0.74, 0.94), (0.76, 0.994), (0.955, 0.968), (0.1, 0.9999)]
)
def test_an_accuracy_axis_has_ticks_all_along_and_none_that_touch(low, high):
    axis = Axis("Accuracy", "accuracy", num_examples=10_000)
    ends = axis.drawn([low, high])
    found = np.array(ticks(axis, ends))
    length = ends[1] - ends[0]
    assert 3 <= len(found) <= 12
    assert np.diff(found).min() > 0.05 * length
    assert max(found[0] - ends[0], ends[1] - found[-1], np.diff(found).max()) < 0.45 * length


def test_a_handful_of_sizes_are_their_own_ticks():
    assert places(5, 25, 125, 500, 1500) == [5, 25, 125, 500, 1500]
    many = (1645, 3270, 8280, 16640, 40785, 84060, 178110, 396210, 654310, 952410)
    assert places(*many) == [10_000, 100_000, 1_000_000]


def test_a_range_that_holds_only_two_powers_of_ten_has_ticks_between_them():
    parameters = (1_595, 3_985, 7_960, 15_910, 23_860, 39_760, 95_410, 397_510)
    assert places(*parameters) == [3_000, 10_000, 30_000, 100_000, 300_000]


def test_values_are_drawn_as_they_are_averaged_and_those_without_a_place_are_gaps():
    shares = Axis("", "accuracy", num_examples=10)
    assert shares.drawn([0.5, 1.0]).tolist() == pytest.approx([0, np.log(21)])
    assert shares.natural(shares.drawn([0.3, 1.0])).tolist() == pytest.approx([0.3, 1.0])
    np.testing.assert_array_equal(Axis("", "log").drawn([1.0, 0.0, np.inf]), [1.0, np.nan, np.nan])
    assert Axis("", "log").centre(np.array([[1.0], [100.0], [np.nan]])).middle == pytest.approx([10.0])


def test_each_point_has_the_column_half_way_to_its_neighbours():
    linear = Horizontal.over(np.array([0.0, 10.0, 30.0]), "", "linear")
    assert [ends.tolist() for ends in linear.columns()] == [[0, 5, 20], [5, 20, 30]]
    assert Horizontal.over(np.array([1.0, 100.0]), "", "log").columns()[0] == pytest.approx([1, 10])


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (1500, [0, 500, 1000, 1500]),
        (30, [0, 5, 10, 15, 20, 25, 30]),
        (120, [0, 20, 40, 60, 80, 100, 120]),
        (8, [0, 2, 4, 6, 8]),
        (1, [0, 1]),
        (73, [0, 10, 20, 30, 40, 50, 60, 73]),
    ],
)
def test_epochs_have_an_even_axis_from_0_to_the_last(last, expected):
    channel = Horizontal.over(np.arange(last + 1.0), "Epoch", "epoch").channel().to_dict()
    assert channel["axis"]["values"] == expected
    assert channel["scale"] == {"domain": [0, last], "nice": False}
