"""What is said of servers of S3 that can't be used, or that go away; `make test-slow` installs two of them."""

import os
import socket
import threading
import time

import pytest

import bathymetry as bm
from bathymetry.core.errors import StorageError
from bathymetry.execution import Progress
from execution.own_study import OwnWidth
from store import servers

pytestmark = [pytest.mark.slow, pytest.mark.server]
pytest.importorskip("s3fs", reason="s3fs and two servers come with requirements-servers.txt")


def test_wrong_credentials_are_said_in_one_sentence(tmp_path):
    pytest.importorskip("nanio")
    with servers.server("nanio", tmp_path / "data") as variables:
        wrong = {**variables, "AWS_SECRET_ACCESS_KEY": "another"}
        ran = servers.bathymetry(
            wrong, "run", "gradient-norm", "--preset", "smoke", "--out", "s3://bucket/run", timeout=100
        )
    assert ran.returncode == 2
    assert ran.stderr.endswith("can't be read (the credentials are refused: SignatureDoesNotMatch): set others.\n")


def test_missing_credentials_are_said_in_one_sentence():
    variables = {name: one for name, one in servers.environment(9).items() if "KEY" not in name}
    ran = servers.bathymetry(
        variables, "run", "gradient-norm", "--preset", "smoke", "--out", "s3://bucket/run", timeout=100
    )
    assert ran.returncode == 2
    assert ran.stderr.endswith("(there are no credentials for it): set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.\n")
    assert len(ran.stderr.strip().splitlines()) == 1


def test_a_server_that_accepts_and_never_answers_is_given_up_in_two_minutes():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(50)
        variables, begun = servers.environment(silent.getsockname()[1]), time.monotonic()
        ran = servers.bathymetry(
            variables, "run", "gradient-norm", "--preset", "smoke", "--out", "s3://bucket/run", timeout=240
        )
    assert ran.returncode == 2
    assert "can't be read (no connection to http://127.0.0.1:" in ran.stderr
    assert time.monotonic() - begun < 200  # generous: the machine may be busy


def test_a_server_that_goes_away_during_a_run_stops_it_and_the_same_command_continues(tmp_path, monkeypatch):
    """As moto keeps objects in memory, nanio is the one that has them still when it is started again."""
    pytest.importorskip("nanio")
    fields = {"preset": "smoke", "members": 12}
    with servers.server("nanio", tmp_path / "data") as variables:
        address = next(servers.entered(variables, monkeypatch))
        gone = threading.Event()

        class Leaving(Progress):
            def advance(self, label, seconds):
                if seconds > 0 and not gone.is_set():
                    gone.set()
                    os.environ["AWS_ENDPOINT_URL"] = "http://127.0.0.1:9"
                    servers.forget()

        with pytest.raises(StorageError, match="no connection"):
            bm.run_study(OwnWidth, out=address, progress=Leaving(), **fields)
        next(servers.entered(variables, monkeypatch))
        there = bm.run_study(OwnWidth, out=address, **fields)
        here = bm.run_study(OwnWidth, out=tmp_path / "here", **fields)
        assert there.results["main"].to_dataset().drop_attrs().identical(here.results["main"].to_dataset().drop_attrs())
    servers.forget()
