"""`bathymetry diff`: claims that are written here by hand, so what changed is known."""

import json
import re
from importlib.resources import files

import pytest

from bathymetry.cli.main import main
from report.cases import HOSTILE

SHARE = "{0} of 10 members ({1} %, 95 % interval {2} %)"
WIDTH = 100


def claim(name, verdict, *summaries, members=10, p=0.01, text="Networks converge.", kind="majority"):
    parts = [
        {
            "verdict": verdict,
            "coordinates": {"network": f"net {at}"},
            "estimate": 0.5,
            "interval": [0.2, 0.8],
            "p": p,
            "members": members,
            "direction": "against" if verdict == "contradicted" else "neither",
            "summary": summary,
        }
        for at, summary in enumerate(summaries)
    ]
    words = {"id": name, "text": text, "rule": "a rule", "kind": kind, "verdict": verdict, "finding": "It is so."}
    return words | {"reason": "", "members": members, "p": p, "p_holm": p, "parts": parts}


FIRST = [
    claim("own.a", "contradicted", SHARE.format(0, 0, "0–31"), p=0.00195),
    claim("own.b", "supported", SHARE.format(10, 100, "69–100"), text="Nothing changed here."),
    claim("own.c", "supported", SHARE.format(10, 100, "69–100")),
    claim("gone.a", "undecided", SHARE.format(5, 50, "19–81")),
]
SECOND = [
    claim("own.a", "undecided", SHARE.format(4, 40, "12–74"), p=0.754),
    FIRST[1],
    claim("own.c", "not tested", members=0, p=None),
    claim("own.d", "undecided", SHARE.format(5, 50, "19–81")),
    claim("new.a", "undecided", SHARE.format(5, 50, "19–81")),
]


def written(folder, claims, settings=None, data="sin, digest 1234"):
    folder.mkdir()
    (folder / "claims.json").write_text(json.dumps(claims))
    if settings is not None:
        (folder / "provenance.json").write_text(json.dumps({"own": {"settings": settings, "data": {"sin": data}}}))
    return str(folder / "claims.json")


def said(capsys, *arguments):
    status = main(["diff", *map(str, arguments)])
    heard = capsys.readouterr()
    return status, heard.out, heard.err


@pytest.fixture
def pair(tmp_path):
    return written(tmp_path / "one", FIRST), written(tmp_path / "two", SECOND)


def test_a_changed_verdict_has_both_effects_with_their_intervals_n_and_p(pair, capsys):
    status, words, _ = said(capsys, *pair)
    assert status == 0
    assert "1 of 3 verdicts changed; 1 more was tested in one of the two only." in words
    assert "own.a  Networks converge.\n" in words
    assert "  A  contradicted, n = 10, p = 0.002: net 0: 0 of 10 members (0 %, 95 % interval 0–31 %)\n" in words
    assert "  B  undecided, n = 10, p = 0.75: net 0: 4 of 10 members (40 %, 95 % interval 12–74 %)\n" in words
    assert "own.c  supported → not tested" in words
    assert "Nothing changed here." not in words
    assert "Only in A: gone." in words
    assert "Only in B: own.d and new." in words
    assert max(map(len, words.splitlines())) <= max(WIDTH, *(len(f"A  {one}") for one in pair))


@pytest.mark.parametrize(
    ("settings", "data", "words"),
    [
        ({"members": 6, "networks": [[2, 3]]}, "sin, digest 1234", "The settings of own are the same in both."),
        ({"members": 10, "networks": [[2, 3], [4]]}, "sin, digest 1234", "members 6 → 10; networks 2-3 → 2-3, 4."),
        ({"members": 6, "networks": [[2, 3]]}, "sin, digest 99", "settings in own (A → B): other examples of sin."),
        (None, "", "It is not known whether the settings of own are the same."),
    ],
)  # fmt: skip
def test_it_is_said_whether_the_settings_are_the_same(tmp_path, capsys, settings, data, words):
    first, _ = (
        str(tmp_path / "one"),
        written(tmp_path / "one", FIRST, {"members": 6, "networks": [[2, 3]], "device": "cpu"}),
    )
    second = written(tmp_path / "two", SECOND, settings and settings | {"device": "cuda"}, data)
    assert words in said(capsys, first, second)[1]


def test_settings_of_a_specification_are_compared_one_by_one(tmp_path, capsys):
    first, second = (
        written(
            tmp_path / name,
            FIRST,
            {"members": 6, "specification": {"training": {"epochs": epochs}, "axes": {"width": [1, 2]}}},
        )
        for name, epochs in (("one", 5), ("two", 6))
    )
    assert "Other settings in own (A → B): training epochs 5 → 6." in said(capsys, first, second)[1]


def test_runs_without_a_common_claim_are_named_as_such(tmp_path, capsys):
    status, words, _ = said(capsys, written(tmp_path / "one", FIRST), "reference")
    assert (status, "A and B have no claim in common." in words) == (0, True)
    assert "Only in A: own and gone." in words


def test_claims_that_are_decided_by_different_rules_are_named(tmp_path, capsys):
    renamed, other = claim("own.a", "undecided", kind="share"), claim("own.b", "undecided", kind="median_sign")
    first = written(tmp_path / "one", [claim("own.a", "undecided"), claim("own.b", "undecided")])
    assert (
        "A and B decided own.b by different rules."
        in said(capsys, first, written(tmp_path / "two", [renamed, other]))[1]
    )


def test_a_copy_of_the_reference_run_with_one_verdict_turned_around_differs_in_that_one(tmp_path, capsys):
    claims = json.loads(files("bathymetry.studies").joinpath("reference_claims.json").read_text())["claims"]
    copy = written(tmp_path / "same", claims)
    status, words, _ = said(capsys, "reference", copy, "--exit-code")
    assert (status, f"0 of {len(claims)} verdicts changed." in words) == (0, True)
    claims[0]["verdict"] = "undecided" if claims[0]["verdict"] == "supported" else "supported"
    turned = written(tmp_path / "turned", claims)
    assert said(capsys, turned, "reference")[0] == 0
    status, words, _ = said(capsys, turned, "reference", "--json", "--exit-code")
    found = json.loads(words)
    assert status == 1
    assert [name for name, one in found["claims"].items() if one["changed"]] == [claims[0]["id"]]
    assert found["claims"][claims[0]["id"]]["a"]["verdict"] == claims[0]["verdict"]
    assert (found["only_in_a"], found["only_in_b"]) == ([], [])


def test_the_page_has_a_lane_for_each_run_and_marks_what_changed(pair, capsys, tmp_path):
    page = tmp_path / "diff.html"
    status, words, _ = said(capsys, *pair, "--out", page)
    assert (status, words.endswith(f"\nPage: {page}\n")) == (0, True)
    html = page.read_text()
    rows = dict(re.findall(r'<details class="claim" id="claim-([^"]*)"(.*?)</summary>', html, re.DOTALL))
    assert list(rows) == ["own.a", "own.b", "own.c"]
    assert [name for name, row in rows.items() if "data-differs" in row] == ["own.a"]
    lanes = [re.findall(r"<i>([AB])</i>.*?</svg>\s*([a-z ]+)</span>", row, re.DOTALL) for row in rows.values()]
    assert lanes[0] == [("A", "contradicted"), ("B", "undecided")]
    assert lanes[2] == [("A", "supported"), ("B", "not tested")]
    assert "This run" not in html.partition("<main")[2]
    assert html.count("1 of 3 verdicts changed; 1 more was tested in one of the two only.") == 1
    assert "Only in A: gone." in html
    assert len(html) < 300_000  # without the charting library


def test_hostile_words_are_shown_as_words(tmp_path, capsys):
    words = f"{HOSTILE} \x1b[2J"
    stored = [claim("own.a", one, words, text=words) | {"finding": words} for one in ("supported", "contradicted")]
    runs = [written(tmp_path / one["verdict"], [one]) for one in stored]
    page = tmp_path / "diff.html"
    status, said_, _ = said(capsys, *runs, "--out", page)
    assert (status, "\x1b" in said_, "\\x1b[2J" in said_) == (0, False, True)
    html = page.read_text()
    assert "&lt;script&gt;window.attacked" in html
    assert HOSTILE not in html
    assert "<img src=x" not in html


@pytest.mark.slow
def test_the_page_shows_what_changed_in_a_browser_without_a_message_or_a_request(pair, tmp_path, capsys, browser_visit):
    page = tmp_path / "diff.html"
    said(capsys, *pair, "--out", page)
    for width in (1280, 390):
        visit = browser_visit(page, width=width)
        visit.tab.click('[data-filter="differs"]')
        assert visit.tab.locator(".claim:visible").count() == 1
        assert visit.tab.evaluate("document.documentElement.scrollWidth") == width
        assert visit.said == []
        assert visit.asked_for == [page.as_uri()]


BAD = {
    "{one}": "b: missing; for example bathymetry diff run1 run2.",
    "{one} {one}": "that is A too; expected two different runs",
    "reference reference": "b = reference: that is A too",
    "{one} {here}/one/../one/claims.json": "that is A too",
    "{one} {here}/nowhere": "there is no such folder",
    "{one} {here}/nowhere.json": "there is no such file",
    "{one} {here}/foreign": "expected an output folder, one that `bathymetry run` wrote",
    "{one} {here}/bare": "it holds no claims.json, which `bathymetry report {here}/bare` writes from stored results",
    "{here}/later {one}": "a later version of Bathymetry made it",
    "{one} {here}/damaged/claims.json": "it is damaged; `bathymetry report {here}/damaged` writes it again",
    "{one} {here}/empty/claims.json": "claims.json holds no claims; expected the claims.json of an output folder",
    "{one} {here}/other/claims.json": "claims.json holds no claims; expected the claims.json of an output folder",
    "{one} {here}/words/claims.json": "“likely”, the verdict of own.a, is of another version of Bathymetry",
    "{one} {here}/count/claims.json": "the claim own.b is damaged: members = 'ten'; `bathymetry report FOLDER` writes",
    "{here}/interval/claims.json {one}": "the claim own.a is damaged: interval = ['0.2', 0.8]; `bathymetry report",
    "{one} reference --out notes.txt": "expected the name of a page, such as diff.html",
    "{one} reference --out {here}/bare/report.html": "that is the page of an output folder; expected another name",
    "{one} reference --out": "--out: a value is missing",
    "{one} reference third": "third is one too many",
}


@pytest.mark.parametrize("line", BAD)
def test_bad_input_is_one_sentence_and_status_2(pair, capsys, tmp_path, line):
    other_interval = claim("own.a", "undecided", SHARE.format(5, 50, "19–81"))
    other_interval["parts"][0]["interval"] = ["0.2", 0.8]
    for name, content in {
        "foreign/thesis.txt": "mine",
        "bare/bathymetry.json": '{"format": 1}',
        "later/bathymetry.json": '{"format": 99}',
        "damaged/claims.json": "[{",
        "empty/claims.json": "[]",
        "other/claims.json": '[{"id": "own.a"}]',
        "count/claims.json": json.dumps([claim("own.a", "undecided"), claim("own.b", "undecided", members="ten")]),
        "interval/claims.json": json.dumps([other_interval]),
        "words/claims.json": json.dumps([claim("own.a", "likely")]),
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    names = {"one": pair[0], "here": str(tmp_path)}
    status, out, err = said(capsys, *(word.format(**names) for word in line.split()))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert BAD[line].format(**names) in err
