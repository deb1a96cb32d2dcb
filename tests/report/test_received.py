"""Folders that come from somebody else, from another version, or from a disk that damages files."""

import json
import os
import random
import re
import shutil
import signal
from pathlib import Path

import pytest
import xarray as xr

import bathymetry as bm
from bathymetry.cli.main import main
from bathymetry.core.errors import InputError
from bathymetry.core.identity import canonical, digest
from bathymetry.report.page_json import claim_of, read_section
from bathymetry.report.publishing import publish
from bathymetry.store.results import read_results, write_results
from report.cases import HOSTILE

OWN = Path(__file__).parents[1] / "execution" / "own_study.py"
SMALL = {"preset": "smoke", "functions": ("cos",), "networks": ((4,), (2, 2)), "samples": 20, "epochs": 3, "members": 6}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a study that ships and one of somebody's own, whose file then leaves a mark when it is run."""
    folder = tmp_path_factory.mktemp("made")
    mine = folder / "own.py"
    shutil.copy(OWN, mine)
    bm.run_study("depth-function", out=folder / "out", **SMALL)
    bm.run_study(str(mine), preset="smoke", out=folder / "out", members=6)
    publish(folder / "out", [str(mine)])
    mine.write_text("import pathlib\npathlib.Path(__file__).with_name('ran').touch()\n" + mine.read_text())
    return folder


@pytest.fixture
def out(made, tmp_path):
    shutil.copytree(made / "out", tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def undrawn(monkeypatch):
    """Draw no figure, which takes the longest."""
    monkeypatch.setattr("bathymetry.report.figure_files.begin", lambda *_: [])


def claims_in(out):
    return {one["id"]: one for one in json.loads((out / "claims.json").read_text())}


def html_of(out):
    return (out / "report.html").read_text(encoding="utf-8")


def test_a_received_folder_runs_no_code_and_shows_what_was_stored(made, out, capsys):
    before = claims_in(out)
    stored = (out / "own-width" / "page.json").read_bytes()
    assert main(["report", str(out)]) == 0
    assert not (made / "ran").exists()
    page = html_of(out)
    assert "does not come with Bathymetry" in page
    assert "Wider is lower." in page
    assert 'src="data:image/png;base64,' in page
    assert str(made) not in page
    assert claims_in(out) == before
    assert (out / "own-width" / "page.json").read_bytes() == stored
    assert (out / "own-width" / "figures" / "figure-final-loss.svg").is_file()
    assert "OWN-WIDTH.A" in capsys.readouterr().out.upper()


def test_a_study_is_run_when_its_file_is_named(made, out):
    again = shutil.copy(made / "own.py", out.parent / "again.py")
    assert main(["report", str(out), "--study", str(again)]) == 0
    assert (out.parent / "ran").exists()
    assert "does not come with Bathymetry" not in html_of(out)
    assert "again.py --preset smoke" in re.sub(r"</?span[^>]*>", "", html_of(out))
    loaded = bm.load_study(out / "own-width", study=again)
    assert [one.id for one in loaded.claims] == ["own-width.a"]


def test_python_loads_no_study_by_what_is_stored(made, out):
    (made / "ran").unlink(missing_ok=True)
    with pytest.raises(InputError, match=r"study = own-width: it does not come with Bathymetry .* study=FILE"):
        bm.load_study(out / "own-width")
    with pytest.raises(InputError, match=r"the results in .* are those of own-width"):
        bm.load_study(out / "own-width", study="depth-function")
    assert not (made / "ran").exists()


def test_a_named_study_without_results_in_the_folder_is_refused(out, made):
    shutil.rmtree(out / "own-width")
    with pytest.raises(InputError, match="holds no results of the study own-width"):
        publish(out, [str(OWN)])


def seal_page(folder, content):
    whole = {"digest": digest(canonical(content)), "content": content}
    (folder / "page.json").write_text(json.dumps(whole))


def page_content(folder):
    return json.loads((folder / "page.json").read_text())["content"]


def with_attributes(folder, **changes):
    results = read_results(folder / "result.nc")
    results.attrs = {name: value for name, value in (results.attrs | changes).items() if value is not None}
    write_results(folder / "result.nc", results)


def hostile(value):
    """The same with hostile words wherever there are words."""
    if isinstance(value, str):
        return f"{HOSTILE} javascript:alert(1) \x1b[2J \u202e"
    if isinstance(value, list):
        return [hostile(one) for one in value]
    return {hostile(name): hostile(one) for name, one in value.items()} if isinstance(value, dict) else value


def test_hostile_words_in_every_stored_text_stay_words(out, browser_visit):
    content = page_content(out / "own-width")
    for name in ("question", "part", "about", "reading", "seen", "settings"):
        content[name] = hostile(content[name])
    content["seen"] = [HOSTILE]
    content["claims"] = [
        {name: one if name in ("kind", "verdict", "id") else hostile(one) for name, one in claim.items()}
        for claim in content["claims"]
    ] + [{"id": HOSTILE, "kind": HOSTILE, "verdict": HOSTILE, "parts": [{"coordinates": {HOSTILE: HOSTILE}}]}]
    for figure in content["figures"]:
        figure |= dict.fromkeys(("title", "finding", "reading", "number"), HOSTILE)
    content["figures"].append({"name": HOSTILE, "files": {}})
    svg = (
        b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9" onload="window.attacked = true">'
        b'<a href="javascript:top.attacked = true"><text>x</text></a></svg>'
    )
    (out / "own-width" / "figures" / "figure-drawn.svg").write_bytes(svg)
    content["figures"].append({"name": "drawn", "title": "x", "files": {"figure-drawn.svg": digest(svg)}})
    seal_page(out / "own-width", content)
    words = hostile({"a": "b"})
    with_attributes(
        out / "own-width", study=HOSTILE, question=HOSTILE, notes=[HOSTILE], settings=words, data=words,
        provenance={"versions": words, "python": HOSTILE, "time": HOSTILE}, found_as="/tmp/evil.py", chunks=words,
    )  # fmt: skip
    with_attributes(
        out / "depth-function", notes=[HOSTILE], data=words, question=HOSTILE, found_as="/tmp/evil.py",
        provenance={"versions": words, "python": HOSTILE, "time": HOSTILE},
    )  # fmt: skip
    results = read_results(out / "depth-function" / "result.nc")
    results["main/extra"] = xr.DataArray([1.0], {HOSTILE.replace("/", "|"): [HOSTILE]}, attrs={"units": HOSTILE})
    main = results["main"]
    main.dataset = main.to_dataset().assign_coords(network=[HOSTILE, "b" + HOSTILE])
    write_results(out / "depth-function" / "result.nc", results)
    publish(out)
    seen = browser_visit(out / "report.html")
    assert seen.tab.evaluate("window.attacked") is None
    assert seen.said == []
    text = seen.tab.locator("main").inner_text()
    assert HOSTILE in text
    assert "\x1b" not in html_of(out)
    assert "\u202e" not in html_of(out)
    assert "evil.py" not in html_of(out)
    assert seen.tab.locator("img.picture").count() == 2


@pytest.mark.parametrize(
    "figure",
    [
        b"<html><script>1</script></html>",
        b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a "b">]><svg>&a;</svg>',
        b"<svg><script>1</script></svg>",
        b"<svg><use href='#a'/></svg>",
        b"<svg><foreignObject><iframe/></foreignObject></svg>",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + b"\xff" * 8,
    ],
)
def test_a_stored_figure_that_is_no_plain_picture_is_not_shown(out, figure):
    folder = out / "own-width"
    kind = "png" if figure.startswith(b"\x89") else "svg"
    (folder / "figures" / f"figure-final-loss.{kind}").write_bytes(figure)
    content = page_content(folder)
    content["figures"][0]["files"] = {f"figure-final-loss.{kind}": digest(figure)}
    seal_page(folder, content)
    page = read_section(folder)
    assert page.pictures == ()
    assert "is not shown" in page.warnings[0]


def test_every_damage_of_a_stored_page_or_figure_is_noticed(out):
    folder = out / "own-width"
    whole = read_section(folder)
    assert len(whole.claims) == len(whole.pictures) == 1
    chance = random.Random(0)
    for path in (folder / "page.json", folder / "figures" / "figure-final-loss.png"):
        content = path.read_bytes()
        for _ in range(40):
            place = chance.randrange(len(content))
            kind = chance.randrange(4)
            flipped = content[:place] + bytes([content[place] ^ (1 << chance.randrange(8))]) + content[place + 1 :]
            damaged = [flipped, content[:place], content[:place] + bytes(50) + content[place + 50 :], content + b"0"][
                kind
            ]
            path.write_bytes(damaged)
            back = read_section(folder)
            same = back.claims == whole.claims and back.pictures == whole.pictures
            told = any("damaged" in note or "is not shown" in note for note in back.warnings)
            assert told or same, (path.name, place, kind)
        path.write_bytes(content)


def test_results_of_another_version_are_shown_as_far_as_they_are_understood(out, undrawn):
    folder = out / "depth-function"
    results = read_results(folder / "result.nc")
    settings = results.attrs["settings"]
    with_attributes(folder, settings={name: settings[name] for name in settings if name != "low"} | {"later": [1]})
    publish(out)
    page = html_of(out)
    assert "does not know their settings later" in page
    assert "without the settings low (here" in page
    results["later"] = xr.DataArray([1.0, 2.0], dims="later_axis")
    write_results(folder / "result.nc", results)
    before = claims_in(out)
    publish(out)
    assert claims_in(out) == before


def test_missing_attributes_keep_no_study_from_the_page(out, undrawn):
    whole = read_results(out / "depth-function" / "result.nc")
    others = ["data", "provenance", "notes", "chunks", "seconds", "question", "found_as"]
    for absent in ([one] for one in others):
        with_attributes(out / "depth-function", **dict.fromkeys(absent))
        loaded = bm.load_study(out / "depth-function")
        assert loaded.results.attrs["settings"]["members"] == 6
        assert len(loaded.claims) == 8
        write_results(out / "depth-function" / "result.nc", whole)
    with_attributes(out / "depth-function", **dict.fromkeys(others))
    publish(out)
    assert "stored without their data and provenance" in html_of(out)


def test_results_that_lack_what_their_study_shows_leave_the_page_before_in_place(out):
    before = claims_in(out)
    results = read_results(out / "depth-function" / "result.nc")
    results["main"].dataset = results["main"].to_dataset().drop_vars("loss")
    write_results(out / "depth-function" / "result.nc", results)
    publish(out)
    page = html_of(out)
    assert "The figures could not be made from these results" in page
    assert "those of the page before are shown" in page
    assert claims_in(out) == before
    assert page.count('<img class="picture"') > 1


def test_settings_that_no_version_has_show_the_page_before(out, undrawn):
    with_attributes(out / "depth-function", settings={"members": -3})
    before = claims_in(out)
    publish(out)
    assert "are none that this version knows (members = -3: expected" in html_of(out)
    assert claims_in(out) == before


def test_verdicts_of_a_kind_that_this_version_does_not_know_are_shown_without_one(out, undrawn):
    content = page_content(out / "own-width")
    content["claims"].append({"id": "own-width.z", "text": "A later claim.", "kind": "later", "verdict": "maybe"})
    seal_page(out / "own-width", content)
    publish(out)
    assert "A later claim." in html_of(out)
    assert "stored as “maybe”" in html_of(out)


def test_kinds_and_decisions_of_earlier_versions_are_read_under_their_new_names():
    for kind, now in [
        ("share", "majority"),
        ("order", "stochastic_order"),
        ("slope", "median_sign"),
        ("mean_sign", "median_sign"),
        ("mean_in_interval", "median_in_interval"),
        ("best", "best_of"),
    ]:
        claim = claim_of({"id": "x.a", "kind": kind, "verdict": "not judged", "reason": "not run"}, "x")
        assert (claim.verdict.kind, claim.verdict.decision, claim.verdict.reason) == (now, "not tested", "not run")


def test_a_folder_without_stored_pages_is_read_as_an_earlier_version_left_it(out, undrawn):
    (out / "own-width" / "page.json").unlink()
    before = claims_in(out)
    publish(out)
    page = html_of(out)
    assert "stored this study's verdicts and figures without a digest" in page.replace("&#39;", "'")
    assert {name: one["verdict"] for name, one in claims_in(out).items()} == {
        name: one["verdict"] for name, one in before.items()
    }
    assert 'src="data:image/png;base64,' in page


@pytest.mark.parametrize("damage", ["flip", "gone"])
def test_a_damaged_result_is_put_together_again_from_its_chunks(out, damage, undrawn):
    path = out / "depth-function" / "result.nc"
    content, before, claims = path.read_bytes(), read_results(path), claims_in(out)
    path.unlink() if damage == "gone" else path.write_bytes(content[:900] + b"\xff" + content[901:])
    publish(out)
    assert "rebuilt from the stored chunks" in html_of(out)
    after = read_results(path)
    xr.testing.assert_identical(after["main"].to_dataset(), before["main"].to_dataset())
    assert claims_in(out) == claims


def test_a_damaged_result_without_its_chunks_is_reported_and_keeps_no_other_from_the_page(out, undrawn):
    shutil.rmtree(out / "units")
    for name in ("depth-function", "own-width"):
        path = out / name / "result.nc"
        path.write_bytes(path.read_bytes()[:-7])
    claims = claims_in(out)
    publish(out)
    page = html_of(out)
    assert page.count("is damaged: its content does not have the digest") == 2
    assert "run the study again (chunks that are stored are not trained again), or merge again if it was merged" in page
    assert claims_in(out) == claims


def test_nothing_is_written_through_a_link_in_a_received_folder(out, tmp_path, capsys):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "figure-mine.png").write_bytes(b"mine")
    shutil.rmtree(out / "depth-function" / "figures")
    (out / "depth-function" / "figures").symlink_to(elsewhere)
    assert main(["report", str(out)]) == 2
    assert "is a link, and nothing is written through it" in capsys.readouterr().err
    assert [one.name for one in elsewhere.iterdir()] == ["figure-mine.png"]


@pytest.fixture
def bounded():
    """End a test that would wait for ever."""

    def late(*_):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    "places",
    [
        ("*/page.json", "claims.json"),
        ("own-width/result.nc", "own-width/figures/*.png"),
        ("depth-function/result.nc", "units/*/*.safetensors"),
    ],
)
def test_a_pipe_among_the_files_of_a_folder_keeps_nobody_waiting(out, places, undrawn, bounded):
    pipes = [path for place in places for path in out.glob(place)]
    for path in pipes:
        path.unlink()
        os.mkfifo(path)
    assert len(pipes) > 1
    publish(out)
    page = html_of(out)
    assert "a named pipe instead of an ordinary file" in page
    assert "depth-function" in page
    assert "own-width" in page
