"""Databases and folders of other tools come from anyone: what is in them is read as runs or refused."""

import shutil
import sqlite3
import tempfile
from contextlib import closing

import pytest
from hypothesis import strategies as st

from bathymetry.core.errors import BathymetryError
from bathymetry.runs.readers import mlflow, optuna, trackio
from bathymetry.runs.run import Layout
from runs.reading import FILES
from safety.test_data_files import damaged

PAGE = 512


@pytest.fixture(autouse=True)
def copies(tmp_path, monkeypatch):
    """Databases that others may write are copied before they are read: into the test's folder."""
    (tmp_path / "copies").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "copies"))
    monkeypatch.setattr(shutil, "_use_fd_functions", False)  # so that what is removed is named with its folder


KINDS = st.sampled_from(["bytes", "header", "copy", "empty", "cut"])
CHANGES = st.lists(st.tuples(KINDS, st.integers(0), st.integers(0), st.binary(min_size=4, max_size=4)), max_size=4)


def changed(content, changes):
    """A few bytes exchanged, and pages copied over others, cut off, or left empty."""
    content = bytearray(content)
    for kind, first, second, some in changes:
        count = max(1, len(content) // PAGE)
        page, other = PAGE * (first % count), PAGE * (second % count)
        if kind == "bytes":
            place = page + second % (PAGE - 4)
            content[place : place + 4] = some
        elif kind == "header":
            content[page + second % 12] = some[0]
        elif kind == "copy":
            content[page : page + PAGE] = content[other : other + PAGE]
        elif kind == "empty":
            content[page : page + PAGE] = bytes(PAGE)
        elif page:
            del content[page:]
    return bytes(content)


def attempt_with(form, folder, whole=None):
    def attempt(case):
        path = folder / "x.db"
        path.write_bytes(case if whole is None else changed(whole, case))
        for unit in form.units(folder, [path]):
            form.read(unit, Layout())

    return attempt


def test_databases_of_mlflow(fuzz, tmp_path):
    """Databases of MLflow with damaged pages."""
    content = (FILES / "mlflow_sqlite" / "mlflow.db").read_bytes()
    fuzz(CHANGES, attempt_with(mlflow.FORMAT, tmp_path, content), writes=tmp_path)


def test_databases_of_optuna(fuzz, tmp_path):
    """Databases of Optuna with damaged pages."""
    content = (FILES / "optuna" / "study.db").read_bytes()
    fuzz(CHANGES, attempt_with(optuna.FORMAT, tmp_path, content), writes=tmp_path)


def test_databases_of_trackio(fuzz, tmp_path):
    """Databases of Trackio with damaged pages."""
    content = (FILES / "trackio" / "others.db").read_bytes()
    fuzz(CHANGES, attempt_with(trackio.FORMAT, tmp_path, content), writes=tmp_path)


def test_logs_of_databases(fuzz, tmp_path):
    """Write-ahead logs of databases with damaged pages."""
    path, log = tmp_path / "x.db", tmp_path / "x.db-wal"
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute(f"PRAGMA page_size = {PAGE}")
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("CREATE TABLE metrics (run_name, step, metrics)")
        for step in range(30):
            writer.execute("INSERT INTO metrics VALUES ('a', ?, '{\"loss\": 1}')", (step,))
        whole, logged = path.read_bytes(), log.read_bytes()

    def attempt(case):
        path.write_bytes(changed(whole, case[0]))
        log.write_bytes(changed(logged, case[1]))
        for unit in trackio.FORMAT.units(tmp_path, [path]):
            trackio.FORMAT.read(unit, Layout())

    fuzz(st.tuples(CHANGES, CHANGES), attempt, writes=tmp_path)


def test_journals_of_optuna(fuzz, tmp_path):
    """Journals of Optuna with damage."""
    lines = (FILES / "optuna" / "study.log").read_bytes().splitlines(keepends=True)
    few = b"".join([*lines[:30], *lines[-20:]])
    fuzz(damaged(few), attempt_with(optuna.FORMAT, tmp_path), writes=tmp_path)


SOME = st.sampled_from([
    b"", b"\n", b"1 2\n", b"1 nan 3\n", b"1 1e999 -5\n", b"x\n", b"1 2 3 4 5\n", b"\xff\xfe\n", b"1" * 5000 + b" 2 3\n",
    b"run_id: 3\nstatus: [1, 2]", b"run_id: &a [*a]", b"run_id: 2020-99-99", b"run_id: a\nlifecycle_stage: {}",
    b"run_id: a\n" + b"[" * 5000, b"a: &a [x,x]\nb: &b [*a,*a]\nrun_id: [*b,*b]", b"1e400", b"\0",
])  # fmt: skip


def test_folders_of_mlflow(fuzz, tmp_path):
    """Folders of MLflow's runs with files that are damaged or hold something else."""
    source = next((FILES / "mlflow").rglob("metrics/train/loss")).parents[2]
    names = ["meta.yaml", "params/seed", "metrics/train/loss", "tags/x", "metrics/val/accuracy"]
    whole = {name: (source / name).read_bytes() for name in names if (source / name).exists()}
    contents = st.fixed_dictionaries(
        {name: SOME | damaged(content) | st.just(content) for name, content in whole.items()},
        optional={"tags/x": SOME, "params/" + "n" * 200: SOME},
    )

    def arrange(files):
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        for name, content in files.items():
            (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "run" / name).write_bytes(content)

    def attempt(_):
        paths = sorted(one for one in (tmp_path / "run").rglob("*") if one.is_file())
        for unit in mlflow.FORMAT.units(tmp_path, paths):
            mlflow.FORMAT.read(unit, Layout())

    fuzz(contents, attempt, arrange=arrange, writes=tmp_path)


def test_what_is_damaged_is_not_lost_silently(tmp_path):
    """A page of a table that is empty is said, rather than its rows being left out."""
    content = bytearray((FILES / "trackio" / "optimizers.db").read_bytes())
    place = content.rindex(b'{"train/loss"') // PAGE * PAGE
    content[place : place + PAGE] = bytes(PAGE)
    (tmp_path / "x.db").write_bytes(content)
    [unit] = trackio.FORMAT.units(tmp_path, [tmp_path / "x.db"])
    with pytest.raises(BathymetryError):
        trackio.FORMAT.read(unit, Layout())
