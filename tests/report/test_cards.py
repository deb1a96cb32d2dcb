"""The small charts of answer cards: of every kind of figure, small, and with the names of lines apart."""

import json

import numpy as np
import pytest
import xarray as xr

from bathymetry.charts import Figure, Reference, lines, scatter
from bathymetry.report.cards import card_chart
from bathymetry.studies import find
from bathymetry.studies.catalogue import SHIPPED
from report.cases import figures_of_every_kind, loss_figure


def layers(chart):
    return chart["layer"]


def test_a_card_has_the_centres_thinned_with_both_ends_and_no_member():
    panel = loss_figure(1).sheet().panels[0]
    (lines,) = [one for one in layers(card_chart(panel)) if "strokeDash" in one["encoding"]]
    rows = lines["data"]["values"]
    centre = next(one for one in panel.view["layer"] if "strokeDash" in one["encoding"])
    whole = panel.view["datasets"][centre["data"]["name"]]
    assert {row["series"] for row in rows} == {row["series"] for row in whole}
    for name in {row["series"] for row in whole}:
        thin, full = ([row for row in some if row["series"] == name] for some in (rows, whole))
        assert len(thin) <= 48
        for place in (0, -1):
            assert thin[place]["y"] == pytest.approx(full[place]["y"], rel=1e-3)
    assert all("member" not in row for row in rows)


def test_the_corner_of_a_card_names_both_axes_and_where_the_horizontal_one_begins():
    channels = [one["encoding"].get("x", {}) for one in layers(card_chart(loss_figure(1).sheet().panels[0]))]
    words = {one["axis"]["labelExpr"].partition(" : ")[0] for one in channels if "axis" in one}
    assert list(map(ascii, words)) == [ascii(r'(datum.value == 0 ? "\u2191 training loss \u2192 epoch "')]


def test_a_logarithmic_axis_of_points_is_labelled_at_its_first_and_last_value():
    rates, losses = np.geomspace(1e-3, 0.1, 6)[None], np.random.default_rng(0).random((1, 6))
    names = {"split": ["test"], "member": range(6)}
    x, y = (xr.DataArray(one, names, name=name) for name, one in (("rate", rates), ("loss", losses)))
    (panel,) = scatter(x.assign_attrs(scale="log"), y, "split")
    chart = card_chart(Figure("f", "F", (panel,), "It is.", "Read.", 1).sheet().panels[0])
    assert [one["encoding"]["x"]["axis"]["values"] for one in layers(chart)] == [[0.001, 0.1]]


def test_every_line_has_its_name_once():
    names = [one["data"]["values"][0]["series"] for one in layers(card_chart(loss_figure(1).sheet().panels[0]))
             if one["mark"] != "rule" and one["mark"]["type"] == "text"]  # fmt: skip
    assert sorted(names) == ["deep 1-24-16-10-8-4-1", "middle 1-32-16-9-1", "shallow 1-250-1"]


def test_a_card_may_show_some_of_the_series():
    chart = card_chart(loss_figure(1).sheet().panels[0], (0, -1))
    names = {row["series"] for one in layers(chart) for row in one["data"]["values"] if "series" in row}
    assert names == {"shallow 1-250-1", "deep 1-24-16-10-8-4-1"}


def test_a_card_of_points_keeps_the_reference_line_of_its_figure():
    numbers = np.random.default_rng(0).random((2, 2, 6))
    names = {"activation": ["relu", "tanh"], "member": range(6)}
    x, y = (xr.DataArray(one, names, name=name) for name, one in zip("xy", numbers, strict=True))
    (panel,) = scatter(x, y, "activation", references=[Reference(0.5, "the mean")])
    chart = card_chart(Figure("f", "F", (panel,), "It is.", "Read.", 1).sheet().panels[0])
    rules = [one for one in layers(chart) if one["mark"] != "rule" and one["mark"]["type"] == "rule"]
    assert [row["y"] for one in rules for row in one["data"]["values"]] == [0.5]


def test_cards_of_every_kind_of_chart_are_small_and_leave_the_figure_as_it_was():
    for figure in figures_of_every_kind():
        panel = figure.sheet().panels[0]
        before = json.dumps(panel.view)
        assert len(json.dumps(card_chart(panel))) < 16_000
        assert json.dumps(panel.view) == before


@pytest.mark.parametrize("study", SHIPPED)
def test_the_figures_that_answer_a_study_are_among_its_own(study):
    finding, chart, *_ = find(study).answered_by
    assert {finding, chart} <= {mark.method for mark in find(study).figures()}


def overlapping(chart, width=310, plot=52):
    """Pairs of names whose boxes share pixels, with every layer's values on one linear axis as Vega joins them."""
    rows = [(one, row) for one in layers(chart) for row in one["data"]["values"]]
    low, high = (end(row["y"] for _, row in rows if "y" in row) for end in (min, max))
    left, right = (end(row["x"] for _, row in rows if "x" in row) for end in (min, max))
    boxes = []
    for one, row in rows:
        if one["mark"] == "rule" or one["mark"]["type"] != "text":
            continue
        mark, half = one["mark"], 3 * len(row["series"])
        x = (row["x"] - left) / (right - left) * width + mark.get("dx", 0)
        middle = x + {"left": half, "right": -half, "center": 0}[mark["align"]]
        boxes.append((middle, plot * (high - row["y"]) / (high - low) + mark["dy"], half))
    pairs = [(one, other) for place, one in enumerate(boxes) for other in boxes[:place]]
    return [(a, b) for a, b in pairs if abs(a[0] - b[0]) < a[2] + b[2] and abs(a[1] - b[1]) < 9]


@pytest.mark.parametrize("members", ["lines", "dots"])
def test_names_stand_apart_also_where_a_reference_line_squeezes_the_lines(members):
    heights, names = np.array([[0.71, 0.61], [0.96, 0.94], [1.0, 1.0]]), ["hidden 16", "hidden 64", "hidden 512"]
    values = xr.DataArray(
        np.stack([heights, heights + 0.001], 1), {"hidden": names, "x": [0, 1]}, ("hidden", "member", "x")
    )
    panels = lines(values, "x", "hidden", members=members, references=[Reference(0.1, "chance")])
    chart = card_chart(Figure("f", "t", tuple(panels), "", "").sheet().panels[0])
    assert overlapping(chart) == []
    (rule,) = [
        one for one in layers(chart) if (one["mark"] if isinstance(one["mark"], str) else one["mark"]["type"]) == "rule"
    ]
    assert [row["y"] for row in rule["data"]["values"]] == [0.1]  # the reference line, and no interval
