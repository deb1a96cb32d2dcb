import json
from pathlib import Path

import pytest

from bathymetry.studies import kept, shipped
from bathymetry.studies.kept import kept_verdicts

RESULTS = Path(__file__).parents[2] / "results" / "claims.json"


def test_every_claim_of_every_study_has_the_verdict_of_a_kept_full_run():
    claims = {f"{study.name}.{claim.letter}" for study in shipped() for claim in study.claims}
    assert kept_verdicts().keys() == claims
    assert all(one.verdict in ("supported", "contradicted", "undecided") for one in kept_verdicts().values())


def test_a_verdict_of_an_earlier_version_that_was_not_judged_is_one_that_is_not_tested(monkeypatch, tmp_path):
    (tmp_path / "kept_claims.json").write_text('[{"id": "x.a", "verdict": "not judged", "finding": "", "members": 0}]')
    monkeypatch.setattr(kept, "files", lambda package: tmp_path)
    assert kept.kept_verdicts.__wrapped__()["x.a"].verdict == "not tested"


@pytest.mark.skipif(not RESULTS.exists(), reason="the kept results lie beside the package only in its repository")
def test_the_verdicts_that_ship_are_those_of_the_kept_results():
    kept = {one["id"]: (one["verdict"], one["finding"]) for one in json.loads(RESULTS.read_text())}
    assert {name: (one.verdict, one.finding) for name, one in kept_verdicts().items()} == kept
