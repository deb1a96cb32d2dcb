"""Settings from the names of files and folders, and what is said where there are none."""

import pandas as pd
import pytest

import bathymetry as bm
from bathymetry.core.errors import BathymetryError
from bathymetry.runs.settings import from_file, from_name
from runs import fixture


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("optimizer=adam,lr=1e-3,seed=-1", {"optimizer": "adam", "lr": 1e-3, "seed": -1}),
        ("optimizer=adam_lr=1e-3_seed=-1", {"optimizer": "adam", "lr": 1e-3, "seed": -1}),
        ("optimizer=adam-lr=1e-3-seed=-1", {"optimizer": "adam", "lr": 1e-3, "seed": -1}),
        ("optimizer=adam+lr=.5+seed=1", {"optimizer": "adam", "lr": 0.5, "seed": 1}),
        ("batch_size=32_weight_decay=0.1_n_layers=3", {"batch_size": 32, "weight_decay": 0.1, "n_layers": 3}),
        ("net=resnet_batch_size=32", {"net": "resnet", "batch_size": 32}),
        ("optimizer=adam_w_lr=0.1", {"optimizer": "adam_w", "lr": 0.1}),
        ("env=half-cheetah_seed=3", {"env": "half-cheetah", "seed": 3}),
        ("date=2024-01-01_seed=1", {"date": "2024-01-01", "seed": 1}),
        ("adam-lr=0.01-seed=0", {"name": "adam", "lr": 0.01, "seed": 0}),
        ("optimizer=adam_w", {"optimizer": "adam_w"}),
        ("learning-rate=0.1", {"learning-rate": 0.1}),
        ("a=b=c", {"a": "b=c"}),
        ("seed_3/lr_0.1", {"seed": 3, "lr": 0.1}),
        ("seed3", {"seed": 3}),
        ("a_0/adam_3/version_2/adam_lr0.1_s3", {}),
    ],
)
def test_pairs_are_read_from_names(name, expected):
    assert from_name(name) == expected


@pytest.mark.parametrize("form", ["optimizer={}_seed={}", "optimizer={}-seed={}", "optimizer={}+seed={}"])
def test_one_file_per_run_named_in_each_form(tmp_path, form):
    for _, config, metrics in fixture.runs():
        name = form.format(config["optimizer"], config["seed"])
        pd.DataFrame({"step": fixture.STEPS, **metrics}).to_csv(tmp_path / f"{name}.csv", index=False)
    runs = bm.runs.read(tmp_path, members="seed", compare="optimizer")
    for _, config, metrics in fixture.runs():
        own = runs.sel(optimizer=config["optimizer"], member=config["seed"])
        assert own["train/loss_history"].values.tolist() == metrics["train/loss"]


def test_where_names_hold_no_settings_the_forms_are_said_with_a_name_that_was_found(tmp_path):
    for seed in range(3):
        (tmp_path / f"adam_lr0.1_s{seed}.csv").write_text("step,loss\n0,1\n1,0.5\n")
    with pytest.raises(BathymetryError) as error:
        bm.runs.read(tmp_path, members="seed", compare="lr")
    assert str(error.value) == (
        "members = seed: the runs have no settings, and none is in a name such as adam_lr0.1_s0.csv; expected columns, "
        "files such as config.yaml, or names of files or folders such as optimizer=adam,lr=0.1,seed=3 (also with _, - "
        "or + between the pairs) or seed_3."
    )


def test_a_chart_of_wandb_without_the_table_of_runs_asks_for_it(tmp_path):
    columns = [f"run-{k} - loss{end}" for k in range(3) for end in ("", "__MIN", "__MAX")]
    (tmp_path / "chart.csv").write_text(f"Step,{','.join(columns)}\n0{',1' * 9}\n1{',0.5' * 9}\n")
    with pytest.raises(BathymetryError) as error:
        bm.runs.read(tmp_path, members="seed", compare="lr")
    assert str(error.value).endswith("export the table of runs as CSV, too, into the folder of the chart.")


def test_a_nested_setting_is_suggested_by_its_last_part():
    rows = pd.DataFrame({"config.seed": [0, 0, 1, 1], "config.net": [*"ABAB"], "loss": [1.0, 2.0, 3.0, 4.0]})
    with pytest.raises(BathymetryError, match=r"no run has this setting; did you mean config\.seed\?"):
        bm.runs.read(rows, members="seed", compare="config.net")


def test_a_number_in_yaml_is_one_in_each_way_to_write_it(tmp_path):
    (tmp_path / "config.yaml").write_text("a: 1e-3\nb: 0.001\nc: 1.0e-3\nd: 1e3\ne: 1e-3x\n")
    assert from_file(tmp_path / "config.yaml") == {"a": 0.001, "b": 0.001, "c": 0.001, "d": 1000.0, "e": "1e-3x"}
