import numpy as np
import pytest

from bathymetry.charts import predictions
from charts.cases import predictions as cases
from charts.specification import axis_titles, centre_rows, chart_of, layers, rows_of


@pytest.fixture(scope="module")
def chart():
    lines, truth = cases()
    return chart_of(predictions(lines.isel(network=1), truth, truth_label="cos(x)", trained_on=(-10, 10)))


def test_the_truth_is_drawn_as_it_is(chart):
    truth = [row for row in centre_rows(chart) if row["series"] == "cos(x)"]
    assert len(truth) <= 200
    assert max(abs(row["y"] - np.cos(row["x"])) for row in truth) < 1e-3


def test_the_centre_is_the_median_of_members_between_the_second_and_the_ninth_of_ten(chart):
    lines, _ = cases()
    row = next(row for row in centre_rows(chart) if row["x"] == -12 and row["series"] == "median of members")
    ordered = sorted(lines.isel(network=1, x=0).values)
    assert row["y"] == pytest.approx((ordered[4] + ordered[5]) / 2, rel=1e-4)
    assert (row["low"], row["high"]) == pytest.approx((ordered[1], ordered[8]), rel=1e-4)


def test_what_lies_outside_the_training_data_is_shaded(chart):
    shades = next(rows_of(chart, layer) for layer in layers(chart) if layer.get("name") == "outside")
    assert [(shade["x"], shade["end"]) for shade in shades] == [(-12, -10), (10, 12)]


def test_the_words_are_about_inside_and_outside(chart):
    assert "where there was training data" in chart.description
    assert "outside" in chart.description


def test_the_axes_say_what_they_measure(chart):
    assert axis_titles(chart) == {("x", "x"), ("y", "Prediction")}


def test_a_diverged_member_is_counted():
    lines, truth = cases()
    lines[0, 2] = np.nan
    chart = chart_of(predictions(lines.isel(network=0), truth))
    assert "1 of 10 members diverged" in chart.description
