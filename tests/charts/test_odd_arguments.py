"""Arguments of another kind are answered in one sentence by every chart."""

import numpy as np
import pytest
import torch
import xarray as xr

from bathymetry import charts
from bathymetry.charts.line_charts import prediction_chart as predictions
from bathymetry.charts.point_charts import dot_chart as dots
from bathymetry.charts.point_charts import path_chart as paths
from bathymetry.charts.point_charts import scatter_chart as scatter
from bathymetry.core.errors import InputError

LOSSES = xr.DataArray(
    np.random.default_rng(0).uniform(0.1, 1, (2, 6, 4)),
    dims=("network", "member", "epoch"),
    coords={"network": ["a", "b"], "epoch": [0, 1, 2, 3]},
)
LAST = LOSSES.isel(epoch=-1, drop=True)
ANSWERS = xr.DataArray(np.ones((6, 5)), dims=("member", "x"), coords={"x": np.linspace(-1, 1, 5)})
PLACES = xr.DataArray(np.ones((6, 3, 2)), dims=("member", "snapshot", "component"), coords={"snapshot": [0, 1, 2]})
CHART = charts.curves(LOSSES, x="epoch", series="network", x_title="Epoch", y_title="Loss")
CALLS = {
    "curves": (
        charts.curves,
        {
            "values": LOSSES,
            "x": "epoch",
            "series": "network",
            "x_scale": "epoch",
            "y_scale": "log",
            "y_domain": (0.1, 1.0),
        }
        | {"references": (), "x_title": "Epoch", "y_title": "Loss"},
    ),
    "dots": (dots, {"values": LAST, "category": "network", "scale": "log", "domain": None, "title": "Loss"}),
    "scatter": (
        scatter,
        {"x": LAST, "y": LAST, "group": "network", "x_scale": "log", "y_domain": None, "x_title": "a", "y_title": "b"},
    ),
    "predictions": (
        predictions,
        {"prediction": ANSWERS, "truth": ANSWERS.isel(member=0), "x": "x", "trained_on": None, "y_domain": None}
        | {"x_title": "x", "y_title": "y"},
    ),
    "paths": (paths, {"points": PLACES, "colour": PLACES.isel(component=0), "titles": ("1", "2")}),
    "panel": (charts.panel, {"chart": CHART, "title": "Loss"}),
    "thin": (charts.thin, {"length": 1000, "most": 20, "spacing": "log"}),
}
WORDS = {"x_title", "y_title", "title", "titles"}
ODD = [
    None, "a", "", 3, -1, 10**400, float("nan"), [], [1, 2, 3], (1, 2, 3), (2.0, 1.0), ("a", "b"), {}, object(), len,
    True, np.ones(3), np.ones((2, 6, 4)), torch.ones(3), xr.DataArray(np.ones(8), dims="m"),
    LOSSES.astype(str), LOSSES[:0], LOSSES.astype(complex), CHART,
]  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_any_odd_argument_is_taken_or_answered_in_one_sentence(name):
    call, usual = CALLS[name]
    call(**usual)
    refused = 0
    for field in usual.keys() - WORDS:
        for value in ODD:
            said = ""
            try:
                call(**{**usual, field: value})
            except InputError as error:
                said = str(error)
            assert said.isprintable()
            assert len(said) < 600
            refused += bool(said)
    assert refused > len(ODD) / 2


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: charts.curves(LOSSES, x="step", x_title="", y_title=""),
            "x = step: expected a dimension of values: net",
        ),
        (lambda: charts.curves(LOSSES, x="epoch", x_title="", y_title=""), "expected epoch, member"),
        (
            lambda: dots(LAST, category="network", title="", scale="ln"),
            "scale = ln: expected linear, log or acc",
        ),
        (lambda: dots(LAST, category="network", title="", domain=(1, 1)), "the lower first"),
        (lambda: charts.save("figure", "."), "figure = str: expected a charts.Figure"),
        (lambda: charts.save(charts.Figure("a", "b", (), "", ""), "a\0b"), r"folder = a\\x00b: expected a path"),
    ],
)
def test_what_does_not_fit_is_named_with_what_does(make, words):
    with pytest.raises(InputError, match=words):
        make()
