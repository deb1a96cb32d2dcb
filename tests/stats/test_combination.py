"""Parts into a verdict: held against the rule written out slowly, for made-up parts and for parts of every rule."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bathymetry.stats import Part
from bathymetry.stats.group_tests import (
    best_of,
    correlation,
    majority,
    median_in_interval,
    median_sign,
    stochastic_order,
)
from bathymetry.stats.verdict import combine, not_run

DIRECTIONS = {"supported": "for", "contradicted": "against"}


def part(decision, p=0.5, members=10, **coordinates):
    direction = DIRECTIONS.get(decision, "neither")
    return Part(decision, 0.0, (0.0, 0.0), p, members, "", coordinates, direction=direction)


@st.composite
def made_up(draw):
    """A part as a rule makes it: decided exactly if p is below 5 %, or without p and then undecided."""
    p = draw(st.one_of(st.none(), st.floats(0, 0.06), st.floats(0, 1)))
    direction = draw(st.sampled_from(["for", "against"]))
    decision = "undecided"
    if p is not None and p < 0.05:
        decision = "supported" if direction == "for" else "contradicted"
    return Part(decision, 0.0, (0.0, 0.0), p, 10, "", direction=direction)


@given(st.lists(made_up(), min_size=1, max_size=7))
def test_decision_and_p_are_those_of_the_rule_written_out(parts):
    n = len(parts)
    verdict = combine("stochastic_order", parts)
    worst = [each.p for each in parts if each.p is not None and each.direction == "against"]
    if all(each.decision == "supported" for each in parts):
        assert (verdict.decision, verdict.p) == ("supported", max(each.p for each in parts))
    elif any(n * p < 0.05 for p in worst):
        assert (verdict.decision, verdict.p) == ("contradicted", n * min(worst))
    elif worst:
        assert (verdict.decision, verdict.p) == ("undecided", min(1.0, n * min(worst)))
    elif any(each.p is None for each in parts):
        assert (verdict.decision, verdict.p) == ("undecided", None)
    else:
        assert (verdict.decision, verdict.p) == ("undecided", max(each.p for each in parts))


@given(st.lists(made_up(), min_size=1, max_size=7))
def test_a_claim_is_decided_exactly_where_its_p_is_below_five_per_cent(parts):
    verdict = combine("stochastic_order", parts)
    assert (verdict.decision in ("supported", "contradicted")) == (verdict.p is not None and verdict.p < 0.05)


GROUP = st.integers(0, 14)
NUMBERS = st.one_of(st.integers(-9, 9).map(float), st.just(np.nan))


def rules(numbers, other, holds):
    """One part of every rule that has a test."""
    a, b = np.array(numbers), np.array(other)
    few = a[: min(len(a), len(b))], b[: min(len(a), len(b))]
    return {
        "majority": majority(np.array(holds, dtype=bool)),
        "stochastic_order": stochastic_order(a, b, relation="below"),
        "best_of": best_of({"x": a, "y": b}, {"u": a[::-1] + 1, "v": b - 3, "w": b + 2}, relation="above"),
        "median_sign": median_sign(a, expected="above"),
        "median_in_interval": median_in_interval(a, -3.0, 3.0),
        "correlation": correlation(*few, expected="below", least=6),
    }


@given(st.lists(NUMBERS, max_size=14), st.lists(NUMBERS, max_size=14), st.lists(st.booleans(), max_size=14))
def test_every_rule_decides_exactly_where_its_p_is_below_five_per_cent(numbers, other, holds):
    for name, one in rules(numbers, other, holds).items():
        decided = one.decision in ("supported", "contradicted")
        assert decided == (one.p is not None and one.p < 0.05), name
        assert one.p is None or one.members >= 6, name
        if decided:
            assert one.direction == ("for" if one.decision == "supported" else "against"), name
        verdict = combine(name, [one, one, one])
        assert verdict.decision != "contradicted" or verdict.p < 0.05, name


@given(st.lists(NUMBERS, max_size=14), st.lists(NUMBERS, max_size=14), st.lists(st.booleans(), max_size=14))
def test_no_interval_says_otherwise_than_p(numbers, other, holds):
    lines = {"majority": 0.5, "stochastic_order": 0.5, "best_of": 0.5, "median_sign": 0.0, "correlation": 0.0}
    for name, one in rules(numbers, other, holds).items():
        low, high = one.interval
        if name not in lines or one.p is None or np.isnan(low):
            continue
        if (
            one.decision == "undecided" and name != "best_of"
        ):  # a best claim has further pairs than the one that is shown
            assert low <= lines[name] <= high, name
        elif one.decision != "undecided":
            assert low >= lines[name] or high <= lines[name], name


def test_one_contradicting_part_of_several_must_be_clear_at_the_share_of_the_level():
    assert (
        combine("stochastic_order", [part("contradicted", 0.024), part("supported", 0.01)]).decision == "contradicted"
    )
    verdict = combine("stochastic_order", [part("contradicted", 0.026, network="deep"), part("supported", 0.01)])
    assert (verdict.decision, verdict.p) == ("undecided", 0.052)
    assert "deep" in verdict.reason


@pytest.mark.parametrize(("counts", "limit"), [((0, 6), True), ((0, 6, 6), True), ((3, 6), False), ((6, 6), False)])
def test_with_six_members_a_majority_over_several_parts_cannot_be_contradicted(counts, limit):
    verdict = combine("majority", [majority(np.arange(6) < count) for count in counts])
    assert verdict.decision == ("supported" if set(counts) == {6} else "undecided")
    assert ("cannot be contradicted" in verdict.reason) == limit


def test_with_eight_members_it_can_and_nothing_is_said_of_it():
    verdict = combine("majority", [majority(np.zeros(8, dtype=bool)), majority(np.ones(8, dtype=bool))])
    assert (verdict.decision, verdict.p, verdict.reason) == ("contradicted", 2 * 2 / 256, "")
    half = combine("majority", [majority(np.arange(8) < 3), majority(np.ones(8, dtype=bool))])
    assert "cannot be contradicted" not in half.reason


def test_existence_needs_no_p():
    cell = replace(part("supported"), p=None)
    assert (combine("exists", [cell]).decision, combine("exists", [cell]).p) == ("supported", None)
    assert combine("exists", [replace(part("contradicted"), p=None), cell]).decision == "contradicted"


def test_no_parts_are_not_tested():
    verdict = combine("majority", [])
    assert (verdict.decision, verdict.members, verdict.p) == ("not tested", 0, None)


def test_a_part_that_was_not_run_keeps_the_rest_from_supporting_and_counts_as_a_part():
    deep = not_run("was not run", {"network": "deep"})
    verdict = combine("stochastic_order", [part("supported", 0.001), deep])
    assert (verdict.decision, verdict.p, verdict.members) == ("undecided", None, 10)
    assert "deep" in verdict.reason
    assert combine("stochastic_order", [deep, part("contradicted", 0.02)]).p == 0.04
    assert combine("stochastic_order", [deep, part("contradicted", 0.03)]).decision == "undecided"
    assert combine("stochastic_order", [deep, deep]).decision == "not tested"


def test_parts_that_cannot_decide_have_no_p():
    assert majority(np.ones(5, dtype=bool)).p is None
    assert stochastic_order(np.arange(5.0), np.arange(9.0), relation="below").p is None
    assert best_of({"it": np.arange(6.0)}, {"a": np.arange(9.0), "b": np.arange(5.0)}, relation="above").p is None
    assert median_sign(np.array([1.0] * 5 + [np.nan]), expected="above").p is None
    assert correlation(np.arange(19.0), np.arange(19.0), expected="above").p is None
    assert median_in_interval(np.arange(5.0), 0.0, 9.0).p is None
    assert median_in_interval(np.append(np.arange(6.0), np.nan), -9.0, 9.0).p is None
    assert median_in_interval(np.append(np.arange(6.0), np.nan), -99.0, -90.0).p < 0.05


def test_members_are_those_of_the_smallest_part():
    assert combine("majority", [part("supported", 0.01, members=10), part("supported", 0.01, members=7)]).members == 7


def test_the_reason_names_the_parts_in_the_way():
    verdict = combine(
        "stochastic_order",
        [
            part("supported", p=0.01, network="deep"),
            part("undecided", members=5, network="shallow", function="cos"),
        ],
    )
    assert "for shallow, cos (5 members" in verdict.reason
    assert "deep" not in verdict.reason


@pytest.mark.parametrize("decisions", list(product(["supported", "contradicted", "undecided"], repeat=2)))
def test_the_order_of_the_parts_does_not_matter(decisions):
    parts = [part(decision, p) for decision, p in zip(decisions, (0.01, 0.04), strict=True)]
    one, other = combine("stochastic_order", parts), combine("stochastic_order", parts[::-1])
    assert (one.decision, one.p, one.members) == (other.decision, other.p, other.members)


def test_a_verdict_shows_itself_in_a_notebook_with_its_words_escaped():
    one = replace(part("supported", 0.01, network="<deep>"), summary="<script>")
    html = combine("stochastic_order", [one])._repr_html_()
    assert "<b>supported</b>, p = 0.01" in html
    assert "&lt;script&gt;" in html
    assert "&lt;deep&gt;" in html
    assert "<script>" not in html
