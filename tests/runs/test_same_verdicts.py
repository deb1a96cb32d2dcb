"""The same twenty runs, recorded by different tools, have the same verdicts, to 1e-6 in every number."""

import json
from math import isclose

import pandas as pd
import pytest
from scipy import stats

import bathymetry as bm
from bathymetry.core.showing import plain
from runs import fixture
from runs.reading import FILES

CLAIMS = [
    "optimizer=adam reaches val/accuracy > 0.8 by step 60 in most runs",
    "adam above sgd on val/accuracy at mean:last-30%",
    "one of adam above each of sgd on val/accuracy at step:50",
    "val/accuracy of optimizer=adam lies between 0.8 and 0.95",
    "train/loss and val/accuracy correlate positively in optimizer=adam",
    "some optimizer reaches train/loss < 0.55 in all runs",
]
TOOLS = sorted({path.name for path in FILES.iterdir()} - {"optuna", "torch_tensorboard"})  # which have tests below
ON_LOSS = ["adam below sgd on train/loss at step:50", "optimizer=sgd reaches train/loss < 0.5 in most runs", CLAIMS[-1]]


def table(names=None):
    """The runs as one tidy table: a row for each step."""
    return pd.DataFrame(
        [
            {"run": name, **config, "step": step, **{metric: values[k] for metric, values in metrics.items()}}
            for name, config, metrics in fixture.runs()
            for k, step in enumerate(fixture.STEPS)
            if names is None or name in names
        ]
    )


def verdicts(runs, *metrics, claims=CLAIMS, **options):
    """All numbers and words of the comparisons, but for where the runs come from."""
    options |= {"compare": "optimizer", "members": "seed", "cache": False, "claims": claims}
    found = [bm.compare(runs, one, higher_is_better="accuracy" in one, **options).to_dict() for one in metrics]
    return [json.loads(json.dumps(plain({**one, "source": "", "left_out": []}))) for one in found]


def differences(one, other, path="$"):
    """Where two JSON values differ, numbers by more than 1e-6."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [words for name in one for words in differences(one[name], other[name], f"{path}.{name}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [words for k in range(len(one)) for words in differences(one[k], other[k], f"{path}[{k}]")]
    if isinstance(one, float) and isinstance(other, float):
        return [] if isclose(one, other, rel_tol=0, abs_tol=1e-6) else [f"{path}: {one} and {other}"]
    return [] if one == other else [f"{path}: {one} and {other}"]


@pytest.fixture(scope="module")
def expected():
    return verdicts(table(), "val/accuracy", "train/loss")


def test_the_verdicts_are_those_of_the_runs_counted_by_hand(expected):
    runs = {name: metrics for name, _, metrics in fixture.runs()}
    last = [(runs[f"adam-{k}"]["val/accuracy"][-1], runs[f"sgd-{k}"]["val/accuracy"][-1]) for k in fixture.SEEDS]
    wins = sum(adam > sgd for adam, sgd in last)
    assert expected[0]["pairs"][0]["p"] == pytest.approx(stats.binomtest(wins, 10).pvalue)
    reached = sum(max(runs[f"adam-{k}"]["val/accuracy"][:7]) > 0.8 for k in fixture.SEEDS)
    assert 0 < reached < 10
    (part,) = expected[0]["claims"][1]["parts"]
    assert (part["estimate"], part["p"]) == pytest.approx((reached / 10, stats.binomtest(reached, 10).pvalue))


@pytest.mark.parametrize("tool", TOOLS)
def test_verdicts_do_not_depend_on_the_tool(tool, expected):
    assert differences(verdicts(FILES / tool, "val/accuracy", "train/loss"), expected) == []


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl", "one csv file for each run"])
def test_verdicts_do_not_depend_on_the_kind_of_table(kind, expected, tmp_path):
    rows = table()
    match kind:
        case "csv":
            rows.to_csv(tmp_path / "runs.csv", index=False)
        case "parquet":
            rows.to_parquet(tmp_path / "runs.parquet")
        case "jsonl":
            rows.to_json(tmp_path / "runs.jsonl", orient="records", lines=True, double_precision=15)
        case _:
            for name, own in rows.groupby("run"):
                own.drop(columns="run").to_csv(tmp_path / f"{name}.csv", index=False)
    assert differences(verdicts(tmp_path, "val/accuracy", "train/loss"), expected) == []


@pytest.mark.parametrize("file", ["study.db", "study.log"])
def test_optuna_has_the_same_verdicts_on_what_its_trials_report(file):
    claims = [one.replace("train/loss", "intermediate_value") for one in ON_LOSS]
    path = FILES / "optuna" / file
    found = verdicts(path, "intermediate_value", claims=claims, where={"study": "optimizers"})
    rows = table().rename(columns={"train/loss": "intermediate_value"})
    assert differences(found, verdicts(rows, "intermediate_value", claims=claims)) == []


def test_a_part_of_the_runs_written_by_pytorch_has_the_verdicts_of_that_part():
    names = [name for name, _, _ in fixture.runs()][::5]
    found = verdicts(FILES / "torch_tensorboard", "val/accuracy")
    assert differences(found, verdicts(table(names), "val/accuracy")) == []


def test_a_difference_of_more_than_a_millionth_is_found():
    rows = table()
    rows.loc[rows["step"] == 100, "val/accuracy"] += (rows["optimizer"] == "adam") * 2e-6
    assert differences(verdicts(rows, "val/accuracy"), verdicts(table(), "val/accuracy"))
