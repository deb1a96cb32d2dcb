"""MLflow's file store and database, as MLflow wrote them."""

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import bathymetry as bm
from bathymetry.core.errors import DamagedError, StorageError
from bathymetry.runs.readers.mlflow import FORMAT
from runs import fixture
from runs.reading import FILES, expect_whole_fixture, read, write_anew

STORES = pytest.mark.parametrize("store", ["mlflow", "mlflow_sqlite"])


def both(store, folder=FILES):
    runs = read(FORMAT, folder / store)
    return [one for one in runs if one.config["experiment"] == "optimizers"], [
        one for one in runs if one.config["experiment"] == "others"
    ]


@STORES
def test_the_twenty_runs_come_back(store):
    expect_whole_fixture(both(store)[0])


@STORES
def test_runs_are_in_the_order_in_which_they_began(store):
    """Their names, by which folders are sorted, are random."""
    order = [(run.config["optimizer"], run.config["seed"]) for run in both(store)[0]]
    assert order == [(config["optimizer"], config["seed"]) for _, config, _ in fixture.runs()]


@pytest.mark.tool
@pytest.mark.slow
@STORES
def test_what_mlflow_writes_now_comes_back(store, tmp_path):
    write_anew(store, tmp_path / store)
    first, second = both(store, tmp_path)
    expect_whole_fixture(first)
    assert sorted(run.status for run in second) == ["crashed", "crashed", "running"]


@STORES
def test_ids_are_those_of_mlflow(store):
    assert all(re.fullmatch("[0-9a-f]{32}", run.id) for run in read(FORMAT, FILES / store))


@STORES
def test_unfinished_and_failed_runs_are_told_and_deleted_ones_left_out(store):
    assert sorted(run.status for run in both(store)[1]) == ["crashed", "crashed", "running"]


@STORES
def test_text_that_is_a_number_is_one_and_tags_are_settings(store):
    [run] = [one for one in both(store)[1] if one.status == "running"]
    assert run.config == {
        "experiment": "others", "tags.note": "Größe", "tags.fold": 3,
        "größe": 2, "rate": 0.001, "flag": True, "name": 7, "none": "None", "text": "a b",
    }  # fmt: skip
    assert type(run.config["flag"]) is bool


@STORES
def test_nan_and_infinity_and_unicode_names_come_back(store):
    [run] = [one for one in both(store)[1] if one.status == "running"]
    curve = run.metrics["Verlust/größe"]
    np.testing.assert_array_equal(curve.value, [np.nan, np.inf, -np.inf, 1.5])
    np.testing.assert_array_equal(curve.step, range(4))


@STORES
def test_values_without_steps_are_counted_and_noted(store):
    [run] = [one for one in both(store)[1] if one.status == "running"]
    np.testing.assert_array_equal(run.metrics["without steps"].step, range(3))
    np.testing.assert_array_equal(run.metrics["without steps"].value, [0, 0.5, 1])
    assert run.notes == ("logged without steps; counted in order of time",)


def a_run(tmp_path):
    """A copy of one finished run of the file store."""
    source = next((FILES / "mlflow").rglob("metrics/train/loss")).parents[2]
    return Path(shutil.copytree(source, tmp_path / "run"))


def test_a_run_alone_can_be_read(tmp_path):
    [run] = read(FORMAT, a_run(tmp_path))
    assert len(run.metrics["train/loss"].value) == 11


def test_artifacts_that_look_like_tables_belong_to_the_run(tmp_path):
    folder = a_run(tmp_path)
    (folder / "artifacts").mkdir()
    for name in ("table.csv", "model.pkl"):
        (folder / "artifacts" / name).write_text("a,b\n1,2\n")
    [unit] = FORMAT.units(tmp_path, [one for one in folder.rglob("*") if one.is_file()])
    assert "table.csv" in {one.name for one in unit.files}
    assert "model.pkl" not in {one.name for one in unit.files}


def test_a_line_that_is_cut_off_is_left_out_with_a_note(tmp_path):
    folder = a_run(tmp_path)
    loss = folder / "metrics" / "train" / "loss"
    loss.write_text(loss.read_text()[:-3])
    [run] = read(FORMAT, folder)
    assert len(run.metrics["train/loss"].value) == 10
    assert run.notes == ("the last line of train/loss is not whole and is left out",)


def test_a_metric_with_a_data_set_has_five_fields(tmp_path):
    folder = a_run(tmp_path)
    (folder / "metrics" / "train" / "loss").write_text("1700000000000 0.5 3 data set 1f3a\n1700000000001 0.25 4\n")
    [run] = read(FORMAT, folder)
    np.testing.assert_array_equal(run.metrics["train/loss"].step, [3, 4])


def test_a_damaged_line_is_named(tmp_path):
    folder = a_run(tmp_path)
    (folder / "metrics" / "train" / "loss").write_text("1700000000000 0.5 3\n1700 half 4\n")
    with pytest.raises(DamagedError, match=r"^run can't be read as MLflow \(metric train/loss, line 2: expected time"):
        read(FORMAT, folder)


@pytest.mark.parametrize("text", ["run_id: [", "- \nrun_id: 3"])
def test_a_damaged_description_is_named(tmp_path, text):
    folder = a_run(tmp_path)
    (folder / "meta.yaml").write_text(text)
    with pytest.raises(StorageError, match=r"meta.yaml holds no settings: expected one mapping in YAML\.$"):
        read(FORMAT, folder)


def test_a_file_of_the_same_name_that_describes_no_run_is_none(tmp_path):
    folder = a_run(tmp_path)
    (folder / "meta.yaml").write_text("name: x")
    assert read(FORMAT, folder) == []


def test_a_database_without_the_column_for_nan_is_read(tmp_path):
    """MLflow before 1.1 had none."""
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(
            """CREATE TABLE experiments (experiment_id, name); INSERT INTO experiments VALUES (1, 'old');
            CREATE TABLE runs (run_uuid, status, experiment_id); INSERT INTO runs VALUES ('a', 'FINISHED', 1);
            CREATE TABLE params (run_uuid, key, value); INSERT INTO params VALUES ('a', 'seed', '7');
            CREATE TABLE metrics (run_uuid, key, value, timestamp, step);
            INSERT INTO metrics VALUES ('a', 'loss', 0.5, 3, 2);
            INSERT INTO metrics VALUES ('a', 'loss', 0.25, 2, 1), ('a', 'loss', 0.75, 4, 2);"""
        )
    [run] = read(FORMAT, tmp_path)
    assert run.config == {"experiment": "old", "seed": 7}
    np.testing.assert_array_equal(run.metrics["loss"].step, [1, 2])
    np.testing.assert_array_equal(run.metrics["loss"].value, [0.25, 0.75])  # the later of two at step 2


def test_all_metrics_are_those_of_the_runs_that_are_chosen():
    where = {"experiment": "optimizers"}
    runs = bm.runs.read(FILES / "mlflow", members="seed", compare="optimizer", where=where, cache=False)
    assert {name for name in runs if f"{name}_history" in runs} == {"train/loss", "val/accuracy"}
