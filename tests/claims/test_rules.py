"""Each rule makes the part that its test makes, for every cell that a claim is about."""

import numpy as np
import pytest
import xarray as xr

from bathymetry import stats
from bathymetry.claims import (
    best_of,
    correlation,
    exists,
    majority,
    mean_in_interval,
    mean_sign,
    stochastic_order,
)

RNG = np.random.default_rng(3)
NAMES = ("shallow", "middle", "deep")


def array(names=NAMES, members=8, **more):
    values = RNG.normal(size=(len(names), members))
    return xr.DataArray(values, {"network": list(names)}, ("network", "member"), **more)


def same(part, other):
    return (part.decision, part.estimate, part.interval, part.p, part.summary, part.coordinates) == (
        other.decision, other.estimate, other.interval, other.p, other.summary, other.coordinates,
    )  # fmt: skip


def test_a_majority_is_judged_cell_by_cell_in_the_order_of_the_axes():
    holds = array().expand_dims(split=["train", "test"]) > 0
    parts = majority("members")(holds)
    assert [dict(part.coordinates) for part in parts] == [
        {"split": split, "network": name} for split in ("training", "test") for name in NAMES
    ]
    expected = stats.majority(holds.values[1, 2], coordinates={"split": "test", "network": "deep"})
    assert same(parts[-1], expected)


def test_an_order_compares_two_values_along_its_axis():
    times = array().expand_dims(function=["cos"])
    (part,) = stochastic_order("epochs", "deep", "shallow", dim="network")(times)
    expected = stats.stochastic_order(
        times.values[0, 2], times.values[0, 0], larger_is_better=False, relation="before", first="deep",
        second="shallow", coordinates={"function": "cos"},
    )  # fmt: skip
    assert same(part, expected)


@pytest.mark.parametrize(("relation", "larger"), [("above", True), ("below", False)])
def test_the_best_of_several_is_held_against_the_others(relation, larger):
    accuracy = xr.DataArray(RNG.normal(size=(3, 8)), {"batch_size": [5, 125, 1500]}, ("batch_size", "member"))
    rule = best_of("accuracy", (125,), (5, 1500), dim="batch_size", relation=relation, named="batch {:,}")
    expected = stats.best_of(
        {"batch 125": accuracy.values[1]},
        {"batch 5": accuracy.values[0], "batch 1,500": accuracy.values[2]},
        larger_is_better=larger,
    )
    assert same(rule(accuracy)[0], expected)


def test_a_mean_has_its_side_by_variable_and_its_name_from_the_attributes():
    evidence = xr.Dataset({name: array(("a",))[0].drop_vars("network").assign_attrs(long_name=name) for name in "xy"})
    parts = mean_sign("slopes", x="below", y="above")(evidence)
    for part, name, side in zip(parts, "xy", ("below", "above"), strict=True):
        values = evidence[name].values
        assert same(part, stats.mean_sign(values, expected=side, quantity=name, coordinates={"of": name}))


def test_a_mean_in_an_interval():
    values = array(("a",))[0].drop_vars("network")
    expected = stats.mean_in_interval(values.values, -1.0, 1.0)
    assert same(mean_in_interval("it", -1.0, 1.0)(values)[0], expected)


def test_a_correlation_is_of_two_variables_cell_by_cell_without_members_that_lack_one():
    loss, ratio = (array(("relu", "tanh"), 25).rename(network="activation") for _ in range(2))
    loss[0, :4] = np.nan
    parts = correlation("it", "loss", "ratio", "below").for_each(activation=None)(
        xr.Dataset({"loss": loss, "ratio": ratio})
    )
    expected = stats.correlation(
        loss.values[0, 4:], ratio.values[0, 4:], expected="below", first="loss", second="ratio",
        coordinates={"activation": "ReLU"},
    )  # fmt: skip
    assert same(parts[0], expected)
    assert parts[0].members == 21


def test_existence_is_decided_over_all_cells_at_once():
    grid = xr.DataArray(np.zeros((2, 6), dtype=bool), {"images": [500, 1000]}, ("images", "member"))
    reached = grid.copy(data=[[False] * 6, [True] * 6])
    rule = exists(
        "it", "contradicted", condition="reach 99 %", sign="gets above chance", cell="cell", named="{images:,} images"
    )
    (part,) = rule(xr.Dataset({"condition": reached, "sign": reached}))
    assert (part.decision, part.summary) == ("contradicted", "1,000 images: 6 of 6 members reach 99 %")


def test_a_cell_that_was_not_run_keeps_the_claim_from_being_supported():
    rule = majority("members").for_each(network=NAMES)
    parts = rule(array(("shallow", "deep")) > -100)
    assert [part.decision for part in parts] == ["supported", "not tested", "supported"]
    assert stats.combine("majority", tuple(parts)).decision == "undecided"


def test_a_run_without_any_cell_of_a_claim_is_one_part_that_says_so():
    (part,) = majority("members").for_each(network=NAMES)(array(("9-9",)) > 0)
    assert part.reason == "this run did not include network shallow, middle and deep"
    (part,) = stochastic_order("epochs", "deep", "shallow", dim="network")(array(("shallow",)))
    assert part.reason == "this run did not include network deep"


def test_a_claim_may_be_asked_of_networks_of_ones_own():
    rule = majority("members").for_each(network=NAMES, own=True)
    assert [part.coordinates["network"] for part in rule(array(("9-9", "deep")) > 0)] == ["9-9", "deep"]
    assert [part.coordinates["network"] for part in rule(array(("deep",)) > 0)] == list(NAMES)


def test_the_words_of_a_rule_name_the_axes_along_which_it_has_several_cells():
    rule = majority("members that fit").for_each(function=["arcsinh"], network=NAMES)
    assert rule.words == "the share of members that fit; for each network"
