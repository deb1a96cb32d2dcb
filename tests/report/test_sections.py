import shlex
from pathlib import Path

import pytest

from bathymetry.cli.main import main
from bathymetry.execution.load_study import load_study
from bathymetry.execution.study_run import run_study
from bathymetry.report.sections import other_results

OWN = str(Path(__file__).parents[1] / "execution" / "own_study.py")


def shown(out):
    return load_study(out / "own-width", OWN)


@pytest.fixture
def out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Path("out")


def test_a_folder_with_one_result_has_no_other_result(out):
    run_study(OWN, preset="smoke", out=out, members=2)
    run_study(OWN, preset="smoke", out=out, members=3)
    assert other_results(shown(out)) == []


def test_the_page_names_a_result_with_another_seed_and_the_command_that_shows_it(out, monkeypatch, capsys):
    run_study(OWN, preset="smoke", out=out, members=2)
    run_study(OWN, preset="smoke", out=out, members=2, seed=7)
    (sentence,) = other_results(shown(out))
    told, _, command = sentence.partition(" To show that one: bathymetry ")
    assert told == "This folder also holds a result of this study with seed 0 (here 7)."

    monkeypatch.setattr("bathymetry.report.publishing.save", lambda figure, folder: ())  # drawing is slow
    monkeypatch.setattr("bathymetry.report.publishing.page", lambda report: str(report))
    assert main(shlex.split(command)) == 0
    assert "nothing to train" in capsys.readouterr().out
    assert shown(out).results.attrs["settings"]["seed"] == 0
    (sentence,) = other_results(shown(out))
    assert sentence.startswith("This folder also holds a result of this study with seed 7 (here 0).")
    assert sentence in (out / "report.html").read_text()

    assert main(["export", str(out)]) == 0
    assert {path.name[:10] for path in (out / "tables").iterdir()} == {"own-width", "own-width-"}
