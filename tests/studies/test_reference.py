import json
from pathlib import Path

import pytest

from bathymetry.report.reference import reference_verdicts
from bathymetry.studies import find
from bathymetry.studies.catalogue import SHIPPED

RESULTS = Path(__file__).parents[2] / "results"


def test_every_claim_of_every_study_has_the_verdict_of_a_full_run_and_the_version_that_made_it():
    claims = {f"{name}.{claim.letter}" for name in SHIPPED for claim in find(name).claims()}
    assert reference_verdicts().keys() == claims
    assert all(one.decision in ("supported", "contradicted", "undecided") for one in reference_verdicts().values())
    assert all(one.version for one in reference_verdicts().values())


@pytest.mark.skipif(not RESULTS.exists(), reason="the results lie next to the package only in its repository")
def test_the_verdicts_that_ship_are_those_of_the_results_in_the_repository():
    made = {one["id"]: (one["verdict"], one["finding"]) for one in json.loads((RESULTS / "claims.json").read_text())}
    assert {name: (one.decision, one.finding) for name, one in reference_verdicts().items()} == made
    provenance = json.loads((RESULTS / "provenance.json").read_text())
    for name, one in reference_verdicts().items():
        assert one.version == provenance[name.partition(".")[0]]["provenance"]["versions"]["bathymetry"]
