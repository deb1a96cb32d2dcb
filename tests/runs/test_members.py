"""What varies among the members of a setting has a role or is refused by name, and what is left out is said briefly."""

import numpy as np
import pandas as pd
import pytest

import bathymetry as bm
from bathymetry.core.errors import BathymetryError
from bathymetry.runs.at import read_at
from bathymetry.runs.dataset import Grouping, dataset
from bathymetry.runs.files import Source
from bathymetry.runs.run import Run, history
from runs import fixture

ENVS = ("hopper", "walker", "cheetah")


def final_rows(envs=ENVS, seeds=6):
    """A row for each finished run of two algorithms."""
    random = np.random.default_rng(0)
    return pd.DataFrame(
        [
            {"env": env, "algo": algo, "seed": seed, "reward": random.normal(place)}
            for place, algo in enumerate(("ppo", "sac"))
            for env in envs
            for seed in range(seeds)
        ]
    )


def refused(source, **options):
    with pytest.raises(BathymetryError) as error:
        bm.runs.read(source, **options)
    return str(error.value)


@pytest.mark.parametrize("envs", [ENVS, (1, 2, 3)])
@pytest.mark.parametrize("members", ["seed", "run"])
def test_a_setting_without_a_role_is_refused_by_name_whether_it_is_text_or_numbers(tmp_path, envs, members):
    path = tmp_path / "rl.csv"
    final_rows(envs).to_csv(path, index=False)
    words = refused(path, members=members, compare="algo", metrics=["reward"])
    assert words.startswith("env differs within algo=ppo")
    assert f"add it to --by, filter it (--where env={envs[0]}) or --ignore it" in words
    runs = bm.runs.read(path, members=members, compare="algo", by=["env"], metrics=["reward"])
    assert runs["reward"].sizes == {"algo": 2, "env": 3, "member": 6}


def test_balanced_learning_rates_are_not_pooled_where_each_run_is_a_member(tmp_path):
    rows = [
        {
            "run": f"{name}-{lr}-{seed}",
            "optimizer": name,
            "lr": lr,
            "seed": seed,
            "step": step,
            "loss": seed + lr + step,
        }
        for name in ("adam", "sgd")
        for lr in (0.1, 0.01, 0.001)
        for seed in range(3)
        for step in range(2)
    ]
    options = {"members": "run", "compare": "optimizer", "metrics": ["loss"]}
    frame = pd.DataFrame(rows)
    assert refused(frame, **options).startswith("lr differs within optimizer=adam (0.1, 0.01 or 0.001): add it to --by")
    assert bm.runs.read(frame, by=["lr"], **options).sizes["member"] == 3
    assert bm.runs.read(frame, ignore=["lr"], **options).sizes["member"] == 9
    assert bm.runs.read(frame, where={"lr": 0.1}, **options).sizes["member"] == 3


def test_a_setting_that_several_seeds_share_is_pooled_and_said():
    rows = final_rows(envs=("any",)).assign(env=lambda t: np.where(t["seed"] < 3, "hopper", "walker"))
    runs = bm.runs.read(rows, members="seed", compare="algo", metrics=["reward"])
    assert runs.attrs["left_out"] == ["env goes with seed and is pooled (hopper or walker)"]
    runs = bm.runs.read(rows, members="seed", compare="algo", metrics=["reward"], ignore=["env"])
    assert runs.attrs["left_out"] == []


def test_text_that_is_different_in_every_run_is_its_name():
    rows = final_rows(envs=("hopper",)).drop(columns="env")
    rows["folder"] = [f"out/{place}" for place in range(len(rows))]
    for members in ("seed", "run"):
        runs = bm.runs.read(rows, members=members, compare="algo", metrics=["reward"])
        assert runs.attrs["left_out"] == ["folder differs in every run and counts as its name"]


def write_runs(folder, name, seeds=range(8)):
    folder.mkdir(parents=True)
    for seed in seeds:
        metrics = fixture.metrics(name, seed)
        pd.DataFrame({"optimizer": name, "seed": seed, "step": fixture.STEPS, **metrics}).to_csv(
            folder / f"{seed}.csv", index=False
        )


def test_many_copies_are_one_sentence(tmp_path):
    for copy in ("a", "b"):
        for name in ("adam", "sgd"):
            write_runs(tmp_path / copy / name, name)
    runs = bm.runs.read(tmp_path, members="seed", compare="optimizer", where={"optimizer": ["adam"]})
    assert runs.attrs["left_out"] == [
        "8 runs in b/adam (b/adam/0.csv, b/adam/1.csv, b/adam/2.csv, b/adam/3.csv, b/adam/4.csv, …) are copies of "
        "8 runs in a/adam (a/adam/0.csv, a/adam/1.csv, a/adam/2.csv, a/adam/3.csv, a/adam/4.csv, …)"
    ]
    assert runs.sizes == {"optimizer": 1, "member": 8, "step": len(fixture.STEPS)}


def test_notes_are_of_runs_that_are_compared(tmp_path):
    for name in ("adam", "sgd", "lion"):
        for seed in range(3):
            lines = [
                f'{{"optimizer": "{name}", "seed": {seed}, "step": {step}, "loss": {step}}}\n' for step in range(3)
            ]
            (tmp_path / f"{name}-{seed}.jsonl").write_text("".join(lines) + ('{"optim' if name != "sgd" else ""))
    runs = bm.runs.read(tmp_path, members="seed", compare="optimizer", where={"optimizer": ["adam", "sgd"]})
    assert runs.attrs["left_out"] == [
        f"run adam-{seed}.jsonl: the last line of adam-{seed}.jsonl is incomplete" for seed in range(3)
    ]


def test_a_note_of_many_runs_is_said_once():

    states = ("finished", "finished", "crashed")
    made = [
        Run(f"{name}{seed}", {"net": name, "seed": seed}, {"loss": history([0], [seed])}, state, ("without steps",))
        for name in "AB"
        for seed, state in enumerate(states)
    ]
    _, left, _ = dataset(Source("x", "MLflow", tuple(made), {}), Grouping("seed", "net"), ["loss"], read_at("last"))
    assert left.sentences == ("4 runs (A0, A1, B0 and B1): without steps",)


def test_runs_that_have_the_metric_without_the_settings_are_refused():
    stated = [Run(f"s{k}", {"net": "AB"[k % 2], "seed": k // 2}, {}) for k in range(12)]
    logged = [Run(f"m{k}", {}, {"loss": history([0], [k])}) for k in range(12)]
    source = Source("x", "JSON Lines", (*stated, *logged), {})
    with pytest.raises(BathymetryError, match="metric = loss: no run has it together with the settings net and seed"):
        dataset(source, Grouping("seed", "net"), ["loss"], read_at("last"))


def test_a_run_without_the_metric_is_too_short_and_not_diverged():
    made = [Run(f"{k}", {"net": "AB"[k % 2], "seed": k // 2}, {"loss": history([0], [k])}) for k in range(12)]
    made[3] = Run("3", made[3].config, {"other": history([0], [1.0])})
    results, _, _ = dataset(Source("x", "x", tuple(made), {}), Grouping("seed", "net"), ["loss"], read_at("last"))
    assert results["status"].sel(net="B", member=1) == "too short"
    assert (results["status"] == "unknown").sum() == 11
