"""The page of a class: the folders of thirty people merged, all nine studies with 300 networks in each ensemble."""

import shutil
from pathlib import Path

import pytest

from bathymetry.cli.main import main
from bathymetry.execution.study_run import run_study
from bathymetry.report import figure_files
from bathymetry.store.results import read_results, write_results
from bathymetry.studies.catalogue import SHIPPED

PEOPLE = 30


@pytest.mark.slow
def test_the_page_of_300_networks_of_all_nine_studies_has_at_most_3_mb(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(figure_files, "begin", lambda *_: [])  # drawing is slow, and the files are not on the page
    monkeypatch.chdir(tmp_path)
    for name in SHIPPED:
        members = {"members": 5 if name == "interpolation" else 10}  # of each learning rate there, all in one group
        run_study(name, preset="smoke", out="0", **members)
    results = {path.parent: read_results(path) for path in Path("0").glob("*/result.nc")}
    for person in map(str, range(1, PEOPLE)):
        for study, tree in results.items():
            tree.attrs["settings"]["seed"] = int(person)
            (Path(person) / study.name).mkdir(parents=True)
            write_results(Path(person) / study.name / "result.nc", tree)
        shutil.copy("0/bathymetry.json", person)
    assert main(["merge", *map(str, range(PEOPLE)), "--out", "class"]) == 0
    assert capsys.readouterr().out.count("300 members from 30 folders, with 30 seeds.") == len(SHIPPED)
    size = Path("class/report.html").stat().st_size
    assert 1_500_000 < size <= 3_000_000
