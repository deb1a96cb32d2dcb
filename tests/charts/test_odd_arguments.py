"""Arguments of another kind are answered in one sentence by every chart."""

import numpy as np
import pytest
import torch
import xarray as xr

from bathymetry import charts
from bathymetry.charts import figure
from bathymetry.core.errors import InputError

LOSSES = xr.DataArray(
    np.random.default_rng(0).uniform(0.1, 1, (2, 6, 4)),
    dims=("network", "member", "epoch"),
    coords={"network": ["a", "b"], "epoch": [0, 1, 2, 3]},
)
LAST = LOSSES.isel(epoch=-1, drop=True)
LEARNED = xr.DataArray(np.ones((6, 5)), dims=("member", "x"), coords={"x": np.linspace(-1, 1, 5)})
PLACES = xr.DataArray(np.ones((6, 3, 2)), dims=("member", "snapshot", "component"), coords={"snapshot": [0, 1, 2]})
(PANEL,) = charts.lines(LOSSES, "epoch", "network")
CALLS = {
    "lines": (
        charts.lines,
        {"values": LOSSES, "x": "epoch", "series": "network", "scale": "log", "x_scale": "epoch", "domain": (0.1, 1.0)}
        | {"facet": None, "references": (), "behind": None, "members": "lines", "height": 300},
    ),
    "dots": (
        charts.dots,
        {"values": LAST, "rows": "network", "facet": None, "scale": "log", "domain": None, "possible": None}
        | {"bounds": None, "references": ()},
    ),
    "scatter": (
        charts.scatter,
        {"x": LAST, "y": LAST, "series": "network", "facet": None, "x_domain": None, "y_domain": None, "height": 300},
    ),
    "predictions": (
        charts.predictions,
        {"values": LEARNED, "truth": LEARNED.isel(member=0), "facet": None, "x": "x", "trained_on": None}
        | {"domain": None, "height": 300},
    ),
    "paths": (charts.paths, {"points": PLACES, "colour": PLACES.isel(component=0), "facet": None, "height": 300}),
    "reference": (charts.Reference, {"value": 1.0, "axis": "x", "at": "end"}),
    "panel": (figure.Panel, {"chart": PANEL.chart}),
}
ODD = [
    None, "a", "", 3, -1, 10**400, float("nan"), [], [1, 2, 3], (1, 2, 3), (2.0, 1.0), ("a", "b"), {}, object(), len,
    True, np.ones(3), np.ones((2, 6, 4)), torch.ones(3), xr.DataArray(np.ones(8), dims="m"),
    LOSSES.astype(str), LOSSES[:0], LOSSES.astype(complex), PANEL,
]  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_any_odd_argument_is_taken_or_answered_in_one_sentence(name):
    call, usual = CALLS[name]
    words = {"reference": {"label": "here"}, "panel": {"title": "Loss"}}.get(name, {})
    call(**usual, **words)
    refused = 0
    for field in usual:
        for value in ODD:
            said = ""
            try:
                call(**{**usual, **words, field: value})
            except InputError as error:
                said = str(error)
            assert said.isprintable()
            assert len(said) < 600
            refused += bool(said)
    assert refused > len(ODD) / 2


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: charts.lines(LOSSES, "step"), "x = step: expected a dimension or a coordinate along one: net"),
        (lambda: charts.lines(LOSSES, "epoch"), "values = .*: expected member, epoch"),
        (lambda: charts.dots(LAST, "network", scale="ln"), "scale = ln: expected 'linear', 'log' or 'acc"),
        (lambda: charts.dots(LAST, "network", domain=(1, 1)), "the lower first"),
        (lambda: charts.save("figure", "."), "figure = str: expected a charts.Figure"),
        (lambda: charts.save(charts.Figure("a", "b", (), "", ""), "a\0b"), r"folder = a\\x00b: expected a path"),
    ],
)
def test_what_does_not_fit_is_named_with_what_does(make, words):
    with pytest.raises(InputError, match=words):
        make()
