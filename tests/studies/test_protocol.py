"""The claims are those of the protocol's table, each with its rule, and with its mark where it has one."""

import numpy as np
import pytest
import xarray as xr

from bathymetry.studies import find
from bathymetry.studies.catalogue import SHIPPED

STUDIES = [find(name) for name in SHIPPED]

# letter: rule, and † where the claim has an absolute number or is about the end of training
TABLE = {
    "depth-function": (
        "a majority†, b majority†, c stochastic_order, d stochastic_order, e stochastic_order, "
        "f majority†, g stochastic_order, h stochastic_order"
    ),
    "depth-classification": "a majority, b best_of†, c median_in_interval†, d majority†, e majority†",
    "trajectory": "a median_sign",
    "gradient-norm": "a median_sign, b median_sign, c majority†",
    "minimal-ratio": "a majority, b correlation",
    "random-labels": "a majority, b majority, c exists†",
    "capacity": "a median_sign†, b median_sign†, c median_sign",
    "interpolation": "a majority†, b majority",
    "batch-size": "a best_of†, b best_of†, c best_of†, d best_of†, e best_of†, f median_sign",
}


def test_the_claims_have_the_rules_and_marks_of_the_table():
    found = {
        study.name: ", ".join(f"{one.letter} {one.rule.kind}{'†' if one.absolute else ''}" for one in study.claims())
        for study in STUDIES
    }
    assert found == TABLE, "TABLE has a row for each study that ships"


def test_claims_about_all_networks_say_that_they_ask_for_most_trainings_of_each():
    for study in STUDIES:
        for claim in study.claims():
            about_all = any(word in claim.text.lower().split() for word in ("all", "every"))
            assert about_all == ("(each network, in most trainings)" in claim.text), claim.text


def results(study, preset="full", data=None, **changes):
    tree = xr.DataTree()
    settings = study.preset(preset, **changes)
    sources = {study.reference_data: ""} if study.reference_data and data is None else {data or "cos": ""}
    tree.attrs = {"settings": settings.model_dump(mode="json"), "data": sources}
    return settings, tree


def departure_of(made):
    settings, tree = made
    return settings.departure(tree)


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_the_protocols_own_settings_with_any_members_and_seed_depart_from_nothing(study):
    assert departure_of(results(study)) == ""
    assert departure_of(results(study, members=37, seed=5)) == ""


@pytest.mark.parametrize("name", ["depth-classification", "random-labels", "capacity", "interpolation", "batch-size"])
def test_other_images_and_a_quick_run_depart(name):
    study = find(name)
    assert departure_of(results(study, data="strokes")) == "the claim needs MNIST; this run used strokes"
    assert " epochs; this run used " in departure_of(results(study, "quick"))


@pytest.mark.parametrize("name", ["depth-function", "gradient-norm"])
def test_a_quick_run_with_the_protocols_data_and_epochs_does_not_depart(name):
    study = find(name)
    assert departure_of(results(study, "quick")) == ""


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("depth-function", {"functions": ("cos",), "networks": ((250,), (7,))}),
        ("depth-classification", {"networks": ((30,),)}),
        ("random-labels", {"epochs": 3, "network": (5,), "memorisation_members": 9}),
        ("capacity", {"few_epochs": 3, "hidden": (2, 3), "few_members": 8}),
        ("batch-size", {"steps": 5, "curvature_examples": 9, "batch_sizes": (5, 25, 125, 500, 1500, 3000)}),
    ],
)
def test_settings_that_no_marked_claim_is_about_do_not_keep_it_from_being_tested(name, changes):
    assert departure_of(results(find(name), **changes)) == ""


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("gradient-norm", {"epochs": 900}, "the claim needs 1,500 epochs; this run used 900 epochs"),
        ("depth-function", {"low": -9.0}, "the claim needs low -10; this run used low -9"),
        ("batch-size", {"network": (5,)}, "the claim needs network 20/30; this run used network 5"),
        ("capacity", {"train_examples": 9_000, "epochs": 4}, "the claim needs all training examples and 50 epochs; "
         "this run used 9,000 training examples and 4 epochs"),
    ],
)  # fmt: skip
def test_a_claim_that_is_not_tested_names_what_it_needs_and_what_was_run(name, changes, words):
    assert departure_of(results(find(name), **changes)) == words


def test_a_limit_on_examples_that_the_data_do_not_reach_is_no_departure():
    study, tree = results(find("capacity"), train_examples=2_000, test_examples=1_000)
    for train, words in (
        (600, ""),
        (2_000, "the claim needs all training examples; this run used 2,000 training examples"),
    ):
        tree["main"] = xr.DataTree(xr.Dataset(coords={"split": ["train", "test"], "examples": ("split", [train, 200])}))
        assert study.departure(tree) == words


def test_a_claim_that_is_not_tested_has_no_parts_and_no_p_and_says_why():
    study, tree = results(find("capacity"), epochs=40)
    losses = xr.DataArray(np.ones((2, 10, 6)), dims=("split", "network", "member"))
    tree["main"] = xr.DataTree(
        xr.Dataset({"loss": losses}, {"split": ["train", "test"], "parameters": ("network", np.arange(1, 11))})
    )
    judged = study.judge(tree)
    assert judged[0].verdict.decision == "not tested"
    assert (judged[0].verdict.parts, judged[0].verdict.p) == ((), None)
    assert judged[0].finding == "The claim needs 50 epochs; this run used 40 epochs."
    assert "<td>capacity.b</td>" in judged._repr_html_()
    assert judged[0]._repr_html_().count("<tr>") == 1


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_the_table_of_shipped_studies_says_what_the_classes_say(study):
    entry = SHIPPED[study.name]
    assert (entry.location, entry.chapter, entry.question) == (study.location, study.chapter, study.question)
