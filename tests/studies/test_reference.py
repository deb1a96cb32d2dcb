import json
from pathlib import Path

import numpy as np
import pytest

from bathymetry.core.showing import plain
from bathymetry.execution.load_study import load_study
from bathymetry.report.page_json import claim_fields
from bathymetry.report.reference import reference_answers, reference_verdicts
from bathymetry.report.sections import card_of
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


@pytest.mark.skipif(not RESULTS.exists(), reason="the results lie next to the package only in its repository")
@pytest.mark.parametrize("study", SHIPPED)
def test_the_answers_and_small_charts_that_ship_are_those_of_the_results_in_the_repository(study):
    run, shipped = load_study(RESULTS / study), reference_answers()[study]
    assert shipped.sentence == run.answer
    assert shipped.chart == json.loads(json.dumps(card_of(run)))


def assert_equal_numbers(here, there):
    """Equal to nine digits; None, where there is no such number, is NaN."""
    assert np.array(here, dtype=float) == pytest.approx(np.array(there, dtype=float), rel=1e-9, nan_ok=True)


@pytest.mark.skipif(not RESULTS.exists(), reason="the results lie next to the package only in its repository")
@pytest.mark.parametrize("study", SHIPPED)
def test_the_verdicts_follow_from_the_results_in_the_repository(study):
    stored = [one for one in json.loads((RESULTS / "claims.json").read_text()) if one["id"].startswith(f"{study}.")]
    judged = [plain(claim_fields(claim)) for claim in load_study(RESULTS / study).claims]
    for here, there in zip(judged, stored, strict=True):
        assert here["finding"] == there["finding"]
        assert here["verdict"] == there["verdict"]
        assert_equal_numbers(here["p"], there["p"])
        for part, other in zip(here["parts"], there["parts"], strict=True):
            for name in ("estimate", "interval"):
                assert_equal_numbers(part[name], other[name])


@pytest.mark.skipif(not RESULTS.exists(), reason="the results lie next to the package only in its repository")
def test_the_results_in_the_repository_are_those_of_the_full_preset_on_mnist_and_take_ten_megabytes_at_most():
    for name in SHIPPED:
        run = load_study(RESULTS / name)
        assert run.study == find(name).preset(
            "full", **({"data": run.study.data} if "data" in run.study.__class__.model_fields else {})
        )
        assert {"mnist"} >= {one for one in run.results.attrs["data"] if one in ("mnist", "strokes", "digits")}
    assert sum(one.stat().st_size for one in RESULTS.rglob("*") if one.is_file()) < 10_000_000
