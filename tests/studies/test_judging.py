"""From parts to one sentence: what a reader is told of a claim."""

from dataclasses import replace

import numpy as np
import xarray as xr

from bathymetry import stats
from bathymetry.studies import Claim, find, judge


def told(kind, rule, parts, **more):
    """What is said of a claim with these parts."""
    claim = Claim("a", "It is so.", kind, rule, lambda results: parts, **more)
    study = replace(find("gradient-norm"), claims=(claim,))
    tree = xr.DataTree()
    tree.attrs = {"settings": study.settings.preset("full").model_dump(mode="json"), "data": {}}
    return judge(study, tree)[0].finding


def test_shares_are_told_as_counts_of_those_whom_the_rule_names():
    parts = [
        stats.majority(np.arange(6) < count, coordinates={"network": network})
        for count, network in ((6, "shallow"), (2, "deep"))
    ]
    rule = "the share of members that fit by epoch 275; for each network"
    assert told("majority", rule, parts) == "Members that fit by epoch 275: 6 of 6 (shallow) and 2 of 6 (deep)."


def test_parts_with_one_outcome_are_named_together_and_numbers_stay_in_the_parts():
    parts = [
        stats.stochastic_order(
            np.arange(6.0),
            np.arange(6.0) + 10,
            larger_is_better=False,
            relation="before",
            first="arcsinh",
            second="cos",
            coordinates={"of": of},
        )
        for of in ("shallow", "deep")
    ]
    assert told("stochastic_order", "epochs to fit", parts) == "Shallow and deep: arcsinh before cos (100 % of pairs)."


def test_what_a_finding_would_mislead_without_stands_behind_it():
    parts = [stats.majority(np.ones(6, dtype=bool))]
    finding = told("majority", "the share of members", parts, beside=lambda results: "At equal steps it is not so.")
    assert finding == "Members: 6 of 6. At equal steps it is not so."


def test_a_formula_at_the_beginning_of_a_finding_stays_as_it_is_written():
    parts = [
        stats.stochastic_order(
            np.arange(6.0), np.arange(6.0) + 10, larger_is_better=False, coordinates={"of": "x*sin(x)"}
        )
    ]
    assert told("stochastic_order", "test loss", parts) == "x*sin(x): A below B (100 % of pairs)."
