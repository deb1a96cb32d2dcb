"""The same twenty runs, as each tool wrote them, have the same verdict."""

import pandas as pd
import pytest

import bathymetry as bm
from runs import fixture
from runs.reading import FILES


def table(metric, name):
    return pd.DataFrame([
        {**config, "step": step, name: value}
        for _, config, metrics in fixture.runs()
        for step, value in zip(fixture.STEPS, metrics[metric], strict=True)
    ])  # fmt: skip


def verdict(runs, metric, **settings):
    found = bm.compare(runs, metric, compare="optimizer", higher_is_better="acc" in metric, cache=False, **settings)
    words = found.to_dict()
    return {name: words[name] for name in ("at", "scale", "pairs", "claims")}


def close(one, other):
    """Equal, and numbers to 1e-6."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(close(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(close, one, other))
    return one == other or (isinstance(one, float) and one == pytest.approx(other, rel=0, abs=1e-6))


@pytest.mark.parametrize("tool", ["mlflow", "mlflow_sqlite", "trackio", "tensorboard", "wandb", "lightning", "hydra"])
def test_the_verdict_on_the_accuracy_is_that_of_the_table(tool):
    where = {"experiment": "optimizers"} if "mlflow" in tool else None
    path = FILES / tool / "optimizers.db" if tool == "trackio" else FILES / tool
    expected = verdict(table("val/accuracy", "val/accuracy"), "val/accuracy", step="step")
    assert expected["pairs"]
    assert close(verdict(path, "val/accuracy", where=where), expected)


@pytest.mark.parametrize("metric", ["value", "intermediate_value"])
@pytest.mark.parametrize("file", ["study.db", "study.log"])
def test_the_verdict_on_the_loss_of_optunas_trials_is_that_of_the_table(file, metric):
    expected = verdict(table("train/loss", metric), metric, step="step")
    assert close(verdict(FILES / "optuna" / file, metric, where={"study": "optimizers"}), expected)
