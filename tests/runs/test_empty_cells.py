"""An empty cell is not logged and nan is NaN, in CSV as in JSON Lines; rows that nothing tells apart are named."""

import json
import math

import numpy as np
import pandas as pd
import pytest

import bathymetry as bm
from bathymetry.core.errors import BathymetryError
from bathymetry.runs.readers import csv, jsonl
from runs.reading import read

NOTE = "the last cells of loss are empty, so not logged; a run that diverged has nan"


def logged(run, metric="loss"):
    return list(zip(run.metrics[metric].step, run.metrics[metric].value, strict=True)) if metric in run.metrics else []


def expect(run, rows, notes=()):
    np.testing.assert_array_equal(logged(run), rows)
    assert run.notes == notes


@pytest.mark.parametrize(
    ("cells", "rows", "notes"),
    [
        (["1", "0.5", ""], [(0, 1), (1, 0.5)], (NOTE,)),
        (["1", "0.5", "nan"], [(0, 1), (1, 0.5), (2, math.nan)], ()),
        (["1", "", "NaN"], [(0, 1), (2, math.nan)], ()),
        (["1", "", "0.5"], [(0, 1), (2, 0.5)], ()),
        (["1", "NA", "-nan"], [(0, 1), (2, math.nan)], ()),
        (["1", "nan", ""], [(0, 1), (1, math.nan)], (NOTE,)),
        (["1", "inf", "null"], [(0, 1), (1, math.inf)], (NOTE,)),
    ],
)
def test_an_empty_cell_of_csv_is_not_logged_and_nan_is_nan(tmp_path, cells, rows, notes):
    text = "".join(f"{step},{cell},7\n" for step, cell in enumerate(cells))
    (tmp_path / "seed=0.csv").write_text(f"step,loss,other\n{text}")
    (run,) = read(csv.FORMAT, tmp_path)
    expect(run, rows, notes)


@pytest.mark.parametrize("end", ["", "nan"])
def test_one_run_is_read_as_all_runs_are(tmp_path, end):
    """Blank cells at the end of one run, and of all runs of its setting, are the same thing."""
    for which in ([0], range(6)):
        rows = [
            f"{net},{seed},{step},{end if step == 2 and net == 'A' and seed in which else seed + step}"
            for net in "AB"
            for seed in range(6)
            for step in range(3)
        ]
        path = tmp_path / "runs.csv"
        path.write_text("\n".join(["net,seed,step,loss", *rows]) + "\n")
        runs = bm.runs.read(path, members="seed", compare="net", metrics=["loss"])
        own = runs["loss"].sel(net="A").values
        for seed in range(6):
            expected = seed + 2 if seed not in which else math.nan if end else seed + 1
            np.testing.assert_equal(own[seed], expected)
        assert (runs["status"] == "unknown").all()


@pytest.mark.parametrize(("cell", "status"), [("", "too short"), ("nan", "unknown")])
def test_a_final_value_that_is_empty_is_missing_and_nan_diverged(tmp_path, cell, status):
    rows = [f"{net},{seed},{cell if (net, seed) == ('B', 3) else seed + 0.5}" for net in "AB" for seed in range(6)]
    path = tmp_path / "final.csv"
    path.write_text("\n".join(["net,seed,loss", *rows]) + "\n")
    runs = bm.runs.read(path, members="seed", compare="net", metrics=["loss"])
    assert runs["status"].sel(net="B", member=3) == status
    assert any(NOTE in one for one in runs.attrs["left_out"]) == (cell == "")


def test_null_of_json_lines_is_not_logged_and_nan_is_nan(tmp_path):
    values = {"null": [(0, 1)], "NaN": [(0, 1), (1, math.nan)], '"NaN"': [(0, 1), (1, math.nan)], None: [(0, 1)]}
    for place, (value, rows) in enumerate(values.items()):
        path = tmp_path / f"{place}.jsonl"
        second = '{"step": 1, "other": 1}' if value is None else f'{{"step": 1, "loss": {value}}}'
        path.write_text(f'{{"step": 0, "loss": 1}}\n{second}\n')
        (run,) = read(jsonl.FORMAT, path)
        expect(run, rows, (NOTE,) if value == "null" else ())


def test_a_first_line_of_settings_belongs_to_the_run_of_its_file(tmp_path):
    for place, (net, seed) in enumerate((net, seed) for net in "AB" for seed in range(6)):
        lines = [{"config": {"net": net, "seed": seed}}, *({"step": k, "loss": seed + k / 8} for k in range(3))]
        (tmp_path / f"a_{place}.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    runs = bm.runs.read(tmp_path, members="config.seed", compare="config.net", metrics=["loss"])
    assert runs["loss"].values.tolist() == [[seed + 0.25 for seed in range(6)]] * 2
    with pytest.raises(BathymetryError, match=r"did you mean config\.seed\?"):
        bm.runs.read(tmp_path, members="seed", compare="config.net", metrics=["loss"])


@pytest.mark.parametrize("members", ["seed", "run"])
def test_rows_that_no_column_tells_apart_are_named(tmp_path, members):
    rows = pd.DataFrame(
        [{"algo": algo, "seed": seed, "reward": 10.5 + seed} for algo in ("ppo", "sac") for seed in range(6)]
    )
    again = pd.DataFrame([{"algo": "ppo", "seed": 2, "reward": 3.25}])
    path = tmp_path / "rl.csv"
    pd.concat([rows, again]).to_csv(path, index=False)
    with pytest.raises(BathymetryError) as error:
        bm.runs.read(path, members=members, compare="algo", metrics=["reward"])
    assert str(error.value) == (
        "rows = algo=ppo, seed=2: rows 3 and 13 of rl.csv are both of it with different numbers, and no column tells "
        "runs apart: remove one, or add a column that names the run or counts steps (--run COLUMN, --step COLUMN)."
    )


def test_copies_of_rows_are_no_obstacle_where_each_run_is_a_member():
    rows = pd.DataFrame([{"algo": algo, "seed": seed, "reward": seed + 0.5} for algo in "AB" for seed in range(6)])
    runs = bm.runs.read(pd.concat([rows, rows.tail(2)]), members="run", compare="algo", metrics=["reward"])
    assert runs["reward"].values.tolist() == [[seed + 0.5 for seed in range(6)]] * 2


def test_rows_without_a_step_that_no_column_tells_apart_are_named(tmp_path):
    path = tmp_path / "runs.jsonl"
    path.write_text('{"net": null, "seed": null, "step": null}\n{"net": null, "seed": {"a": [1]}}\n')
    with pytest.raises(BathymetryError, match=r"rows 1 and 2 of runs\.jsonl are both of it"):
        bm.runs.read(path, members="seed", compare="net", metrics=["loss"])
