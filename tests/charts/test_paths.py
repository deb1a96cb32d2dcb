import numpy as np
import pytest
import xarray as xr

from bathymetry.charts import paths
from charts.specification import axis_titles, chart_of, layers, member_rows

POINTS = np.arange(24, dtype=float).reshape(2, 6, 2)
POINTS[1, 4:] = np.nan


@pytest.fixture
def chart():
    coords = {"snapshot": [0, 3, 6, 9, 12, 15]}
    components = {"component": ["Component 1 (60 %)", "Component 2 (20 %)"]}
    points = xr.DataArray(POINTS, coords | components, ("member", "snapshot", "component"))
    loss = xr.DataArray(np.geomspace(1, 0.01, 12).reshape(2, 6), coords, ("member", "snapshot"), name="loss")
    return chart_of(paths(points, loss))


def test_each_members_points_are_joined_in_their_order(chart):
    rows = [row for row in member_rows(chart) if row["member"] == 0]
    assert [[row["x"], row["y"]] for row in sorted(rows, key=lambda row: row["order"])] == POINTS[0].tolist()
    line = next(layer for layer in layers(chart) if layer["mark"]["type"] == "line")
    assert line["encoding"]["order"]["field"] == "order"
    assert line["encoding"]["detail"]["field"] == "member"


def test_paths_of_many_members_have_fewer_points_each_and_keep_both_ends():
    points = xr.DataArray(np.arange(60 * 61 * 2.0).reshape(60, 61, 2), dims=("member", "snapshot", "component"))
    chart = chart_of(paths(points, xr.ones_like(points.isel(component=0)).rename("loss")))
    rows = member_rows(chart)
    assert {row["member"] for row in rows} == set(range(60))
    assert 300 <= len(rows) <= 1_500
    for k in (0, 59):
        own = [[row["x"], row["y"]] for row in rows if row["member"] == k]
        assert [own[0], own[-1]] == points[k, [0, -1]].values.tolist()
    assert f"{len(rows) // 60} of 61 snapshots" in [entry["label"] for entry in chart.usermeta["key"]]


def test_members_keep_the_numbers_that_they_have_in_the_results():
    points = xr.DataArray(POINTS, {"member": [3, 11]}, ("member", "snapshot", "component"))
    chart = chart_of(paths(points, xr.ones_like(points.isel(component=0)).rename("loss")))
    assert {row["member"] for row in member_rows(chart)} == {3, 11}


def test_start_and_end_are_marked_and_what_diverged_has_no_point(chart):
    rows = member_rows(chart)
    assert [(row["member"], row["snapshot"]) for row in rows if row["role"] == "start"] == [(0, 0), (1, 0)]
    assert [row["snapshot"] for row in rows if row["member"] == 1 and row["x"] is None] == [12, 15]


def test_colours_go_from_the_lowest_to_the_highest_loss_and_are_said(chart):
    shades = [layer["encoding"]["color"] for layer in layers(chart) if "color" in layer["encoding"]]
    assert all(shade["scale"]["domain"] == pytest.approx([0.01, 1]) for shade in shades)
    assert "coloured by loss from 0.01 to 1" in chart.description
    assert {("x", "Component 1 (60 %)"), ("y", "Component 2 (20 %)")} <= axis_titles(chart)


@pytest.mark.parametrize(("width", "height"), [(200, 360), (500, 360), (860, 100)])
def test_a_unit_is_as_long_across_as_up_and_every_point_is_inside(chart, width, height):
    dot = next(layer for layer in layers(chart) if layer.get("name") == "members")
    ends = {}
    for channel, points in (("x", POINTS[..., 0]), ("y", POINTS[..., 1])):
        domain = dot["encoding"][channel]["scale"]["domain"]
        known = {"__builtins__": {"max": max}, "width": width, "height": height}
        low, high = (eval(one["expr"], known) for one in domain)
        assert low < np.nanmin(points)
        assert high > np.nanmax(points)
        ends[channel] = high - low
    assert ends["x"] / width == pytest.approx(ends["y"] / height)


def test_the_loss_has_a_colour_bar_with_its_ends(chart):
    dot = next(layer for layer in layers(chart) if layer.get("name") == "members")
    assert dot["encoding"]["color"]["legend"]["values"] == pytest.approx([0.01, 0.1, 1])
    assert [entry["label"] for entry in chart.usermeta["key"]] == ["start", "end"]
