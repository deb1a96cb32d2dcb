"""Fixed shares of the chunks for job arrays: each chunk once in all, whatever is stored, also at the same time."""

import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr

import bathymetry as bm
from bathymetry.cli.main import main
from bathymetry.execution import Progress
from bathymetry.execution.study_run import run_studies
from bathymetry.execution.work import compare, share_of
from bathymetry.store.results import read_results
from bathymetry.studies import find

FAULTY = str(Path(__file__).with_name("faulty_study.py"))
OWN = str(Path(__file__).with_name("own_study.py"))
COMMAND = [sys.executable, "-m", "bathymetry.cli.main", "run", FAULTY, "--preset", "smoke", "--workers", "1", "--out"]


def jobs(out, studies, shard=None):
    works = [compare(out, one.planned) for one in studies]
    share = share_of(works, shard)
    return [job for one, work in zip(studies, works, strict=True) for job in work.jobs(one, share)]


def chunks(some):
    return {part.id for one in some if one.kind == "train" for part in one.parts}


@pytest.mark.parametrize("count", [1, 3, 7, 40])
def test_shares_cover_every_chunk_once_also_of_studies_that_share_chunks(tmp_path, count):
    studies = [
        find("capacity").preset("smoke", members=12),
        find(OWN).preset("smoke", members=25),
        find(OWN).preset("smoke", members=25, widths=((2,), (5,))),
    ]
    whole = chunks(jobs(tmp_path, studies))
    shares = [chunks(jobs(tmp_path, studies, (index + 1, count))) for index in range(count)]
    assert sorted(one for share in shares for one in share) == sorted(whole)


def test_shares_do_not_depend_on_what_is_stored(tmp_path):
    study = find(OWN).preset("smoke", members=25)
    before = [chunks(jobs(tmp_path, [study], (index, 3))) for index in (1, 2, 3)]
    run_studies([study], out=tmp_path, progress=Progress(), shard=(2, 3))
    after = [chunks(jobs(tmp_path, [study], (index, 3))) for index in (1, 2, 3)]
    assert [before[0], set(), before[2]] == after
    assert before[0].isdisjoint(before[2])


def test_a_measurement_over_ensembles_waits_until_all_their_chunks_are_stored(tmp_path):
    study = find(OWN).preset("smoke", members=12)  # four chunks and a measurement over them
    for index in (5, 1, 2, 3, 4):  # the measurement is in the fifth share
        made = jobs(tmp_path, [study], (index, 5))
        assert all(one.kind == "train" for one in made)
        run_studies([study], out=tmp_path, progress=Progress(), shard=(index, 5))
    assert [one.kind for one in jobs(tmp_path, [study])] == ["measure"]
    assert sum(len(jobs(tmp_path, [study], (index, 5))) for index in (1, 2, 3, 4, 5)) == 1
    run = bm.run_study(study, out=tmp_path)
    whole = bm.run_study(study, out=tmp_path / "whole")
    for group in ("main", "between"):
        xr.testing.assert_identical(
            run.results[group].to_dataset().drop_attrs(), whole.results[group].to_dataset().drop_attrs()
        )


@pytest.mark.slow
def test_shards_run_at_the_same_time_in_one_folder_and_a_run_without_puts_together(tmp_path, capsys):
    out = tmp_path / "out"
    shards = [
        subprocess.Popen([*COMMAND, str(out), "--shard", f"{index}/3"], stdout=subprocess.PIPE, text=True)
        for index in (1, 2, 3)
    ]
    ended = [(one.communicate(timeout=300)[0], one.returncode) for one in shards]  # all, or pipes stay open
    for printed, status in ended:
        assert status == 0
        assert "the same command without --shard puts the results together and writes the page." in printed
    assert not (out / "faulty").exists()
    stored = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    assert len(stored) == 3
    assert main([*COMMAND[3:], str(out)]) == 0
    assert "nothing to train" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")} == stored
    assert (out / "report.html").exists()
    whole = bm.run_study(FAULTY, preset="smoke", out=tmp_path / "whole")
    (results,) = out.glob("faulty/result.nc")
    xr.testing.assert_identical(
        read_results(results)["main"].to_dataset().drop_attrs(), whole.results["main"].to_dataset().drop_attrs()
    )


@pytest.mark.slow
def test_two_runs_in_one_folder_at_once_have_equal_results(tmp_path, fault):
    out = tmp_path / "out"
    runs = [subprocess.Popen([*COMMAND, str(out)], stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [one.wait(300) for one in runs] == [0, 0]
    whole = bm.run_study(FAULTY, preset="smoke", out=tmp_path / "whole")
    xr.testing.assert_identical(
        read_results(out / "faulty" / "result.nc")["main"].to_dataset().drop_attrs(),
        whole.results["main"].to_dataset().drop_attrs(),
    )
    fault("Two runs in one folder at once", "Equal results; status 0 twice")


@pytest.mark.parametrize("shard", ["0/40", "41/40", "1/0", "-1/3", "1.5/3", "3"])
def test_a_share_that_is_none_is_refused(tmp_path, capsys, shard):
    assert main(["run", FAULTY, "--preset", "smoke", "--out", str(tmp_path / "out"), "--shard", shard]) == 2
    assert f"shard = {shard}: expected I/N with I from 1 to N" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


class Words(Progress):
    """Collects what a run says, and its progress."""

    def __init__(self):
        self.said, self.labels = [], []

    def say(self, sentence):
        self.said.append(sentence)

    def advance(self, label, seconds):
        self.labels.append(label)


def test_a_share_into_which_nothing_falls_says_so_and_nothing_else(tmp_path):
    study = find(OWN).preset("smoke", members=12)  # four chunks and a measurement
    run_studies([study], out=tmp_path, progress=Progress())
    words = Words()
    run_studies([study], out=tmp_path, progress=words, shard=(7, 9))
    assert words.said == ["Nothing falls in share 7/9: there are more shares than chunks."]


def test_progress_counts_the_chunks_that_have_ended(tmp_path):
    words = Words()
    run_studies([find(OWN).preset("smoke", members=12)], out=tmp_path, progress=words)
    counts = list(dict.fromkeys(one.partition(" (")[0] for one in words.labels))
    # the two chunks of each of two architectures train together
    assert counts == ["0 of 4 chunks", "2 of 4 chunks", "0 of 1 measurement"]


def test_the_plan_of_a_share_and_of_what_failed_is_about_these_alone(tmp_path, capsys):
    command = ["run", FAULTY, "--preset", "smoke", "--out", str(tmp_path / "out")]
    assert main([*command, "--shard", "1/3", "--plan"]) == 0
    assert "12 networks, 0 of them stored; in this share 1 chunk to train" in capsys.readouterr().out
    assert main([*command, "--rerun", "failed"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "Nothing has failed."
    assert not (tmp_path / "out").exists()
