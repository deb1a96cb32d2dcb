"""Merging the folders of many people, through the command line."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

import bathymetry as bm
from bathymetry.cli.main import main
from bathymetry.execution.study_run import run_study
from bathymetry.report import figure_files
from bathymetry.report.sections import other_results, reproduce
from bathymetry.store.results import read_results, write_results

OWN = str(Path(__file__).parents[1] / "execution" / "own_study.py")
PEOPLE = ("anna", "ben", "cem")
DEPTH = {"samples": 20, "epochs": 3, "members": 2}
TRAJECTORY = {"samples": 20, "epochs": 8, "members": 2}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three people's folders of a study, with seeds by name; it is run once, and the others' numbers are moved."""
    folder = tmp_path_factory.mktemp("class")
    run_study("depth-function", preset="smoke", out=folder / PEOPLE[0], seed=PEOPLE[0], **DEPTH)
    for place, name in enumerate(PEOPLE[1:], start=1):
        shutil.copytree(folder / PEOPLE[0], folder / name)
        path = folder / name / "depth-function" / "result.nc"
        results = read_results(path)
        results["main"]["loss"] += place
        write_results(path, results)
        seed = hashlib.blake2b(name.encode(), digest_size=5).digest()
        change(path, seed=int.from_bytes(seed, "big"))
    return folder


@pytest.fixture
def folders(made, tmp_path, monkeypatch):
    """A copy, in the current folder; no page is written, for that is slow."""
    monkeypatch.setattr("bathymetry.report.publishing.publish", lambda out, _: (out / "report.html", ()))
    shutil.copytree(made, tmp_path / "class")
    monkeypatch.chdir(tmp_path / "class")
    return tmp_path / "class"


def merged(capsys, *names, out="all"):
    assert main(["merge", *names, "--out", out]) == 0
    return capsys.readouterr().out


def _check_planes():
    """The plane of the merged paths is that of all weights, as the probe finds it."""
    whole = result("all", "trajectory")["main"].to_dataset()
    weights = np.concatenate([result(name, "trajectory")["main"]["weights"].values for name in PEOPLE])
    assert np.array_equal(whole["weights"].values, weights)
    path = bm.probes.trajectory(torch.from_numpy(weights).double(), components=2, walks=2)
    share = whole["explained_variance_ratio"].sel(scope="network").values
    np.testing.assert_allclose(share, path.explained_variance_ratio.numpy(), rtol=1e-6)
    assert not np.allclose(share, result("anna", "trajectory")["main"]["explained_variance_ratio"].sel(scope="network"))


def refused(capsys, *arguments):
    assert main(["merge", *arguments]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert not Path("all").exists()
    return said.err.removeprefix("bathymetry: ")


def result(name, study="depth-function"):
    return read_results(Path(name) / study / "result.nc")


def change(path, **settings):
    results = read_results(path)
    results.attrs["settings"] |= settings
    write_results(path, results)


def test_members_stand_side_by_side_with_numbers_of_their_own(folders, capsys):
    said = merged(capsys, *PEOPLE)
    assert "depth-function: 6 members from 3 folders, with 3 seeds." in said
    whole = result("all")["main"].to_dataset()
    assert whole["member"].values.tolist() == [0, 1, 2, 3, 4, 5]
    for place, name in enumerate(PEOPLE):
        own = result(name)["main"].to_dataset()
        part = whole.isel(member=slice(2 * place, 2 * place + 2)).assign_coords(member=own["member"])
        xr.testing.assert_identical(part, own)
    for name, variable in own.variables.items():
        assert whole[name].dtype == variable.dtype


@pytest.mark.slow
def test_claims_page_provenance_and_planes_are_those_of_all_members(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(figure_files, "begin", lambda *_: [])  # drawing is slow
    monkeypatch.chdir(tmp_path)
    for name in PEOPLE:
        run_study("depth-function", preset="smoke", out=name, seed=name, **DEPTH)
        run_study("trajectory", preset="smoke", out=name, seed=name, **TRAJECTORY)
    assert "predicted" not in merged(capsys, *PEOPLE)
    claims = {one["id"]: one for one in json.loads(Path("all/claims.json").read_text())}
    assert claims["trajectory.a"]["members"] == 6
    _check_planes()
    provenance = json.loads(Path("all/provenance.json").read_text())["depth-function"]
    assert provenance["settings"]["members"] == 6
    assert [one["name"] for one in provenance["sources"]] == list(PEOPLE)
    assert provenance["sources"][0]["settings"]["seed"] == 589042263708  # printf anna | b2sum -l 40
    page = Path("all/report.html").read_text()
    assert "anna (seed 589042263708); ben (seed " in page
    assert "bathymetry merge anna ben cem --out all" in re.sub(r"</?span[^>]*>", "", page)
    assert " each · 3 seeds · " in page
    options = re.findall(r"<option value=\"(\d+)\">network (\d+) · (\w+)</option>", page)
    whose = {(str(2 * place + k),) * 2 + (name,) for place, name in enumerate(PEOPLE) for k in range(2)}
    assert set(options) == whose  # and none for the random walks of a chart of trajectory
    assert "depth-function (with samples 20 and epochs 3)" in page
    assert bm.load_study("all/depth-function").study.members == 6


def test_the_page_has_the_command_that_merges_with_the_paths_of_the_folders(folders, capsys):
    Path("handed in").mkdir()
    for name in PEOPLE[:2]:
        Path(name).rename(Path("handed in") / name)
    merged(capsys, "handed in/anna", "./handed in/ben", "cem")
    run = bm.load_study("all/depth-function")
    assert reproduce(run) == "bathymetry merge 'handed in/anna' 'handed in/ben' cem --out all"
    assert [one["name"] for one in run.results.attrs["sources"]] == [*PEOPLE]


def test_a_network_that_is_there_twice_counts_once(folders, capsys):
    shutil.copytree("anna", "copy-of-anna")
    run_study("depth-function", preset="smoke", out=folders / "longer", seed="ben", **DEPTH | {"members": 3})
    said = merged(capsys, "anna", "ben", "copy-of-anna", "longer")
    assert "depth-function: 5 members from 4 folders, with 2 seeds; 4 duplicates left out." in said
    loss = result("all")["main"]["loss"]
    third = result("longer")["main"]["loss"].sel(member=2, drop=True)
    xr.testing.assert_equal(loss.sel(member=4, drop=True), third)


@pytest.mark.slow
def test_merging_step_by_step_is_the_same_as_at_once(folders, capsys):
    merged(capsys, *PEOPLE)
    merged(capsys, "anna", "ben", out="two")
    merged(capsys, "two", "cem", out="three")
    one, other = result("all"), result("three")
    xr.testing.assert_identical(one["main"].to_dataset(), other["main"].to_dataset())
    assert one.attrs["settings"] == other.attrs["settings"]
    assert [source["name"] for source in other.attrs["sources"]] == list(PEOPLE)


@pytest.mark.slow
def test_a_later_merge_replaces_an_earlier_one_that_it_contains_and_no_other(folders, capsys):
    merged(capsys, "anna", "ben")
    merged(capsys, "cem", "ben", "anna")
    assert [one.name for one in Path("all/depth-function").glob("result*.nc")] == ["result.nc"]
    said = merged(capsys, "anna", "cem")
    assert "depth-function: an earlier result with other settings is now depth-function/result-" in said
    (sentence,) = other_results(bm.load_study("all/depth-function"))
    assert sentence.endswith("To show that one: bathymetry merge cem ben anna --out all")


def test_results_with_other_settings_are_refused_by_name_and_value(folders, capsys):
    change(folders / "cem" / "depth-function" / "result.nc", epochs=4)
    expected = "depth-function: epochs differs: 3 in anna and ben, 4 in cem; expected folders with the same settings"
    assert refused(capsys, *PEOPLE, "--out", "all").startswith(expected)


def test_results_with_another_draw_of_the_data_are_refused(folders, capsys):
    change(folders / "cem" / "depth-function" / "result.nc", data_seed=4)
    said = refused(capsys, *PEOPLE, "--out", "all")
    assert said.startswith("depth-function: data seed differs: 0 in anna and ben, 4 in cem; expected")
    shutil.copytree("ben", "dora")
    path = folders / "dora" / "depth-function" / "result.nc"
    results = read_results(path)
    results.attrs["data"]["cos"] = f"cos(x) on (-10, 10), seed 4, digest {'0' * 32}"
    write_results(path, results)
    said = refused(capsys, "anna", "dora", "--out", "all")
    assert said.startswith("depth-function: data differ: ")
    assert "(-10, 10), seed 4, digest" in said


def test_results_from_before_there_was_a_data_seed_have_that_of_their_seed(folders, capsys):
    path = folders / "cem" / "depth-function" / "result.nc"
    results = read_results(path)
    del results.attrs["settings"]["data_seed"]
    write_results(path, results)
    assert "data seed differs: 0 in anna, " in refused(capsys, "anna", "cem", "--out", "all")


def test_every_damaged_or_outdated_file_is_named(folders, capsys):
    content = bytearray(Path("anna/depth-function/result.nc").read_bytes())
    content[len(content) // 2] ^= 1
    Path("anna/depth-function/result.nc").write_bytes(content)
    outdated, later = (read_results(Path(name) / "depth-function" / "result.nc") for name in ("ben", "cem"))
    for name, tree, version in (("ben", outdated, 1), ("cem", later, 99)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("bathymetry.store.results.SCHEMA_VERSION", version)
            write_results(Path(name) / "depth-function" / "result.nc", tree)
    said = refused(capsys, *PEOPLE, "--out", "all")
    assert "anna/depth-function/result.nc is damaged" in said
    assert "ben/depth-function/result.nc was stored by an earlier version" in said
    assert "cem/depth-function/result.nc has schema 99" in said


def test_other_mistakes_are_answered_in_one_sentence(folders, capsys):
    assert "folders = anna: expected at least two output folders." in refused(capsys, "anna")
    assert "out = anna: it is one of the folders that are merged" in refused(capsys, "anna", "ben", "--out", "anna")
    assert "folder = dora: there is no such folder." in refused(capsys, "anna", "dora")
    assert "expected an output folder" in refused(capsys, "anna", "ben/depth-function")
    assert "folders: missing; for example bathymetry merge anna ben --out class." in refused(capsys)
    assert "did you mean --out?" in refused(capsys, "anna", "ben", "--ot", "all")
    Path("empty").mkdir()
    shutil.copy("anna/bathymetry.json", "empty")
    assert "folder = empty: it holds no results yet" in refused(capsys, "anna", "empty")
    Path("ben/bathymetry.json").write_text('{"made by": "bathymetry", "format": 99}')
    assert "out = ben: a later version of Bathymetry made it" in refused(capsys, "anna", "ben")


def test_nothing_is_merged_into_a_folder_that_is_merged_by_whatever_name(folders, capsys):
    Path("link").symlink_to("anna")
    before = {path: path.read_bytes() for path in Path("anna").rglob("*") if path.is_file()}
    for out in ("link", "ben/../anna", "./anna", str(folders / "anna")):
        assert f"out = {Path(out)}: it is one of the folders that are merged" in refused(
            capsys, "anna", "ben", "--out", out
        )
    assert "out = anna/in: it is within anna, which is merged" in refused(capsys, "anna", "ben", "--out", "anna/in")
    assert "out = anna: it is one of" in refused(capsys, "link", "ben", "--out", "anna")
    assert {path: path.read_bytes() for path in Path("anna").rglob("*") if path.is_file()} == before


def test_ones_own_study_is_merged_where_its_file_is_named(folders, capsys):
    for seed in (0, 1):
        run_study(OWN, preset="smoke", out=f"own-{seed}", members=3)
    assert "name its file: --study FILE.py" in refused(capsys, "own-0", "own-1")
    assert main(["merge", "own-0", "own-1", "--out", "all", "--study", OWN]) == 0
    assert "own-width: 3 members from 2 folders, with 1 seed; 3 duplicates left out." in capsys.readouterr().out
