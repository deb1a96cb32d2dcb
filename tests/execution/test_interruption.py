"""The program stops at a signal with what it has, and continues from there."""

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
from bathymetry.cli.main import main
from bathymetry.execution.study_run import run_study
from bathymetry.store import storage

WAITING = str(Path(__file__).with_name("waiting_study.py"))
COMMAND = [sys.executable, "-m", "bathymetry.cli.main", "run", WAITING, "--preset", "smoke", "--out"]
SCRIPT = "import sys, bathymetry as bm; bm.run_study(sys.argv[1], preset='smoke', out=sys.argv[2])"


def interrupted(command, marker, number):
    """Start a program, send a signal while it trains, and give how it ended and what it said of it."""
    environment = {**os.environ, "WAITING": str(marker)}
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        while not marker.exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        _, said = process.communicate(timeout=120)
    return process.returncode, said


def test_signals_store_a_checkpoint_and_the_same_command_goes_on_bit_for_bit(tmp_path, capsys):
    whole = run_study(WAITING, preset="smoke", out=tmp_path / "whole")
    for number, status in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        out = tmp_path / str(status)
        ended, said = interrupted([*COMMAND, str(out)], tmp_path / f"waiting-{status}", number)
        assert ended == status
        assert said.strip() == (
            f'Interrupted. 0 of 2 chunks of "waiting" are stored in {out}; what was being trained continues from its '
            "checkpoint. Run the same command to go on."
        )
        (_,) = out.rglob("*.checkpoint")
        assert main(["run", WAITING, "--preset", "smoke", "--plan", "--out", str(out)]) == 0
        plan = capsys.readouterr().out
        assert re.search(r"0 of them stored; .*; what was being trained continues from its checkpoint at \d+% of", plan)
        end = run_study(WAITING, preset="smoke", out=out)
        xr.testing.assert_identical(end.results.to_dataset().drop_attrs(), whole.results.to_dataset().drop_attrs())
        assert not list(out.rglob("*.checkpoint"))
        assert not (out / "damaged").exists()


@pytest.mark.parametrize("command", [["run", "gradient-norm", "--preset", "smoke"], ["sweep", "rates.yaml"]])
def test_a_stop_while_planning_says_that_training_had_not_begun(tmp_path, monkeypatch, capsys, command):
    def stopped(_):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    Path("rates.yaml").write_text("axes: {learning_rate: [0.1, 0.2]}")
    monkeypatch.setattr("bathymetry.execution.study_run.check_device", stopped)
    assert main(command) == 130
    sentence = "Interrupted. Training had not begun; what is stored stays. Run the same command to go on.\n"
    assert capsys.readouterr().err == f"\n{sentence}"


@pytest.mark.slow
def test_a_script_ends_as_it_would_have_after_its_checkpoint(tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-c", SCRIPT, WAITING, str(out)]
    ended, said = interrupted(command, tmp_path / "waiting", signal.SIGTERM)
    assert (ended, said) == (-signal.SIGTERM, "")
    assert len(list(out.rglob("*.checkpoint"))) == 1
    ended, said = interrupted([*command[:-1], str(tmp_path / "other")], tmp_path / "waiting-2", signal.SIGINT)
    assert "KeyboardInterrupt" in said
    assert len(list((tmp_path / "other").rglob("*.checkpoint"))) == 1


def test_a_chunk_that_is_stored_when_a_signal_comes_counts(tmp_path, monkeypatch):
    write = storage.write

    def signalled(place, content):
        write(place, content)
        if place.suffix == ".safetensors":
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(storage, "write", signalled)
    with pytest.raises(KeyboardInterrupt, match='1 of 2 chunks of "two" are stored'):
        bm.sweep(name="two", axes={"depth": [1, 2]}, data={"samples": 16}, members=2, out=tmp_path / "out")
