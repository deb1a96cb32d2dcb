import json

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from bathymetry.charts import Reference
from bathymetry.charts import lines as line_panels
from charts.cases import NETWORKS, accuracies, losses
from charts.specification import axis_titles, centre_rows, chart_of, layers, lines, member_rows, rows_of


def curves(values, x, series=None, **options):
    return chart_of(line_panels(values, x, series, **options))


@pytest.fixture(scope="module")
def chart():
    return curves(losses(), "epoch", "network")


def test_every_member_of_every_network_has_a_line_of_at_most_200_points(chart):
    drawn = lines(member_rows(chart))
    assert set(drawn) == {(network, member) for network in NETWORKS for member in range(10)}
    assert all(150 < len(line) <= 200 for line in drawn.values())


def test_a_line_keeps_the_values_at_its_first_and_last_epoch(chart):
    whole = losses()
    drawn = lines(member_rows(chart))
    for place, network in enumerate(NETWORKS):
        assert drawn[network, 0][0] == pytest.approx(float(whole[place, 0, 0]), rel=1e-4)
        assert drawn[network, 0][-1] == pytest.approx(float(whole[place, 0, 1500]), rel=1e-4)


def test_the_centre_is_the_mean_of_log_loss_with_students_interval(chart):
    ends = [row for row in centre_rows(chart) if row["x"] == 1500]
    for place, network in enumerate(NETWORKS):
        row = next(row for row in ends if row["series"] == network)
        logs = np.log(losses().values[place, :, 1500])
        logs = logs[np.isfinite(logs)]
        half = stats.t.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / np.sqrt(len(logs))
        assert row["y"] == pytest.approx(np.exp(logs.mean()), rel=1e-4)
        assert row["low"] == pytest.approx(np.exp(logs.mean() - half), rel=1e-4)
        assert row["high"] == pytest.approx(np.exp(logs.mean() + half), rel=1e-4)


def test_a_diverged_member_is_drawn_as_far_as_it_goes_and_left_out_of_the_centre_from_the_start(chart):
    assert np.isnan(lines(member_rows(chart))["deep 1-24-16-10-8-4-1", 3][-1])
    others = np.delete(losses().values[2, :, 0], 3)
    start = next(row for row in centre_rows(chart) if row["x"] == 0 and row["series"].startswith("deep"))
    assert start["y"] == pytest.approx(np.exp(np.log(others).mean()), rel=1e-4)
    assert "1 of 10 members of deep 1-24-16-10-8-4-1 diverged" in chart.description


def test_an_axis_of_epochs_says_what_it_becomes_when_it_is_switched_to_logarithmic(chart):
    assert chart.usermeta["epochs"] == {
        "scale": {"type": "symlog", "constant": 1, "domain": [0, 1500], "nice": False},
        "values": [0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 1500],
    }
    assert "epochs" not in curves(losses(), "epoch", "network", x_scale="linear").usermeta


def test_without_divergence_none_is_counted():
    calm = curves(losses(diverged=False), "epoch", "network")
    assert "diverged" not in calm.description


def test_accuracies_are_averaged_as_logits():
    chart = curves(accuracies(), "epoch", "network")
    correct = accuracies().values[0, :, -1] * 60_000
    logits = np.log((correct + 0.5) / (60_000 - correct + 0.5))
    row = next(row for row in centre_rows(chart) if row["x"] == 120 and row["series"] == NETWORKS[0])
    assert row["y"] == pytest.approx(logits.mean(), rel=1e-4)


def test_an_accuracy_of_one_has_its_place_on_the_axis():
    perfect = xr.ones_like(accuracies())
    chart = curves(perfect, "epoch", "network")
    assert all(np.isfinite(line).all() for line in lines(member_rows(chart)).values())
    assert "to 100 % at 120" in chart.description


def test_the_axes_say_what_they_measure_and_nothing_else(chart):
    assert axis_titles(chart) == {("x", "Epoch"), ("y", "Training loss")}


def test_series_differ_in_colour_and_in_dash(chart):
    key = chart.usermeta["key"]
    assert [entry["label"] for entry in key] == list(NETWORKS)
    assert len({entry["colour"] for entry in key}) == len({tuple(entry["dash"]) for entry in key}) == 3


def test_dims_may_come_in_any_order(chart):
    turned = losses().transpose("epoch", "member", "network")
    again = curves(turned, "epoch", "network")
    assert json.dumps(again.to_dict(), sort_keys=True) == json.dumps(chart.to_dict(), sort_keys=True)


def test_one_network_alone_needs_no_key():
    chart = curves(losses().isel(network=0, drop=True), "epoch")
    assert chart.usermeta["key"] == []
    assert len(lines(member_rows(chart))) == 10


def test_a_single_member_has_a_line_but_no_interval():
    chart = curves(losses(members=1, diverged=False), "epoch", "network")
    assert all(row["low"] is None and row["y"] is not None for row in centre_rows(chart))


def test_a_median_is_a_members_value_and_may_have_its_interval_at_the_end_alone():
    values = losses(members=9, diverged=False)
    chart = curves(values, "epoch", "network", centre="median", interval="end")
    last = next(row for row in centre_rows(chart) if row["x"] == 1500)
    ordered = np.sort(values.values[0, :, -1])
    assert last["y"] == pytest.approx(ordered[4], rel=1e-4)
    bars = [layer for layer in layers(chart) if layer.get("name", "").startswith("interval-")]
    assert len({bar["mark"]["xOffset"] for bar in bars}) == len(NETWORKS)
    (row,) = rows_of(chart, bars[0])
    assert (row["low"], row["high"]) == pytest.approx((ordered[1], ordered[7]), rel=1e-4)
    assert not any(layer["mark"]["type"] == "area" for layer in layers(chart))


def test_the_median_of_an_even_number_is_midway_between_losses_not_between_their_logarithms():
    chart = curves(losses(members=6, diverged=False), "epoch", "network", centre="median", interval="end")
    last = next(row for row in centre_rows(chart) if row["x"] == 1500)
    assert last["y"] == pytest.approx(np.median(losses(members=6, diverged=False).values[0, :, -1]), rel=1e-4)


def test_what_leaves_the_axis_is_marked_at_the_top_with_its_highest_value():
    values = losses(diverged=False)
    values[1, 4, 1500] = 6_634_000.0
    chart = curves(values, "epoch", "network", domain=(1e-6, 1e3))
    (row,) = rows_of(chart, next(layer for layer in layers(chart) if layer.get("name") == "spikes"))
    assert (row["series"], row["member"], row["x"]) == (NETWORKS[1], 4, 1500)
    words = {row.get("label") for layer in layers(chart) for row in rows_of(chart, layer)}
    assert "up to 6,600,000" in words
    assert chart.usermeta["marks"][-1]["label"] == "above the axis"
    calm = curves(losses(diverged=False), "epoch", "network", domain=(1e-6, 1e3))
    assert "spikes" not in {layer.get("name") for layer in layers(calm)}


def test_references_carry_their_labels(chart):
    marked = curves(losses(), "epoch", "network",
        references=[Reference(0.005, "1 % of the variance"), Reference(1000, "as far as the report", "x")],
    )  # fmt: skip
    words = {row.get("label") for layer in layers(marked) for row in rows_of(marked, layer)}
    assert {"1 % of the variance", "as far as the report"} <= words


def test_what_stands_behind_is_drawn_first_and_named():
    noisy = losses().isel(member=0) * 1.3
    chart = curves(losses(), "epoch", "network", behind=noisy, behind_label="last batch")
    assert layers(chart)[0]["name"] == "behind"
    assert chart.usermeta["key"][-1]["label"] == "last batch"


def test_drawing_changes_nothing_that_is_handed_in():
    values = losses()
    before = values.copy(deep=True)
    curves(values, "epoch", "network")
    assert values.identical(before)


def test_a_network_of_which_every_member_diverged_has_no_centre_and_says_so():
    values = losses()
    values[1, :, 700:] = np.nan
    chart = curves(values, "epoch", "network")
    assert all(row["y"] is None for row in centre_rows(chart) if row["series"] == NETWORKS[1])
    assert f"10 of 10 members of {NETWORKS[1]} diverged" in chart.description


@pytest.mark.parametrize(("at", "side"), [("start", "right"), ("end", "left")])
def test_the_label_of_an_upright_line_stands_before_or_behind_it(at, side):
    here = Reference(3, "here", "x", at)
    chart = curves(losses(), "epoch", "network", references=[here])
    words = [one for one in layers(chart) if one["mark"]["type"] == "text"]
    assert {one["mark"].get("align") for one in words} == {side}


def by_size(**options):
    size = ("size", [1, 10, 100], {"scale": "log", "long_name": "size", "units": "1"})
    values = np.array([[[3.0, 2.0, 1.0], [3.5, 2.5, 1.5]], [[5.0, 6.0, 9.0], [5.5, 6.5, 9.5]]])
    array = xr.DataArray(values, {"kind": ["falls", "rises"], "size": size}, ("kind", "member", "size"))
    return line_panels(array, "size", **options)


def test_panels_share_the_vertical_axis():
    ends = [one["encoding"]["y"]["scale"]["domain"] for panel in by_size(facet="kind") for one in layers(panel.chart)
            if one.get("name") == "centre"]  # fmt: skip
    assert len(ends) == 2
    for low, high in ends:
        assert low <= 1
        assert high >= 9.5


def test_few_points_have_a_mark_each_and_epochs_have_none(chart):
    def marks(one):
        return [layer for layer in layers(one) if layer["mark"]["type"] == "point"]

    (points,) = marks(chart_of(by_size(series="kind")))
    assert len(rows_of(chart_of(by_size(series="kind")), points)) == 6
    assert marks(chart) == []


def test_muted_points_and_what_leads_to_them_are_grey():
    muted = xr.DataArray([[False, False, False], [False, False, True]], dims=("kind", "size"))
    muted = muted.assign_coords(kind=["falls", "rises"], size=[1, 10, 100])
    chart = chart_of(by_size(series="kind", muted=muted, muted_label="hardly trained"))
    grey = chart.usermeta["key"][-1]
    assert grey["label"] == "hardly trained"
    (marks,) = [layer for layer in layers(chart) if layer["mark"]["type"] == "point"]
    assert marks["encoding"]["color"]["condition"] == {"test": "datum.muted", "value": grey["colour"]}
    assert [(row["series"], row["x"]) for row in rows_of(chart, marks) if row["muted"]] == [("rises", 100)]
    (segments,) = [layer for layer in layers(chart) if layer["mark"].get("color") == grey["colour"]
                   and layer["mark"]["type"] == "line"]  # fmt: skip
    drawn = {(row["series"], row["x"]) for row in rows_of(chart, segments) if row["y"] is not None}
    assert drawn == {("rises", 10), ("rises", 100)}
    assert "1 of 6 points are grey: hardly trained." in chart.description


def test_dots_have_means_with_whiskers_and_no_line_between_them():
    kinds = {layer["mark"]["type"] for layer in layers(chart_of(by_size(series="kind", members="dots")))}
    assert "line" not in kinds
    assert {"circle", "point", "rule"} <= kinds


def test_a_label_stands_where_least_is_drawn():
    epoch = {"epoch": np.arange(101)}
    below = xr.DataArray(np.tile(np.linspace(0.99, 0, 101), (3, 1)), epoch, ("member", "epoch"))
    for values, align in ((below, "right"), (below[:, ::-1].assign_coords(epoch), "left")):
        words = [one["mark"] for one in layers(curves(values, "epoch", references=[Reference(0.9, "a line")]))
                 if one["mark"]["type"] == "text"]  # fmt: skip
        assert {one["align"] for one in words} == {align}
    middle = xr.DataArray(np.full((3, 101), 0.52) + np.linspace(0, 0.4, 101), epoch, ("member", "epoch"))
    words = [one["mark"] for one in layers(curves(middle, "epoch", references=[Reference(0.5, "a line")]))
             if one["mark"]["type"] == "text"]  # fmt: skip
    assert {(one["align"], one["baseline"]) for one in words} == {("right", "bottom")}


def test_a_pale_band_sets_off_a_part_of_the_axis():
    chart = curves(losses(), "epoch", "network", span=(10, 100))
    assert layers(chart)[0]["mark"]["type"] == "rect"
    (row,) = rows_of(chart, layers(chart)[0])
    assert (row["x"], row["end"]) == (10, 100)


def test_of_more_than_fifty_members_ten_have_lines_and_a_band_holds_ninety_per_cent():
    values = losses(members=60, epochs=100, diverged=False)
    values[0, :6, 50:] = np.nan
    many = curves(values, "epoch", "network")
    drawn = lines(member_rows(many))
    assert len(drawn) == 3 * 10
    assert {member for _, member in drawn} >= {0, 59}
    for (network, member), line in drawn.items():
        assert line[-1] == pytest.approx(values.sel(network=network, member=member).values[-1], rel=1e-4, nan_ok=True)
    (band,) = [layer for layer in layers(many) if layer.get("name") == "spread"]
    for row in rows_of(many, band):
        own = values.sel(network=row["series"], epoch=row["x"]).values
        own = np.sort(own[np.isfinite(own)])
        inside = np.mean((own >= row["low"]) & (own <= row["high"]))
        assert 0.86 <= inside <= 0.94
    key = [entry["label"] for entry in many.to_dict()["usermeta"]["key"]]
    assert key[-2:] == ["10 of 60 members", "90 % of 60 members"]
    assert not any(
        layer.get("name") == "spread" for layer in layers(curves(losses(members=50, epochs=9), "epoch", "network"))
    )
