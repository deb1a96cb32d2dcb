"""Claims and results of `batch-size`."""

import re

import numpy as np
import pytest
import torch
import xarray as xr

import bathymetry as bm
from bathymetry.core.errors import InputError
from bathymetry.models.mlp import parameter_count
from bathymetry.studies.arrays import at_the_end
from bathymetry.studies.batch_size import MATCHINGS, SENSITIVITIES, BatchSize

SIZES = (5, 25, 125, 500, 1_500)


FULL = BatchSize.preset("full")


def made(accuracy, sensitivity=(5.0, 4.0, 3.0, 2.0, 1.0), sizes=SIZES):
    """Results with one accuracy per batch size; a loss is its complement."""
    hair = np.arange(10) * 1e-6
    by_size = np.broadcast_to(np.array(accuracy)[:, None] + hair, (2, 2, len(sizes), 10))
    slopes = (np.array(sensitivity)[:, None] * np.linspace(1, 1.1, 10))[None, ..., None].repeat(2, 0).repeat(3, 3)
    dims = ("matching", "split", "batch_size", "member")
    main = xr.Dataset(
        {
            "accuracy": (dims, by_size.copy()),
            "loss": (dims, 1 - by_size),
            "sensitivity": (("matching", "batch_size", "member", "of"), slopes, {"scale": "log"}),
        },
        {
            "matching": list(MATCHINGS), "split": ["train", "test"], "batch_size": list(sizes), "member": range(10),
            "of": list(SENSITIVITIES), "examples": ("split", [60_000, 10_000]),
            "schedule": ("matching", ["equal epochs", "equal steps"]),
            "batch": ("batch_size", [f"batch {size:,}" for size in sizes]),
        },
    )  # fmt: skip
    tree = xr.DataTree.from_dict({"main": main})
    tree.attrs = {"data": {"mnist": ""}}
    return tree


def verdicts(*given, **more):
    return {one.id[-1]: one.verdict.decision for one in FULL.judge(made(*given, **more))}


def test_a_peak_in_the_middle_supports_everything():
    assert verdicts([0.90, 0.92, 0.95, 0.94, 0.91]) == dict.fromkeys("abcdef", "supported")


@pytest.mark.parametrize(
    ("accuracy", "decision"),
    [([0.90, 0.92, 0.95, 0.94, 0.91], "supported"), ([0.96, 0.95, 0.94, 0.93, 0.90], "contradicted")],
)
def test_the_ends_are_worst_if_each_is_below_all_between(accuracy, decision):
    assert verdicts(accuracy)["e"] == decision


def test_an_end_that_wins_contradicts_the_middle():
    decided = verdicts([0.96, 0.95, 0.94, 0.93, 0.90])
    assert {decided[letter] for letter in "abcd"} == {"contradicted"}


def test_sensitivity_that_grows_contradicts_its_claim():
    assert verdicts([0.9] * 5, sensitivity=(1.0, 2.0, 3.0, 4.0, 5.0))["f"] == "contradicted"


def test_what_differs_at_equal_steps_follows_the_finding():
    tree = made([0.96, 0.95, 0.94, 0.93, 0.90])
    main = tree["main"]
    for name in ("sensitivity", "accuracy"):
        main[name].loc[{"matching": "steps"}] = (
            main[name].sel(matching="steps").isel(batch_size=slice(None, None, -1)).values
        )
    findings = {one.id[-1]: one.finding for one in FULL.judge(tree)}
    assert re.search(r"At equal steps it rises \(\+[\d.]+ % per doubling\)", findings["f"])
    assert findings["a"].endswith("At equal steps it is best with batch 1,500.")


@pytest.mark.parametrize(("last", "hardly"), [(0.3, True), (0.9, False)])
def test_networks_that_hardly_trained_are_grey(last, hardly):
    panels, words = FULL.accuracy_and_loss(made([0.96, 0.95, 0.94, 0.93, last])["main"].to_dataset())
    assert "at equal epochs (batch 1,500: 2,000 steps)" in words
    for panel in panels:
        labels = [entry["label"] for entry in panel.chart.usermeta["key"]]
        assert ("hardly trained" in labels) == hardly
        rows = [row for rows in panel.chart.to_dict()["datasets"].values() for row in rows]
        assert {row["x"] for row in rows if row.get("muted")} == ({1_500} if hardly else set())


def test_batches_whose_intervals_overlap_that_of_the_best_are_named_with_it():
    """Accuracies 0.951 and 0.950 differ by much less than members do, 0.93 by much more."""
    main = made([0.93, 0.950, 0.951, 0.950, 0.90])["main"].to_dataset()
    noise = np.random.default_rng(0).normal(0, 0.002, main["accuracy"].sizes["member"])
    main["accuracy"] = (main["accuracy"] + xr.DataArray(noise, dims="member")).transpose(*main["accuracy"].dims)
    assert FULL.accuracy_and_loss(main)[1] == (
        "Test accuracy is highest with batch 25 to 500 at equal epochs (batch 1,500: 2,000 steps) and 25 to 500 at "
        "equal steps."
    )
    main["accuracy"].loc[{"batch_size": 125}] -= 0.02
    assert "with batch 25 or 500 at equal epochs" in FULL.accuracy_and_loss(main)[1]


def test_other_batches_do_not_judge_the_claims_about_these():
    decided = verdicts([0.9] * 3, sensitivity=(3.0, 2.0, 1.0), sizes=(5, 50, 500))
    assert {decided[letter] for letter in "abcde"} == {"not tested"}


def test_the_full_preset_is_the_protocols():
    assert parameter_count([784, *FULL.network, 10]) == 16_640
    assert (FULL.batch_sizes, FULL.epochs, FULL.steps, FULL.members) == (SIZES, 50, 10_000, 10)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return bm.run_study(BatchSize, preset="smoke", out=tmp_path_factory.mktemp("batch-size"))


def test_results_have_what_the_schema_promises(run):
    main = run.results["main"].to_dataset()
    for name in ("loss", "accuracy"):
        assert set(main[name].dims) == {"matching", "batch_size", "split", "member"}, name
        assert main[name].notnull().all(), name
    for name in ("noise_scale", "last_gradient_norm"):
        assert set(main[name].dims) == {"matching", "batch_size", "member"}, name
        assert main[name].notnull().all(), name
    assert main["of"].values.tolist() == list(SENSITIVITIES)
    assert set(main["sharpness"].dims) == {"matching", "batch_size", "member", "kind"}
    assert main.sizes["batch_size"] == 4
    assert main["examples"].sel(split="test") == 100


def test_equal_steps_are_equal_steps():
    planned = BatchSize.preset("smoke").planned.ensembles
    lengths = {(one.coordinates["matching"], one.config.steps, one.config.epochs) for one in planned}
    assert lengths == {("epochs", None, 2), ("steps", 20, None)}


def test_what_was_measured_afterwards_is_what_training_recorded(run):
    trained = run.results["training/loss"].sel(split="test", matching="epochs")
    last = at_the_end(trained).transpose("batch_size", "member").values
    measured = run.results["main/loss"].sel(split="test", matching="epochs").transpose("batch_size", "member")
    np.testing.assert_allclose(measured.values, last, rtol=1e-4)


def test_its_figures_are_numbered(run):
    assert [one.number for one in run.figures] == [16, 17, None]


def test_sensitivity_is_that_of_the_trained_network(run):
    assert bool((torch.from_numpy(run.results["main/sensitivity"].values) > 0).all())


def test_a_spread_wants_three_examples(tmp_path):
    with pytest.raises(InputError, match="curvature_examples = 2: expected at least 3"):
        bm.run_study(BatchSize, preset="smoke", out=tmp_path, curvature_examples=2)
