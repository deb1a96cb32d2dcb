"""Claims of `depth-classification`, decided on results that are written by hand so that the answers are known."""

import numpy as np
import pytest
import xarray as xr

from bathymetry.core.errors import InputError
from bathymetry.studies.depth_classification import DepthClassification

NETWORKS = ("shallow", "middle", "deep")


FULL = DepthClassification.preset("full", members=8)


def made(train, test, data="mnist", fall=0.99):
    """Results with constant accuracies a network, members a hair apart, and a loss that falls at the end by `fall`."""
    epoch = np.arange(FULL.epochs + 1)
    hair = np.arange(8)[:, None] * 1e-5 + np.zeros(len(epoch))
    accuracy = np.array([[train[name], test[name]] for name in NETWORKS])[..., None, None] + hair
    loss = np.broadcast_to(np.where(epoch <= 100, 1.0, fall), accuracy.shape)
    dims = ("network", "split", "member", "epoch")
    main = xr.Dataset(
        {
            "accuracy": (dims, accuracy),
            "loss": (dims, loss),
            "last_batch_loss": (("network", "member", "epoch"), loss[:, 0]),
            "diverged": (("network", "member"), np.zeros((3, 8), bool)),
        },
        {
            "network": list(NETWORKS),
            "split": ["train", "test"],
            "examples": ("split", [60_000, 10_000]),
            "member": range(8),
            "epoch": epoch,
        },
    )
    tree = xr.DataTree.from_dict(FULL.described({"main": main}))
    tree.attrs = {"data": {data: "made"}}
    return tree


def verdicts(results):
    return {claim.id[-1]: claim.verdict.decision for claim in FULL.judge(results)}


def test_claims_that_hold_are_supported():
    results = made(dict.fromkeys(NETWORKS, 0.99), {"shallow": 0.950, "middle": 0.958, "deep": 0.955})
    assert verdicts(results) == dict.fromkeys("abcde", "supported")


def test_claims_that_do_not_hold_are_contradicted():
    results = made(dict.fromkeys(NETWORKS, 0.96), {"shallow": 0.98, "middle": 0.97, "deep": 0.975}, fall=0.5)
    assert verdicts(results) == dict.fromkeys("abcde", "contradicted")


def test_numbers_are_judged_on_mnist_only():
    results = made(dict.fromkeys(NETWORKS, 0.99), dict.fromkeys(NETWORKS, 0.955), data="strokes")
    found = verdicts(results)
    assert [found[letter] for letter in "cde"] == ["not tested"] * 3
    assert found["a"] == "supported"


def test_a_diverged_member_keeps_the_region_from_being_supported():
    results = made(dict.fromkeys(NETWORKS, 0.99), dict.fromkeys(NETWORKS, 0.955))
    results["main/accuracy"][0, 1, 0, 95:] = np.nan
    assert verdicts(results)["c"] == "undecided"


def test_other_inputs_keep_the_number_of_parameters_and_say_what_was_chosen():
    plan = DepthClassification.preset("smoke").planned
    assert len(plan.notes) == 3
    for ensemble, note, budget in zip(plan.ensembles, plan.notes, (23_860, 23_893, 23_890), strict=True):
        count = sum(p.numel() for p in ensemble.config.network().parameters())
        assert abs(count / budget - 1) < 0.01
        assert f"{count:,} parameters" in note


def test_a_batch_of_more_than_the_data_have_is_refused():
    with pytest.raises(InputError, match="batch_size = 2000"):
        list(DepthClassification.preset("smoke", batch_size=2000).plan())


def test_a_preset_that_draws_more_than_the_data_have_takes_them_all():
    plan = DepthClassification.preset("quick", data="digits").planned
    assert (len(plan.ensembles[0].config.data.train), len(plan.ensembles[0].config.data.test)) == (1500, 297)


def test_networks_of_ones_own_are_trained_as_they_were_given():
    plan = DepthClassification.preset("smoke", networks=((100,), (20, 20))).planned
    assert [ensemble.config.network.widths for ensemble in plan.ensembles] == [(64, 100, 10), (64, 20, 20, 10)]
    assert plan.notes == (
        "These networks have 1,930 to 7,510 parameters, so depth is not all that differs between them.",
    )


def test_the_best_of_three_is_not_judged_between_two():
    results = made(dict.fromkeys(NETWORKS, 0.99), dict.fromkeys(NETWORKS, 0.955))
    two = xr.DataTree.from_dict({"main": results["main"].to_dataset().sel(network=["shallow", "middle"])})
    two.attrs = results.attrs
    claim = next(one for one in FULL.judge(two) if one.id.endswith("b"))
    assert claim.finding == "This run did not include network deep."


def test_figures_and_main_findings_say_their_numbers():
    results = made({"shallow": 0.97, "middle": 0.98, "deep": 0.99}, dict.fromkeys(NETWORKS, 0.955))
    drawn = FULL.draw(results)
    assert [one.name for _, one in drawn] == ["05-training-loss", "06-accuracy"]
    assert [panel.title for panel in drawn[1][1].panels] == ["Training accuracy", "Test accuracy"]
    test, train, lowest = FULL.main_findings(results, drawn)
    assert test == drawn[1][1].finding
    assert test.startswith("After 120 epochs the mean test accuracy is 95.5 % (shallow, 95.5–95.5 %)")
    assert train.startswith("After 120 epochs the mean training accuracy is 97.0 % (shallow, 97.0–97.0 %), 98.0 %")
    assert lowest == "The mean test loss is lowest at epoch 101 (shallow), 101 (middle) and 101 (deep)."
    assert all(len(words.split()) <= 25 for words in (drawn[0][1].finding, test, train, lowest))
