"""The page of a comparison, through the command line: its files, what it says, and how it behaves in a browser."""

import json
import re
import shutil
import time
from html import unescape

import numpy as np
import pandas as pd
import pytest

import bathymetry as bm
from bathymetry.cli.main import main
from bathymetry.report.comparison import answer
from report.browsing import until
from runs import realistic

OPTIONS = ["--metric", "val/accuracy", "--higher-is-better", "--compare", "optimizer", "--members", "seed"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The page of a comparison, next to its runs."""
    place = tmp_path_factory.mktemp("compared")
    realistic.two(steps=40).to_csv(place / "runs.csv", index=False, na_rep="nan")
    assert main(["compare", str(place / "runs.csv"), *OPTIONS, "--out", str(place / "last"), "--no-cache"]) == 0
    return place


def slider_of(page):
    """Where the rule along the learning curves starts, and where they end."""
    content = json.loads(re.search(r'id="bathymetry-content">(.*?)</script>', page.read_text("utf-8"), re.DOTALL)[1])
    reading = content["sliders"]["comparison"]
    return reading["positions"][reading["start"]], reading["positions"][-1]


def text_of(page):
    content = re.sub(r"<(script|style).*?</\1>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", content)).split())


def test_the_page_says_the_question_the_verdict_and_what_was_left_out(folder):
    words = text_of(folder / "last" / "report.html")
    assert "Is adam better than sgd on val/accuracy?" in words
    for said in (
        "1 run diverged (1 of adam) and counts as worst.",
        "1 run crashed and left out.",
        "1 run missing of the seeds that others have.",
        "adam, sgd 8 pairs",
        "SHA-256 of runs.csv",
        "found = bm.compare(",
    ):
        assert said in words.replace("\N{NO-BREAK SPACE}", " "), said
    assert "reference run" not in words.lower()
    assert "preset" not in words
    assert "network" not in words.lower()


def test_the_answer_has_at_most_25_words(folder):
    page = (folder / "last" / "report.html").read_text(encoding="utf-8")
    answer = re.search(r'<div class="answer">\s*<p>(.*?)</p>', page, re.DOTALL)[1]
    assert 5 < len(answer.replace("\N{NO-BREAK SPACE}", " ").split()) <= 25


def test_the_files_have_the_verdicts_and_every_run(folder):
    found = bm.compare(folder / "runs.csv", "val/accuracy", compare="optimizer", higher_is_better=True, cache=False)
    (claim,) = json.loads((folder / "last" / "claims.json").read_text())
    assert (claim["id"], claim["verdict"]) == ("compare.adam-sgd", found.claims[0].verdict.decision)
    assert claim["p"] == found.pairs[0].p
    stored = json.loads((folder / "last" / "comparison.json").read_text())
    assert stored["pairs"][0]["superiority"] == found.pairs[0].superiority
    assert len(stored["runs"]) == 19
    assert {one["status"] for one in stored["runs"]} == {"finished", "crashed"}
    assert [
        one["values"]["val/accuracy"] for one in stored["runs"] if (one["optimizer"], one["seed"]) == ("adam", 4)
    ] == [None]
    assert sorted(one.name for one in (folder / "last" / "figures").iterdir()) == [
        f"figure-{name}.{kind}" for name in ("differences", "final", "learning") for kind in ("png", "svg")
    ]


def test_the_rule_along_the_curves_starts_at_the_end_where_that_is_compared(folder):
    assert slider_of(folder / "last" / "report.html") == (39, 39)


@pytest.mark.slow
def test_the_glossary_counts_what_holms_correction_is_over(tmp_path):
    path = tmp_path / "runs.csv"
    tried = [(name, task, seed) for name in ("adam", "lion", "sgd") for task in ("mnist", "svhn") for seed in range(6)]
    pd.concat([realistic.run(name, seed, range(5), task) for name, task, seed in tried]).to_csv(path, index=False)
    assert main(["compare", str(path), *OPTIONS, "--by", "task", "--out", str(tmp_path / "out"), "--no-cache"]) == 0
    words = text_of(tmp_path / "out" / "report.html").replace("\N{NO-BREAK SPACE}", " ")
    pairs = len(json.loads((tmp_path / "out" / "comparison.json").read_text())["pairs"])
    assert f"Holm Holm's correction is over all {pairs} pairs together. It adjusts each p" in words
    assert "claims on this page have a p" not in words


def test_diff_says_what_two_comparisons_decided_and_in_what_they_differ(folder, capsys):
    words = [str(folder / "runs.csv"), *OPTIONS, "--at", "step:5", "--out", str(folder / "early"), "--no-cache"]
    assert main(["compare", *words]) == 0
    assert slider_of(folder / "early" / "report.html") == (5, 39)  # where it is compared
    capsys.readouterr()
    assert main(["diff", str(folder / "last"), str(folder / "early")]) == 0
    printed = capsys.readouterr().out
    assert "of 1 verdict changed" in printed
    assert "at last → step:5" in printed


def test_the_python_of_the_page_gives_the_same_verdict(folder):
    page = (folder / "last" / "report.html").read_text(encoding="utf-8")
    code = re.search(r'<pre tabindex="0" data-code="comparison"><code>(.*?)</code>', page, re.DOTALL)[1]
    names = {}
    exec(code.replace("&#34;", '"'), names)
    assert [one.verdict.decision for one in names["found"].claims] == ["undecided"]


def test_a_folder_of_studies_is_left_alone_and_so_is_that_of_a_comparison(folder, tmp_path, capsys):
    studies = tmp_path / "studies"
    studies.mkdir()
    (studies / "bathymetry.json").write_text('{"made by": "bathymetry", "format": 1}')
    (studies / "report.html").write_text("a page")
    assert main(["compare", str(folder / "runs.csv"), *OPTIONS, "--out", str(studies)]) == 2
    assert "it holds results of studies, which would be replaced" in capsys.readouterr().err
    assert (studies / "report.html").read_text() == "a page"
    assert main(["run", "gradient-norm", "--preset", "smoke", "--out", str(folder / "last")]) == 2
    assert "it holds a comparison of runs, which would be replaced" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["report", "verify", "export"])
def test_what_reads_studies_says_that_a_folder_holds_a_comparison(folder, capsys, command):
    assert main([command, str(folder / "last")]) == 2
    assert "it holds a comparison, which `bathymetry compare` writes" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--json"], ["--no-page"]])
def test_no_page_is_written_for_json_or_where_none_is_wanted(folder, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    assert main(["compare", str(folder / "runs.csv"), *OPTIONS, "--no-cache", *words]) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--no-page", "--open"], "--open, --no-page: expected at most one of them"),
        (["--no-page", "--out", "x"], "--out, --no-page: expected at most one of them"),
        (["--json", "--watch", "5"], "--json: it can't be combined"),
        (["--watch", "0", "--no-page"], "expected seconds between two readings"),
    ],
)
def test_options_that_exclude_each_other_are_refused(folder, capsys, words, said):
    assert main(["compare", str(folder / "runs.csv"), *OPTIONS, *words]) == 2
    assert said in capsys.readouterr().err


def watched(tmp_path, monkeypatch, *options, meanwhile=lambda: None):
    """Watch runs that stay, go on and are damaged, until Ctrl-C."""
    frame, path = realistic.two(steps=40), tmp_path / "runs.csv"
    frame[frame["step"] < 30].to_csv(path, index=False, na_rep="nan")
    readings = [lambda: None, lambda: frame.to_csv(path, index=False, na_rep="nan"), lambda: path.write_text("seed\n")]

    def sleep(_):
        meanwhile()
        if not readings:
            raise KeyboardInterrupt
        readings.pop(0)()

    monkeypatch.setattr(time, "sleep", sleep)
    assert main(["compare", str(path), *OPTIONS, "--no-cache", "--watch", "9", *options]) == 0


def test_watching_says_what_changed_until_ctrl_c(tmp_path, monkeypatch, capsys):
    watched(tmp_path, monkeypatch, "--no-page")
    before, _, after = capsys.readouterr().out.partition("until Ctrl-C.")
    assert "looked at after every run errs more often" in before
    first, second, third = after.split("\n")[1:4]
    assert first.endswith("nothing changed.")
    assert "18 runs went on" in second
    assert "runs.csv" in third  # it can't be read, and watching goes on


@pytest.mark.slow
def test_a_page_that_is_gone_is_written_again(tmp_path, monkeypatch, capsys):
    page = tmp_path / "out" / "report.html"
    watched(tmp_path, monkeypatch, "--out", str(page.parent), meanwhile=lambda: shutil.rmtree(page.parent, True))
    assert "the page was gone and is written again" in capsys.readouterr().out
    assert page.exists()


@pytest.mark.slow
def test_watching_refreshes_the_page_which_loads_itself_again_until_then(tmp_path, monkeypatch):
    page, before = tmp_path / "out" / "report.html", []
    meanwhile = lambda: before.append(page.read_text(encoding="utf-8"))  # noqa: E731
    watched(tmp_path, monkeypatch, "--out", str(page.parent), meanwhile=meanwhile)
    assert before[0] == before[1] != before[2] == before[3]
    assert [page.count('http-equiv="refresh" content="9"') for page in before] == [1, 1, 1, 1]
    last = page.read_text(encoding="utf-8")
    assert 'http-equiv="refresh"' not in last
    assert "errs more often" in before[0]
    assert "errs more often" not in last
    assert "--watch" not in last


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A page for each kind of runs that people have."""
    place = tmp_path_factory.mktemp("pages")
    for name in ("two", "tasks", "lengths", "many"):
        runs = place / f"{name}.parquet"
        realistic.write(name, runs)
        more = ["--by", "task"] if name == "tasks" else []
        assert main(["compare", str(runs), *OPTIONS, *more, "--out", str(place / name), "--no-cache"]) == 0
    return place


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["two", "tasks", "lengths", "many"])
def test_a_page_loads_nothing_says_nothing_and_is_as_wide_as_the_window(pages, browser_visit, name, width, scheme):
    page = pages / name / "report.html"
    assert page.stat().st_size < 3_000_000
    seen = browser_visit(page, width=width, scheme=scheme)
    assert seen.said == []
    assert [one for one in seen.asked_for if not one.startswith(("file:", "data:"))] == []
    assert seen.tab.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.slow
def test_a_seed_is_highlighted_in_all_charts_and_named(pages, browser_visit):
    seen = browser_visit(pages / "two" / "report.html")
    seen.tab.select_option("select[data-network]", "3")
    until(seen.tab, "location.hash.includes('network=comparison:3')")
    assert "seed 3" in seen.tab.inner_text("select[data-network] option:checked")
    assert seen.said == []


@pytest.mark.parametrize(
    ("spread", "words"),
    [
        (0.1, "a is better than every other optimizer; 3 of 3 pairs are decided."),
        (2.2, "No optimizer beats all others: a wins 1 of its 2 pairs, loses none; 1 of 3 pairs are decided."),
        (1e3, "None of the 3 pairs is decided: no optimizer is clearly better than another."),
    ],
)
def test_the_answer_says_which_of_several_is_best(spread, words):
    noise = np.random.default_rng(4).permuted(np.tile(np.linspace(-1, 1, 10), (3, 1)), axis=1)
    rows = [
        {"optimizer": name, "seed": seed, "score": 2 - k + spread * noise[k, seed]}
        for k, name in enumerate("abc")
        for seed in range(10)
    ]
    found = bm.compare(pd.DataFrame(rows), "score", compare="optimizer", higher_is_better=True, paired=False)
    assert answer(found).startswith(words)


def test_the_answer_for_few_runs_says_how_many_a_verdict_needs():
    frame = realistic.tasks().query("seed < 4 and step == 199")
    found = bm.compare(frame, "val/accuracy", compare="optimizer", by="task", higher_is_better=True)
    assert answer(found) == ("No pair can be decided: a verdict needs 6 runs on each side, and no pair has over 4.")
