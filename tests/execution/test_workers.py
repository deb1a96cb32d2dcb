"""Chunks in worker processes: equal results with any number, and faults cost a try of one chunk."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import xarray as xr

import bathymetry as bm
from bathymetry.core.errors import IncompleteError, InputError
from bathymetry.execution import Progress
from bathymetry.execution.jobs import Job
from bathymetry.execution.local import LocalWorkers
from bathymetry.execution.schedule import Schedule
from bathymetry.execution.study_run import run_studies
from bathymetry.execution.work import compare
from bathymetry.studies import find
from processes import children

FAULTY = str(Path(__file__).with_name("faulty_study.py"))
COMMAND = [sys.executable, "-m", "bathymetry.cli.main", "run", FAULTY, "--preset", "smoke", "--workers", "2", "--out"]


@pytest.fixture
def faults(tmp_path, monkeypatch):
    """A folder in which a file's name makes chunks fail."""
    folder = tmp_path / "faults"
    folder.mkdir()
    monkeypatch.setenv("FAULTS", str(folder))
    return folder


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The results of a run in one process."""
    return results(bm.run_study(FAULTY, preset="smoke", out=tmp_path_factory.mktemp("one")))


def results(run):
    return run.results["main"].to_dataset().drop_attrs()


def test_results_are_the_same_with_any_number_of_workers(tmp_path, undisturbed):
    run = bm.run_study(FAULTY, preset="smoke", out=tmp_path, workers=3)
    xr.testing.assert_identical(results(run), undisturbed)
    again = bm.run_study(FAULTY, preset="smoke", out=tmp_path, workers=3)
    xr.testing.assert_identical(results(again), undisturbed)


def test_a_worker_that_is_killed_costs_a_try(tmp_path, faults, undisturbed, fault):
    (faults / "4-kill-once").touch()
    run = bm.run_study(FAULTY, preset="smoke", out=tmp_path / "out", workers=2)
    assert not list(faults.iterdir())
    xr.testing.assert_identical(results(run), undisturbed)
    fault("A worker of this machine is killed mid-chunk", "Equal results; one more try of its chunk")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_chunk_that_always_fails_is_marked_the_rest_is_stored_and_it_alone_is_tried_again(
    tmp_path, faults, undisturbed, workers, fault
):
    (faults / "4-raise").touch()
    out = tmp_path / "out"
    with pytest.raises(IncompleteError, match=r"^hidden 4 failed 3 times: ZeroDivisionError: the study"):
        bm.run_study(FAULTY, preset="smoke", out=out, workers=workers)
    study = find(FAULTY).preset("smoke")
    assert [len(task.missing) for task in compare(out, study.planned).ensembles] == [0, 1, 0]
    (record,) = out.rglob("*.failed.json")
    kept = json.loads(record.read_text())
    assert re.fullmatch(r"ZeroDivisionError: the study divides by zero \(faulty_study.py, line \d+\)", kept["error"])
    assert 'raise ZeroDivisionError("the study divides by zero")' in kept["traceback"]
    (faults / "4-raise").unlink()
    third = compare(out, study.planned).ensembles[2]
    (chunk,) = (out / "units" / third.config_hash).glob("*.safetensors")
    chunk.unlink()  # missing, but it has not failed
    runs = run_studies([study], out=out, progress=Progress(), workers=workers, only_failed=True)
    assert runs == []
    assert [len(task.missing) for task in compare(out, study.planned).ensembles] == [0, 0, 1]
    assert not list(out.rglob("*.failed.json"))
    xr.testing.assert_identical(results(bm.run_study(FAULTY, preset="smoke", out=out)), undisturbed)
    where = "in process" if workers == 1 else f"with {workers} workers"
    fault(
        f"A chunk that always fails, {where}",
        "3 tries, its error kept, the others stored; `--rerun failed` does it alone",
    )


@pytest.mark.parametrize(("allowed", "expected"), [("", {"0", "1"}), ("5,2,7", {"5", "2"})])
def test_each_worker_has_a_gpu_of_its_own_also_where_one_was_killed(tmp_path, faults, monkeypatch, allowed, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", allowed)
    (faults / "3-kill-once").touch()
    for hidden in (3, 4, 5):
        (faults / f"{hidden}-device").touch()
        (faults / f"{hidden}-wait").touch()
    study = find(FAULTY).preset("smoke")
    jobs = compare(tmp_path / "out", study.planned).jobs(study)
    with LocalWorkers(tmp_path / "out", 2, 2**40, devices=2) as pool:
        receipts = list(pool.run(Schedule(jobs), Progress()))
    assert [one.status for one in receipts] == ["done"] * len(jobs)
    seen = {tuple(path.name.split("-")[1:]) for path in faults.glob("device-*")}
    assert {device for device, _ in seen} == expected
    assert len({process for _, process in seen}) in (2, 3)


def test_an_input_that_a_study_refuses_ends_the_run_with_its_sentence(tmp_path, faults):
    (faults / "4-refuse").touch()
    with pytest.raises(InputError, match=r"^hidden = 4: expected another\.$"):
        bm.run_study(FAULTY, preset="smoke", out=tmp_path / "out", workers=2)


def test_a_chunk_too_large_for_the_memory_is_split(tmp_path, faults, undisturbed, fault):
    (faults / "5-memory").touch()
    run = bm.run_study(FAULTY, preset="smoke", out=tmp_path / "out", workers=2)
    xr.testing.assert_identical(results(run), undisturbed)
    task = compare(tmp_path / "out", run.study.planned).ensembles[2]
    names = {path.stem for path in (tmp_path / "out" / "units" / task.config_hash).glob("*.safetensors")}
    assert names == {"0-1", "2-3"}
    fault("A chunk too large for the memory", "Trained in halves; equal results")


@pytest.mark.parametrize(("fields", "words"), [
    ({"workers": 0}, "workers = 0: expected a whole number, at least 1"),
    ({"max_memory": 2**60}, "max_memory = 1,152,921,505 GB: expected at most what is free"),
    ({"workers": 2, "max_memory": 10**6}, "max_memory = 1 MB: expected at least"),
    ({"workers": 2, "out": "memory://run"}, "workers = 2: other processes can't reach memory://run; expected 1"),
])  # fmt: skip
def test_numbers_that_no_run_can_have_are_refused(tmp_path, fields, words):
    with pytest.raises(InputError) as refused:
        bm.run_study(FAULTY, preset="smoke", **{"out": tmp_path / "out", **fields})
    assert words in str(refused.value)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status", "within"), [(signal.SIGINT, 130, 2.0), (signal.SIGTERM, 143, 5.0)])
def test_a_signal_ends_all_processes_and_the_same_command_goes_on(
    tmp_path, faults, undisturbed, number, status, within, fault
):
    for hidden in (3, 4, 5):
        (faults / f"{hidden}-wait").touch()
    out = tmp_path / "out"
    with subprocess.Popen([*COMMAND, str(out), "--epochs", "30"], stderr=subprocess.PIPE, text=True) as process:
        while len(list(faults.glob("waiting-*"))) < 2:
            assert process.poll() is None
            time.sleep(0.02)
        started = children(process.pid)
        sent = time.monotonic()
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == status
    took = time.monotonic() - sent
    assert took < 3 * within  # beside other tests
    assert "Run the same command to go on" in said
    assert len(started) >= 2
    assert not any(Path(f"/proc/{child}").exists() for child in started)
    for path in faults.iterdir():
        path.unlink()
    xr.testing.assert_identical(results(bm.run_study(FAULTY, preset="smoke", out=out)), undisturbed)
    fault(
        f"{signal.Signals(number).name} while workers train",
        f"Status {status} after {took:.1f} s; the same command continues",
    )


@pytest.mark.slow
def test_workers_end_when_the_process_that_started_them_is_killed(tmp_path, faults, undisturbed, fault):
    (faults / "3-wait").touch()
    with subprocess.Popen([*COMMAND, str(tmp_path / "out")]) as process:
        while not list(faults.glob("waiting-*")):
            assert process.poll() is None
            time.sleep(0.02)
        started = children(process.pid)
        process.kill()
        process.wait()
    deadline = time.monotonic() + 30
    while any(_runs(child) for child in started):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    xr.testing.assert_identical(results(bm.run_study(FAULTY, preset="smoke", out=tmp_path / "out")), undisturbed)
    fault("The process that started workers is killed", "The workers end; the same command continues")


def _runs(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def job(name, seconds, size=1, after=()):
    needed = tuple(f"{one}/0-3" for one in after)
    return Job(0, name, 0, 4, name, "study", "{}", "train", seconds, size, needed)


def test_the_longest_job_that_is_ready_and_has_room_comes_first():
    schedule = Schedule([job("a", 1), job("b", 9, after=["a"]), job("c", 5, size=10), job("d", 3)])
    assert schedule.next(room=5).config == "d"
    assert schedule.next(room=50).config == "c"
    first = schedule.next(room=50)
    assert first.config == "a"
    assert schedule.next(room=50) is None
    schedule.done(first)
    assert schedule.next(room=50).config == "b"


def test_what_needs_a_job_that_failed_is_given_up_with_it():
    schedule = Schedule([job("a", 1), job("b", 9, after=["a"]), job("c", 1, after=["b"]), job("d", 1)])
    for _ in range(2):
        taken = schedule.next()
        assert (taken.config, schedule.failed(taken, "it broke")) == ("a", [])
    failed = schedule.failed(schedule.next(), "it broke")
    assert [one.id for one in failed] == ["a/0-3", "b/0-3", "c/0-3"]
    assert schedule.next().config == "d"
    assert not schedule.pending


def test_what_waits_for_a_job_that_was_split_waits_for_both_halves():
    schedule = Schedule([job("a", 1), job("b", 9, after=["a"])])
    schedule.failed(schedule.next(), "memory", memory=True)
    assert schedule.failed(schedule.next(), "memory", memory=True) == []
    halves = schedule.next(), schedule.next()
    assert [one.members for one in halves] == [range(2), range(2, 4)]
    schedule.done(halves[0])
    assert schedule.next() is None
    assert schedule.unfinished(["a/0-3"])
    schedule.done(halves[1])
    assert not schedule.unfinished(["a/0-3"])
    assert schedule.next().config == "b"


def test_chunks_of_large_networks_are_smaller_by_their_config_alone(tmp_path, monkeypatch):
    study = find("capacity").preset("full", data="digits", networks=((2, 5), (4, 8), (10, 20), (20, 30), (3000, 3000)),
                                    few_examples=10, members=20, epochs=2000)  # fmt: skip
    cut = [task.planned_chunks for task in compare(tmp_path, study.planned).ensembles[:5]]
    assert cut[0] == (range(10), range(10, 20))
    assert len(cut[4]) == 20
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert cut == [task.planned_chunks for task in compare(tmp_path, study.planned).ensembles[:5]]
