"""The cache of runs gives what was read, whatever happens to its entries and to the files meanwhile."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bathymetry as bm
from bathymetry.runs import cache, files
from bathymetry.runs.readers import csv
from bathymetry.runs.run import Layout, Unit


def table(shift=0.0):
    rows = [
        (net, seed, step, seed + step + shift * (net == "A")) for net in "AB" for seed in range(6) for step in range(3)
    ]
    return pd.DataFrame(rows, columns=["net", "seed", "step", "loss"])


@pytest.fixture
def entries(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/bathymetry/runs"


def read(path):
    return bm.runs.read(path, members="seed", compare="net").load()


def test_an_entry_with_any_exchanged_bit_is_made_again(tmp_path, entries):
    path = tmp_path / "runs.csv"
    table().to_csv(path, index=False)
    truth = read(path)
    (entry,) = entries.iterdir()
    whole = entry.read_bytes()
    for place in range(0, len(whole), 61):
        entry.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert read(path).identical(truth)
    for content in (b"", whole[:100], b"{}" * 40):
        entry.write_bytes(content)
        assert read(path).identical(truth)
    assert entry.read_bytes() == whole


def test_the_second_reading_parses_nothing(tmp_path, entries, monkeypatch):
    path = tmp_path / "runs.csv"
    table().to_csv(path, index=False)
    truth = read(path)
    monkeypatch.setattr(files, "read_unit", lambda *_: pytest.fail("the file was parsed again"))
    assert read(path).identical(truth)


def test_a_file_that_changes_while_it_is_read_is_not_cached_under_its_old_digest(tmp_path, entries, monkeypatch):
    path = tmp_path / "runs.csv"
    table().to_csv(path, index=False)
    before = path.read_bytes()
    parse = csv.frame_of

    def changed_before_it_is_parsed(place: Path) -> pd.DataFrame:
        table(shift=5).to_csv(path, index=False)
        return parse(place)

    monkeypatch.setattr(csv, "frame_of", changed_before_it_is_parsed)
    assert float(read(path)["loss"].sel(net="A", member=0)) == 7.0
    monkeypatch.setattr(csv, "frame_of", parse)
    path.write_bytes(before)
    assert float(read(path)["loss"].sel(net="A", member=0)) == 2.0


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    path = tmp_path / "runs.csv"
    table().to_csv(path, index=False)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    np.testing.assert_array_equal(read(path)["loss"].sel(net="B"), [2, 3, 4, 5, 6, 7])


def test_many_files_are_read_by_several_processes_to_the_same_runs(tmp_path, entries, monkeypatch):
    for seed in range(6):
        for net in "AB":
            rows = {"step": range(40), "loss": np.random.default_rng(seed).normal(size=40)}
            pd.DataFrame(rows).to_csv(tmp_path / f"net={net},seed={seed}.csv", index=False)
    alone = bm.runs.read(tmp_path, members="seed", compare="net", cache=False)
    monkeypatch.setattr(files, "_WORTH_A_PROCESS", 0)
    assert len(os.listdir(tmp_path)) == 12
    assert bm.runs.read(tmp_path, members="seed", compare="net", cache=False).identical(alone)


def test_an_entry_of_other_readers_is_not_used(tmp_path, monkeypatch):
    (tmp_path / "readers").mkdir()
    own = cache.key_of(csv.FORMAT, Unit("a.csv", ()), Layout(), {})
    monkeypatch.setattr(cache, "__file__", str(tmp_path / "cache.py"))
    found = []
    for text in ("one", "other"):
        (tmp_path / "readers" / "csv.py").write_text(text)
        cache._readers.cache_clear()
        found.append(cache.key_of(csv.FORMAT, Unit("a.csv", ()), Layout(), {}))
    monkeypatch.undo()
    cache._readers.cache_clear()
    assert len({own, *found}) == 3
    assert cache.key_of(csv.FORMAT, Unit("a.csv", ()), Layout(), {}) == own
