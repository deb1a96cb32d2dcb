"""Parts into a verdict: every combination of decisions, and the p that goes with it."""

from itertools import product

import numpy as np
import pytest

from bathymetry.statistics import Part, combine, share


def part(decision, p=0.5, members=10, reason="", **coordinates):
    return Part(decision, 0.0, (0.0, 0.0), p, members, "", coordinates, reason)


@pytest.mark.parametrize("decisions", list(product(["supported", "contradicted", "undecided"], repeat=3)))
def test_each_must_support_and_any_contradicts(decisions):
    verdict = combine("share", [part(d) for d in decisions])
    if "contradicted" in decisions:
        assert verdict.decision == "contradicted"
    elif "undecided" in decisions:
        assert verdict.decision == "undecided"
    else:
        assert verdict.decision == "supported"
    assert [p.decision for p in verdict.parts] == list(decisions)


def test_p_is_the_largest_when_supported():
    assert combine("order", [part("supported", 0.01), part("supported", 0.03)]).p == 0.03


def test_p_against_a_claim_is_the_smallest_against_it_times_the_number_of_parts():
    parts = [part("contradicted", 0.01), part("supported", 0.004), part("supported", 0.5)]
    assert combine("order", parts).p == pytest.approx(0.03)
    assert combine("order", [part("contradicted", 0.7)] * 3).p == 1.0


def test_existence_and_what_is_not_judged_have_no_p():
    assert combine("exists", [part("supported", 0.01)]).p is None
    assert combine("share", [part("not judged", 0.01)]).p is None
    assert combine("share", []).p is None


def test_no_parts_are_not_judged():
    verdict = combine("share", [])
    assert (verdict.decision, verdict.members, verdict.reason) == ("not judged", 0, "there was nothing to judge")


def test_a_part_that_was_not_judged_keeps_the_rest_from_supporting():
    verdict = combine("share", [part("supported"), part("not judged", None, reason="other data", network="deep")])
    assert verdict.decision == "undecided"
    assert verdict.reason == "supported in 1 of 2 parts; not judged for deep (other data)"
    assert combine("share", [part("not judged"), part("contradicted")]).decision == "contradicted"
    assert combine("share", [part("not judged", reason="x")] * 2).reason == "x"


def test_members_are_those_of_the_smallest_part():
    assert combine("share", [part("supported", members=10), part("supported", members=7)]).members == 7


def test_the_reason_names_the_parts_in_the_way():
    verdict = combine(
        "share",
        [part("supported", network="deep"), part("undecided", reason="5 members", network="shallow", function="cos")],
    )
    assert verdict.reason == "supported in 1 of 2 parts; undecided for shallow, cos (5 members)"


def test_one_reason_for_all_is_said_once_and_a_decided_claim_needs_none():
    assert combine("share", [part("undecided", reason="5 members")] * 3).reason == "5 members"
    assert combine("share", [part("supported"), part("contradicted")]).reason == ""


def test_the_p_of_a_contradicted_claim_comes_from_the_parts_that_contradict_it():
    verdict = combine("share", [share(np.ones(20, dtype=bool)), share(np.zeros(6, dtype=bool))])
    assert verdict.decision == "contradicted"
    assert verdict.p == pytest.approx(2 * 0.03125)


def test_an_undecided_claim_is_no_surer_than_its_least_sure_part():
    verdict = combine("share", [share(np.ones(20, dtype=bool)), share(np.array([True, False] * 4))])
    assert verdict.decision == "undecided"
    assert verdict.p == 1.0
