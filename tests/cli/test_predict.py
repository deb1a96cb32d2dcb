"""Predicting the verdicts of a study, through the command line."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

import bathymetry as bm
from bathymetry.cli.main import main
from bathymetry.cli.predict import read_predictions
from bathymetry.execution.study_run import run_study
from bathymetry.report import figure_files
from bathymetry.studies import find
from bathymetry.studies.catalogue import SHIPPED

OWN = Path(__file__).parents[1] / "execution" / "own_study.py"
SMOKE = ["--preset", "smoke", "--samples", "20", "--epochs", "3", "--workers", "1", "--out"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "out"
    run_study("depth-function", preset="smoke", samples=20, epochs=3, out=folder)
    return folder


@pytest.fixture
def folder(made, tmp_path, monkeypatch):
    monkeypatch.setattr(figure_files, "begin", lambda *_: [])  # drawing is slow
    shutil.copytree(made, tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(capsys, *arguments):
    assert main(list(arguments)) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    return said.err.removeprefix("bathymetry: ")


@pytest.mark.parametrize("study", ["capacity", "all", str(OWN)])
def test_the_file_has_every_claim_with_its_text_to_be_filled_in(folder, capsys, study):
    assert main(["predict", study, "--out", "mine.yaml"]) == 0
    assert f"bathymetry run {study} --predict mine.yaml" in capsys.readouterr().out
    text = Path("mine.yaml").read_text()
    kinds = [find(one) for one in (SHIPPED if study == "all" else [study])]
    claims = {f"{kind.name}.{one.letter}": one for kind in kinds for one in kind.claims()}
    assert yaml.safe_load(text) == {name: {"predicted": None} for name in claims}
    for name, one in claims.items():
        assert f"# {one.text}\n{name}:\n  predicted:\n" in text
    assert "it is there already" in refused(capsys, "predict", study, "--out", "mine.yaml")


def test_several_studies_have_one_file(folder, capsys):
    assert main(["predict", "capacity", "trajectory", "capacity"]) == 0
    assert "bathymetry run capacity trajectory" in capsys.readouterr().out
    claims = yaml.safe_load(Path("predictions.yaml").read_text())
    assert list(claims) == ["capacity.a", "capacity.b", "capacity.c", "trajectory.a"]


def test_verdicts_are_understood_in_capitals_too(folder):
    Path("mine.yaml").write_text("capacity.a: {predicted: Supported}\ncapacity.b: 'UNDECIDED '")
    assert read_predictions("mine.yaml", [], ["capacity"]) == {"capacity.a": "supported", "capacity.b": "undecided"}


def test_predictions_stand_next_to_the_verdicts_and_hits_are_counted(folder, capsys):
    verdicts = {one.id: one.verdict.decision for one in bm.load_study("out/depth-function").claims}
    tested = [name for name, verdict in verdicts.items() if verdict != "not tested"]
    untested = next(name for name, verdict in verdicts.items() if verdict == "not tested")
    right, wrong = tested[:2], tested[2]
    missed = "contradicted" if verdicts[wrong] == "supported" else "supported"
    words = {name: {"predicted": verdicts[name]} for name in right}
    words |= {name: {"predicted": "undecided"} for name in (untested, "capacity.a")} | {wrong: {"predicted": missed}}
    Path("mine.yaml").write_text(yaml.safe_dump(words))
    count = "2 of 3 right; 1 prediction is of a claim not tested"

    assert main(["report", "out", "--predict", "mine.yaml"]) == 0
    said = capsys.readouterr().out
    assert f"\nYour predictions: {count}.\n" in said
    assert max(map(len, said.splitlines()[:-2])) <= 100
    assert re.search(rf"{verdicts[right[0]]}( ≠)? +{verdicts[right[0]]} ✓", said)

    page = Path("out/report.html").read_text()
    assert f">{count}</td>" in page
    shown = {name: re.search(rf'id="claim-{re.escape(name)}".*?</summary>', page, re.DOTALL)[0] for name in verdicts}
    marks = {name: re.findall(r'class="(predicted[^"]*)">([^<]*)<', row) for name, row in shown.items()}
    assert marks == {name: [] for name in verdicts} | {
        right[0]: [("predicted", "✓ predicted")],
        right[1]: [("predicted", "✓ predicted")],
        wrong: [("predicted missed", f"predicted {missed}")],
        untested: [("predicted missed", "predicted undecided")],
    }


@pytest.mark.slow
def test_a_run_shows_what_was_predicted_before_it(folder, capsys):
    Path("mine.yaml").write_text("depth-function.c: {predicted: undecided}")
    assert main(["run", "depth-function", *SMOKE, "out", "--predict", "mine.yaml"]) == 0
    assert re.search(r"Your predictions: [01] of 1 right\.", capsys.readouterr().out)


MISTAKES = {
    "capcity.a: {predicted: supported}": "predict = capcity.a: there is no such claim; did you mean capacity.a?",
    "a: {predicted: supported}": "predict = a: there is no such claim; expected a claim such as depth-function.a.",
    "capacity.q: {predicted: supported}": "capacity.q: there is no such claim; expected capacity.a, capacity.b or",
    "depth-function.a: {predicted: suported}": "depth-function.a.predicted = suported: did you mean supported?",
    "depth-function.a: {predicted: 3}": "depth-function.a.predicted = 3: expected supported, contradicted or",
    "depth-function.a: {predicted: [supported]}": "expected supported, contradicted or undecided.",
    "depth-function.a: {predited: supported}": "depth-function.a = predited: did you mean predicted?",
    "depth-function.a: {predicted: not tested}": "expected supported, contradicted or undecided.",
    "depth-function.a:\n  predicted:": "predict = mine.yaml: it predicts nothing; expected",
    "capacity.a: {predicted: supported}": "predict = mine.yaml: it predicts no claim of depth-function.",
    "": "predict = mine.yaml: the file is empty; `bathymetry predict STUDY` writes one",
    "- supported": "predict = mine.yaml: it holds no claims by name; ",
    "depth-function.a: {predicted: supported": "predict = mine.yaml: it is not valid YAML (line 1: ",
    "depth-function.a: supported\ndepth-function.a: undecided": "predict = depth-function.a: this field is there twice",
    "depth-function.a: !!python/object:os.system {}": "predict = mine.yaml: it has the tag !!python/object:os.system",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_file_that_predicts_nothing_known_is_refused_before_anything_is_done(folder, capsys, text):
    Path("mine.yaml").write_text(text)
    assert MISTAKES[text] in refused(capsys, "report", "out", "--predict", "mine.yaml")
    assert MISTAKES[text] in refused(capsys, "run", "depth-function", *SMOKE, "new", "--predict", "mine.yaml")
    assert not Path("out/report.html").exists()
    assert not Path("new").exists()


def test_other_mistakes_are_answered_in_one_sentence(folder, capsys):
    assert "predict = none.yaml: there is no such file." in refused(capsys, "report", "out", "--predict", "none.yaml")
    assert "did you mean capacity?" in refused(capsys, "predict", "capcity")
    assert "out = '': expected the name of a new file, such as predictions.yaml." in refused(
        capsys, "predict", "capacity", "--out", ""
    )
    assert "studies: missing; for example bathymetry predict capacity." in refused(capsys, "predict")
