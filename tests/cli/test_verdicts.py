"""What the command line says of verdicts: the table that ends a run, and the page that it opens."""

import io
import json
import re
import shutil
import sys
import webbrowser
from contextlib import redirect_stdout
from importlib.resources import files
from pathlib import Path

import pytest

from bathymetry.cli.main import main
from bathymetry.report import figure_files

OWN = Path(__file__).parents[1] / "execution" / "own_study.py"
OWN_NAME = "own-width"
SMALL = ["--preset", "smoke", "--members", "6", "--workers", "1", "--out"]
WIDTH = 100


def said(capsys, *arguments):
    status = main(list(map(str, arguments)))
    heard = capsys.readouterr()
    return status, heard.out, heard.err


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An output folder of a study that ships and one's own, and what the command line said of each."""
    out, words, begin = tmp_path_factory.mktemp("verdicts") / "out", [], figure_files.begin
    with pytest.MonkeyPatch.context() as patch:  # draw no figures but one's own, for they take the longest
        patch.setattr(figure_files, "begin", lambda place, *rest: begin(place, *rest) if place.name == OWN_NAME else [])
        for study in (["depth-function", "--samples", "20", "--epochs", "3"], [str(OWN)]):
            with redirect_stdout(io.StringIO()) as said_:
                assert main(["run", *study, *SMALL, str(out)]) == 0
            words.append(said_.getvalue())
    return out, *words


@pytest.fixture(scope="module")
def reported(made, tmp_path_factory):
    """The page of a copy, made again and opened; what a terminal without Unicode said; and what was opened."""
    copy, opened = tmp_path_factory.mktemp("reported") / "out", []
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding="ascii", write_through=True)
    shutil.copytree(made[0], copy)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figure_files, "begin", lambda *_: [])
        patch.setattr(webbrowser, "open", lambda address: not opened.append(address))
        patch.setattr(sys, "stdout", stream)
        assert main(["report", str(copy), "--open"]) == 0
    return copy / "report.html", written.getvalue().decode("ascii"), opened


@pytest.fixture
def folder(made, tmp_path):
    """A copy, to be changed."""
    return shutil.copytree(made[0], tmp_path / "copy")


def stored_claims(folder):
    return {one["id"]: one for one in json.loads((folder / "claims.json").read_text())}


def reference_verdicts():
    text = files("bathymetry.studies").joinpath("reference_claims.json").read_text()
    return {one["id"]: one["verdict"] for one in json.loads(text)["claims"]}


def rows(words):
    """The rows of the table: letter, reference verdict, this run's verdict and its mark."""
    verdict = "(supported|contradicted|undecided|not tested)"
    return re.findall(rf"^ *([a-z])  .* {verdict} +{verdict}( ≠| !=)? *$", words, re.MULTILINE)


def test_a_run_ends_with_its_claims_and_both_verdicts_and_then_the_page(made):
    out, words, _ = made
    here, there = stored_claims(out), reference_verdicts()
    found = rows(words)
    assert [letter for letter, *_ in found] == [name.partition(".")[2] for name in here if "depth" in name]
    for letter, reference, verdict, mark in found:
        name = f"depth-function.{letter}"
        assert (reference, verdict) == (there[name], here[name]["verdict"])
        assert bool(mark) == (reference != verdict and "not tested" not in (reference, verdict))
    assert words.endswith(f"\nPage: {out / 'report.html'}\n")
    count = sum(bool(mark) for *_, mark in found)
    assert f"≠ {count} of {len(found)} verdicts differ" in words


def test_each_finding_is_said_and_no_line_of_verdicts_is_wider_than_100_columns(made):
    out, words, _ = made
    lines = words[words.index("depth-function.a") :].splitlines()
    assert max(len(line) for line in lines if not line.startswith("Page: ")) <= WIDTH
    whole = " ".join(words.split())
    assert all(one["finding"] in whole for name, one in stored_claims(out).items() if "depth" in name)


def test_a_terminal_without_unicode_gets_ascii(reported):
    _, words, _ = reported
    assert {mark for *_, mark in rows(words.replace("|", " "))} == {" !=", ""}
    assert "----" in words


def test_without_a_reference_its_column_is_left_out(made):
    _, _, words = made
    assert re.search(r"^ *claim +this run *$", words, re.MULTILINE)
    assert re.search(r"^ *a +Wider is lower\. +(supported|contradicted|undecided) *$", words, re.MULTILINE)


def test_a_page_is_opened_when_asked_for(made, reported):
    page, words, opened = reported
    assert opened == [page.as_uri()]
    assert words.endswith(f"\nPage: {page}\n")
