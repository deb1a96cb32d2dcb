"""Processes of a run are killed at random moments, again and again, and the run ends as one that was not disturbed."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import xarray as xr

import bathymetry as bm
from processes import children

KILLS = int(os.environ.get("BATHYMETRY_KILLS", "5"))  # `make test-long` kills 50 times
KILLED = str(Path(__file__).with_name("killed_study.py"))
SCRIPT = """
import sys
from bathymetry.execution import jobs
jobs.CHECKPOINT_EVERY = 0.2
import bathymetry as bm
bm.run_study(sys.argv[1], preset="smoke", out=sys.argv[2], workers=int(sys.argv[3]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_of_which_processes_are_killed_at_random_moments_ends_like_an_undisturbed_one(tmp_path, workers, fault):
    whole = bm.run_study(KILLED, preset="smoke", out=tmp_path / "whole")
    chance, out, kills, runs = random.Random(workers), tmp_path / "out", 0, 0
    while kills < KILLS:
        runs += 1
        command = [sys.executable, "-c", SCRIPT, KILLED, str(out), str(workers)]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(2.0, 8.0))
        victims = [process.pid, *children(process.pid)]
        if process.poll() is None:
            os.kill(chance.choice(victims), signal.SIGKILL)
            kills += 1
            time.sleep(chance.uniform(0.0, 1.0))
        process.kill()
        process.wait()
        for path in out.rglob("*.safetensors") if runs % 3 == 0 else ():  # so that there is always something to do
            if chance.random() < 0.3:
                path.unlink()
    said = Said()
    end = bm.run_study(KILLED, preset="smoke", out=out, progress=said, workers=workers)
    assert not any("damaged" in sentence for sentence in said.sentences)
    xr.testing.assert_equal(end.results["main"].to_dataset(), whole.results["main"].to_dataset())
    assert not list(out.rglob("*.checkpoint"))
    where = "in process" if workers == 1 else f"with {workers} workers"
    fault(f"Processes of a run are killed at random moments, {where}", f"{kills} kills, {runs} runs; equal results")


class Said:
    """Keeps what a run says."""

    def __init__(self):
        self.sentences = []

    def say(self, sentence):
        self.sentences.append(sentence)

    def begin(self, *_):
        pass

    advance = begin

    def end(self):
        pass
