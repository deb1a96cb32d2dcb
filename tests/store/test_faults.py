"""Disks that fill up or turn read-only during a run, and files that were made to do harm."""

import errno
import json
import os
import pickle
import subprocess
import tempfile
import uuid
from pathlib import Path

import fsspec
import numpy as np
import pytest

import bathymetry as bm
from bathymetry.cli.main import main
from bathymetry.core.errors import InputError, StorageError
from bathymetry.execution import Progress
from bathymetry.store.chunks import chunk_path, config_hash, read_checkpoint, read_chunk, save, stored, verify
from bathymetry.store.results import read_results
from bathymetry.store.storage import place_of
from execution import own_study
from execution.own_study import OwnWidth
from store import cases

SETTING = {"epochs": 3}
NAME = config_hash(SETTING)
FIELDS = {"preset": "smoke", "members": 12}  # four chunks


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return bm.run_study(OwnWidth, out=tmp_path_factory.mktemp("whole") / "run", **FIELDS).results


def same(one, other):
    groups = one.children.keys() | other.children.keys()
    return all(
        one[group].to_dataset().drop_attrs().identical(other[group].to_dataset().drop_attrs()) for group in groups
    )


class At(Progress):
    """Does something once, when the second chunk begins."""

    def __init__(self, action):
        self.action, self.labels = action, set()

    def advance(self, label, seconds):
        self.labels.add(label)
        if len(self.labels) == 2 and self.action is not None:
            action, self.action = self.action, None
            action()


def refusing(number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize(
    ("function", "number", "words"),
    [
        ("os.fsync", errno.ENOSPC, "No space left on device"),
        ("os.fsync", errno.EIO, "Input/output error"),
        ("os.fsync", errno.EDQUOT, "Disk quota exceeded"),
        ("tempfile.mkstemp", errno.EROFS, "Read-only file system"),
    ],
)
def test_a_disk_that_fails_during_a_run_stops_it_and_the_same_command_continues(
    tmp_path, monkeypatch, uninterrupted, function, number, words
):
    owner, name = (os, "fsync") if function == "os.fsync" else (tempfile, "mkstemp")
    with monkeypatch.context() as disk:
        turn = At(lambda: disk.setattr(owner, name, refusing(number)))
        with pytest.raises(StorageError, match=rf"can't be written \({words}\): choose a folder that can") as caught:
            bm.run_study(OwnWidth, out=tmp_path, progress=turn, **FIELDS)
    assert str(caught.value).count("\n") == 0
    assert len(list(tmp_path.glob("units/*/*.safetensors"))) == 2  # of the first width, in one stack
    assert not list(tmp_path.rglob(".unfinished-*"))
    assert same(bm.run_study(OwnWidth, out=tmp_path, **FIELDS).results, uninterrupted)


def test_an_object_store_that_turns_read_only_during_a_run_stops_it_and_the_same_command_continues(
    monkeypatch, uninterrupted
):
    address = f"memory://{uuid.uuid4().hex}"

    def refuse(*_, **__):
        raise PermissionError("Access Denied")

    with monkeypatch.context() as store:
        turn = At(lambda: store.setattr(type(fsspec.filesystem("memory")), "pipe_file", refuse))
        with pytest.raises(StorageError, match=r"can't be written \(access is denied: Access Denied\)"):
            bm.run_study(OwnWidth, out=address, progress=turn, **FIELDS)
    assert same(bm.run_study(OwnWidth, out=address, **FIELDS).results, uninterrupted)


@pytest.fixture
def disk(tmp_path):
    """A file system of 60 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60k", "tmpfs", folder], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("only root may mount a file system")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.slow
def test_a_disk_that_is_full_ends_the_program_with_a_sentence_and_loses_nothing(disk, capsys, uninterrupted):
    arguments = ["run", own_study.__file__, "--preset", "smoke", "--members", "12", "--workers", "1", "--out"]
    assert main([*arguments, str(disk / "run")]) == 2
    sentence = capsys.readouterr().err
    assert "can't be written (No space left on device): choose a folder that can." in sentence
    assert sentence.count("\n") == 1
    whole = [read_chunk(path) for path in (disk / "run").glob("units/*/*.safetensors")]
    assert whole
    subprocess.run(["mount", "-o", "remount,size=50m", disk], check=True)
    assert main([*arguments, str(disk / "run")]) == 0
    assert same(read_results(disk / "run" / "own-width" / "result.nc"), uninterrupted)


def harm():
    """Files that would run code, fill the memory or exhaust the stack if they were read carelessly."""

    class Runs:
        def __reduce__(self):
            return os.system, ("touch pickle-was-run",)

    deep = b"[" * 1_000_000
    header = json.dumps({"__metadata__": {"words": "[" * 100_000, "digest": ""}}).encode()
    huge = json.dumps({"a": {"dtype": "F64", "shape": [2**40], "data_offsets": [0, 2**43]}}).encode()
    return {
        "pickle": pickle.dumps(Runs()),
        "header of 2^60 bytes": (2**60).to_bytes(8, "little") + b"{}",
        "header of 2^63 bytes": (2**63).to_bytes(8, "little") + b"{}",
        "deep JSON": len(deep).to_bytes(8, "little") + deep,
        "deep words": len(header).to_bytes(8, "little") + header,
        "array of 8 TB": len(huge).to_bytes(8, "little") + huge,
        "numpy": b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
        "zip": b"PK\x03\x04" + bytes(200),
    }


@pytest.mark.parametrize("kind", harm())
def test_a_file_that_means_harm_is_damage_and_nothing_in_it_runs(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    save(tmp_path, NAME, SETTING, cases.chunk(range(3)))
    path, content = chunk_path(tmp_path, NAME, range(3)), harm()[kind]
    for place in (path, path.with_suffix(".checkpoint"), path.with_name("config.json")):
        place.write_bytes(content)
    with pytest.raises(StorageError, match="damaged"):
        read_checkpoint(path.with_suffix(".checkpoint"))
    whole, said = verify(tmp_path, NAME)
    assert whole == {}
    assert len(said) == 1
    save(tmp_path, NAME, SETTING, cases.chunk(range(3)))
    assert json.loads(path.with_name("config.json").read_bytes()) == SETTING
    (tmp_path / "result.nc").write_bytes(content)
    with pytest.raises(StorageError, match="damaged"):
        read_results(tmp_path / "result.nc")
    assert not (tmp_path / "pickle-was-run").exists()


def test_names_of_arrays_with_dots_and_slashes_stay_names(tmp_path):
    one = cases.chunk(range(3))
    record = one.record.assign({"../../escaped": ("member", np.arange(3.0))})
    save(tmp_path / "out", NAME, SETTING, type(one)(one.members, record, one.snapshots, {}))
    back = read_chunk(chunk_path(tmp_path / "out", NAME, range(3)))
    assert back.record["../../escaped"].values.tolist() == [0, 1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_among_the_chunks_with_another_name_is_passed_over(tmp_path):
    save(tmp_path, NAME, SETTING, cases.chunk(range(3)))
    (tmp_path / "units" / NAME / "..safetensors").mkdir()
    (tmp_path / "units" / NAME / "0-2.safetensors.bak").write_bytes(b"")
    assert stored(tmp_path, NAME) == [range(3)]


@pytest.mark.parametrize("name", ["", "..", "a/..", "a//b", "/", "a/./b"])
def test_no_address_leads_out_of_where_it_seems_to(name):
    with pytest.raises(InputError, match="expected a folder"):
        place_of("out", f"memory://{name}")


@pytest.mark.parametrize("kind", [str, Path])
def test_an_address_with_one_slash_is_no_folder(kind):
    with pytest.raises(InputError, match='"s3://bucket/run1"'):
        place_of("out", kind("s3:/bucket/run1"))
