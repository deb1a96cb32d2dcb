"""What a page says of the settings behind it."""

from pathlib import Path

import pytest
import xarray as xr

from bathymetry.execution.study_run import StudyRun
from bathymetry.report.sections import (
    common_first,
    compared,
    is_demonstration,
    meta,
    opening,
    presets_in_words,
    reproduce,
    reproduce_all,
    setup,
)
from bathymetry.studies import find
from bathymetry.studies.catalogue import SHIPPED

STROKES = "drawn by Bathymetry from stroke skeletons, seed 0"


def run(name, preset="quick", data=None, **changes):
    tree = xr.DataTree()
    study = find(name).preset(preset, **changes)
    settings = study.model_dump(mode="json")
    part = "3,000 training and 1,000 test examples, drawn by seed 0"
    sources = data or {"strokes": f"{STROKES}; of these {part}, digest 0"}
    tree.attrs = {
        "settings": settings,
        "data": sources,
        "found_as": name,
        "provenance": {"time": "2026-11-25T01:00"},
        "notes": [],
    }
    return StudyRun(study, tree, Path("out"))


def test_studies_with_one_preset_are_one_sentence_even_where_presets_coincide():
    words = presets_in_words([run("gradient-norm"), run("trajectory"), run("batch-size")])
    assert words == "Preset quick for all 3 studies. For trajectory the presets full and quick are the same."


def test_studies_are_grouped_by_their_presets_and_changed_fields_named():
    runs = [run("gradient-norm"), run("batch-size", epochs=9), run("depth-function", "full")]
    assert presets_in_words(runs) == (
        "Preset quick: gradient-norm, batch-size (with epochs 9). Preset full: depth-function."
    )


def test_where_presets_are_the_same_the_one_of_the_page_is_named():
    quick = [run("trajectory"), run("gradient-norm"), run("batch-size")]
    assert "--preset quick" in reproduce(quick[0], common_first(quick))
    full = [run("trajectory"), run("gradient-norm", "full"), run("depth-function", "full")]
    assert "--preset full" in reproduce(full[0], common_first(full))


def test_the_head_of_the_page_names_the_preset_that_all_studies_may_have_been_run_with():
    """Trajectory has the same settings with `full` and `quick`."""
    assert meta([run("trajectory"), run("gradient-norm")]).startswith("quick run · ")
    assert meta([run("trajectory"), run("batch-size", epochs=9)]).startswith("quick run · ")
    assert meta([run("trajectory"), run("batch-size", "full", epochs=9)]).startswith("full run · ")


def test_a_setting_is_named_so_that_a_reader_knows_what_it_is_of():
    used = setup(run("capacity", hidden=(4, 9), few_epochs=40, few_members=3))
    assert "hidden widths 4/9" in used
    assert "40 small-sample epochs" in used
    assert "3 small-sample members" in used


def test_what_the_reference_run_had_more_of_follows_from_the_settings():
    words = compared(run("batch-size"))
    reference, this_run = words.split("; this run used ")
    for needed, had in (
        ("10 members", "6 members"),
        ("all training examples", "3,000 training examples"),
        ("50 epochs", "8 epochs"),
        ("the data mnist", "strokes"),
    ):
        assert needed in reference
        assert had in this_run


def test_a_run_with_the_settings_of_the_reference_run_does_not_differ_from_it():
    assert compared(run("trajectory", data={"cos": "cos(x)"})) == ""


@pytest.mark.parametrize(
    ("study", "chosen"),
    [
        ("depth-function", {"functions": ("sin(5*pi*x)",)}),
        ("depth-function", {"low": 0.0, "high": 1.0}),
        ("trajectory", {"function": "sin(5*pi*x)"}),
        ("gradient-norm", {"function": "sin(5*pi*x)"}),
        ("minimal-ratio", {"network": (7, 7)}),
        ("interpolation", {"network": (64,)}),
        ("random-labels", {"networks": ((32,),)}),
        ("capacity", {"hidden": (4, 9)}),
    ],
)
def test_a_run_of_functions_or_networks_that_the_reader_chose_is_no_demonstration(study, chosen):
    assert is_demonstration([run(study, members=6)])
    assert not is_demonstration([run(study, **chosen)])
    assert not is_demonstration([run("batch-size"), run(study, **chosen)])


def test_the_header_names_each_data_set_once_and_where_it_came_from():
    small = {"strokes": f"{STROKES}; of these 10,000 training and 5,000 test examples, drawn by seed 0, digest 1"}
    lines = opening([run("batch-size"), run("depth-classification", data=small)])
    assert lines[0] == f"Data: strokes ({STROKES})."
    assert len(lines) == 3


def test_one_command_reproduces_all_nine_studies_where_their_options_are_the_same():
    nine = [run(name) for name in SHIPPED]
    assert reproduce_all(nine, ["quick"]) == "bathymetry run all --preset quick --out out --data strokes"
    changed = [run(name, **({"epochs": 9} if name == "batch-size" else {})) for name in SHIPPED]
    assert len(reproduce_all(changed, ["quick"]).splitlines()) == 9
    assert reproduce_all(nine[:2], ["quick"]).splitlines() == [reproduce(one, ["quick"]) for one in nine[:2]]


def test_the_head_of_the_page_names_data_as_readers_know_them():
    assert meta([run("batch-size")]) == "quick run · 6 networks each · drawn digits · 2026-11-25"
    assert meta([run("batch-size", data={"mnist": "the published MNIST files"})]).split(" · ")[2] == "MNIST"
