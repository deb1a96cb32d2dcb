"""Optuna's database and its journal, as Optuna wrote them."""

import json
import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest

import bathymetry as bm
from bathymetry.core.errors import DamagedError, InputError
from bathymetry.runs.readers.optuna import FORMAT
from runs import fixture
from runs.reading import FILES, read, write_anew

STORES = pytest.mark.parametrize("store", ["study.db", "study.log"])


def runs_of(store, study, folder=FILES / "optuna"):
    return [run for run in read(FORMAT, folder / store) if run.config["study"] == study]


@STORES
def test_the_twenty_runs_come_back(store):
    expect_trials(runs_of(store, "optimizers"))


@pytest.mark.tool
@pytest.mark.slow
def test_what_optuna_writes_now_comes_back(tmp_path):
    folder = write_anew("optuna", tmp_path / "optuna")
    for store in ("study.db", "study.log"):
        expect_trials(runs_of(store, "optimizers", folder))


def expect_trials(runs):
    """A trial reports its loss; the objective is the last."""
    assert [run.id for run in runs] == [f"optimizers/{k}" for k in range(20)]
    for run, (_, config, metrics) in zip(runs, fixture.runs(), strict=True):
        assert run.config == {"study": "optimizers"} | config
        assert {name: type(value) for name, value in run.config.items() if name != "study"} == {
            name: type(value) for name, value in config.items()
        }
        np.testing.assert_array_equal(run.metrics["intermediate_value"].step, fixture.STEPS)
        np.testing.assert_array_equal(run.metrics["intermediate_value"].value, metrics["train/loss"])
        np.testing.assert_array_equal(run.metrics["value"].value, metrics["train/loss"][-1:])
        assert (run.status, run.notes) == ("finished", ())


@STORES
def test_several_objectives_are_numbered_and_attributes_are_settings(store):
    [run] = runs_of(store, "Größe")
    assert {name: curve.value.tolist() for name, curve in run.metrics.items()} == {
        "value_0": [np.inf],
        "value_1": [2.0],
    }
    assert run.config["user_attrs.fold"] == 3
    assert run.config["kind"] in (None, True, "a", 0.5)


@STORES
def test_pruned_failed_and_running_trials_are_told_and_those_that_wait_are_left_out(store):
    pruned, failed, running = runs_of(store, "single")
    assert (pruned.status, pruned.notes) == ("crashed", ("pruned",))
    assert (failed.status, running.status) == ("crashed", "running")
    for run in (pruned, failed, running):
        np.testing.assert_array_equal(run.metrics["intermediate_value"].value, [np.nan, -np.inf, 1.5])


@STORES
@pytest.mark.parametrize("metric", ["value", "intermediate_value"])
def test_a_direction_other_than_that_of_the_study_is_refused(store, metric, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    options = {"compare": "optimizer", "where": {"study": "optimizers"}}
    path = FILES / "optuna" / store
    for _ in range(2):  # the second time from the cache
        with pytest.raises(InputError, match="have stored that lower values"):
            bm.compare(path, metric, higher_is_better=True, **options)
    assert bm.compare(path, metric, higher_is_better=False, **options).pairs
    read_before = bm.runs.read(path, members="seed", **options)
    with pytest.raises(InputError, match="have stored that lower values"):
        bm.compare(read_before, metric, compare="optimizer", higher_is_better=True)
    several = next(run for run in runs_of(store, "Größe"))
    assert several.directions == {"value_0": "lower", "value_1": "higher"}


@STORES
def test_a_deleted_study_is_left_out(store):
    assert {run.config["study"] for run in read(FORMAT, FILES / "optuna" / store)} == {"optimizers", "Größe", "single"}


def test_a_database_from_before_optuna_3_is_read(tmp_path):
    """It has no column that says which value is infinite, and other names of distributions."""
    distribution = json.dumps({"name": "IntUniformDistribution", "attributes": {"low": 0, "high": 9, "step": 1}})
    with closing(sqlite3.connect(tmp_path / "old.db")) as database:
        database.executescript(
            f"""CREATE TABLE studies (study_id, study_name); INSERT INTO studies VALUES (1, 'old');
            CREATE TABLE trials (trial_id, number, study_id, state); INSERT INTO trials VALUES (5, 0, 1, 'COMPLETE');
            CREATE TABLE trial_params (trial_id, param_name, param_value, distribution_json);
            INSERT INTO trial_params VALUES (5, 'seed', 3.0, '{distribution}');
            CREATE TABLE trial_values (trial_id, objective, value); INSERT INTO trial_values VALUES (5, 0, 0.5);
            CREATE TABLE trial_intermediate_values (trial_id, step, intermediate_value);
            INSERT INTO trial_intermediate_values VALUES (5, 1, NULL), (5, 0, 0.25);"""
        )
    [run] = read(FORMAT, tmp_path)
    assert (run.config, type(run.config["seed"])) == ({"study": "old", "seed": 3}, int)
    np.testing.assert_array_equal(run.metrics["intermediate_value"].value, [0.25, np.nan])
    np.testing.assert_array_equal(run.metrics["value"].step, [1])


def journal(tmp_path, change):
    path = tmp_path / "study.log"
    path.write_bytes(change((FILES / "optuna" / "study.log").read_bytes()))
    return path


def test_a_journal_whose_last_line_is_cut_off_is_read_without_it(tmp_path):
    whole, cut = read(FORMAT, FILES / "optuna" / "study.log"), read(FORMAT, journal(tmp_path, lambda one: one[:-9]))
    assert [run.id for run in cut] == [run.id for run in whole]
    assert "not whole" in cut[-1].notes[-1]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b'{"op_code":', "line 2: Expecting value"),
        (b'{"op_code":0}', "line 2: no study_name"),
        (b'{"op_code":4,"study_id":0,"state":9}', "line 2: "),
        (b'{"op_code":4,"study_id":0,"params":{"x":1},"distributions":{"x":"[]"}}', "expected a distribution"),
    ],
)
def test_a_damaged_line_of_a_journal_is_named(tmp_path, line, found):
    path = journal(tmp_path, lambda one: one.split(b"\n", 1)[0] + b"\n" + line + b"\n" + one.split(b"\n", 1)[1])
    with pytest.raises(DamagedError, match=r"^study\.log can't be read as Optuna") as caught:
        read(FORMAT, path)
    assert found in str(caught.value)


def test_of_two_processes_that_end_a_trial_the_first_counts(tmp_path):
    again = b'{"op_code":6,"trial_id":0,"state":3,"values":null,"datetime_complete":"2030-01-01T00:00:00"}\n'
    runs = read(FORMAT, journal(tmp_path, lambda one: one + again))
    assert runs[0].status == "finished"


def test_any_name_of_a_file_that_is_named_will_do(tmp_path):
    shutil.copy(FILES / "optuna" / "study.db", tmp_path / "study.rdb")
    shutil.copy(FILES / "optuna" / "study.log", tmp_path / "study.rdb2")
    assert len(read(FORMAT, tmp_path / "study.rdb")) == len(read(FORMAT, tmp_path / "study.rdb2")) == 24
    assert read(FORMAT, tmp_path) == []
