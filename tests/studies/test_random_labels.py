"""Claims and results of `random-labels`."""

import math

import numpy as np
import pytest
import torch
import xarray as xr

import bathymetry as bm
from bathymetry import models
from bathymetry.core.errors import InputError
from bathymetry.studies.legacy import _tree, group_of
from bathymetry.studies.random_labels import STUDY
from studies.before import judge


def verdicts(train=(2.3, 2.0), test=(2.3, 3.0), memorised=0.5, settings=None):
    """What is judged of losses at epoch 1 and the last, and of one accuracy in every cell of the grid."""
    given = settings or STUDY.preset("full")
    by_epoch = {"train_loss": (("member", "epoch"), np.tile([2.4, *train], (10, 1)))}
    by_epoch["test_loss"] = (("labels", "member", "epoch"), np.tile([2.4, *test], (2, 10, 1)))
    root = xr.Dataset(by_epoch, {"member": range(10), "epoch": [0, 1, 140], "labels": ["random", "true"]})
    axes = {"images": [500, 1_000], "network": ["16", "512"], "memorisation_member": range(6)}
    grid = xr.Dataset({"memorised_accuracy": (tuple(axes), np.full((2, 2, 6), memorised))}, axes)
    grid = grid.assign(parameter_count=("network", [1, 2]), bits=("images", [1.0, 2.0]))
    tree = xr.DataTree(root.assign(classes=10))
    tree["memorisation"] = xr.DataTree(grid)
    tree.attrs = {"settings": given.model_dump(mode="json"), "data": {"mnist": ""}}
    return {one.id[-1]: one.verdict.decision for one in judge(STUDY, tree)}


def test_losses_that_part_support_both_claims():
    decided = verdicts()
    assert (decided["a"], decided["b"]) == ("supported", "supported")


def test_losses_that_go_the_other_way_contradict_them():
    decided = verdicts(train=(2.0, 2.3), test=(3.0, 2.3))
    assert (decided["a"], decided["b"]) == ("contradicted", "contradicted")


@pytest.mark.parametrize(
    ("accuracy", "decision"), [(0.995, "contradicted"), (0.5, "undecided"), (0.15, "supported")]
)  # fmt: skip
def test_whether_labels_can_be_fitted_is_decided_by_the_grid(accuracy, decision):
    assert verdicts(memorised=accuracy)["c"] == decision


def test_the_rule_of_the_grid_is_told_once():
    (claim,) = (one for one in STUDY.claims() if one.letter == "c")
    cells = np.ones(6, dtype=bool)
    part = bm.stats.exists({"a": cells}, decides="contradicted")
    assert "contradicted" in part.rule.lower()
    assert "contradicted" not in claim.rule


def test_another_schedule_does_not_judge_an_absolute_number():
    assert verdicts(settings=STUDY.preset("quick"))["c"] == "not tested"


def test_the_full_preset_is_the_protocols():
    given = STUDY.preset("full")
    assert models.parameter_count([784, *given.network, 10]) == 8_175
    assert (given.batch_size, given.epochs, given.members, given.memorisation_members) == (50, 140, 10, 6)
    assert given.images == (500, 1_000, 4_000, 10_000)
    assert given.networks == ((16,), (64,), (512,), (512, 512))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return bm.run_study(STUDY, preset="smoke", out=tmp_path_factory.mktemp("random-labels"))


def test_results_have_what_the_schema_promises(run):
    root = run.results["main"].to_dataset()
    assert root["train_loss"].dims == ("member", "epoch")
    assert set(root["test_accuracy"].dims) == {"labels", "member", "epoch"}
    assert root["labels"].values.tolist() == ["random", "true"]
    grid = group_of(_tree(run.results), "memorisation")
    assert set(grid["memorised_accuracy"].dims) == {"images", "network", "member"}
    assert grid["memorised_accuracy"].notnull().all()
    np.testing.assert_allclose(grid["bits"], [100 * math.log2(10), 200 * math.log2(10)])


def test_random_labels_start_at_a_uniform_guess_and_tell_nothing_of_the_true_ones(run):
    root = run.results["main"].to_dataset()
    assert float(root["train_loss"].sel(epoch=0).mean()) == pytest.approx(math.log(10), rel=0.05)
    assert abs(float(root["train_accuracy"].sel(epoch=0).mean()) - 0.1) < 0.06


def test_a_larger_network_memorises_more(run):
    grid = group_of(_tree(run.results), "memorisation")["memorised_accuracy"].mean("member")
    assert float(grid.sel(network="64", images=100)) > float(grid.sel(network="16", images=200))


def test_every_member_has_labels_of_its_own():
    planned = STUDY.preset("smoke").planned.ensembles[0].config
    labels = planned.targets(range(3))
    assert labels.shape == (3, len(planned.data.train))
    assert 0.05 < float((labels[0] == labels[1]).double().mean()) < 0.15
    trained, judged = labels, planned.evaluate_on["train"](range(3)).own_targets
    assert torch.equal(trained, judged)


def test_its_figures_are_numbered(run):
    assert [one.number for one in run.figures] == [12, None, None]


def test_more_images_than_there_are_can_not_be_memorised(tmp_path):
    with pytest.raises(InputError, match="images"):
        bm.run_study(STUDY, preset="smoke", out=tmp_path, images=(100_000,))


def test_one_epoch_has_no_first_and_last(tmp_path):
    with pytest.raises(InputError, match="epochs = 1: expected at least 2"):
        bm.run_study(STUDY, preset="smoke", out=tmp_path, epochs=1)
