"""Odd arguments: a right chart, or one sentence that says what is expected."""

import re
import warnings

import numpy as np
import pytest
import xarray as xr

from bathymetry import charts
from bathymetry.charts import Figure, Reference, attrs
from bathymetry.core.errors import InputError
from charts.specification import centre_rows, chart_of, lines, member_rows

DIMS = ("network", "member", "epoch")
LONG = "a name that goes on & on, <b>bold</b>, \"quoted\" and 'single', until nobody reads it any longer " * 3


def values(*shape, **coordinates):
    numbers = np.exp(np.random.default_rng(0).normal(size=shape))
    dims = DIMS[: len(shape)]
    along = {dim: coordinates.get(dim, np.arange(size)) for dim, size in zip(dims, shape, strict=True)}
    return xr.DataArray(numbers, along, dims)


def curve(given, scale="log", x_scale="epoch", **options):
    return charts.lines(given, "epoch", "network", **{"scale": scale, "x_scale": x_scale, **options})


def rows(given, **options):
    return charts.dots(given, "network", **options)


def points(given, other=None, **options):
    return charts.scatter(given, given if other is None else other, "network", **options)


def plane(snapshots=3, components=2, fill=None):
    numbers = np.random.default_rng(0).normal(size=(2, snapshots, components))
    numbers = numbers if fill is None else np.full_like(numbers, fill)
    return xr.DataArray(numbers, {"snapshot": np.arange(snapshots)}, ("member", "snapshot", "component"))


def losses(snapshots=3, fill=1.0):
    return xr.DataArray(np.full((2, snapshots), fill), {"snapshot": np.arange(snapshots)}, ("member", "snapshot"))


def learned(count=5, truth=5, **options):
    x = np.linspace(-1, 1, count)
    prediction = xr.DataArray(np.random.default_rng(0).normal(size=(3, count)), {"x": x}, ("member", "x"))
    target = xr.DataArray(np.zeros(truth), {"x": np.linspace(-1, 1, truth)}, ("x",))
    return charts.predictions(prediction, target, **options)


DATES = np.array(["2026-01-01", "2026-01-02", "2026-01-03"], "datetime64[ns]")
SOME = values(2, 4, 3)
FLAT = SOME.isel(epoch=0)
REFUSED = {
    "text for x": (lambda: curve(values(2, 4, 3, epoch=["a", "b", "c"])), "expected numbers .* or use dots"),
    "dates for x": (lambda: curve(values(2, 4, 3, epoch=DATES)), "datetime64.* expected numbers .* such as days"),
    "NaN for x": (lambda: curve(values(2, 4, 3, epoch=[0, np.nan, 1])), "epoch .* expected finite numbers"),
    "epochs before 0": (lambda: curve(values(2, 4, 3, epoch=[-1, 0, 1])), "epoch = -1.* expected at least 0"),
    "nothing above 0": (lambda: curve(values(2, 4, 1), x_scale="log"), "epoch = 0.* logarithmic axis"),
    "no share": (lambda: curve(SOME + 1, scale="accuracy"), "values = .* expected shares from 0 to 1"),
    "no examples": (lambda: curve((SOME * 0).assign_coords(examples=0), "accuracy"), "examples = 0"),
    "unknown marks": (lambda: curve(SOME, members="bars"), "members = bars: expected 'lines' or 'dots'"),
    "a domain from 0": (lambda: curve(SOME, domain=(0, 1)), "domain = .* both above 0"),
    "a wide interval": (lambda: rows(FLAT, possible=(1, 0)), "possible = .* the lower first"),
    "no height": (lambda: curve(SOME, height=0), "height = 0: expected a number of pixels"),
    "a height in words": (lambda: points(FLAT, height="tall"), "height = tall"),
    "a reference in words": (lambda: rows(FLAT, references=[Reference("a", "b")]), "value = a: expected one number"),
    "a reference on z": (lambda: curve(SOME, references=[Reference(1, "b", "z")]), "axis = z: expected 'x' or 'y'"),
    "a shorter curve behind": (lambda: curve(SOME, behind=SOME[:, 0, :2]), "behind = 2 points along epoch: expected 3"),
    "no bound for a row": (lambda: rows(FLAT, bounds=FLAT[:1, 0]), "bounds = none for 1"),
    "other groups": (lambda: points(FLAT, values(2, 4, network=["a", "b"])), "expected the same network"),
    "colours of other points": (lambda: charts.paths(plane(3), losses(4)), "colour = 4 along snapshot"),
    "a label taken": (lambda: learned(truth_label="median of members"), "truth_label = median of members"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_an_odd_argument_is_refused_in_one_sentence(case):
    draw, words = REFUSED[case]
    with pytest.raises(InputError, match=words) as refusal:
        draw()
    assert "\n" not in str(refusal.value)


DRAWN = {
    "all NaN": lambda: curve(SOME * np.nan),
    "all negative on a logarithmic axis": lambda: curve(-SOME),
    "all zero on a logarithmic axis": lambda: curve(SOME * 0),
    "infinite": lambda: curve(SOME.where(SOME < 1, np.inf), scale="linear"),
    "huge": lambda: curve(SOME * 1e300, scale="linear"),
    "denormal": lambda: curve(SOME * 1e-320, scale="linear"),
    "from denormal to huge": lambda: curve(xr.where(SOME > 1, 1e300, 1e-320)),
    "one of all": lambda: curve(values(1, 1, 1)),
    "sixty series": lambda: curve(values(60, 2, 3)),
    "all infinite dots": lambda: rows(FLAT * np.inf, scale="accuracy"),
    "dots with long names": lambda: rows(values(2, 4, network=[LONG, "b"]).assign_attrs(attrs(LONG)), never=LONG),
    "points that are NaN": lambda: points((FLAT * np.nan).assign_attrs(scale="log")),
    "points with long titles": lambda: points(FLAT.assign_attrs(attrs(LONG))),
    "paths that diverged": lambda: charts.paths(plane(fill=np.nan), losses(fill=np.nan)),
    "paths of infinite points": lambda: charts.paths(plane(fill=np.inf), losses(fill=-1.0)),
    "predictions outside their interval": lambda: learned(trained_on=(5.0, 6.0)),
    "behind, all NaN": lambda: curve(SOME, behind=SOME[:, 0] * np.nan),
    "references without a place": lambda: curve(SOME, references=[Reference(-1, "a"), Reference(np.nan, "b")]),
}  # fmt: skip


@pytest.mark.parametrize("case", DRAWN)
def test_odd_values_are_drawn_without_a_warning(case):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = Figure("odd", case, tuple(DRAWN[case]()), "", "")._repr_svg_()
    assert drawn.count("<svg") == 2


def test_points_are_drawn_in_the_order_of_x_and_those_not_above_0_have_no_place_on_a_logarithmic_axis():
    given = values(1, 2, 4, epoch=[5, 0, 3, 1])
    drawn = lines(member_rows(chart_of(curve(given, x_scale="log"))))["0", 0]
    np.testing.assert_allclose(drawn, given.sel(epoch=[1, 3, 5]).values[0, 0], rtol=1e-4)
    assert [row["x"] for row in centre_rows(chart_of(curve(given, x_scale="log")))] == [1, 3, 5]


def test_a_reference_without_a_place_on_the_axis_is_left_out():
    on_log = chart_of(
        curve(SOME, references=[Reference(-1, "below"), Reference(0.5, "half"), Reference(np.nan, "none")])
    )
    text = str(on_log.to_dict())
    assert "'half'" in text
    assert "'below'" not in text
    assert "'none'" not in text


def test_two_series_of_one_name_stay_two():
    chart = chart_of(curve(values(2, 4, 3, network=["a", "a"])))
    assert [entry["label"] for entry in chart.usermeta["key"]] == ["a", "a (2)"]
    assert {name for name, _ in lines(member_rows(chart))} == {"a", "a (2)"}


def test_one_point_alone_is_drawn_as_a_dot():
    marks = [layer["mark"]["type"] for layer in chart_of(curve(values(1, 1, 1))).to_dict()["layer"]]
    assert "circle" in marks


def test_words_with_markup_stay_words_and_leave_the_plot_room():
    drawn = Figure("odd", LONG, tuple(points(FLAT.assign_attrs(attrs(LONG)), title=LONG)), LONG, LONG)._repr_svg_()
    assert "<b>" not in drawn
    assert "&lt;b&gt;bold" in drawn
    (across,) = re.findall(r'role-axis-domain"[^>]*><line[^>]*x2="([0-9.]+)"', drawn)
    assert float(across) > 600
