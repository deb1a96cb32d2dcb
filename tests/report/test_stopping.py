"""A program that is stopped while it draws: it ends soon, leaves whole files and no process behind."""

import json
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree

import pytest

import bathymetry as bm
from charts.test_drawing import ends_within
from processes import children

SMALL = {"preset": "smoke", "functions": ("cos",), "networks": ((4,), (2, 2)), "samples": 20, "epochs": 3, "members": 6}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "out"
    bm.run_study("depth-function", out=out, **SMALL)
    return out


def stopped(out, number, delay):
    """Make the page in a program of its own, send it a signal some time after it began to draw; give how it ended."""
    command = [sys.executable, "-m", "bathymetry.cli.main", "report", str(out)]
    said = out.parent / f"{out.name}.txt"
    with said.open("w") as file, subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=file) as program:
        while not (drawing := children(program.pid)):
            assert program.poll() is None
            time.sleep(0.02)
        time.sleep(delay)
        drawing = children(program.pid) or drawing
        program.send_signal(number)
        begun = time.monotonic()
        program.wait(60)
        seconds = time.monotonic() - begun
    assert all(ends_within(one, 30) for one in drawing)
    return program.returncode, said.read_text(), seconds


def check_whole(out):
    """Whatever files there are, each is whole."""
    for path in out.rglob("*.svg"):
        ElementTree.parse(path)
    for path in out.rglob("*.png"):
        assert path.read_bytes().endswith(b"IEND\xaeB`\x82")
    for path in out.rglob("*.json"):
        json.loads(path.read_text())


@pytest.mark.parametrize(
    ("number", "status", "delays"),
    [
        (signal.SIGINT, 130, [0.8]),
        pytest.param(signal.SIGINT, 130, [0.0, 0.4, 1.2, 1.6], marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 143, [0.4, 0.8, 1.2], marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, -9, [0.4, 0.8, 1.2], marks=pytest.mark.slow),
    ],
)
def test_a_program_that_is_stopped_while_it_draws_leaves_whole_files_and_no_process(
    trained, tmp_path, number, status, delays
):
    for place, delay in enumerate(delays):
        out = shutil.copytree(trained, tmp_path / f"{place}")
        ended, said, seconds = stopped(out, number, delay)
        assert ended == status or (out / "report.html").exists()  # the signal came late
        assert seconds < 30  # 2 on a quiet machine
        assert "Traceback" not in said
        check_whole(out)
        if ended in (130, 143):
            assert "Interrupted. What is stored stays" in said
            assert not list(out.rglob(".unfinished*"))


SWALLOWED = """
import os, signal, sys, time
from bathymetry.cli import main as program

class Deleted:
    def __del__(self):
        os.kill(os.getpid(), signal.{signal})
        time.sleep(1)  # where the exception is raised, and ignored

def work(words):
    Deleted()
    time.sleep(20)
    return 0

program._dispatch = work
sys.exit(program.main())
"""


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_that_comes_while_an_object_is_deleted_stops_the_program_too(name, status):
    script = SWALLOWED.replace("{signal}", name)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == status
    assert ended.stderr == "\nInterrupted. What is stored stays. Run the same command to go on.\n"
