"""Claims of a specification, by each of the seven rules, on results that are made up; charts; tables; histories."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml

import bathymetry as bm
from bathymetry.cli.main import main
from bathymetry.store.results import export
from bathymetry.sweeps.reading import sweep_of

AXES = {"learning_rate": [0.001, 0.01, 0.1], "width": [4, 8]}
MEMBERS = 24


def judged(axes=AXES, change=None, sample="grid", members=MEMBERS, **claim):
    """Judge a claim on losses 10 · rate^(−½) / width, times a factor near 1 for each member."""
    spec = {"axes": axes, "measure": ["sharpness"], "members": members, "claims": [{"text": "a claim", **claim}]}
    made = sweep_of({**spec, "sample": sample, "data": {"function": "sin", "samples": 8}})
    factor = 1 + 0.1 * np.random.default_rng(0).standard_normal(members)
    rate, width = np.meshgrid(axes["learning_rate"], axes["width"], indexing="ij")
    loss = (10 * rate**-0.5 / width)[..., None] * factor
    results = xr.Dataset(
        {
            "loss": (("split", "learning_rate", "width", "member"), np.stack([loss, 2 * loss])),
            "sharpness": (("learning_rate", "width", "member"), 3 * loss),
            "status": (("learning_rate", "width", "member"), np.full(loss.shape, "done", dtype="<U8")),
            "diverged": (("learning_rate", "width", "member"), np.zeros(loss.shape, dtype=bool)),
        },
        {**axes, "split": ["train", "test"], "member": range(members)},
    )
    if change is not None:
        change(results)
    (one,) = made.judge(xr.DataTree.from_dict({"main": results}))
    return one


@pytest.mark.parametrize(
    ("claim", "decision"),
    [
        ({"rule": "majority", "variable": "test loss", "above": 0.1}, "supported"),
        ({"rule": "majority", "variable": "test loss", "below": 0.1}, "contradicted"),
        ({"rule": "stochastic_order", "variable": "test loss", "along": "width", "first": 8, "second": 4,
          "direction": "below"}, "supported"),
        ({"rule": "stochastic_order", "variable": "sharpness", "along": "width", "first": 8, "second": 4,
          "direction": "above"}, "contradicted"),
        ({"rule": "best_of", "variable": "train loss", "along": "learning_rate", "candidates": [0.1],
          "others": [0.001, 0.01], "direction": "below"}, "supported"),
        ({"rule": "median_sign", "variable": "log test loss", "over": "log learning_rate", "direction": "below"},
         "supported"),
        ({"rule": "median_in_interval", "variable": "test loss", "low": 1, "high": 1000}, "supported"),
        ({"rule": "correlation", "variable": "train loss", "with": "sharpness", "direction": "above"}, "supported"),
        ({"rule": "exists", "variable": "test loss", "above": 100, "decides": "supported"}, "supported"),
        ({"rule": "exists", "variable": "test loss", "above": 1e6, "decides": "supported"}, "contradicted"),
    ],
)  # fmt: skip
def test_each_rule_decides_over_the_axes(claim, decision):
    assert judged(**claim).verdict.decision == decision


def test_the_slope_is_that_of_the_power_law():
    one = judged(rule="median_sign", variable="log test loss", over="log learning_rate", direction="below")
    assert [part.coordinates for part in one.verdict.parts] == [{"width": "4"}, {"width": "8"}]
    for part in one.verdict.parts:
        assert part.estimate == pytest.approx(-0.5, abs=1e-12)


@pytest.mark.parametrize("rule", ["majority", "median_sign", "median_in_interval"])
def test_a_finding_names_the_axes_of_its_parts(rule):
    fields = {
        "majority": {"above": 100},
        "median_sign": {"over": "learning_rate", "direction": "below"},
        "median_in_interval": {"low": 1, "high": 30},
    }[rule]
    finding = judged(rule=rule, variable="test loss", **fields).finding
    if rule == "median_sign":
        assert "idth 4: " in finding
        assert "width 8: " in finding
    else:
        assert "earning rate 0.001, width 4" in finding
        assert "learning rate 0.1, width 8" in finding


def test_the_best_of_several_has_its_share_interval_and_p():
    fields = {"along": "learning_rate", "candidates": [0.1], "others": [0.001, 0.01], "direction": "below"}
    one = judged(rule="best_of", variable="train loss", **fields)
    assert {part.estimate for part in one.verdict.parts} == {1.0}
    words = (
        "learning rate 0.1 is below 0.001 and 0.01; least clear: ahead in 100 % of pairs (95 % interval 92–100 %, p < "
    )
    assert one.finding == f"width 4 and width 8: {words}0.0001)."


def test_what_needs_members_that_are_pending_is_not_tested():
    def pending(results):
        results["status"][{"learning_rate": 0, "width": 1, "member": 3}] = "pending"

    one = judged(change=pending, rule="majority", variable="test loss", above=0.1)
    decisions = {tuple(part.coordinates.values()): part.decision for part in one.verdict.parts}
    assert decisions.pop(("0.001", "8")) == "not tested"
    assert set(decisions.values()) == {"supported"}
    assert one.verdict.decision != "supported"
    assert "not tested for learning rate 0.001, width 8 (1 of 24 members are pending" in one.verdict.reason


@pytest.mark.parametrize(
    ("side", "point"), [("above", "learning rate 0.001, width 4"), ("below", "learning rate 0.1, width 8")]
)
def test_where_no_member_of_any_point_is_there_the_finding_names_the_best_point(side, point):
    level = {"above": 1e6, "below": 1e-6}[side]
    one = judged(members=5, rule="exists", variable="test loss", decides="supported", **{side: level})
    assert one.finding.lower().startswith(f"{point}: 0 of 5 members")


def test_claims_that_need_more_members_are_named_before_anything_is_trained(tmp_path, capsys):
    stated = [
        {"rule": "majority", "variable": "test loss", "above": 0},
        {"rule": "correlation", "variable": "test loss", "with": "gradient_norm", "direction": "above"},
    ]
    fields = {"axes": {"width": [2]}, "data": {"samples": 8}, "measure": ["gradient_norm"]}
    spec = tmp_path / "few.yaml"
    sentences = {
        2: "With 2 members these claims stay undecided: few.a (needs 6) and few.b (needs 20).",
        6: "With 6 members this claim stays undecided: few.b (needs 20).",
    }
    for members, sentence in sentences.items():
        claims = [{"text": "a claim", **one} for one in stated]
        spec.write_text(yaml.safe_dump({**fields, "members": members, "claims": claims}), encoding="utf-8")
        assert main(["sweep", str(spec), "--plan", "--out", str(tmp_path / "out")]) == 0
        said = capsys.readouterr().out.splitlines()
        assert sentence in said
        assert "Data: sin (sin(x) on (-10, 10), seed 0)." in said
    assert sweep_of({**fields, "members": 20, "claims": claims}).few_members == ""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A sweep over three axes and one over drawn points, with histories."""
    out = tmp_path_factory.mktemp("drawn")
    common = {
        "network": {"depth": 1}, "data": {"name": "digits", "train_examples": 30, "test_examples": 30}, "members": 2,
        "training": {"epochs": 2}, "measure": ["gradient_norm"], "record": "all",
    }  # fmt: skip
    axes = {"learning_rate": [0.01, 0.1], "width": [2, 4, 8], "activation": ["relu", "tanh"]}
    grid = bm.sweep(common, name="three", axes=axes, out=out)
    axes = {"learning_rate": {"low": 1e-3, "high": 1e-1, "scale": "log"}, "width": {"low": 2, "high": 8}}
    claims = [
        {"rule": "exists", "variable": "test loss", "below": 1e6, "decides": "supported", "text": "Some end low."},
        {"rule": "majority", "variable": "test loss", "below": 1e6, "text": "Most end low."},
    ]
    return grid, bm.sweep(common, name="sobol", axes=axes, sample={"sobol": 5}, claims=claims, out=out)


def test_a_grid_has_a_chart_for_each_variable_with_the_longest_axis_across(drawn):
    titles = [one.title for one in drawn[0].figures]
    assert titles[0] == "Loss by width, learning rate and activation"
    assert any(title.startswith("Accuracy by width") for title in titles)
    assert any(title.startswith("Gradient norm by width") for title in titles)
    assert len(drawn[0].figures[0].panels) == 2


def test_the_strong_lines_of_a_grid_are_the_medians_of_its_table(drawn):
    for name in ("loss", "accuracy"):
        figure = next(one for one in drawn[0].figures if one.name == name)
        panel = figure.sheet().panels[0].view
        (layer,) = [one for one in panel["layer"] if one.get("name") == "centre"]
        rows = [
            row
            for row in panel["datasets"][(layer.get("data") or panel["data"])["name"]]
            if row["series"] == "learning rate 0.1"
        ]
        at = drawn[0].dataset[name].sel(split="test", learning_rate=0.1, activation="relu")
        expected = at.median("member").values
        if name == "accuracy":  # of 30 examples, drawn as a logit
            expected = np.log((30 * expected + 0.5) / (30 - 30 * expected + 0.5))
        np.testing.assert_allclose([row["y"] for row in rows], expected, rtol=1e-4)
        assert "the strong line or diamond is their median" in figure.reading
        assert "median" in [one["label"] for one in panel["usermeta"]["marks"]], "two members have no interval"
        assert layer["encoding"]["x"]["scale"]["padding"] > 0


def test_a_finding_about_a_drawn_point_has_its_values_on_the_axes(drawn):
    one, every = drawn[1].claims
    found = drawn[1].dataset
    low = int(found["loss"].sel(split="test").min("member").argmin("point"))  # as of two members
    rate, width = (found[name].values[low] for name in ("learning_rate", "width"))
    assert one.finding.startswith(f"Point {low} (learning rate {rate:.4g}, width {width}): 2 of 2 members have")
    at = [part.coordinates for part in every.verdict.parts]
    assert [one["point"] for one in at] == [*"01234"]
    assert [one["width"] for one in at] == [*map(str, found["width"].values)]


def test_marks_of_drawn_points_know_their_point_and_member_and_none_is_cut_at_the_frame(drawn):
    figure = next(one for one in drawn[1].figures if one.name == "loss-width")
    panel = figure.sheet().panels[0].view
    (layer,) = [one for one in panel["layer"] if one.get("name") == "members"]
    for row in panel["datasets"][(layer.get("data") or panel["data"])["name"]]:
        at = drawn[1].dataset.sel(split={"training": "train"}.get(row["series"], row["series"]), member=row["member"])
        assert row["x"] == at["width"].sel(point=row["point"])
        assert row["y"] == pytest.approx(float(at["loss"].sel(point=row["point"])), rel=1e-4)
    assert layer["encoding"]["x"]["scale"]["padding"] > 0


def test_drawn_points_have_a_chart_for_each_axis(drawn):
    titles = [one.title for one in drawn[1].figures]
    assert {"Loss by learning rate", "Loss by width", "Accuracy by learning rate"} <= set(titles)
    assert drawn[1].dataset["loss"].dims == ("split", "point", "member")
    assert drawn[1].dataset["learning_rate"].dims == ("point",)


def test_the_end_of_a_history_is_the_end(drawn):
    for run in drawn:
        found = run.dataset
        assert found["epoch"].values.tolist() == [0, 1, 2]
        np.testing.assert_array_equal(found["loss_history"].isel(epoch=-1), found["loss"])


def test_tables_have_the_numbers_of_the_dataset(drawn, tmp_path):
    for run in drawn:
        table = run.table
        assert len(table) == len(run.study.points)
        row = table.iloc[3]
        values = run.study.points[3].values
        assert row["learning_rate"] == values["training.learning_rate"]
        assert row["done"] == 2
        assert [*table.columns].index("learning_rate") == ("point" in run.dataset.dims)
        assert table.get("point", pd.Series(range(len(table)))).tolist() == [*range(len(table))]
        ensemble = (
            run.dataset
            if "point" in run.dataset.dims
            else run.dataset.stack(point=["learning_rate", "width", "activation"])
        )
        expected = ensemble["loss"].sel(split="test").isel(point=3).median("member")
        assert row["test_loss"] == float(expected)
    run = drawn[0]
    for kind, read in (("csv", pd.read_csv), ("parquet", pd.read_parquet)):
        paths = export(run.results, tmp_path, kind)
        whole = {path.stem: read(path) for path in paths}
        stored = whole["main-split-learning_rate-width-activation-member"].set_index(
            ["split", "learning_rate", "width", "activation", "member"]
        )
        expected = run.dataset["loss"].to_series()
        np.testing.assert_allclose(stored["loss"].reindex(expected.index), expected, rtol=1e-15)


def test_the_page_of_both_can_be_written_again(drawn, capsys):
    out = drawn[0].out
    assert main(["report", str(out)]) == 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Sweep three: 12 points" in page
    assert "Sweep sobol: 5 Sobol points over learning rate and width" in page
    assert "<h1>Two sweeps of neural networks, 2 claims</h1>" in page
    assert "Reference run" not in page
    assert ">Networks at one point</span>" in page, "this rule has no interval"
    rate, width = (drawn[1].dataset[name].values[3] for name in ("learning_rate", "width"))
    words = f"point 3, member 1: learning rate {rate:.4g}, width {width}"
    assert f'<option value="3.1">{words}</option>' in page
    assert '<option value="1">member 1 at each point</option>' in page
