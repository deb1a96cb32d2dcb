"""Trackio's databases, as Trackio wrote them."""

import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest

import bathymetry as bm
from bathymetry.core.errors import DamagedError
from bathymetry.runs.readers.trackio import FORMAT
from runs.reading import FILES, expect_whole_fixture, read, write_anew


def test_the_twenty_runs_come_back():
    runs = read(FORMAT, FILES / "trackio" / "optimizers.db")
    expect_whole_fixture(runs, status="unknown")
    assert {run.id: run.config for run in runs}["adam-3"] == {
        "project": "optimizers", "optimizer": "adam", "seed": 3, "learning_rate": 0.01, "batch_size": 32,
    }  # fmt: skip


@pytest.mark.tool
@pytest.mark.slow
def test_what_trackio_writes_now_comes_back(tmp_path):
    expect_whole_fixture(read(FORMAT, write_anew("trackio", tmp_path / "trackio") / "optimizers.db"), status="unknown")


def test_a_folder_holds_several_projects():
    runs = read(FORMAT, FILES / "trackio")
    assert {run.config["project"] for run in runs} == {"optimizers", "others"}


def test_nested_settings_are_flat():
    [run] = read(FORMAT, FILES / "trackio" / "others.db")
    assert run.id == "größe"
    assert run.config == {
        "project": "others",
        "optimizer.name": "adam", "optimizer.lr": 0.1, "layers": "[4, 4]", "flag": True, "none": None,
    }  # fmt: skip


def test_nan_infinity_text_and_nested_names_come_back_and_the_last_value_of_a_step_counts():
    run = read(FORMAT, FILES / "trackio" / "others.db")[0]
    assert set(run.metrics) == {"Verlust/größe", "nested.one"}
    np.testing.assert_array_equal(run.metrics["Verlust/größe"].value, [np.nan, np.inf, -np.inf, 2.5])
    np.testing.assert_array_equal(run.metrics["nested.one"].value, range(4))
    assert run.texts == {"comment"}


@pytest.mark.parametrize(
    "names", [("others.parquet", "others_configs.parquet"), ("metrics.parquet", "aux/configs.parquet")]
)
def test_parquet_files_have_the_same_as_the_database(tmp_path, names):
    """The second pair are the names in a static Space."""
    (tmp_path / "aux").mkdir()
    for name, source in zip(names, ("others.parquet", "others_configs.parquet"), strict=True):
        shutil.copy(FILES / "trackio_parquet" / source, tmp_path / name)
    [run] = read(FORMAT, FILES / "trackio" / "others.db")
    [one] = read(FORMAT, tmp_path)
    assert {key: value for key, value in run.config.items() if value is not None and key != "project"} == {
        key: value for key, value in one.config.items() if key != "project"
    }
    assert (one.id, one.texts) == (run.id, run.texts)
    assert one.metrics.keys() == run.metrics.keys()
    for metric, curve in run.metrics.items():
        np.testing.assert_array_equal(one.metrics[metric].value, curve.value)
        np.testing.assert_array_equal(one.metrics[metric].step, curve.step)


def test_the_twenty_runs_come_back_from_parquet_files():
    runs = [one for one in read(FORMAT, FILES / "trackio_parquet") if one.config["project"] == "optimizers"]
    expect_whole_fixture(runs, status="unknown")


def test_parquet_files_next_to_their_database_are_not_read_twice(tmp_path):
    for path in (FILES / "trackio" / "others.db", *(FILES / "trackio_parquet").glob("others*.parquet")):
        shutil.copy(path, tmp_path)
    assert len(read(FORMAT, tmp_path)) == 1
    runs = bm.runs.read(tmp_path, members="run", cache=False)
    assert runs.attrs["source"] == "Trackio"


def test_damaged_parquet_files_are_one_sentence(tmp_path):
    for path in (FILES / "trackio_parquet").glob("others*.parquet"):
        content = path.read_bytes()
        (tmp_path / path.name).write_bytes(content[:100] + bytes(50) + content[150:])
    with pytest.raises(DamagedError, match=r"can't be read as Parquet"):
        read(FORMAT, tmp_path)


def project(tmp_path, *logged, config='{"seed": 1}', columns="run_id"):
    """A database of the layout of Trackio; before it had ids for runs, `run_id` was not there."""
    path = tmp_path / "p.db"
    ids = "run_id, " * (columns == "run_id")
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"CREATE TABLE metrics (id INTEGER PRIMARY KEY, {ids}timestamp, run_name, step, metrics)")
        database.execute(f"CREATE TABLE configs (id INTEGER PRIMARY KEY, {ids}run_name, config)")
        for run, step, metrics in logged:
            key = (run,) if ids else ()
            cells = (*key, "", "one", step, metrics)
            database.execute(f"INSERT INTO metrics VALUES (NULL, {', '.join('?' * len(cells))})", cells)
            if config is not None:
                cells = (*key, "one", config)
                database.execute(f"INSERT INTO configs VALUES (NULL, {', '.join('?' * len(cells))})", cells)
        database.commit()
    return path


def test_two_runs_of_the_same_name_stay_apart(tmp_path):
    project(tmp_path, ("a", 0, '{"loss": 1}'), ("b", 0, '{"loss": 2}'))
    runs = read(FORMAT, tmp_path)
    assert [(run.id, run.metrics["loss"].value.tolist()) for run in runs] == [("one (a)", [1]), ("one (b)", [2])]


def test_a_project_from_before_there_were_ids_is_read(tmp_path):
    project(tmp_path, (None, 0, '{"loss": 1}'), (None, 1, '{"loss": 2}'), columns="")
    [run] = read(FORMAT, tmp_path)
    assert (run.id, run.config["seed"], run.metrics["loss"].value.tolist()) == ("one", 1, [1, 2])


def test_images_and_tables_are_no_metrics(tmp_path):
    project(tmp_path, ("a", 0, '{"image": {"_type": "trackio.image", "width": 3}, "list": [1, 2], "none": null}'))
    [run] = read(FORMAT, tmp_path)
    assert (run.metrics, run.texts) == ({}, {"image", "list"})


@pytest.mark.parametrize("metrics", ['{"loss": 1', "[1]", None, 3, '{"loss": ' + "1" * 400 + "}", "[" * 100_000])
def test_damaged_metrics_are_one_sentence(tmp_path, metrics):
    project(tmp_path, ("a", 0, metrics))
    with pytest.raises(DamagedError, match=r"^p\.db can't be read as a database \(.*\)\.$"):
        read(FORMAT, tmp_path)
