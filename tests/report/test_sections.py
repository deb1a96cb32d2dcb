import shlex
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from bathymetry.cli.main import main
from bathymetry.execution.load_study import load_study
from bathymetry.execution.study_run import StudyRun, run_study
from bathymetry.report.figure_tools import slider_of
from bathymetry.report.sections import diverged, is_demonstration, other_results
from bathymetry.store.results import read_results, write_results
from bathymetry.studies import find

OWN = str(Path(__file__).parents[1] / "execution" / "own_study.py")


def shown(out):
    return load_study(out / "own-width", OWN)


@pytest.fixture
def out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Path("out")


def of_full(**changes):
    """A run of gradient-norm with the settings of the reference run, but for some."""
    results = xr.DataTree()
    results.attrs["data"] = {"cos": "cos(x), digest 0"}
    return StudyRun(find("gradient-norm").preset("full").model_copy(update=changes), results, Path("out"))


def test_which_run_leads_depends_on_settings_and_not_on_how_many_members_there_are():
    assert not is_demonstration([of_full(), of_full(members=300, seed=7)])
    assert is_demonstration([of_full(members=300, epochs=40)])


def test_stacked_charts_over_few_epochs_have_no_slider_and_over_something_else_the_title_of_the_last():
    def read_off(title):
        charts = {
            name: {"layer": [{"name": "centre", "encoding": {"x": {"field": "x"}}}]} for name in ("upper", "lower")
        }
        charts["upper"]["layer"][0]["encoding"]["x"]["title"] = None
        charts["lower"]["layer"][0]["encoding"]["x"]["title"] = title
        drawn = [{"charts": [{"id": name, "title": name} for name in charts]}]
        return slider_of("study", drawn, charts, {"": [{"x": x} for x in range(9)]})

    assert read_off("Epoch") is None
    assert read_off("Width")["title"] == "Width"
    assert list(read_off("Width")["charts"]) == ["upper", "lower"]


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

    monkeypatch.setattr("bathymetry.report.figure_files.begin", lambda *_: [])  # drawing is slow
    monkeypatch.setattr("bathymetry.report.publishing.page", lambda report, _: str(report))
    assert main(shlex.split(command)) == 0
    assert "nothing to train" in capsys.readouterr().out
    assert shown(out).results.attrs["settings"]["seed"] == 0
    (sentence,) = other_results(shown(out))
    assert sentence.startswith("This folder also holds a result of this study with seed 7 (here 0).")
    assert sentence in (out / "report.html").read_text()

    assert main(["export", str(out)]) == 0
    assert {path.name[:10] for path in (out / "tables").iterdir()} == {"own-width", "own-width-"}


def test_a_result_of_another_version_of_the_study_is_named_without_its_settings(out):
    run_study(OWN, preset="smoke", out=out, members=2)
    run_study(OWN, preset="smoke", out=out, members=2, seed=7)
    (earlier,) = (out / "own-width").glob("result-*.nc")
    results = read_results(earlier)
    results.attrs["settings"]["epochs"] = "until it is done"
    write_results(earlier, results)
    expected = "Another result of this study, by another version, is stored in its folder."
    assert other_results(shown(out)) == [expected]


def test_members_that_diverged_are_named_by_their_coordinates_in_each_group():
    flags = xr.DataArray(
        [[False, True, False], [True, True, False]],
        {"network": ["shallow", "deep"], "member": [0, 1, 2]},
        name="diverged",
    )
    alone = xr.DataArray(np.array([0.0, np.nan, 1.0]), {"member": [3, 4, 5]}, name="diverged")  # NaN: not trained
    tree = xr.DataTree.from_dict({"main": flags.to_dataset(), "other": alone.to_dataset(), "calm": xr.Dataset()})
    first, second = diverged(StudyRun(None, tree, Path("out")))
    assert first.startswith("3 of 6 members diverged (by network and member: shallow 1; deep 0; deep 1). They count as")
    assert second.startswith("1 of 3 members diverged (by member: 5). They")
