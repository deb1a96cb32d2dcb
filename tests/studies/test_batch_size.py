"""Claims and results of `batch-size`."""

import numpy as np
import pytest
import torch
import xarray as xr

import bathymetry as bm
from bathymetry import models
from bathymetry.core.errors import InputError
from bathymetry.studies.arrays import at_the_end
from bathymetry.studies.batch_size import MATCHINGS, SENSITIVITIES, STUDY
from bathymetry.studies.batch_size_figures import trained
from bathymetry.studies.legacy import _tree, group_of
from studies.before import judge

SIZES = (5, 25, 125, 500, 1_500)


def results(accuracy, sensitivity=(5.0, 4.0, 3.0, 2.0, 1.0), sizes=SIZES):
    """Results with one accuracy a batch size; a loss is its complement."""
    hair = np.arange(10) * 1e-6
    by_size = (np.array(accuracy)[:, None] + hair)[None].repeat(2, 0)
    named = {f"{half}_accuracy": (("matching", "batch_size", "member"), by_size) for half in ("train", "test")}
    named |= {f"{half}_loss": (("matching", "batch_size", "member"), 1 - by_size) for half in ("train", "test")}
    slopes = (np.array(sensitivity)[:, None] * np.linspace(1, 1.1, 10))[None, ..., None].repeat(2, 0).repeat(3, 3)
    named["sensitivity"] = (("matching", "batch_size", "member", "of"), slopes)
    axes = {"matching": list(MATCHINGS), "batch_size": list(sizes), "member": range(10), "of": list(SENSITIVITIES)}
    tree = xr.DataTree(xr.Dataset(named, axes).assign(train_examples=60_000, test_examples=10_000))
    tree.attrs = {"settings": STUDY.preset("full").model_dump(mode="json"), "data": {"mnist": ""}}
    return tree


def verdicts(*made, **more):
    return {one.id[-1]: one.verdict.decision for one in judge(STUDY, results(*made, **more))}


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


def test_what_differs_at_equal_steps_stands_beside_the_finding():
    tree = results([0.96, 0.95, 0.94, 0.93, 0.90])
    tree["sensitivity"].loc[{"matching": "steps"}] = tree["sensitivity"].sel(matching="steps").values[::-1]
    tree["test_accuracy"].loc[{"matching": "steps"}] = tree["test_accuracy"].sel(matching="steps").values[::-1]
    findings = {one.id[-1]: one.finding for one in judge(STUDY, tree)}
    assert "At equal steps it rises: mean slope of log sensitivity" in findings["f"]
    assert findings["a"].endswith("At equal steps the best median is that of batch 1,500.")


@pytest.mark.parametrize(("last", "hardly"), [(0.3, True), (0.9, False)])
def test_a_largest_batch_that_is_hardly_trained_is_said_from_the_data(last, hardly):
    words = trained(results([0.96, 0.95, 0.94, 0.93, last]))
    assert "batch 1,500 makes 2,000 steps where batch 5 makes 600,000" in words
    assert f"{100 * last:.1f} %" in words
    assert ("hardly trained" in words) == hardly


def test_other_batches_do_not_judge_the_claims_about_these():
    decided = verdicts([0.9] * 3, sensitivity=(3.0, 2.0, 1.0), sizes=(5, 50, 500))
    assert {decided[letter] for letter in "abcde"} == {"not tested"}


def test_the_full_preset_is_the_protocols():
    given = STUDY.preset("full")
    assert models.parameter_count([784, *given.network, 10]) == 16_640
    assert (given.batch_sizes, given.epochs, given.steps, given.members) == (SIZES, 50, 10_000, 10)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return bm.run_study(STUDY, preset="smoke", out=tmp_path_factory.mktemp("batch-size"))


def test_results_have_what_the_schema_promises(run):
    root = run.results["main"].to_dataset()
    for name in ("train_loss", "test_loss", "train_accuracy", "test_accuracy", "noise_scale", "last_gradient_norm"):
        assert set(root[name].dims) == {"matching", "batch_size", "member"}, name
        assert root[name].notnull().all(), name
    assert root["of"].values.tolist() == list(SENSITIVITIES)
    assert set(root["sharpness"].dims) == {"matching", "batch_size", "member", "kind"}
    assert root.sizes["batch_size"] == 4


def test_equal_steps_are_equal_steps():
    planned = STUDY.preset("smoke").planned.ensembles
    lengths = {(one.coordinates["matching"], one.config.steps, one.config.epochs) for one in planned}
    assert lengths == {("epochs", None, 2), ("steps", 20, None)}


def test_what_was_measured_afterwards_is_what_training_recorded(run):
    root, recorded = (
        run.results["main"].to_dataset(),
        group_of(_tree(run.results), "training")["test_loss"].sel(matching="epochs"),
    )
    last = at_the_end(recorded).transpose("batch_size", "member").values
    values = root["test_loss"].sel(matching="epochs").transpose("batch_size", "member").values
    np.testing.assert_allclose(values, last, rtol=1e-4)


def test_its_figures_are_numbered(run):
    assert [one.number for one in run.figures] == [16, 17, None, None, None, None, None]


def test_sensitivity_is_that_of_the_trained_network(run):
    assert bool((torch.from_numpy(run.results["main/sensitivity"].values) > 0).all())


def test_a_spread_wants_three_examples(tmp_path):
    with pytest.raises(InputError, match="curvature_examples = 2: expected at least 3"):
        bm.run_study(STUDY, preset="smoke", out=tmp_path, curvature_examples=2)
