"""Make the reference verdicts from the stored results of the reference run.

    python docs/reference.py [FOLDER ...]

A folder is one that `bathymetry run --preset full` wrote: the results of its studies replace those in `results/`. Then
every claim is judged from the results in `results/` as the current version judges, p is adjusted over all claims, and
figures, `results/claims.json`, `results/provenance.json` and what the package has of them are written: verdicts, and
for the page's cards the answer of each study with its small chart.
Nothing is written by hand. Afterwards docs/tables.py writes the tables.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from bathymetry.charts.sheet import draw_svg
from bathymetry.execution.load_study import load_study
from bathymetry.execution.study_run import StudyRun
from bathymetry.report.page_json import claim_fields, plain
from bathymetry.report.sections import card_of
from bathymetry.stats import holm
from bathymetry.store.results import RESULT, read_results, write_results
from bathymetry.studies.catalogue import SHIPPED

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
PACKAGED = ROOT / "src" / "bathymetry" / "studies" / "reference_claims.json"
ANSWERS = PACKAGED.with_name("reference_answers.json")
SOURCES = ("settings", "data", "chunks", "seconds", "provenance")


def draw(run: StudyRun) -> None:
    """Replace the figures of a study by those of its results."""
    figures = RESULTS / run.study.name / "figures"
    shutil.rmtree(figures, ignore_errors=True)
    figures.mkdir(parents=True)
    for figure in run.figures:
        (figures / f"figure-{figure.name}.svg").write_text(draw_svg(figure.sheet()), encoding="utf-8")


def written(path: Path, content: Any) -> None:
    """Write a file as `bathymetry run` writes it."""
    path.write_text(json.dumps(plain(content), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main(folders: list[Path]) -> None:
    """Judge the results of the reference run, and say which verdicts changed."""
    before = {one["id"]: one["verdict"] for one in json.loads((RESULTS / "claims.json").read_text(encoding="utf-8"))}
    for folder in folders:
        for study in sorted(one.parent for one in folder.glob(f"*/{RESULT}") if one.parent.name in SHIPPED):
            write_results(RESULTS / study.name / RESULT, read_results(study / RESULT))
    runs = [load_study(RESULTS / name) for name in SHIPPED]
    claims = [claim_fields(claim) for run in runs for claim in run.claims]
    for one, p_holm in zip(claims, holm([one["p"] for one in claims]), strict=True):
        one["p_holm"] = p_holm
        if one["verdict"] != before.get(one["id"]):
            sys.stdout.write(f"{one['id']}: {before.get(one['id'], 'nothing')} before, {one['verdict']} now\n")
    sources = {run.study.name: {name: run.results.attrs[name] for name in SOURCES} for run in runs}
    versions = {name: source["provenance"]["versions"]["bathymetry"] for name, source in sources.items()}
    written(RESULTS / "claims.json", claims)
    written(RESULTS / "provenance.json", sources)
    for run in runs:
        draw(run)
    written(PACKAGED, {"versions": versions, "claims": claims})
    answers = {run.study.name: {"sentence": run.answer, "chart": card_of(run)} for run in runs}
    compact = [f"{json.dumps(name)}:{json.dumps(one, separators=(',', ':'))}" for name, one in answers.items()]
    ANSWERS.write_text("{" + ",\n".join(compact) + "}\n", encoding="utf-8")


if __name__ == "__main__":
    main([Path(folder) for folder in sys.argv[1:]])
