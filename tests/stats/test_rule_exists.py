"""An existence claim: one cell decides, no cell leaves it open."""

import math
from functools import partial

import numpy as np
import pytest

from bathymetry.stats import group_tests

exists = partial(
    group_tests.exists, condition="meet the condition", sign="rises above chance", cell="cell of many images"
)
ALL, NONE, SOME = np.ones(6, dtype=bool), np.zeros(6, dtype=bool), np.arange(6) < 5


def test_one_full_cell_decides():
    part = exists({"a": NONE, "b": ALL, "c": SOME}, {}, decides="supported")
    assert (part.decision, part.estimate, part.members, part.p) == ("supported", 1.0, 6, None)
    assert part.summary.startswith("b: 6 of 6 members")
    assert all(math.isnan(end) for end in part.interval)


def test_a_full_cell_can_contradict():
    assert exists({"a": ALL}, {}, decides="contradicted").decision == "contradicted"


def test_five_of_six_decide_nothing():
    part = exists({"a": NONE, "b": SOME}, {}, decides="supported")
    assert part.decision == "undecided"
    assert part.summary.startswith("b: 5 of 6 members")


def test_five_of_five_are_too_few_and_do_not_hide_a_cell_of_six():
    five = np.ones(5, dtype=bool)
    assert exists({"a": five}, {}, decides="supported").decision == "undecided"
    assert exists({"a": five, "b": ALL}, {}, decides="supported").decision == "supported"


def test_no_sign_in_any_cell_decides_the_other_way():
    part = exists({"a": NONE}, {"a": NONE, "b": NONE}, decides="contradicted")
    assert part.decision == "supported"
    assert "12 members in 2 cells" in part.summary


@pytest.mark.parametrize(
    "signs", [{"a": SOME, "b": NONE}, {"a": NONE, "b": NONE[:5]}, {"b": NONE}, {"a": NONE, "b": NONE[:0]}]
)
def test_a_sign_or_too_small_a_search_leaves_it_open(signs):
    assert exists({"a": NONE}, signs, decides="contradicted").decision == "undecided"


def test_without_a_weaker_condition_absence_proves_nothing():
    assert exists({"a": NONE}, {}, decides="supported").decision == "undecided"


def test_no_cells_and_empty_cells_are_undecided_and_differ_in_words():
    neither = [exists(cells, {}, decides="supported") for cells in ({}, {"a": NONE[:0]})]
    assert [(part.decision, part.members) for part in neither] == [("undecided", 0)] * 2
    assert len({part.summary for part in neither}) == 2
