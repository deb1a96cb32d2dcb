import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
import xarray as xr

import bathymetry as bm
from bathymetry.core.errors import InputError
from bathymetry.execution.study_run import run_study
from bathymetry.execution.work import compare
from bathymetry.store.results import read_results

OWN = str(Path(__file__).with_name("own_study.py"))
THREADS = str(Path(__file__).with_name("threads_study.py"))


def batch_normalised():
    return torch.nn.Sequential(torch.nn.Linear(1, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 1))


class Listener:
    """Collects what a run reports."""

    def __init__(self):
        self.said, self.begun, self.units = [], [], []

    def say(self, sentence):
        self.said.append(sentence)

    def begin(self, study, units, seconds):
        self.begun.append(units)

    def advance(self, unit, seconds):
        if unit not in self.units:
            self.units.append(unit)

    def end(self):
        pass


def run(out, listener=None, **fields):
    return run_study(OWN, preset="smoke", out=out, progress=listener, **fields)


def units_in(out):
    return {path: path.stat().st_mtime_ns for path in (out / "units").rglob("*.safetensors")}


def test_members_that_are_stored_are_not_trained_again(tmp_path):
    six, ten, again = Listener(), Listener(), Listener()
    first = run(tmp_path, six, members=6)
    before = units_in(tmp_path)
    second = run(tmp_path, ten, members=10)
    assert six.begun == [2]
    assert ten.begun == [2]
    assert ten.said == ["own-width: 12 of 20 members are stored and used again."]
    after = units_in(tmp_path)
    assert all(after[path] == stamp for path, stamp in before.items())
    assert {path.stem for path in after} >= {"0-5", "6-9"}
    old, new = (one.results["main"].to_dataset()["loss"].sel(split="train") for one in (first, second))
    xr.testing.assert_equal(old, new.sel(member=range(6)))
    third = run(tmp_path, again, members=10)
    assert again.begun == []
    xr.testing.assert_equal(third.results["main"].to_dataset(), second.results["main"].to_dataset())


def test_other_settings_are_stored_as_well_and_the_earlier_ones_come_back_without_training(tmp_path):
    first = run(tmp_path, members=6)
    run(tmp_path, members=6, epochs=7)
    listener = Listener()
    back = run(tmp_path, listener, members=6)
    assert listener.begun == []
    xr.testing.assert_equal(back.results["main"].to_dataset(), first.results["main"].to_dataset())


@pytest.mark.parametrize("which", [max, min], ids=["an ensemble", "a joint measurement"])
def test_a_damaged_chunk_is_reported_quarantined_and_computed_again(tmp_path, which):
    first = run(tmp_path, members=6)
    path = which(units_in(tmp_path), key=lambda one: one.stat().st_size)
    path.write_bytes(path.read_bytes()[:-5])
    listener = Listener()
    again = run(tmp_path, listener, members=6)
    assert "damaged" in listener.said[0]
    assert len(list((tmp_path / "damaged").iterdir())) == 1
    xr.testing.assert_equal(again.results["main"].to_dataset(), first.results["main"].to_dataset())


def test_a_joint_measurement_sees_the_parameters_of_both_ensembles(tmp_path):
    results = run(tmp_path, members=6).results
    difference = results["between"].to_dataset()["difference"]
    data = bm.data.function("sin", samples=50)
    moved = []
    for widths in ((1, 2, 1), (1, 8, 1)):
        trained = bm.train(bm.MLPConfig(widths), data, members=6, epochs=5, snapshots=(0,))
        moved.append((trained.parameters["2.bias"] - trained.snapshots[0]["2.bias"]).abs()[:, 0].numpy())
    np.testing.assert_allclose(difference.values, moved[1] - moved[0], atol=1e-6)
    assert difference["member"].values.tolist() == list(range(6))


def test_the_times_of_training_and_measuring_are_stored_and_added_up(tmp_path):
    begun = time.perf_counter()
    first = run(tmp_path, members=12).results.attrs["seconds"]
    assert first.keys() == {"main", "between"}
    assert 0 < sum(first.values()) < time.perf_counter() - begun + 0.01  # rounded to thousandths
    assert run(tmp_path, members=12).results.attrs["seconds"] == first


def test_every_unit_has_a_name_where_an_ensemble_has_no_coordinates(tmp_path):
    listener = Listener()
    run_study("gradient-norm", preset="smoke", out=tmp_path, progress=listener, members=2, epochs=2, samples=20)
    assert listener.units == ["0 of 1 chunk (members 0 to 1)"]


def test_ranges_of_members_are_listed_where_ensembles_share_a_setting(tmp_path):
    fields = {"data": "digits", "members": 2, "epochs": 1, "train_examples": 60, "test_examples": 20}
    same = run_study("interpolation", preset="smoke", out=tmp_path, **fields, second_rate=1e-3)
    assert sorted(same.results.attrs["chunks"].values()) == [[[0, 2], [0, 2], [2, 4]]]
    other = run_study("interpolation", preset="smoke", out=tmp_path, **fields, second_rate=1e-2)
    assert sorted(other.results.attrs["chunks"].values()) == [[[0, 2]], [[0, 2], [2, 4]]]


def test_a_run_gives_its_trained_networks(tmp_path):
    results = run(tmp_path, members=12)
    data = bm.data.function("sin", samples=50)
    for loaded in (results, bm.load_study(tmp_path / "own-width", study=OWN)):
        wide = loaded.networks(network="8")
        assert len(wide) == 12
        losses = results.results["main"].to_dataset()["loss"].sel(split="train").sel(network="8").isel(epoch=-1).values
        for network, loss in zip(wide, losses, strict=True):
            assert not network.training
            assert torch.nn.functional.mse_loss(network(data.x_train), data.y_train).item() == pytest.approx(
                loss, rel=1e-5
            )
    twin = bm.train(bm.MLPConfig((1, 2, 1)), data, members=12, epochs=5)
    narrow = results.networks(network="2")[11]
    assert all(map(torch.equal, narrow.parameters(), twin.model(11).parameters()))


@pytest.mark.parametrize(
    ("group", "coordinates", "words"),
    [
        (
            "main",
            {},
            "no coordinates: 2 ensembles have these coordinates; expected those of one: network='2'; network='8'",
        ),
        ("main", {"network": "9"}, "network='9': no ensemble has these coordinates"),
        ("between", {}, "group='between': no ensemble has these coordinates"),
        ("main", {"depth": 1}, "depth=1: no ensemble has these coordinates"),
    ],
)
def test_coordinates_of_no_ensemble_are_answered_with_those_there_are(group, coordinates, words, tmp_path):
    with pytest.raises(InputError, match=words):
        run(tmp_path, members=2).networks(group, **coordinates)


def test_the_only_ensemble_of_a_study_has_no_coordinates(tmp_path):
    run = run_study("gradient-norm", preset="smoke", out=tmp_path, members=2, epochs=2, samples=20)
    words = r"function='sin': no ensemble has these coordinates; this study has one: call networks\(\) without coord"
    with pytest.raises(InputError, match=words):
        run.networks(function="sin")
    assert len(run.networks()) == 2
    with pytest.raises(InputError, match=f"folder = {tmp_path}: expected the folder of one study, such as {tmp_path}/"):
        bm.load_study(tmp_path)
    with pytest.raises(InputError, match="nowhere: there is no such folder"):
        bm.load_study(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"it holds no result\.nc; expected the folder of one study"):
        bm.load_study(tmp_path.parent)


def test_a_run_computes_with_one_thread_and_leaves_the_number_of_threads_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setenv("THREADS", str(tmp_path / "threads"))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        run_study(THREADS, preset="smoke", out=tmp_path / "out")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    lines = (tmp_path / "threads").read_text().splitlines()
    assert set(lines) - {"built 2"} == {"measured 1", "built 1", "joint 1", "derived 1"}  # 2 while planning


def test_looking_changes_nothing(tmp_path):
    study = bm.studies.find(OWN)
    work = compare(tmp_path / "nowhere", study.preset("smoke", members=25).planned)
    assert (len(work.todo), work.members, work.reused) == (6, 50, 0)
    assert not (tmp_path / "nowhere").exists()


def test_stored_results_are_judged_and_drawn_without_training(tmp_path):
    run(tmp_path, members=6)
    loaded = bm.load_study(tmp_path / "own-width", OWN)
    assert [claim.id for claim in loaded.claims] == ["own-width.a"]
    assert loaded.claims[0].verdict.members == 6
    assert [figure.name for figure in loaded.figures] == ["final-loss"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("x = 1", "expected one subclass of bathymetry.Study, found 0"),
        ("1/0", "ZeroDivisionError"),
        ("from bathymetry import Study", "found 0"),
        (None, "no such"),
    ],
)
def test_a_file_that_is_no_study_is_refused(tmp_path, content, words):
    path = tmp_path / "mine.py"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=words):
        run_study(str(path), out=tmp_path / "out")


def test_a_foreign_folder_stays_as_it_is(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"notes\.txt"):
        run(tmp_path)
    assert os.listdir(tmp_path) == ["notes.txt"]


KILLED = """
import sys
import bathymetry.execution.jobs as jobs
jobs.CHECKPOINT_EVERY = 0.05
import bathymetry as bm
bm.run_study(sys.argv[1], preset="smoke", out=sys.argv[2], members=12, epochs=4000)
"""


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_as_one_that_was_not(tmp_path):
    whole = run_study(OWN, preset="smoke", out=tmp_path / "whole", members=12, epochs=4000)
    killed = 0
    for pause in (0.3, 0.6, 0.9, 1.2, 0.3, 0.8):
        process = subprocess.Popen([sys.executable, "-c", KILLED, OWN, str(tmp_path / "out")])
        while not (tmp_path / "out" / "bathymetry.json").exists() and process.poll() is None:
            time.sleep(0.02)
        time.sleep(pause)
        killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert killed
    listener = Listener()
    end = run_study(OWN, preset="smoke", out=tmp_path / "out", progress=listener, members=12, epochs=4000)
    assert not any("damaged" in sentence for sentence in listener.said)
    xr.testing.assert_equal(end.results["main"].to_dataset(), whole.results["main"].to_dataset())
    assert not list((tmp_path / "out").rglob("*.checkpoint"))


def stored_seeds(out):
    return sorted(read_results(path).attrs["settings"]["seed"] for path in (out / "own-width").glob("result*.nc"))


def test_a_result_with_another_seed_does_not_overwrite_the_first(tmp_path):
    listener = Listener()
    first = run(tmp_path, members=6)
    run(tmp_path, listener, members=6, seed=1)
    assert stored_seeds(tmp_path) == [0, 1]
    assert sum("an earlier result with other settings is now own-width/result-" in one for one in listener.said) == 1
    (apart,) = (tmp_path / "own-width").glob("result-*.nc")
    xr.testing.assert_equal(read_results(apart)["main"].to_dataset(), first.results["main"].to_dataset())
    run(tmp_path, members=6, seed=2)
    run(tmp_path, members=6, seed=0)
    assert set(stored_seeds(tmp_path)) == {0, 1, 2}


def test_more_members_of_the_same_settings_replace_fewer_and_fewer_do_not_replace_more(tmp_path):
    run(tmp_path, members=2)
    run(tmp_path, members=3)
    assert len(list((tmp_path / "own-width").glob("result*.nc"))) == 1
    run(tmp_path, members=2)
    kept = [read_results(path).attrs["settings"]["members"] for path in (tmp_path / "own-width").glob("result*.nc")]
    assert sorted(kept) == [2, 3]


def test_a_run_says_what_it_is_and_how_its_claims_ended(tmp_path):
    found = run(tmp_path, members=6)
    decision = found.claims[0].verdict.decision
    assert repr(found) == f"StudyRun('own-width', out={str(tmp_path)!r}: own-width.a {decision})"


def test_networks_whose_running_statistics_are_not_stored_are_refused(tmp_path):
    class Normalised(bm.Study):
        """Does BatchNorm come back?"""

        presets: ClassVar = {"smoke": {}}

        def plan(self):
            data = bm.data.function("sin", samples=20, seed=self.seed)
            yield self.ensemble({}, batch_normalised, data=data, epochs=2)

    found = run_study(Normalised, preset="smoke", out=tmp_path, members=2)
    with pytest.raises(
        InputError, match=r"networks = Sequential with running statistics in layer 1: .*not stored.*bm\.train"
    ):
        found.networks()
