import os

import numpy as np
import pytest

from bathymetry.core.errors import BathymetryError, StorageError
from bathymetry.runs.files import read_source
from bathymetry.runs.readers.hydra import FORMAT
from bathymetry.runs.run import Layout
from runs import event_files, log_files
from runs.reading import FILES, expect_fixture, one_run, read, rows, write_anew

TABLE = "step,loss\n0,1.5\n10,0.5\n"


def write(folder, config="seed: 3\noptimizer: {name: adam, lr: 0.1}\n", **files):
    """An output folder; the names of files have their dots as underscores."""
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "config.yaml").write_text(config)
    (folder / ".hydra" / "overrides.yaml").write_text("- seed=3\n")
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return folder


def test_a_multirun_comes_back_exactly():
    runs = read(FORMAT, FILES / "hydra")
    expect_fixture(runs)
    assert {run.id for run in runs} == {str(k) for k in range(20)}
    assert {run.config["rate"] for run in runs} == {0.01}  # which refers to the learning rate


@pytest.mark.tool
@pytest.mark.slow
def test_a_multirun_that_hydra_writes_now_comes_back_exactly(tmp_path):
    expect_fixture(read(FORMAT, write_anew("hydra", tmp_path)))


def test_settings_are_flat_and_references_are_put_in(tmp_path):
    text = "a: {b: 1, c: '${a.b}'}\nd: ${a.c}\ne: x${a.b}\nf: ${now:%H}\ng: ${none}\nh: ${h}\n"
    assert one_run(FORMAT, write(tmp_path / "x", text)).config == {
        "a.b": 1, "a.c": 1, "d": 1, "e": "x${a.b}", "f": "${now:%H}", "g": "${none}", "h": "${h}",
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "tensorboard", "lightning", "wandb"])
def test_metrics_of_every_kind_of_file(tmp_path, kind):
    folder = write(tmp_path / "outputs" / "2024-01-01" / "12-00-00")
    if kind == "csv":
        (folder / "metrics.csv").write_text(TABLE)
    elif kind == "jsonl":
        (folder / "log.jsonl").write_text('{"step": 0, "loss": 1.5}\n{"step": 10, "loss": 0.5}\n')
    elif kind == "parquet":
        pd = pytest.importorskip("pandas")
        pytest.importorskip("pyarrow")
        pd.DataFrame({"step": [0, 10], "loss": [1.5, 0.5]}).to_parquet(folder / "metrics.parquet")
    elif kind == "tensorboard":
        records = [event_files.event(event_files.scalar("loss", v), time=s, step=s) for s, v in ((0, 1.5), (10, 0.5))]
        event_files.write(folder / "tensorboard", *records)
    elif kind == "lightning":
        (folder / "lightning_logs" / "version_0").mkdir(parents=True)
        (folder / "lightning_logs" / "version_0" / "metrics.csv").write_text(TABLE)
        (folder / "lightning_logs" / "version_0" / "hparams.yaml").write_text("width: 8\n")
    else:
        records = [log_files.logged(s, {"loss": v}) for s, v in ((0, 1.5), (10, 0.5))]
        log_files.write(folder / "wandb" / "offline-run-1-abc", log_files.run(), *records, log_files.ended())
    run = one_run(FORMAT, tmp_path)
    assert run.id == "outputs/2024-01-01/12-00-00"
    assert run.config == {"seed": 3, "optimizer.name": "adam", "optimizer.lr": 0.1} | (
        {"width": 8} if kind == "lightning" else {}
    )
    assert rows(run, "loss") == {0: 1.5, 10: 0.5}
    assert run.status == ("finished" if kind == "wandb" else "unknown")


def test_the_folder_may_be_one_output_folder(tmp_path):
    run = one_run(FORMAT, write(tmp_path / "only", metrics_csv=TABLE))
    assert run.id == "only"
    assert one_run(FORMAT, tmp_path / "only").id == "only"


def test_output_folders_inside_others_keep_their_files(tmp_path):
    write(tmp_path, "seed: 0\n", metrics_csv=TABLE)
    write(tmp_path / "inner", "seed: 1\n", metrics_csv=TABLE.replace("0.5", "0.25"))
    runs = {run.config["seed"]: rows(run, "loss")[10] for run in read(FORMAT, tmp_path)}
    assert runs == {0: 0.5, 1: 0.25}


def test_metrics_of_several_tables_are_named_by_them_where_they_have_one_name(tmp_path):
    run = one_run(
        FORMAT,
        write(tmp_path / "x", train_csv=TABLE, val_csv=TABLE.replace("1.5", "2.5"), more_csv="step,rate\n0,7\n1,8\n"),
    )
    assert rows(run, "train/loss") == {0: 1.5, 10: 0.5}
    assert rows(run, "val/loss") == {0: 2.5, 10: 0.5}
    assert rows(run, "rate") == {0: 7, 1: 8}


def test_a_run_without_metrics_is_there(tmp_path):
    assert one_run(FORMAT, write(tmp_path / "x")).metrics == {}


def test_a_damaged_file_is_named_and_the_others_are_read(tmp_path):
    folder = write(tmp_path / "x", metrics_csv=TABLE)
    (folder / "other.csv").write_bytes(b"\xff\xfe\x00,\n")
    run = one_run(FORMAT, tmp_path)
    assert rows(run, "loss") == {0: 1.5, 10: 0.5}
    assert "other.csv" in run.notes[0]


def test_settings_that_cannot_be_read_are_one_sentence(tmp_path):
    write(tmp_path / "x", "a: [", metrics_csv=TABLE)
    with pytest.raises(StorageError, match="holds no settings"):
        read(FORMAT, tmp_path)


def test_files_of_output_folders_are_no_runs_of_another_format(tmp_path):
    folder = write(tmp_path / "x", metrics_csv=TABLE)
    event_files.write(folder, event_files.event(event_files.scalar("loss", 1.0)))
    source = read_source(tmp_path, Layout(), cached=False)
    assert (source.tool, len(source.runs)) == ("Hydra", 1)
    assert rows(source.runs[0], "loss") == {0: 1.0}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_among_the_files_are_not_waited_for(tmp_path):
    folder = write(tmp_path / "x", metrics_csv=TABLE)
    for name in ("config.yaml", "events.out.tfevents.1.host", "other.csv", "run-1.wandb", "x.jsonl"):
        os.mkfifo(folder / name)
    source = read_source(tmp_path, Layout(), cached=False)
    assert rows(source.runs[0], "loss") == {0: 1.5, 10: 0.5}


def test_a_hundred_thousand_rows(tmp_path):
    text = "step,loss\n" + "".join(f"{step},{step / 2}\n" for step in range(100_000))
    run = one_run(FORMAT, write(tmp_path / "x", metrics_csv=text))
    np.testing.assert_array_equal(run.metrics["loss"].value, np.arange(100_000) / 2)


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path):
    write(tmp_path, metrics_csv=TABLE)
    (unit,) = FORMAT.units(tmp_path, [path for path in tmp_path.rglob("*") if path.is_file()])
    unit.files[1].unlink()
    with pytest.raises(BathymetryError, match=r"metrics\.csv can't be read"):
        FORMAT.read(unit, Layout())
