import contextlib
import csv
import os
import random
import subprocess
import sys
import time

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bathymetry.core.errors import DamagedError, InputError, StorageError
from bathymetry.core.identity import digest
from bathymetry.store.results import OutdatedError, export, keep_earlier_result, read_results, write_results


def results():
    main = xr.Dataset(
        {
            "train_loss": (("network", "member", "epoch"), np.arange(12.0).reshape(2, 2, 3)),
            "test_loss": (("network", "member", "epoch"), -np.arange(12.0).reshape(2, 2, 3)),
            "epochs_to_fit": (("network", "member"), [[1.0, np.inf], [np.nan, 2.0]]),
            "parameters": ((), 7),
        },
        {"network": ["shallow", "deep"], "member": [0, 1], "epoch": [0, 1, 2]},
    )
    tree = xr.DataTree.from_dict({"/main": main, "/grid": xr.Dataset({"share": ("images", [0.5])}, {"images": [500]})})
    tree.attrs = {"settings": {"members": 2, "names": ["ü"]}, "study": "made"}
    return tree


def stored_by_an_earlier_version(path):
    """A result of schema 1."""
    tree = results()
    tree.attrs = {"schema_version": 1, "study": '"made"', "notes": "[]"}
    path.write_bytes(sealed(bytes(tree.to_netcdf(engine="h5netcdf"))))


def same_numbers(one, other):
    return all(one[group].to_dataset().equals(other[group].to_dataset()) for group in ("main", "grid"))


def test_results_come_back_with_their_groups_and_attributes(tmp_path):
    write_results(tmp_path / "result.nc", results())
    back = read_results(tmp_path / "result.nc")
    assert back.attrs == results().attrs
    xr.testing.assert_equal(back["main"].to_dataset(), results()["main"].to_dataset())
    xr.testing.assert_equal(back["grid"].to_dataset(), results()["grid"].to_dataset())


def of_every_kind():
    """What groups can hold: texts, truths, dates, axes without labels, further coordinates, a group in a group."""
    main = xr.Dataset(
        {
            "zeta": (
                ("member", "parameter"),
                np.arange(6, dtype=np.float32).reshape(2, 3),
                {"units": "1", "places": 2},
            ),
            "diverged": ("member", [True, False]),
            "words": ("member", ["λ", ""], {"long_name": "words"}),
            "alpha": ((), "one"),
            "nothing": (("member", "empty"), np.zeros((2, 0))),
            "day": ("member", np.array(["2026-01-01", "NaT"], "datetime64[ns]")),
            "large": (("member", "x"), np.random.default_rng(0).normal(size=(2, 5000))),
        },
        {"member": [3, 5], "name": ("member", ["a", "b"]), "step": 7, "x": np.arange(5000) / 7},
        {"kind": "main"},
    )
    deep = xr.Dataset({"share": ("images", [0.5, np.nan], {"list": [1, 2]})}, {"images": ["few", "many"]})
    tree = xr.DataTree.from_dict({"/main": main, "/main/deep": deep, "/none": xr.Dataset()})
    tree.attrs = {"study": "made"}
    return tree


def read_by_xarray(path):
    with xr.open_datatree(path, engine="h5netcdf") as opened:
        tree = opened.load()
    tree.attrs = {"study": "made"}
    return tree


def test_results_are_read_as_xarray_reads_them(tmp_path):
    write_results(tmp_path / "result.nc", of_every_kind())
    back, expected = read_results(tmp_path / "result.nc"), read_by_xarray(tmp_path / "result.nc")
    xr.testing.assert_identical(back, expected)
    for group in expected.subtree:
        assert list(back[group.path].data_vars) == list(group.data_vars)
        assert {name: one.dtype for name, one in back[group.path].variables.items()} == {
            name: one.dtype for name, one in group.variables.items()
        }


def test_results_are_read_in_half_the_time_that_xarray_takes(tmp_path):
    write_results(tmp_path / "result.nc", of_every_kind())
    times = {}
    for read in (read_by_xarray, read_results):
        taken = []
        for _ in range(5):
            begin = time.process_time()
            read(tmp_path / "result.nc")
            taken.append(time.process_time() - begin)
        times[read] = min(taken)
    assert times[read_results] < times[read_by_xarray] / 2


def test_other_programs_read_the_file_as_netcdf(tmp_path):
    write_results(tmp_path / "result.nc", results())
    with xr.open_datatree(tmp_path / "result.nc", engine="h5netcdf") as opened:
        assert same_numbers(opened, results())
    with h5py.File(tmp_path / "result.nc") as opened:
        assert opened["main/parameters"][()] == 7


def damages(content):
    """Flipped bits, cut ends, empty and exchanged blocks, and bytes appended, at places drawn once and for all."""
    chance, whole = random.Random(0), len(content)
    for place in (chance.randrange(whole) for _ in range(40)):
        yield content[:place] + bytes([content[place] ^ (1 << chance.randrange(8))]) + content[place + 1 :]
    for end in [0, 8, 500, *(chance.randrange(whole) for _ in range(20)), *range(whole - 60, whole)]:
        yield content[:end]
    for block in (16, 512, 2048):
        for start in (chance.randrange(0, whole - 2 * block) for _ in range(8)):
            yield content[:start] + bytes(block) + content[start + block :]
            other = chance.randrange(start + block, whole - block + 1)
            first, second = content[start : start + block], content[other : other + block]
            yield content[:start] + second + content[start + block : other] + first + content[other + block :]
    for more in (b"\0", bytes(512), content[-51:], content):
        yield content + more


def test_every_damage_is_noticed_or_changes_no_number(tmp_path):
    path = tmp_path / "result.nc"
    write_results(path, results())
    content = path.read_bytes()
    unnoticed, tried = [], 0
    for damaged in damages(content):
        if damaged == content:
            continue
        tried += 1
        path.write_bytes(damaged)
        with contextlib.suppress(DamagedError):
            unnoticed += [] if same_numbers(read_results(path), results()) else [damaged]
    assert tried > 150
    assert unnoticed == []


def test_the_hdf5_library_never_sees_a_damaged_file(tmp_path, monkeypatch):
    path = tmp_path / "result.nc"
    write_results(path, results())
    content = path.read_bytes()
    path.write_bytes(content[:700] + bytes([content[700] ^ 1]) + content[701:])
    opened = []
    monkeypatch.setattr(xr, "open_datatree", lambda *_, **__: opened.append("xarray"))
    monkeypatch.setattr(h5py, "File", lambda *_, **__: opened.append("h5py"))
    with pytest.raises(DamagedError, match="digest"):
        read_results(path)
    assert opened == []


def test_a_file_of_an_earlier_schema_is_refused_and_with_earlier_read_as_it_is(tmp_path):
    path = tmp_path / "result.nc"
    stored_by_an_earlier_version(path)
    with pytest.raises(OutdatedError, match=r"by an earlier version of Bathymetry: run the study again"):
        read_results(path)
    assert same_numbers(read_results(path, earlier=True), results())


def test_a_file_without_its_digest_is_damaged(tmp_path):
    path = tmp_path / "result.nc"
    write_results(path, results())
    path.write_bytes(path.read_bytes()[:-51])
    with pytest.raises(DamagedError, match="does not have the digest"):
        read_results(path)


def sealed(content):
    return content + b"\nbathymetry digest " + digest(content).encode()


def test_a_whole_file_that_is_not_understood_is_not_called_damaged(tmp_path):
    path = tmp_path / "result.nc"
    path.write_bytes(sealed(b"something else"))
    with pytest.raises(StorageError, match="is whole but no result that this version understands") as caught:
        read_results(path)
    assert not isinstance(caught.value, DamagedError)


@pytest.mark.parametrize("kind", ["link", "external", "bomb"])
def test_a_file_that_leads_to_others_or_unpacks_without_bound_is_refused(tmp_path, kind):
    write_results(tmp_path / "result.nc", results())
    (tmp_path / "result.nc").write_bytes((tmp_path / "result.nc").read_bytes()[:-51])
    np.arange(3.0).tofile(tmp_path / "secret")
    with h5py.File(tmp_path / "result.nc", "a") as file:
        if kind == "link":
            file["elsewhere"] = h5py.ExternalLink(str(tmp_path / "other.nc"), "/numbers")
        elif kind == "external":
            file.create_dataset("elsewhere", (3,), "f8", external=[(str(tmp_path / "secret"), 0, 24)])
        else:
            file.create_dataset("large", (10**6, 10**6), "f8", chunks=(1000, 1000))
    body = (tmp_path / "result.nc").read_bytes()
    (tmp_path / "result.nc").write_bytes(sealed(body))
    with pytest.raises(StorageError, match="understands") as caught:
        read_results(tmp_path / "result.nc")
    assert any(word in str(caught.value.__cause__) for word in ("elsewhere is in another file", "would unpack"))


def test_a_later_schema_and_a_missing_file_and_a_folder_in_its_place_are_refused(tmp_path):
    with pytest.raises(StorageError, match="there is no such file"):
        read_results(tmp_path / "result.nc")
    (tmp_path / "result.nc").mkdir()
    with pytest.raises(StorageError, match=r"can't be read \(Is a directory\)"):
        read_results(tmp_path / "result.nc")
    (tmp_path / "link.nc").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StorageError, match="a link that leads nowhere"):
        read_results(tmp_path / "link.nc")
    later = results()
    later.attrs = {"schema_version": 99}
    content = bytes(later.to_netcdf(engine="h5netcdf"))
    (tmp_path / "later.nc").write_bytes(sealed(content))
    with pytest.raises(StorageError, match="schema 99") as caught:
        read_results(tmp_path / "later.nc")
    assert not isinstance(caught.value, DamagedError)


FULL = """
import resource, signal, sys
from pathlib import Path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
sys.path.insert(0, sys.argv[2])
from store.test_results import results
from bathymetry.store.results import write_results
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
write_results(Path(sys.argv[1]), results())
"""


def test_a_full_disk_is_an_error_that_leaves_what_was_stored(tmp_path):
    path = tmp_path / "result.nc"
    path.write_bytes(b"before")
    tests = os.path.dirname(os.path.dirname(__file__))
    ran = subprocess.run(
        [sys.executable, "-c", FULL, path, tests], capture_output=True, text=True, check=False, timeout=120
    )
    assert ran.returncode == 1, ran.stderr
    assert ran.stderr.splitlines()[-1].endswith(f"{path} can't be written (File too large): choose a folder that can.")
    assert [one.name for one in tmp_path.iterdir()] == ["result.nc"]
    assert path.read_bytes() == b"before"


def test_results_are_written_without_a_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    write_results(tmp_path / "result.nc", results())
    assert same_numbers(read_results(tmp_path / "result.nc"), results())


@pytest.mark.parametrize(("kind", "read"), [("csv", pd.read_csv), ("parquet", pd.read_parquet)])
def test_tables_hold_every_number_next_to_its_coordinates(tmp_path, kind, read):
    paths = export(results(), tmp_path, kind)
    tables = {path.stem: read(path) for path in paths}
    assert set(tables) == {"main-network-member-epoch", "main-network-member", "main-whole", "grid-images"}
    table = tables["main-network-member-epoch"].set_index(["network", "member", "epoch"])
    assert table.loc[("deep", 1, 2)].tolist() == [11.0, -11.0]
    assert np.isinf(tables["main-network-member"]["epochs_to_fit"][1])
    assert tables["main-whole"]["parameters"].tolist() == [7]


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("@SUM(1+1)", "'@SUM(1+1)"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ('-HYPERLINK("http://x")', '\'-HYPERLINK("http://x")'),
        ("\t=1+1", "'\t=1+1"),
        ("-x", "-x"),
        ("-2*x + 1", "-2*x + 1"),
        ("cos(x)", "cos(x)"),
    ],
)
def test_no_text_of_a_table_becomes_a_formula_in_a_spreadsheet(tmp_path, name, cell):
    dataset = xr.Dataset({"loss": ("function", [-1.5]), "=1+1": ("function", [2.5])}, {"function": [name]})
    (path,) = export(xr.DataTree(dataset), tmp_path, "csv")
    with path.open(newline="") as table:
        (row,) = csv.DictReader(table)
    assert row == {"function": cell, "loss": "-1.5", "'=1+1": "2.5"}


def test_the_name_of_a_dimension_can_not_lead_out_of_the_folder(tmp_path):
    dataset = xr.Dataset({"loss": ("../up\x1b[2J", [1.0])})
    (path,) = export(xr.DataTree(dataset), tmp_path / "tables", "csv")
    assert path == tmp_path / "tables" / ".._up__2J.csv"
    assert path.is_file()


def test_an_unknown_kind_of_table_is_refused(tmp_path):
    with pytest.raises(InputError, match="csv, parquet"):
        export(results(), tmp_path, "xls")


def test_tables_in_parquet_without_pyarrow_are_refused_with_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        InputError, match=r"format = parquet: pyarrow is not installed; .*: pip install \"\.\[parquet\]\"\."
    ):
        export(results(), tmp_path, "parquet")


@pytest.mark.parametrize(("seed", "data_seed", "contained"), [(0, 0, True), (7, 7, True), (7, 0, False)])
def test_a_result_from_before_there_was_a_data_seed_has_drawn_its_data_by_the_seed(
    tmp_path, seed, data_seed, contained
):
    path = tmp_path / "out" / "made" / "result.nc"
    earlier = results()
    earlier.attrs["settings"] = {"members": 2, "seed": seed}
    write_results(path, earlier)
    moved = keep_earlier_result(
        path, {**earlier.attrs, "settings": {"members": 2, "seed": seed, "data_seed": data_seed}}
    )
    assert (moved == "") == contained
