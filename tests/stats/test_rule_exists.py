"""An existence claim: one cell decides, no cell leaves it open."""

import math
from functools import partial

import numpy as np
import pytest

from bathymetry.stats import rules
from bathymetry.stats.verdict import combine

exists = partial(rules.exists, condition="meet the condition", sign="rises above chance", cell="cell of many images")
ALL, NONE, SOME = np.ones(6, dtype=bool), np.zeros(6, dtype=bool), np.arange(6) < 5


def test_one_full_cell_decides():
    part = exists({"a": NONE, "b": ALL, "c": SOME}, {}, decides="supported")
    assert (part.decision, part.estimate, part.members, part.p) == ("supported", 1.0, 6, None)
    assert part.summary == "b: 6 of 6 members meet the condition"
    assert all(math.isnan(end) for end in part.interval)


def test_a_full_cell_can_contradict():
    assert exists({"a": ALL}, {}, decides="contradicted").decision == "contradicted"


def test_five_of_six_decide_nothing():
    part = exists({"a": NONE, "b": SOME}, {}, decides="supported")
    assert part.decision == "undecided"
    assert combine("exists", [part]).reason == "no cell in which every member does"
    assert part.summary == "b: 5 of 6 members meet the condition"


def test_five_of_five_are_too_few_and_do_not_hide_a_cell_of_six():
    five = np.ones(5, dtype=bool)
    part = exists({"a": five}, {}, decides="supported")
    assert part.decision == "undecided"
    assert combine("exists", [part]).reason == "5 members, where a verdict needs 6"
    assert exists({"a": five, "b": ALL}, {}, decides="supported").decision == "supported"


def test_no_sign_in_any_cell_decides_the_other_way():
    part = exists({"a": NONE}, {"a": NONE, "b": NONE}, decides="contradicted")
    assert part.decision == "supported"
    assert part.summary == "not one of 12 members in 2 cells rises above chance"


@pytest.mark.parametrize(
    "signs", [{"a": SOME, "b": NONE}, {"a": NONE, "b": NONE[:5]}, {"b": NONE}, {"a": NONE, "b": NONE[:0]}]
)
def test_a_sign_or_too_small_a_search_leaves_it_open(signs):
    assert exists({"a": NONE}, signs, decides="contradicted").decision == "undecided"


def test_without_a_weaker_condition_absence_proves_nothing():
    assert exists({"a": NONE}, {}, decides="supported").decision == "undecided"


@pytest.mark.parametrize(("cells", "words"), [({}, "no cell of many images was run"), ({"a": NONE[:0]}, "no members")])
def test_no_cells_and_empty_cells_are_undecided_and_told_apart(cells, words):
    part = exists(cells, {}, decides="supported")
    assert (part.decision, part.members, part.summary) == ("undecided", 0, words)
