"""Databases in use, damaged ones, and ones made to harm."""

import shutil
import sqlite3
import struct
from contextlib import closing

import numpy as np
import pytest

from bathymetry.core.errors import DamagedError, StorageError
from bathymetry.runs import sqlite
from bathymetry.runs.readers import mlflow, optuna, trackio
from bathymetry.runs.run import Layout, Unit
from runs.reading import FILES, read

PROJECT = "CREATE TABLE metrics (run_name, step, metrics)"


def insert(database, *steps):
    for step in steps:
        database.execute("INSERT INTO metrics VALUES ('a', ?, '{\"loss\": 1}')", (step,))


def steps_in(path):
    [run] = read(trackio.FORMAT, path)
    return run.metrics["loss"].step.tolist()


def test_what_is_only_in_the_log_of_a_database_in_use_is_read(tmp_path):
    with closing(sqlite3.connect(tmp_path / "p.db", isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute(PROJECT)
        insert(writer, 0, 1)
        assert steps_in(tmp_path) == [0, 1]
        writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        insert(writer, 2)
        writer.execute("BEGIN")
        insert(writer, 3)
        assert steps_in(tmp_path) == [0, 1, 2]  # and not what is not committed
        writer.execute("COMMIT")
        assert steps_in(tmp_path) == [0, 1, 2, 3]


def test_what_a_killed_writer_left_in_the_log_is_read(tmp_path):
    (tmp_path / "use").mkdir()
    (tmp_path / "left").mkdir()
    with closing(sqlite3.connect(tmp_path / "use" / "p.db", isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute(PROJECT)
        insert(writer, 0, 1)
        for name in ("p.db", "p.db-wal"):
            shutil.copy(tmp_path / "use" / name, tmp_path / "left" / name)
    assert steps_in(tmp_path / "left") == [0, 1]


def test_the_log_is_one_of_the_files(tmp_path):
    with closing(sqlite3.connect(tmp_path / "p.db", isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute(PROJECT)
        [unit] = trackio.FORMAT.units(tmp_path, [tmp_path / "p.db"])
        assert [one.name for one in unit.files] == ["p.db", "p.db-wal"]


def test_a_writer_with_a_journal_does_not_wait_for_the_reader(tmp_path):
    with closing(sqlite3.connect(tmp_path / "p.db", isolation_level=None, timeout=0)) as writer:
        writer.execute(PROJECT)
        writer.execute("BEGIN")
        insert(writer, *range(1000))
        writer.execute("COMMIT")
        writer.execute("BEGIN")
        insert(writer, 1000)
        with sqlite.opened(Unit("p.db", (tmp_path / "p.db",))) as database:
            rows = database.rows("metrics", "step")
            assert next(rows) == (0,)
            writer.execute("COMMIT")  # fails at once if anyone reads
            assert len(list(rows)) == 999


def test_a_journal_that_a_killed_writer_left_is_said_and_stays(tmp_path):
    (tmp_path / "left").mkdir()
    with closing(sqlite3.connect(tmp_path / "p.db", isolation_level=None)) as writer:
        writer.execute(PROJECT)
        insert(writer, 0)
        writer.execute("PRAGMA cache_size = 1")
        writer.execute("BEGIN")
        insert(writer, *range(2000))  # more than the cache holds, so that the file is written
        for name in ("p.db", "p.db-journal"):
            shutil.copy(tmp_path / name, tmp_path / "left" / name)
    with pytest.raises(StorageError, match=r"killed, open it once with its own tool\)\.$"):
        read(trackio.FORMAT, tmp_path / "left")


def test_a_database_that_a_writer_does_not_let_go_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite, "_WAIT", 0.1)
    with closing(sqlite3.connect(tmp_path / "p.db", isolation_level=None)) as writer:
        writer.execute(PROJECT)
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StorageError, match=r"^p\.db can't be read as a database \(database is locked\)\.$"):
            read(trackio.FORMAT, tmp_path)


@pytest.mark.parametrize("name", ["a b.db", "100%.db", "what?#&.db", "größe.db"])
def test_any_name_of_a_file_will_do(tmp_path, name):
    with closing(sqlite3.connect(tmp_path / name, isolation_level=None)) as writer:
        writer.execute(PROJECT)
        insert(writer, 0)
    assert steps_in(tmp_path) == [0]


def test_a_link_to_a_database_in_use_is_read_with_its_log(tmp_path):
    (tmp_path / "use").mkdir()
    (tmp_path / "links").mkdir()
    with closing(sqlite3.connect(tmp_path / "use" / "p.db", isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute(PROJECT)
        insert(writer, 0)
        (tmp_path / "links" / "link.db").symlink_to(tmp_path / "use" / "p.db")
        assert steps_in(tmp_path / "links") == [0]


def test_the_tool_is_known_by_tables_and_not_by_name(tmp_path):
    shutil.copy(FILES / "optuna" / "study.db", tmp_path / "mlflow.db")
    shutil.copy(FILES / "mlflow_sqlite" / "mlflow.db", tmp_path / "study.sqlite")
    shutil.copy(FILES / "trackio" / "others.db", tmp_path / "noname")
    (tmp_path / "text.db").write_text("SQLite format 3")
    (tmp_path / "empty.db").touch()
    with closing(sqlite3.connect(tmp_path / "other.db")) as database:
        database.execute("CREATE TABLE metrics (x)")
    files = sorted(tmp_path.iterdir())
    found = {one.FORMAT.name: one.FORMAT.units(tmp_path, files) for one in (mlflow, optuna, trackio)}
    assert {name: [unit.name for unit in units] for name, units in found.items()} == {
        "MLflow": ["study.sqlite"], "Optuna": ["mlflow.db"], "Trackio": ["noname"],
    }  # fmt: skip


SOURCES = pytest.mark.parametrize(
    ("form", "source"),
    [
        (mlflow.FORMAT, "mlflow_sqlite/mlflow.db"),
        (optuna.FORMAT, "optuna/study.db"),
        (trackio.FORMAT, "trackio/optimizers.db"),
    ],
)


@SOURCES
@pytest.mark.parametrize("start", [100, 20_000, 30_000])
def test_a_damaged_database_is_one_sentence(tmp_path, form, source, start):
    """From the schema on, and from a page in the middle on."""
    content = (FILES / source).read_bytes()
    (tmp_path / "x.db").write_bytes(content[:start] + bytes([37]) * (len(content) - start))
    files = [tmp_path / "x.db"]
    if start == 100:  # there are no names of tables by which to know whose it is
        assert form.units(tmp_path, files) == []
    else:
        with pytest.raises(StorageError, match=r"^x\.db can't be read as a database \(.*\)\.$"):
            read(form, tmp_path)


@SOURCES
def test_a_database_that_is_cut_off_is_one_sentence(tmp_path, form, source):
    content = (FILES / source).read_bytes()
    (tmp_path / "x.db").write_bytes(content[: len(content) // 2])
    with pytest.raises(StorageError, match=r"^x\.db can't be read as a database \(.*\)\.$"):
        read(form, tmp_path)


@pytest.mark.parametrize(
    ("kind", "statement"),
    [
        (
            "view",
            "CREATE VIEW t AS WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n) SELECT i AS a FROM n",
        ),
        ("virtual", "CREATE VIRTUAL TABLE t USING fts5(a)"),
        ("generated", "CREATE TABLE t (b, a AS (hex(zeroblob(b))))"),
        ("stored", "CREATE TABLE t (b, a AS (hex(zeroblob(b))) STORED)"),
        ("table", "CREATE TABLE t (a)"),
    ],
)
def test_views_virtual_tables_and_generated_columns_are_not_read(tmp_path, kind, statement):
    path = tmp_path / "x.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute(statement)
    found = sqlite.units_with(tmp_path, [path], {"t": ("a",)})
    assert bool(found) == (kind == "table")
    with sqlite.opened(Unit("x.db", (path,))) as opened:
        assert list(opened.rows("t", "a")) == []


def test_a_huge_value_is_one_sentence(tmp_path):
    with closing(sqlite3.connect(tmp_path / "p.db", isolation_level=None)) as database:
        database.execute(PROJECT)
        database.execute("INSERT INTO metrics VALUES ('a', 0, zeroblob(20000000))")
    with pytest.raises(DamagedError, match=r"^p\.db can't be read as a database \(string or blob too big\)\.$"):
        read(trackio.FORMAT, tmp_path)


def test_pages_that_lead_to_the_same_rows_again_and_again_end(tmp_path):
    """Of three levels of pages, all pages of the second lead to one page of the second, 60³ leaves in all."""
    path = tmp_path / "p.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA page_size = 512")
        database.execute(PROJECT)
        database.execute("BEGIN")
        insert(database, *range(40_000))
        database.execute("COMMIT")
        [(root,)] = database.execute("SELECT rootpage FROM sqlite_schema")
    content = bytearray(path.read_bytes())

    def children(page):
        """Places of the numbers of the pages below a page."""
        start = (page - 1) * 512
        assert content[start] == 5  # an inner page of a table
        count = struct.unpack_from(">H", content, start + 3)[0]
        cells = struct.unpack_from(f">{count}H", content, start + 12)
        return [*(start + cell for cell in cells), start + 8]

    def number(place):
        return struct.unpack_from(">I", content, place)[0]

    second = [number(place) for place in children(root)]
    while content[(number(children(second[0])[0]) - 1) * 512] == 5:
        second = [number(place) for page in second for place in children(page)]
    for page in second[:-1]:
        for place in children(page):
            struct.pack_into(">I", content, place, second[-1])
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=r"more rows than it can hold|malformed"):
        read(trackio.FORMAT, tmp_path)


def test_names_are_read_from_a_database_in_utf_16(tmp_path):
    with closing(sqlite3.connect(tmp_path / "größe.db", isolation_level=None)) as database:
        database.execute("PRAGMA encoding = 'UTF-16'")
        database.execute(PROJECT)
        database.execute("INSERT INTO metrics VALUES ('läuft', 0, '{\"größe\": 1}')")
    [run] = read(trackio.FORMAT, tmp_path)
    assert (run.id, list(run.metrics), run.config) == ("läuft", ["größe"], {"project": "größe"})


def test_numbers_of_many_rows_come_back(tmp_path):
    """A long run with a step in each row, 20,000 of them."""
    with closing(sqlite3.connect(tmp_path / "p.db", isolation_level=None)) as database:
        database.execute(PROJECT)
        database.execute("BEGIN")
        insert(database, *range(20_000))
        database.execute("COMMIT")
    [unit] = trackio.FORMAT.units(tmp_path, [tmp_path / "p.db"])
    [run] = trackio.FORMAT.read(unit, Layout())
    np.testing.assert_array_equal(run.metrics["loss"].step, range(20_000))
