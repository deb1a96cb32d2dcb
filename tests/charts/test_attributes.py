"""Charts take titles, scales and names from the attributes and coordinates of the arrays that they draw."""

import numpy as np
import pytest
import xarray as xr

from bathymetry import charts
from bathymetry.charts import attrs
from bathymetry.core.errors import InputError
from charts.specification import axis_titles, layers, member_rows


@pytest.fixture
def results():
    """Loss and accuracy by network and split, with the numbers of parameters and of examples as coordinates."""
    generator = np.random.default_rng(0)
    dims = ("network", "split", "member")
    coords = {
        "network": ["wide", "narrow"],
        "split": ["train", "test"],
        "parameters": ("network", [500, 20], attrs("parameters", "log")),
        "examples": ("split", [60, 10]),
    }
    shares = generator.integers(1, 10, (2, 2, 6)) / 10
    return xr.Dataset(
        {
            "loss": (dims, generator.uniform(0.1, 1, (2, 2, 6)), attrs("loss (cross-entropy)", "log")),
            "accuracy": (dims, shares, attrs("accuracy", "accuracy")),
        },
        coords,
    )


def test_axes_are_named_and_spaced_by_attributes(results):
    (panel,) = charts.lines(results["loss"], "parameters", "split")
    assert panel.title == "Loss"
    assert axis_titles(panel.chart) == {("x", "Parameters"), ("y", "Loss (cross-entropy)")}
    encoding = layers(panel.chart)[0]["encoding"]
    assert (encoding["x"]["scale"]["type"], encoding["y"]["scale"]["type"]) == ("log", "log")


def test_a_unit_stands_behind_the_name():
    time = xr.DataArray(np.ones((2, 3)), dims=("network", "member"), attrs=attrs("training time", units="s"))
    (panel,) = charts.dots(time.assign_coords(network=["a", "b"]), "network")
    assert ("x", "Training time (s)") in axis_titles(panel.chart)


def test_an_array_without_attributes_is_named_by_its_variable(results):
    plain = results["loss"].drop_attrs().rename("final_loss")
    (panel,) = charts.dots(plain.isel(split=0, drop=True), "network")
    assert panel.title == "Final loss"


def test_a_coordinate_along_a_dimension_may_stand_for_it(results):
    (panel,) = charts.lines(results["loss"], "parameters", "split")
    rows = member_rows(panel.chart)
    for x, network in ((20, "narrow"), (500, "wide")):
        drawn = sorted(row["y"] for row in rows if row["x"] == x and row["series"] == "test")
        expected = sorted(results["loss"].sel(network=network, split="test").values)
        assert drawn == pytest.approx(expected, rel=1e-4)


def test_series_of_a_split_are_called_training_and_test(results):
    (panel,) = charts.lines(results["loss"], "parameters", "split")
    assert [entry["label"] for entry in panel.chart.usermeta["key"]] == ["training", "test"]


def test_a_facet_gives_one_panel_for_each_value(results):
    panels = charts.lines(results["loss"], "parameters", facet="split")
    assert [panel.title for panel in panels] == ["Training loss", "Test loss"]
    assert ("y", "Test loss (cross-entropy)") in axis_titles(panels[1].chart)
    panels = charts.dots(results["loss"], "split", facet="parameters")
    assert [panel.title for panel in panels] == ["500", "20"]


def test_an_accuracy_is_a_share_of_the_fewest_examples_among_its_series(results):
    (panel,) = charts.lines(results["accuracy"], "parameters", "split")
    correct = results["accuracy"].sel(split="train", network="wide").values * 10
    drawn = [row["y"] for row in member_rows(panel.chart) if row["x"] == 500 and row["series"] == "training"]
    assert drawn == pytest.approx(np.log((correct + 0.5) / (10.5 - correct)), rel=1e-4)


def test_a_scale_may_be_given_instead(results):
    (panel,) = charts.lines(results["accuracy"], "parameters", "split", scale="linear", x_scale="linear")
    encoding = layers(panel.chart)[0]["encoding"]
    assert "type" not in encoding["y"]["scale"]
    assert "type" not in encoding["x"]["scale"]


def test_symbols_keep_their_case():
    line = xr.DataArray(np.ones((3, 2)), {"alpha": [0.0, 0.5, 1.0]}, ("alpha", "member"), attrs=attrs("loss"))
    line["alpha"].attrs = attrs("α")
    (panel,) = charts.lines(line, "alpha")
    assert ("x", "α") in axis_titles(panel.chart)


def test_predictions_have_a_panel_and_a_colour_for_each_network():
    x = np.linspace(-1, 1, 5)
    values = xr.DataArray(
        np.zeros((2, 3, 5)),
        {"network": ["deep", "wide"], "x": x},
        ("network", "member", "x"),
        attrs=attrs("prediction"),
    )
    panels = charts.predictions(values, xr.DataArray(x, {"x": x}, ("x",)), facet="network")
    assert [panel.title for panel in panels] == ["deep", "wide"]
    assert axis_titles(panels[0].chart) == {("x", "x"), ("y", "Prediction")}
    keys = [panel.chart.usermeta["key"] for panel in panels]
    assert keys[0] == keys[1]  # one key, with the colours of both
    members = [next(one for one in layers(panel.chart) if one.get("name") == "members") for panel in panels]
    colours = [one["mark"]["color"] for one in members]
    assert [keys[0][0]["colour"], *keys[0][0]["others"]] == colours
    assert len(set(colours)) == 2


def test_scatter_names_both_axes(results):
    panels = charts.scatter(results["accuracy"].assign_attrs(scale="linear"), results["loss"], "network", facet="split")
    assert axis_titles(panels[1].chart) == {("x", "Test accuracy"), ("y", "Test loss (cross-entropy)")}
    assert len(member_rows(panels[0].chart)) == 12


def test_paths_are_titled_by_their_components_and_coloured_by_what_is_given():
    points = xr.DataArray(
        np.random.default_rng(0).normal(size=(2, 3, 4, 2)),
        {"training": ["short", "long"], "snapshot": [0, 1, 2, 3], "component": ["first", "second"]},
        ("training", "member", "snapshot", "component"),
    )
    colour = (abs(points.isel(component=0, drop=True)) + 1).assign_attrs(attrs("loss (mean squared error)", "log"))
    panels = charts.paths(points, colour, facet="training")
    assert [panel.title for panel in panels] == ["short", "long"]
    assert axis_titles(panels[0].chart) == {("x", "first"), ("y", "second")}
    assert layers(panels[0].chart)[1]["encoding"]["color"]["legend"]["title"] == "loss"


@pytest.mark.parametrize(
    ("argument", "draw"),
    [
        ("x", lambda loss: charts.lines(loss, "step")),
        ("series", lambda loss: charts.lines(loss, "parameters", "size")),
        ("rows", lambda loss: charts.dots(loss, "size")),
        ("facet", lambda loss: charts.dots(loss, "network", facet="size")),
        ("facet", lambda loss: charts.scatter(loss, loss, "network", facet="size")),
    ],
)
def test_another_name_is_answered_with_those_there_are(results, argument, draw):
    with pytest.raises(InputError, match=r"expected a dimension or a coordinate along one: .*network"):
        draw(results["loss"])
    with pytest.raises(InputError, match=f"^{argument} = "):
        draw(results["loss"])


def test_two_names_with_one_label_are_numbered(results):
    values = results["loss"].isel(split=0, drop=True).assign_coords(network=["train", "training"])
    (panel,) = charts.dots(values, "network")
    assert "training (2)" in panel.description
