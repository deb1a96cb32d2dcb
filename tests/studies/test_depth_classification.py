"""Claims of `depth-classification`, decided on results that are written by hand so that the answers are known."""

import numpy as np
import pytest
import xarray as xr

from bathymetry.core.errors import InputError
from bathymetry.studies import find
from studies.before import judge

STUDY = find("depth-classification")
NETWORKS = ("shallow", "middle", "deep")


def made(train, test, epochs=120, members=8, data="mnist", fall=0.99):
    """Results with constant accuracies a network, members a hair apart, and a loss that falls at the end by `fall`."""
    given = STUDY.preset("full", members=members, epochs=epochs)
    hair = np.arange(members)[:, None] * 1e-5 + np.zeros(epochs + 1)
    loss = np.where(np.arange(epochs + 1) <= 100, 1.0, fall) * np.ones((3, members, 1))
    dims = ("network", "member", "epoch")
    records = xr.Dataset(
        {
            "train_accuracy": (dims, np.array([train[n] for n in NETWORKS])[:, None, None] + hair),
            "test_accuracy": (dims, np.array([test[n] for n in NETWORKS])[:, None, None] + hair),
            "train_loss": (dims, loss),
            "test_loss": (dims, loss),
            "last_batch_loss": (dims, loss),
            "diverged": (("network", "member"), np.zeros((3, members), bool)),
        },
        {"network": list(NETWORKS), "member": range(members), "epoch": np.arange(epochs + 1)},
    ).assign(train_examples=60_000, test_examples=10_000)
    tree = xr.DataTree(records)
    tree.attrs = {"settings": given.model_dump(mode="json"), "data": {data: "made"}}
    return tree


def verdicts(results):
    return {claim.id[-1]: claim.verdict.decision for claim in judge(STUDY, results)}


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
    whole = results.to_dataset()
    whole["test_accuracy"][0, 0, 95:] = np.nan
    results.dataset = whole
    assert verdicts(results)["c"] == "undecided"


def test_other_inputs_keep_the_number_of_parameters_and_say_what_was_chosen():
    plan = STUDY.preset("smoke").planned
    assert len(plan.notes) == 3
    for ensemble, note, budget in zip(plan.ensembles, plan.notes, (23_860, 23_893, 23_890), strict=True):
        count = sum(p.numel() for p in ensemble.config.network().parameters())
        assert abs(count / budget - 1) < 0.01
        assert f"{count:,} parameters" in note


def test_a_batch_of_more_than_the_data_have_is_refused():
    with pytest.raises(InputError, match="batch_size = 2000"):
        list(STUDY.preset("smoke", batch_size=2000).plan())


def test_a_preset_that_draws_more_than_the_data_have_takes_them_all():
    plan = STUDY.preset("quick", data="digits").planned
    assert (len(plan.ensembles[0].config.data.train), len(plan.ensembles[0].config.data.test)) == (1500, 297)


def test_networks_of_ones_own_are_trained_as_they_were_given():
    study = find("depth-classification")
    plan = study.preset("smoke", networks=((100,), (20, 20))).planned
    assert [ensemble.config.network.widths for ensemble in plan.ensembles] == [(64, 100, 10), (64, 20, 20, 10)]
    assert plan.notes == (
        "These networks have 1,930 to 7,510 parameters, so depth is not all that differs between them.",
    )


def test_the_best_of_three_is_not_judged_between_two():
    study = find("depth-classification")
    (claim,) = (one for one in study.claims() if one.letter == "b")
    places = {"network": ["shallow", "middle"], "epoch": range(5)}
    accuracy = xr.DataArray(np.full((2, 8, 5), 0.9), dims=("network", "member", "epoch"), coords=places)
    (part,) = claim.decide(xr.DataTree(xr.Dataset({"test_accuracy": accuracy})))
    assert (part.decision, part.reason) == ("not tested", "this run did not include the deep network")
