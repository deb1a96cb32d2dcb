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

from bathymetry.claims.judging import Judged, ReferenceVerdict
from bathymetry.cli.main import main
from bathymetry.cli.terminal import print_outcome
from bathymetry.report import figure_files
from bathymetry.stats import Verdict
from bathymetry.store.results import read_results, write_results

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
    """An output folder of a study that ships and one's own, and what was said of each, where no browser is."""
    out, words, begin = tmp_path_factory.mktemp("verdicts") / "out", [], figure_files.begin
    with pytest.MonkeyPatch.context() as patch:  # draw no figures but one's own, for they take the longest
        patch.setattr(figure_files, "begin", lambda place, *rest: begin(place, *rest) if place.name == OWN_NAME else [])
        patch.setattr(webbrowser, "open", lambda _: False)
        for study in (["depth-function", "--samples", "20", "--epochs", "3"], [str(OWN), "--open"]):
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
def undrawn(monkeypatch):
    monkeypatch.setattr(figure_files, "begin", lambda *_: [])


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
    tested = sum(verdict != "not tested" for _, _, verdict, _ in found)
    assert 0 < tested < len(found)
    untested = len(found) - tested
    ending = f"≠ {count} of {tested} verdicts? differs? from the reference run.s; {untested} claims? not tested"
    assert re.search(ending, words)


def test_where_no_verdict_differs_no_mark_says_that_one_does(tmp_path, capsys):
    verdict = Verdict("majority", "supported", (), 6, 0.03)
    reference = ReferenceVerdict(verdict, "It does.", None, "1.0")
    same = Judged("study.a", "It does", "By majority.", verdict, "It does.", reference=reference)
    print_outcome(tmp_path / "report.html", [same], opens=False)
    said = capsys.readouterr().out
    assert "\n0 of 1 verdict differ from the reference run's." in said
    assert "≠" not in said


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


def test_a_missing_browser_is_one_sentence(made):
    out, _, words = made
    ending = "No browser could be opened here; open the page from where it is."
    assert words.endswith(f"\nPage: {out / 'report.html'}\n{ending}\n")


@pytest.mark.parametrize("command", [["run", "capacity"], ["sweep"], ["report"], ["diff"]])
def test_every_command_that_writes_a_page_can_open_it(command, capsys):
    with pytest.raises(SystemExit):
        main([*command, "--help"])
    assert re.search(r"--open +open the page in the browser", capsys.readouterr().out)


def test_a_page_is_opened_when_asked_for(reported):
    page, words, opened = reported
    assert opened == [page.as_uri()]
    assert words.endswith(f"\nPage: {page}\n")


def verified(capsys, folder, *options, status):
    ended, words, err = said(capsys, "verify", folder, *options)
    assert ended == status
    assert err.count("\n") == (status == 2)
    return " ".join(words.split()), err


def contents(folder):
    return {one: one.read_bytes() for one in folder.rglob("*") if one.is_file()}


def test_a_folder_as_it_was_written_is_whole_and_its_verdicts_follow(made, capsys):
    before = contents(made[0])
    words, _ = verified(capsys, made[0], "--study", OWN, status=0)
    verdicts = len(stored_claims(made[0])) - 1
    assert re.search(rf"depth-function whole: 1 result, 1 page, \d+ chunks, {verdicts} verdicts ", words)
    assert "own-width whole: 1 result, 1 page, 2 figure files, 2 chunks, 1 verdict" in words
    assert "Digests show damage, not forgery" in words
    assert contents(made[0]) == before


def test_verdicts_of_ones_own_study_are_recomputed_only_if_its_file_is_named(made, folder, capsys):
    words, err = verified(capsys, made[0], status=2)
    assert "own-width whole: 1 result, 1 page, 2 figure files, 2 chunks, verdicts not recomputed" in words
    assert "study = own-width: it does not come with Bathymetry" in err
    assert "name its file: --study FILE.py" in err
    (folder / "own-width" / "page.json").unlink()
    assert "own-width/page.json is missing" in verified(capsys, folder, status=1)[0].replace(f"{folder}/", "")


@pytest.mark.parametrize(
    "damaged",
    ["*width/result.nc", "*width/page.json", "*width/figures/*.png", "*width/figures/*.svg", "units/*/*.safetensors"],
)
def test_one_changed_byte_in_any_file_with_a_digest_is_found(folder, capsys, damaged):
    file = sorted(folder.glob(damaged))[0]
    content = bytearray(file.read_bytes())
    content[-20] ^= 1
    file.write_bytes(content)
    before = contents(folder)
    words, _ = verified(capsys, folder, "--study", OWN, status=1)
    assert f"{file.relative_to(folder)} is damaged" in words
    assert "1 problem, " in words
    assert contents(folder) == before


def edited(folder, change):
    claims = json.loads((folder / "claims.json").read_text())
    change({one["id"]: one for one in claims}, claims)
    (folder / "claims.json").write_text(json.dumps(claims))


EDITS = {
    "own-width.a is stored as contradicted, and they say": lambda named, _: named["own-width.a"].update(
        verdict="contradicted"
    ),
    "own-width.a is stored with other numbers": lambda named, _: named["own-width.a"]["parts"][0].update(
        estimate=0.123
    ),
    "own-width.a is missing": lambda _, claims: claims.pop(),
    "own-width.z is no claim of the study": lambda named, claims: claims.append(
        named["own-width.a"] | {"id": "own-width.z", "p": None, "p_holm": None}
    ),
    "claims.json has nobody.a, of which there are no results": lambda named, claims: claims.append(
        named["own-width.a"] | {"id": "nobody.a", "p": None, "p_holm": None}
    ),
    "The adjusted p in claims.json do not follow from its p": lambda named, _: named["own-width.a"].update(p_holm=1e-9),
}


@pytest.mark.parametrize(
    ("field", "value"),
    [("members", "10"), ("members", -1), ("members", True), ("p", "0.01"), ("p_holm", 3), ("text", 5), ("parts", "")],
)
def test_a_claim_with_another_kind_of_value_is_damaged_and_the_remedy_is_named(made, folder, capsys, field, value):
    edited(folder, lambda named, _: named["own-width.a"].update({field: value}))
    found, _ = verified(capsys, folder, "--study", OWN, status=1)
    words = (
        f"claims.json is damaged: the claim own-width.a has {field} = {value!r}; `bathymetry report {folder}` writes"
    )
    assert words in found


@pytest.mark.parametrize("words", EDITS)
def test_an_edited_claim_does_not_follow_and_the_remedy_is_named(made, folder, capsys, words):
    assert stored_claims(folder)["own-width.a"]["verdict"] != "contradicted"
    edited(folder, EDITS[words])
    found, _ = verified(capsys, folder, "--study", OWN, status=1)
    assert words in found
    assert f"`bathymetry report {folder}` writes it again" in found


def test_words_of_another_version_are_no_problem(folder, capsys):
    edited(folder, lambda named, _: named["own-width.a"].update(finding="It is certain."))
    words, _ = verified(capsys, folder, "--study", OWN, status=0)
    assert "This version has other words than claims.json for own-width.a; `bathymetry report" in words


def test_a_verdict_does_not_follow_from_results_that_say_the_opposite_and_have_their_digest(folder, capsys):
    path = folder / "own-width" / "result.nc"
    results = read_results(path)
    loss = results["main/loss"]
    loss.loc[{"network": "8"}] = 2.0  # every wide network ends above every narrow one, which have less than 1
    loss.loc[{"network": "2"}] = 1.0
    write_results(path, results)
    words, _ = verified(capsys, folder, "--study", OWN, status=1)
    assert re.search(r"own-width\.a is stored as (supported|undecided), and they say contradicted", words)
    assert "is damaged" not in words


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_the_remedy_works(folder, capsys):
    edited(folder, EDITS["own-width.a is stored with other numbers"])
    (folder / "depth-function" / "page.json").write_text("{}")
    assert "2 problems" not in verified(capsys, folder, "--study", OWN, status=1)[0]
    assert said(capsys, "report", folder, "--study", OWN)[0] == 0
    verified(capsys, folder, "--study", OWN, status=0)


BAD = {
    "": "folder: missing; for example bathymetry verify bathymetry-report.",
    "{here}/nowhere": "there is no such folder",
    "{here}/foreign": "expected an output folder, one that `bathymetry run` wrote",
    "{here}/bare": "it holds no results yet; run a study or sweep into it first",
    "{here}/later": "a later version of Bathymetry made it",
    "{here}/copy --study {here}/none.py": "there is no such file",
    "{here}/copy --study capacity": "holds no results of the study capacity",
    "{here}/unjudged": "it holds no claims.json, which `bathymetry report {here}/unjudged` writes from stored results",
}


@pytest.mark.parametrize("line", BAD)
def test_what_is_no_folder_to_verify_is_one_sentence_and_status_2(folder, capsys, tmp_path, line):
    for name, content in {
        "foreign/thesis.txt": "mine",
        "bare/bathymetry.json": '{"format": 1}',
        "later/bathymetry.json": '{"format": 99}',
        "unjudged/bathymetry.json": '{"format": 1}',
        "unjudged/capacity/result.nc": "",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    status, out, err = said(capsys, "verify", *(word.format(here=tmp_path) for word in line.split()))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert BAD[line].format(here=tmp_path) in err
