import numpy as np
import pytest
import xarray as xr

from bathymetry import charts
from bathymetry.charts import attrs
from charts.cases import NETWORKS, times
from charts.specification import chart_of, layers, member_rows, rows_of


def dots(values, rows="network", **options):
    return chart_of(charts.dots(values, rows, **options))


def summary(chart):
    """Give the rows with the means."""
    return next(
        rows for layer in layers(chart) for rows in [rows_of(chart, layer)] if rows and set(rows[0]) >= {"low", "bound"}
    )


@pytest.fixture(scope="module")
def chart():
    return dots(times(), never="never fit")


def test_every_member_that_got_there_has_a_dot_on_its_row(chart):
    drawn = [row for row in member_rows(chart) if row["x"] is not None]
    for place, network in enumerate(NETWORKS):
        values = times().values[place]
        on_row = [row for row in drawn if row["series"] == network]
        assert sorted(row["x"] for row in on_row) == sorted(values[np.isfinite(values)])
        assert all(place - 0.3 < row["y"] - 0.12 < place + 0.3 for row in on_row)


def test_those_that_never_got_there_are_counted_and_their_row_has_no_mean(chart):
    assert "5 of 10 never fit" in chart.description
    means = {row["series"]: row["x"] for row in summary(chart)}
    assert means[NETWORKS[0]] is None
    assert means[NETWORKS[1]] == pytest.approx(np.exp(np.log(times().values[1]).mean()), rel=1e-4)


def test_those_that_never_got_there_are_open_dots_at_the_right_edge_and_late_in_the_median():
    chart = dots(times(), never="never fit", centre="median", domain=(1.0, 1500.0))
    ring = next(layer for layer in layers(chart) if layer.get("name") == "never")
    assert ring["mark"]["filled"] is False
    rings = [row for row in rows_of(chart, ring) if row["x"] is not None]
    infinite = {(NETWORKS[row], member) for row, member in np.argwhere(np.isinf(times().values))}
    assert {(row["series"], row["member"]) for row in rings} == infinite
    (edge,) = {row["x"] for row in rings}
    axis = ring["encoding"]["x"]
    assert 1500 < edge < axis["scale"]["domain"][1]
    assert axis["axis"]["values"][-1] == edge
    assert max(axis["axis"]["values"][:-1]) <= 1500
    ordered = np.sort(times().values[0])  # five of ten never got there
    assert np.isinf(ordered).sum() == 5
    first = summary(chart)[0]
    assert (first["low"], first["high"]) == (pytest.approx(ordered[1]), edge)
    assert first["x"] == edge  # half way between the fifth and never


def test_only_dots_of_networks_have_the_number_of_a_network():
    values = times().assign_coords(member=range(5, 15))
    assert {row["member"] for row in member_rows(dots(values))} == set(range(5, 15))
    assert not any("member" in row for row in member_rows(dots(values, each="random walk")))


def test_diverged_members_are_counted_apart_from_those_that_never_got_there():
    values = times()
    values[2, :2] = np.nan
    assert "2 of 10 diverged" in dots(values).description


def test_a_bound_stands_on_its_own_row():
    bounds = xr.DataArray([251.0, 5610.0, 212_000.0], dims=("network",), coords={"network": list(NETWORKS)})
    shuffled = bounds.isel(network=[2, 0, 1])
    chart = dots(times(), bounds=shuffled, bounds_label="bound")
    assert {row["series"]: row["bound"] for row in summary(chart)} == dict(zip(NETWORKS, bounds.values, strict=True))
    assert "bound 5.61e+03" in chart.description


def test_dots_fall_where_they_fell_before(chart):
    again = dots(times(), never="never fit")
    assert again.to_dict() == chart.to_dict()


def test_dots_are_called_what_they_are_and_gaps_by_their_reason():
    values = times()
    values[1, 0], values[2, :2] = 0.0, np.nan
    chart = dots(values, each="random walk", missing="no critical point")
    assert chart.usermeta["key"][0]["label"] == "one random walk"
    assert "one dot for each of 10 random walks" in chart.description
    assert "2 of 10 no critical point" in chart.description
    assert "1 of 10 zero" in chart.description
    assert "diverged" not in chart.description


def test_the_interval_of_shares_ends_where_shares_do():
    shares = xr.DataArray(
        [[0.0] * 5 + [0.5], [1.0] * 5 + [0.6]], {"network": ["a", "b"]}, ("network", "member"), attrs=attrs("share")
    )
    chart = dots(shares, domain=(0.0, 1.0), possible=(0.0, 1.0))
    low, high = summary(chart)
    assert (low["low"], high["high"]) == (0.0, 1.0)
    assert "−" not in chart.description
    free = summary(dots(shares))
    assert free[0]["low"] < 0
