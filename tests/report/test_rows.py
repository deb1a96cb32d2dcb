"""The rows of claims: which part is drawn, where, and on which side."""

import math

import numpy as np
import pytest

from bathymetry.claims.judging import Judged, ReferenceVerdict
from bathymetry.report.rows import WIDTH, deciding, rows_of
from bathymetry.stats import Part, Verdict
from bathymetry.stats.verdict import combine

MIDDLE = WIDTH / 2


def part(estimate, interval=None, p=None, decision="undecided", direction="neither", summary="", **coordinates):
    ends = interval or (math.nan, math.nan)
    return Part(decision, estimate, ends, p, 10, summary, coordinates, direction=direction)


def judged(kind, *parts, decision=None, reference=None, letter="a"):
    verdict = combine(kind, parts) if decision is None else Verdict(kind, decision, parts, 10, None)
    return Judged(f"study.{letter}", "It is.", "a rule", verdict, "It is so.", reference=reference)


def only_lane(*claims, **options):
    ((rows,),) = (one.rows for one in rows_of(claims, reference_leads=False, **options))
    (lane,) = rows.lanes
    return lane


def test_a_share_of_one_half_lies_on_the_deciding_line_with_as_much_of_its_interval_on_both_sides():
    lane = only_lane(judged("majority", part(0.5, (0.0, 1.0), 1.0)))
    assert lane.at == MIDDLE
    assert lane.low == WIDTH - lane.high
    (group,) = rows_of([judged("majority", part(0.5, (0.0, 1.0), 1.0))], reference_leads=False)
    assert group.axis.neutral == MIDDLE
    assert lane.effect == "5 of 10"


@pytest.mark.parametrize(("estimate", "interval"), [(-0.2, (-0.3, -0.1)), (0.2, (0.1, 0.3))])
@pytest.mark.parametrize("direction", ["for", "against"])
def test_what_speaks_for_a_claim_is_right_of_the_line_whatever_its_sign(estimate, interval, direction):
    decision = "supported" if direction == "for" else "contradicted"
    lane = only_lane(judged("median_sign", part(estimate, interval, 0.001, decision, direction)))
    assert (lane.at > MIDDLE) == (lane.low > MIDDLE) == (direction == "for")
    assert abs(lane.at - MIDDLE) == pytest.approx(2 / 3 * (MIDDLE - 9), abs=0.1)


def test_both_runs_of_a_claim_share_a_scale():
    wide = Verdict("median_sign", "undecided", (part(1.0, (-4.0, 6.0), 0.6, direction="for"),), 10, 0.6)
    narrow = judged("median_sign", part(1.0, (0.5, 1.5), 0.01, "supported", "for"))
    claim = Judged("s.a", "", "", narrow.verdict, "", reference=ReferenceVerdict(wide, "", None, "1"))
    (group,) = rows_of([claim], reference_leads=True)
    there, here = group.rows[0].lanes
    assert (there.run, here.run) == ("reference", "this")
    assert there.at == here.at
    assert there.high - there.low == pytest.approx(10 * (here.high - here.low), abs=1.1)  # places are rounded to 0.1


def test_what_has_no_interval_is_not_drawn_but_counted():
    lane = only_lane(judged("exists", part(1.0, summary="hidden 64: 6 of 6 members reach 99 %", decision="supported")))
    assert lane.at is None
    assert lane.effect == "6 of 6"


def test_parts_with_an_estimate_are_drawn_where_the_one_that_decides_has_none():
    nowhere = part(float("nan"), (float("nan"),) * 2, 1.0)
    lane = only_lane(judged("correlation", part(-0.6, (-0.8, -0.3), 0.01, "supported"), nowhere))
    assert lane.at is None
    assert len(lane.others) == 1


def test_a_claim_that_was_not_tested_says_why_in_its_lane():
    verdict = Verdict("majority", "not tested", (), 0, None, "the claim needs MNIST; this run used strokes")
    claim = Judged("s.a", "", "", verdict, "")
    assert only_lane(claim).note == "other data or schedule"


def test_claims_with_one_statistic_stand_together_in_the_order_in_which_it_first_occurs():
    kinds = ["majority", "stochastic_order", "majority", "best_of", "correlation"]
    claims = [
        judged(kind, part(0.5, (0.4, 0.6), 0.5), letter=letter) for kind, letter in zip(kinds, "abcde", strict=True)
    ]
    groups = rows_of(claims, reference_leads=False)
    assert [[row.letter for row in group.rows] for group in groups] == [["a", "c"], ["b", "d"], ["e"]]


def test_the_part_that_is_drawn_is_the_one_that_p_is_of():
    """Against the definition: p of a verdict is that of one part, alone or times the number of parts."""
    generator = np.random.default_rng(0)
    checked = 0
    for _ in range(300):
        parts = []
        for _ in range(generator.integers(1, 5)):
            p, direction = float(generator.uniform(0, 0.12)), str(generator.choice(["for", "against"]))
            clear = {"for": "supported", "against": "contradicted"}[direction] if p < 0.05 else "undecided"
            parts.append(part(0.1, (0.0, 0.2), p, clear, direction))
        verdict = combine("median_sign", parts)
        drawn = deciding(verdict)
        times = 1 if verdict.decision == "supported" else len(parts)
        against = [one for one in parts if one.direction == "against"]
        if verdict.decision != "supported" and not against:
            times = 1
        assert min(1.0, drawn.p * times) == pytest.approx(verdict.p)
        checked += len(parts) > 1
    assert checked > 200
