import numpy as np
import pytest
import xarray as xr

from bathymetry.charts import attrs, scatter
from charts.specification import axis_titles, chart_of, member_rows


def values(numbers):
    return xr.DataArray(np.array(numbers, float), dims=("kind", "member"), coords={"kind": ["relu", "tanh"]})


X, Y = values([[0.1, 0.2, 0.3], [0.4, 0.5, np.nan]]), values([[1.0, 0.0, 0.01], [0.5, 0.2, 0.1]])


@pytest.fixture
def chart():
    return chart_of(scatter(X.assign_attrs(attrs("ratio")), Y.assign_attrs(attrs("loss", "log")), "kind"))


def test_every_member_with_two_numbers_is_a_point_of_its_group(chart):
    drawn = {(row["series"], row["member"]): (row["x"], row["y"]) for row in member_rows(chart) if row["x"] is not None}
    assert drawn == {
        ("ReLU", 0): (0.1, 1.0), ("ReLU", 2): (0.3, 0.01), ("tanh", 0): (0.4, 0.5), ("tanh", 1): (0.5, 0.2)
    }  # fmt: skip


def test_those_without_a_place_on_the_axis_are_counted_in_words(chart):
    assert "2 of 3 ReLU, 2 of 3 tanh are drawn" in chart.description


def test_axes_have_titles_and_groups_have_their_own_shapes(chart):
    assert {("x", "Ratio"), ("y", "Loss")} <= axis_titles(chart)
    (layer,) = chart.to_dict()["layer"]
    assert layer["encoding"]["shape"]["scale"]["range"] == ["circle", "diamond"]
    assert len(set(layer["encoding"]["color"]["scale"]["range"])) == 2


def test_points_that_would_hide_one_another_are_spread_around_their_place():
    same = values([[0.1, 0.1, 0.1], [0.1, 0.9, 0.9]])
    level = values([[0.5, 0.5, 0.5], [0.5, 0.5, 0.1]])
    rows = member_rows(chart_of(scatter(same, level, "kind")))
    together = [row["at"] for row in rows if row["x"] == 0.1]
    assert len(set(together)) == len(together) == 4
    assert sum(together) / 4 == pytest.approx(0.5)
    assert max(together) - min(together) < 0.1 * 0.4  # of the axis
    assert all(row["at"] == row["y"] for row in rows if row["x"] == 0.9)
