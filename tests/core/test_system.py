import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bathymetry.core import system
from bathymetry.core.errors import StorageError


def test_what_was_put_is_read_and_listed(tmp_path):
    system.put(tmp_path / "a" / "b.bin", b"deep")
    system.put(tmp_path / "a" / "b.bin", b"deeper")
    assert system.get(tmp_path / "a" / "b.bin") == b"deeper"
    assert system.names(tmp_path / "a") == ["b.bin"]
    assert system.names(tmp_path / "nowhere") == []


def test_a_place_that_can_not_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="can't be written"):
        system.put(tmp_path / "file" / "below", b"x")
    with pytest.raises(StorageError, match="can't be read"):
        system.get(tmp_path / "missing")


def test_a_failure_while_writing_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    system.put(tmp_path / "kept", b"old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        system.put(tmp_path / "kept", b"new")
    assert system.get(tmp_path / "kept") == b"old"
    assert os.listdir(tmp_path) == ["kept"]


@pytest.mark.slow
def test_a_killed_writer_leaves_whole_files_only(tmp_path):
    program = (
        "import sys, pathlib\nfrom bathymetry.core.system import put\n"
        "for turn in range(10**9): put(pathlib.Path(sys.argv[1]) / 'file', bytes([turn % 251]) * 300_000)"
    )
    for pause in (0.05, 0.11, 0.17, 0.23, 0.31):
        writer = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)])
        while not (tmp_path / "file").exists():
            time.sleep(0.01)
        time.sleep(pause)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        content = system.get(tmp_path / "file")
        assert len(content) == 300_000
        assert len(set(content)) == 1
        assert system.names(tmp_path) == ["file"]


@pytest.mark.parametrize("kind", ["a named pipe", "a device", "a socket"])
def test_what_is_no_ordinary_file_is_said_and_not_waited_for(tmp_path, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's name must be short
    place = Path("content")
    if kind == "a named pipe":
        os.mkfifo(place)
    elif kind == "a device":
        place.symlink_to("/dev/zero")
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(place))
    script = f"from pathlib import Path; from bathymetry.core.system import get; get(Path({str(place)!r}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert f"content can't be read (it is {kind} instead of an ordinary file)." in done.stderr
