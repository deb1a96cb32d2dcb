"""Claims and results of `random-labels`."""

import math

import numpy as np
import pytest
import torch
import xarray as xr

import bathymetry as bm
from bathymetry.core.errors import InputError
from bathymetry.models.mlp import parameter_count
from bathymetry.studies.random_labels import RandomLabels

FULL = RandomLabels.preset("full")


def made(train=(2.3, 2.0), test=(2.3, 3.0), memorised=0.5):
    """Results with losses at epoch 1 and the last, and one accuracy in every cell of the grid."""
    by_set = [np.tile([2.4, *values], (10, 1)) for values in (train, test, test)]
    main = xr.Dataset(
        {"loss": (("split", "member", "epoch"), np.array(by_set)), "classes": 10},
        {"member": range(10), "epoch": [0, 1, 140], "split": ["train", "random", "true"]},
    )
    axes = {"images": [500, 1_000], "network": ["16", "512"], "member": range(6)}
    grid = xr.Dataset({"memorised_accuracy": (tuple(axes), np.full((2, 2, 6), memorised)), "classes": 10}, axes)
    grid = grid.assign(bits=("images", [1.0, 2.0])).assign_coords(parameters=("network", [1, 2]))
    tree = xr.DataTree.from_dict({"main": main, "memorisation": grid})
    tree.attrs = {"data": {"mnist": ""}}
    return tree


def verdicts(settings=FULL, **given):
    return {one.id[-1]: one.verdict.decision for one in settings.judge(made(**given))}


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


def test_the_claims_rule_says_once_what_decides():
    (judged,) = (one for one in FULL.judge(made()) if one.id == "random-labels.c")
    assert judged.rule.lower().count("contradicted") == 1


def test_another_schedule_does_not_judge_an_absolute_number():
    assert verdicts(settings=RandomLabels.preset("quick"))["c"] == "not tested"


def test_the_full_preset_is_the_protocols():
    assert parameter_count([784, *FULL.network, 10]) == 8_175
    assert (FULL.batch_size, FULL.epochs, FULL.members, FULL.memorisation_members) == (50, 140, 10, 6)
    assert FULL.images == (500, 1_000, 4_000, 10_000)
    assert FULL.networks == ((16,), (64,), (512,), (512, 512))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return bm.run_study(RandomLabels, preset="smoke", out=tmp_path_factory.mktemp("random-labels"))


def test_results_have_what_the_schema_promises(run):
    main = run.results["main"].to_dataset()
    for name in ("loss", "accuracy"):
        assert set(main[name].dims) == {"split", "member", "epoch"}
    assert main["split"].values.tolist() == ["train", "random", "true"]
    grid = run.results["memorisation"]
    assert set(grid["memorised_accuracy"].dims) == {"images", "network", "member"}
    assert grid["memorised_accuracy"].notnull().all()
    assert grid["parameters"].values.tolist() == [parameter_count([64, units, 10]) for units in (16, 64)]
    np.testing.assert_allclose(grid["bits"], [100 * math.log2(10), 200 * math.log2(10)])


def test_random_labels_start_at_a_uniform_guess_and_say_nothing_of_the_true_ones(run):
    start = run.results["main"].to_dataset().sel(split="train", epoch=0)
    assert float(start["loss"].mean()) == pytest.approx(math.log(10), rel=0.05)
    assert abs(float(start["accuracy"].mean()) - 0.1) < 0.06


def test_a_larger_network_memorises_more(run):
    accuracy = run.results["memorisation/memorised_accuracy"].mean("member")
    assert float(accuracy.sel(network="64", images=100)) > float(accuracy.sel(network="16", images=200))


def test_sentences_have_the_numbers_of_the_results():
    results = made(memorised=0.995)
    assert FULL.random_labels(results["main"].to_dataset())[1] == (
        "After 140 epochs the median loss is 2.0 in training and 3.0 on random test labels (3.0 on true ones); a "
        "uniform guess has 2.30."
    )
    grid = results["memorisation"].to_dataset()
    assert FULL.memorisation(grid)[1] == (
        "Networks memorise a median of 100 % (hidden 16) and 100 % (hidden 512) of 1,000 random labels."
    )
    assert FULL.memorisation_by_parameters(grid)[1].startswith("With at least 0.50 parameters per label bit")
    grid["memorised_accuracy"].loc[{"images": 500, "network": "16", "member": 3}] = 0.98
    assert FULL.memorisation_by_parameters(grid)[1].startswith("With at least 2.0 parameters per label bit")
    assert FULL.memorisation_by_parameters(grid * 0.9)[1].startswith("At no number of parameters")


def test_every_member_has_labels_of_its_own():
    planned = RandomLabels.preset("smoke").planned.ensembles[0].config
    labels = planned.targets(range(3))
    assert labels.shape == (3, len(planned.data.train))
    assert 0.05 < float((labels[0] == labels[1]).double().mean()) < 0.15
    trained, judged = labels, planned.evaluate_on["train"](range(3)).own_targets
    assert torch.equal(trained, judged)


def test_its_figures_are_numbered(run):
    assert [one.number for one in run.figures] == [12, None, None]


def test_more_images_than_there_are_can_not_be_memorised(tmp_path):
    with pytest.raises(InputError, match="images"):
        bm.run_study(RandomLabels, preset="smoke", out=tmp_path, images=(100_000,))


def test_one_epoch_has_no_first_and_last(tmp_path):
    with pytest.raises(InputError, match="epochs = 1: expected at least 2"):
        bm.run_study(RandomLabels, preset="smoke", out=tmp_path, epochs=1)
