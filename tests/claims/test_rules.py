"""Each rule makes the part that its test makes, for every cell that a claim is about."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from bathymetry.claims import (
    best_of,
    correlation,
    exists,
    majority,
    median_in_interval,
    median_sign,
    stochastic_order,
)
from bathymetry.core.errors import InputError
from bathymetry.core.showing import label
from bathymetry.stats import group_tests
from bathymetry.stats.verdict import combine

RNG = np.random.default_rng(3)
NAMES = ("shallow", "middle", "deep")


def array(names=NAMES, members=8, **more):
    values = RNG.normal(size=(len(names), members))
    return xr.DataArray(values, {"network": list(names)}, ("network", "member"), **more)


def same(part, of_arrays, **coordinates):
    return part == replace(of_arrays, coordinates=coordinates)


def test_a_majority_is_judged_cell_by_cell_in_the_order_of_the_axes():
    holds = array().expand_dims(split=["train", "test"]) > 0
    parts = majority("members")(holds)
    assert [dict(part.coordinates) for part in parts] == [
        {"split": split, "network": name} for split in ("training", "test") for name in NAMES
    ]
    assert same(parts[-1], group_tests.majority(holds.values[1, 2]), split="test", network="deep")


def test_an_order_compares_two_values_along_its_axis():
    times = array().expand_dims(function=["cos"])
    (part,) = stochastic_order("epochs", "deep", "shallow", dim="network", relation="before")(times)
    deep, shallow = times.values[0, 2], times.values[0, 0]
    expected = group_tests.stochastic_order(deep, shallow, relation="before", first="deep", second="shallow")
    assert same(part, expected, function="cos")


@pytest.mark.parametrize("relation", ["above", "below"])
def test_the_best_of_several_is_compared_with_the_others(relation):
    accuracy = xr.DataArray(RNG.normal(size=(3, 8)), {"batch_size": [5, 125, 1500]}, ("batch_size", "member"))
    rule = best_of("accuracy", (125,), (5, 1500), dim="batch_size", relation=relation, named="batch {:,}")
    expected = group_tests.best_of(
        {"batch 125": accuracy.values[1]},
        {"batch 5": accuracy.values[0], "batch 1,500": accuracy.values[2]},
        relation=relation,
    )
    assert same(rule(accuracy)[0], expected)


def test_a_mean_has_its_side_by_variable_and_its_name_from_the_attributes():
    evidence = xr.Dataset({name: array(("a",))[0].drop_vars("network").assign_attrs(long_name=name) for name in "xy"})
    parts = median_sign("slopes", x="below", y="above")(evidence)
    for part, name, side in zip(parts, "xy", ("below", "above"), strict=True):
        assert same(part, group_tests.median_sign(evidence[name].values, expected=side, quantity=name), of=name)


def test_a_mean_in_an_interval():
    values = array(("a",))[0].drop_vars("network")
    expected = group_tests.median_in_interval(values.values, -1.0, 1.0)
    assert same(median_in_interval("it", -1.0, 1.0)(values)[0], expected)


def test_numbers_of_any_type_are_judged_in_double_precision():
    values = array(("a",))[0].drop_vars("network").astype(np.float32)
    assert same(median_sign("it")(values)[0], group_tests.median_sign(values.values.astype(float), expected="above"))
    assert median_sign("it")(xr.DataArray(np.arange(1, 7), dims="member"))[0].estimate == 3.5


def test_a_correlation_is_of_two_variables_cell_by_cell_without_members_that_lack_one():
    loss, ratio = (array(("relu", "tanh"), 25).rename(network="activation") for _ in range(2))
    loss[0, :4] = np.nan
    parts = correlation("it", "loss", "ratio", "below").for_each(activation=None)(
        xr.Dataset({"loss": loss, "ratio": ratio})
    )
    x, y = loss.values[0, 4:], ratio.values[0, 4:]
    expected = group_tests.correlation(x, y, expected="below", first="loss", second="ratio")
    assert same(parts[0], expected, activation=label("relu"))
    assert parts[0].members == 21


def test_existence_is_decided_over_all_cells_at_once():
    grid = xr.DataArray(np.zeros((2, 6), dtype=bool), {"images": [500, 1000]}, ("images", "member"))
    reached = grid.copy(data=[[False] * 6, [True] * 6])
    rule = exists(
        "it", "contradicted", condition="reach 99 %", sign="gets above chance", cell="cell", named="{images:,} images"
    )
    (part,) = rule(xr.Dataset({"condition": reached, "sign": reached}))
    assert part.decision == "contradicted"
    assert part.summary.startswith("1,000 images: 6 of 6 ")


def test_a_cell_that_was_not_run_keeps_the_claim_from_being_supported():
    rule = majority("members").for_each(network=NAMES)
    parts = rule(array(("shallow", "deep")) > -100)
    assert [part.decision for part in parts] == ["supported", "not tested", "supported"]
    assert combine("majority", tuple(parts)).decision == "undecided"


def test_a_run_without_any_cell_of_a_claim_is_one_part_that_says_so():
    (part,) = majority("members").for_each(network=NAMES)(array(("9-9",)) > 0)
    assert "networks shallow, middle and deep" in part.summary
    (part,) = stochastic_order("epochs", "deep", "shallow", dim="network", relation="before")(array(("shallow",)))
    assert part.summary.endswith("network deep")


def test_a_claim_may_be_asked_of_networks_of_ones_own():
    rule = majority("members").for_each(network=NAMES, own=True)
    assert [part.coordinates["network"] for part in rule(array(("9-9", "deep")) > 0)] == ["9-9", "deep"]
    assert [part.coordinates["network"] for part in rule(array(("deep",)) > 0)] == list(NAMES)


@pytest.mark.parametrize("side", ["above", "below"])
def test_the_argument_that_decides_the_direction_is_that_of_the_words(side):
    assert f"A {side} B," in stochastic_order("it", "A", "B", dim="network", relation=side).how
    assert f"Supported if A is {side} B " in best_of("it", ["A"], ["B"], dim="network", relation=side).how
    assert f"lies {side} zero" in median_sign("it", side).how
    assert f"lies {side} zero for loss" in median_sign("it", loss=side).how
    assert f"lies {side} zero" in correlation("it", "loss", "ratio", side).how


@pytest.mark.parametrize("decides", ["supported", "contradicted"])
def test_what_a_cell_decides_is_that_of_the_words(decides):
    assert exists("it", decides, **EXISTS).how.startswith(f"{decides.capitalize()} by one cell")


BEST = {"dim": "network", "relation": "above"}
EXISTS = {"condition": "fit", "sign": "starts", "cell": "cell", "named": "{network}"}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda odd: majority(odd), "who = .*: expected text"),
        (lambda odd: median_sign(odd), "what = .*: expected text"),
        (lambda odd: median_sign("it", odd), "expected = .*: expected 'above' or 'below'"),
        (lambda odd: median_sign("it", loss=odd), "loss = .*: expected 'above' or 'below'"),
        (lambda odd: median_sign("it", shown=odd), "shown = .*: expected a Transform"),
        (lambda odd: median_sign("it", unit=odd), "unit = .*: expected text"),
        (lambda odd: stochastic_order("it", "a", "b", dim="network", relation=odd), "relation = .*: expected 'above'"),
        (lambda odd: best_of("it", ("a",), ("b",), dim="network", relation=odd), "relation = .*: expected 'above'"),
        (lambda odd: best_of("it", (), ("b",), **BEST), "candidates = none: expected at least one value"),
        (lambda odd: best_of("it", ("a",), (), **BEST), "others = none: expected at least one value"),
        (lambda odd: median_in_interval("it", odd, 1.0), "low = .*: expected (one|a) number"),
        (lambda odd: median_in_interval("it", 2.0, 1.0), r"low = 2\.0: expected at most high, 1"),
        (lambda odd: median_in_interval("it", 0.0, 1.0, as_percent=odd), "as_percent = .*: expected True or False"),
        (lambda odd: correlation("it", odd, "loss", "above"), "first = .*: expected the name of a variable"),
        (lambda odd: correlation("it", "loss", "ratio", odd), "expected = .*: expected 'above' or 'below'"),
        (lambda odd: exists("it", odd, **EXISTS), "decides = .*: expected 'supported' or 'contradicted'"),
        (lambda odd: exists("it", "supported", **{**EXISTS, "sign": odd}), "sign = .*: expected text"),
    ],
)
def test_an_argument_of_another_kind_is_named_in_one_sentence(make, words):
    for odd in (3j, None, [], ["A"], np.ones(3), torch.ones(2), object(), b"x"):
        with pytest.raises(InputError, match=f"^{words}.*$"):
            make(odd)


HOLDS, VALUES = array() > 0, array()


@pytest.mark.parametrize(
    ("rule", "evidence", "words"),
    [
        (majority("members"), VALUES, "evidence = float64 values: expected one boolean per member"),
        (majority("members"), HOLDS.astype(int), "evidence = int64 values: expected one boolean per member"),
        (median_sign("it"), HOLDS, "evidence = bool values: expected one number per member"),
        (median_sign("it"), VALUES.astype(complex), "evidence = complex128 values: expected one number per member"),
        (median_in_interval("it", 0, 1), VALUES.astype(str), "evidence = <U.* values: expected one number per member"),
        (median_sign("it"), VALUES[:, 0], r"evidence = axes \('network',\): expected the axis 'member'"),
        (best_of("it", ("a",), ("b",), dim="batch", relation="above"), VALUES, "expected the axis 'batch'"),
        (stochastic_order("it", "a", "b", dim="batch", relation="below"), VALUES, "expected the axis 'batch'"),
        (correlation("it", "loss", "ratio", "above"), VALUES, "DataArray: expected a Dataset with loss and ratio"),
        (correlation("it", "loss", "ratio", "above"), xr.Dataset({"loss": VALUES}), "with loss and ratio"),
        (exists("it", "supported", **EXISTS), xr.Dataset({"condition": VALUES, "sign": VALUES}), "one boolean"),
        (majority("members"), 3, "evidence = 3: expected labelled arrays or parts"),
        (majority("members"), [1.0], r"evidence = 1\.0: expected a part"),
    ],
)
def test_evidence_of_another_kind_is_named_in_one_sentence(rule, evidence, words):
    with pytest.raises(InputError, match=f"^.*{words}.*$"):
        rule(evidence)


def test_no_members_leave_a_claim_undecided():
    for rule in (majority("members"), median_sign("it"), median_in_interval("it", 0.0, 1.0)):
        (part,) = rule(xr.DataArray([], dims="member"))
        assert (part.decision, part.members, part.p) == ("undecided", 0, None)


def test_a_claim_that_names_texts_where_the_coordinates_are_numbers_is_refused():
    rates = xr.DataArray(np.arange(12.0).reshape(2, 6), {"rate": [0.01, 0.001]}, ("rate", "member"))
    rule = stochastic_order("loss", "0.01", "0.001", dim="rate", relation="below")
    with pytest.raises(
        InputError, match=r"^rate = '0.01' and '0.001': expected one of the coordinates, 0.01 and 0.001"
    ):
        rule(rates)


def test_a_rule_calls_the_values_that_it_compares_as_it_is_asked_to():
    rates = xr.DataArray(np.arange(12.0).reshape(2, 6), {"rate": [0.01, 0.001]}, ("rate", "member"))
    rule = stochastic_order("loss", 0.01, 0.001, dim="rate", relation="below", named="rate {}")
    (part,) = rule(rates)
    assert part.summary.startswith("rate 0.01 below rate 0.001 in 100 % of pairs")
    assert rule.words.startswith("loss, rate 0.01 below rate 0.001. Supported if")
