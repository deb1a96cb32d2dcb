"""From parts to one sentence: the finding of a claim."""

import numpy as np
import xarray as xr

from bathymetry.claims import majority, stochastic_order
from bathymetry.claims.judging import Claim, judge
from bathymetry.stats.verdict import not_run


def finding(rule, evidence):
    """The finding of a claim with this evidence."""
    return judge("study", Claim("a", "It is so.", rule, "main", absolute=False), lambda: evidence).finding


def test_a_caveat_follows_the_finding_and_is_left_out_where_nothing_is_tested():
    holds = xr.DataArray(np.ones(6, dtype=bool), dims="member")
    assert finding(majority("members"), (holds, "At equal steps it is not so.")) == (
        "Members: 6 of 6. At equal steps it is not so."
    )
    nothing = [not_run("those networks were not run", {})]
    assert finding(majority("members"), (nothing, "Never.")) == "Those networks were not run."


def test_parts_that_are_not_tested_for_different_reasons_are_each_named_once():
    parts = [not_run("12 of 18 members are missing", {"width": "10"}), not_run("was not run", {"width": "20"})]
    assert finding(majority("members"), parts) == "Width 10: 12 of 18 members are missing; width 20: was not run."


def test_a_formula_at_the_beginning_of_a_finding_stays_as_it_is_written():
    values = xr.DataArray(
        [[np.arange(6.0), np.arange(6.0) + 10]],
        {"of": ["x*sin(x)"], "network": ["A", "B"]},
        ("of", "network", "member"),
    )
    rule = stochastic_order("test loss", "A", "B", dim="network", relation="below")
    assert finding(rule, values) == "x*sin(x): A below B (100 % of pairs)."


def test_a_claim_that_another_run_cannot_test_says_why_and_looks_at_no_evidence():
    claim = Claim("a", "It is so.", majority("members"), "main", absolute=True)
    judged = judge("study", claim, lambda: 1 / 0, "the claim needs MNIST; this run used strokes")
    assert (judged.verdict.decision, judged.verdict.parts, judged.verdict.p) == ("not tested", (), None)
    assert judged.finding == "The claim needs MNIST; this run used strokes."
