import math

import numpy as np
import pytest

from bathymetry.core.errors import BathymetryError, DamagedError
from bathymetry.runs.readers.lightning import FORMAT
from runs.reading import FILES, expect_fixture, one_run, read, rows, write_anew

HEAD = "epoch,step,train/loss,val/acc\n"


def write(folder, text, settings=""):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.csv").write_text(text, encoding="utf-8")
    (folder / "hparams.yaml").write_text(settings)
    return folder


def test_folders_of_csv_logger_come_back_exactly():
    runs = read(FORMAT, FILES / "lightning")
    expect_fixture(runs)
    assert {run.id for run in runs} == {f"logs/version_{k}" for k in range(20)}
    assert {run.status for run in runs} == {"unknown"}
    assert not any(run.notes or run.texts for run in runs)


@pytest.mark.tool
@pytest.mark.slow
def test_folders_that_lightning_writes_now_come_back_exactly(tmp_path):
    expect_fixture(read(FORMAT, write_anew("lightning", tmp_path)))


def test_an_empty_cell_is_nothing_and_nan_is_nan(tmp_path):
    run = one_run(FORMAT, write(tmp_path, HEAD + "0,0,0.5,\n0,10,nan,\n0,10,,0.25\n1,20,inf,\n1,20,,-inf\n"))
    np.testing.assert_array_equal(run.metrics["train/loss"].step, [0, 10, 20])
    np.testing.assert_array_equal(run.metrics["train/loss"].value, [0.5, math.nan, math.inf])
    assert rows(run, "val/acc") == {10: 0.25, 20: -math.inf}
    assert rows(run, "epoch") == {0: 0, 10: 0, 20: 1}


def test_a_table_cut_anywhere_has_the_rows_before_the_cut(tmp_path):
    text = "step,loss\n" + "".join(f"{10 * k},0.{k}25\n" for k in range(1, 6))
    for size in range(len(text) + 1):
        write(tmp_path, text[:size])
        whole = max(text[:size].count("\n") - 1, 0)
        if 0 < size < 4 or 4 < size < 5:
            with pytest.raises(DamagedError, match="no column step"):
                read(FORMAT, tmp_path)
            continue
        run = one_run(FORMAT, tmp_path)
        assert (rows(run, "loss") if run.metrics else {}) == {10 * k: float(f"0.{k}25") for k in range(1, whole + 1)}


def test_settings_of_a_file_are_flat_and_those_of_the_folder_count_without_it(tmp_path):
    write(tmp_path / "one" / "version_0", HEAD + "0,0,1,\n", "optimizer: {name: adam, lr: 0.1}\nseed: 3\n")
    write(tmp_path / "optimizer=sgd,seed=4" / "version_3", HEAD + "0,0,1,\n", "{}\n")
    assert [run.config for run in read(FORMAT, tmp_path)] == [
        {"optimizer.name": "adam", "optimizer.lr": 0.1, "seed": 3},
        {"optimizer": "sgd", "seed": 4},
    ]


def test_a_table_without_settings_is_lightnings_only_in_a_folder_of_its_name(tmp_path):
    for name in ("version_0", "other"):
        write(tmp_path / name, HEAD + "0,0,1,\n")
        (tmp_path / name / "hparams.yaml").unlink()
    assert one_run(FORMAT, tmp_path).id == "version_0"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("epoch,loss\n1,2\n", "no column step"),
        ("step,loss\n1,2,3\n", "more cells than its header"),
        ("step,loss\n1,2\n1,2,3\n", "Expected 2 fields"),
        ("step,loss\nx,2\n", "no number"),
        ("\n", "No columns"),
    ],
)
def test_what_is_no_table_is_one_sentence(tmp_path, text, found):
    write(tmp_path, text)
    with pytest.raises(DamagedError, match=found) as error:
        read(FORMAT, tmp_path)
    assert str(tmp_path / "metrics.csv") in str(error.value)


def test_text_is_no_metric_and_names_are_as_written(tmp_path):
    run = one_run(FORMAT, write(tmp_path, "step,λ/größe,phase\n1,0.5,warm-up\n2,0.25,main\n"))
    assert rows(run, "λ/größe") == {1: 0.5, 2: 0.25}
    assert run.texts == {"phase"}


def test_an_empty_table_is_a_run_without_metrics(tmp_path):
    assert one_run(FORMAT, write(tmp_path, "")).metrics == {}
    assert one_run(FORMAT, write(tmp_path, HEAD)).metrics == {}


def test_steps_in_any_order_and_a_hundred_thousand_rows(tmp_path):
    steps = np.random.default_rng(0).permutation(100_000)
    run = one_run(FORMAT, write(tmp_path, "step,loss\n" + "".join(f"{step},{step / 2}\n" for step in steps)))
    np.testing.assert_array_equal(run.metrics["loss"].step, np.arange(100_000))
    np.testing.assert_array_equal(run.metrics["loss"].value, np.arange(100_000) / 2)


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path):
    write(tmp_path, HEAD)
    (unit,) = FORMAT.units(tmp_path, list(tmp_path.iterdir()))
    unit.files[0].unlink()
    with pytest.raises(BathymetryError, match="can't be read"):
        FORMAT.read(unit, None)
