"""Tidy tables in every format give the same runs, and what is a member is stated or refused by name."""

import json

import numpy as np
import pandas as pd
import pytest

import bathymetry as bm
from bathymetry.core.errors import BathymetryError
from runs import fixture


def tidy():
    rows = []
    for name, config, metrics in fixture.runs():
        for place, step in enumerate(fixture.STEPS):
            rows.append({"name": name, **config, "step": step} | {key: one[place] for key, one in metrics.items()})
    return pd.DataFrame(rows).drop(columns="name")


def written(tmp_path, form):
    table, path = tidy(), tmp_path / f"runs.{form}"
    if form == "csv":
        table.to_csv(path, index=False)
    elif form == "parquet":
        table.to_parquet(path)
    else:
        rows = [json.dumps(row) for row in table.to_dict("records")]
        path.write_text("".join(f"{row}\n" for row in rows) if form == "jsonl" else f"[{', '.join(rows)}]")
    return path


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("form", ["csv", "parquet", "jsonl", "json", "frame"])
def test_every_table_gives_the_runs_that_were_written(tmp_path, form):
    source = tidy() if form == "frame" else written(tmp_path, form)
    for _ in range(2):  # once from the file and once from the cache
        runs = bm.runs.read(source, members="seed", compare="optimizer")
        for _name, config, metrics in fixture.runs():
            own = runs.sel(optimizer=config["optimizer"], member=config["seed"])
            for metric, values in metrics.items():
                assert own[f"{metric}_history"].values.tolist() == values
                assert float(own[metric]) == values[-1]
    assert runs["step"].values.tolist() == list(fixture.STEPS)


def test_one_file_per_run_with_settings_in_its_name(tmp_path):
    for _name, config, metrics in fixture.runs():
        folder = tmp_path / f"optimizer={config['optimizer']}"
        folder.mkdir(exist_ok=True)
        pd.DataFrame({"step": fixture.STEPS, **metrics}).to_csv(folder / f"seed={config['seed']}.csv", index=False)
    runs = bm.runs.read(tmp_path, members="seed", compare="optimizer")
    expected = bm.runs.read(tidy(), members="seed", compare="optimizer")
    np.testing.assert_array_equal(runs["val/accuracy_history"], expected["val/accuracy_history"])


ADAM = {"members": "seed", "compare": "optimizer"}


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (
            lambda t: pd.concat([t.assign(lr=0.1), t.assign(lr=0.2)]),
            ADAM,
            "lr differs within optimizer=adam, seed=0 (0.1 or 0.2): add it to --by",
        ),
        (
            lambda t: t.assign(lr=np.where(t["seed"] < 5, 0.1, 0.2) * np.where(t["optimizer"] == "adam", 1, 2)),
            ADAM,
            "lr differs within optimizer=adam",
        ),
        (
            lambda t: t,
            {"members": "sed", "compare": "optimizer"},
            "no run has this setting; did you mean seed?",
        ),
        (lambda t: t, {"members": "step", "compare": "optimizer"}, "members = step: it counts the steps of a run"),
        (lambda t: t, {"members": "val/accuracy", "compare": "optimizer"}, "its values are measured numbers"),
        (
            lambda t: t,
            {"members": "seed", "compare": "optimiser"},
            "no run has this setting; did you mean optimizer?",
        ),
        (lambda t: t, {**ADAM, "metrics": ["val/acc"]}, "metric = val/acc: no run has it; did you mean val/accuracy?"),
        (lambda t: t.assign(word="a"), {**ADAM, "metrics": ["word"]}, "metric = word: it holds text"),
        (lambda t: t, {**ADAM, "at": "step:5000"}, "no run reaches it; the longest logs train/loss up to step 100"),
        (lambda t: t, {**ADAM, "at": "step:-1"}, "expected last, best, step:N or mean:last-10%"),
        (
            lambda t: t,
            {**ADAM, "where": {"seed": 77}},
            "expected a value that a run has",
        ),
        (lambda t: t, {**ADAM, "by": ["seed"]}, "by = seed: it has a role already"),
        (
            lambda t: pd.concat([t, t.assign(**{"val/accuracy": 0.5})]),
            ADAM,
            "are both of it at step 0 with different numbers",
        ),
        (lambda t: t.iloc[:0], ADAM, "the runs have no metrics"),
    ],
)
def test_what_is_not_clear_is_refused_by_name(change, options, words):
    with pytest.raises(BathymetryError) as refused:
        bm.runs.read(change(tidy()), **options)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_setting_that_follows_the_seed_or_the_compared_setting_is_no_obstacle():
    table = tidy()
    table = table.assign(data_seed=table["seed"] * 7, lr=np.where(table["optimizer"] == "adam", 0.001, 0.1))
    runs = bm.runs.read(table, **ADAM)
    assert runs.attrs["left_out"] == ["lr differs as well (optimizer=adam: 0.001; optimizer=sgd: 0.1)"]


def test_copies_of_a_run_count_once_and_a_finished_run_replaces_a_crashed_one():
    table = tidy().assign(run=lambda t: t["optimizer"] + t["seed"].astype(str), state="finished")
    copy = table[table["run"] == "adam3"].assign(run="copy")
    crashed = table[(table["run"] == "sgd4") & (table["step"] < 50)].assign(run="first try", state="crashed")
    runs = bm.runs.read(pd.concat([table, copy, crashed]), **ADAM)
    assert runs.attrs["left_out"] == [
        "first try did not finish and sgd4 has the same settings",
        "copy is a copy of adam3",
    ]
    assert (runs["status"] == "finished").all()


def test_unfinished_diverged_missing_and_short_runs_are_told_apart():
    table = tidy().assign(run=lambda t: t["optimizer"] + t["seed"].astype(str), state="finished")
    table.loc[table["run"] == "adam0", "state"] = "running"
    table.loc[table["run"] == "adam1", "state"] = "failed"
    table.loc[(table["run"] == "adam2") & (table["step"] > 50), ["val/accuracy", "train/loss"]] = np.nan
    table = table[(table["run"] != "adam3") & ((table["run"] != "adam4") | (table["step"] < 40))]
    runs = bm.runs.read(table, at="step:100", **ADAM).sel(optimizer="adam")
    assert runs["status"].values.tolist()[:5] == ["running", "crashed", "finished", "missing", "too short"]
    assert np.isnan(runs["val/accuracy"].values[2])  # it logged NaN
    assert runs["val/accuracy"].values[5] == fixture.metrics("adam", 5)["val/accuracy"][-1]


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("last", lambda v: v[-1]),
        ("best", max),
        ("step:55", lambda v: v[5]),
        ("mean:last-20%", lambda v: sum(v[8:]) / 3),
        ("mean:last-100%", lambda v: sum(v) / 11),
    ],
)
def test_the_value_is_taken_where_it_is_asked_for(at, expected):
    runs = bm.runs.read(tidy(), at=at, **ADAM)
    values = fixture.metrics("sgd", 7)["val/accuracy"]
    assert float(runs["val/accuracy"].sel(optimizer="sgd", member=7)) == pytest.approx(expected(values), rel=1e-12)


def test_runs_on_different_steps_share_an_axis_and_lose_no_number():
    table = tidy()
    table.loc[table["seed"] == 1, "step"] += 3
    runs = bm.runs.read(table, **ADAM)
    own = runs["val/accuracy_history"].sel(optimizer="adam", member=1).dropna("step")
    assert own["step"].values.tolist() == [step + 3 for step in fixture.STEPS]
    assert own.values.tolist() == fixture.metrics("adam", 1)["val/accuracy"]


def test_a_hundred_thousand_rows_a_run_are_read():
    steps = np.arange(100_000)
    rows = [
        pd.DataFrame({"net": net, "seed": seed, "step": steps, "loss": 1 / (steps + 1.0) + seed})
        for net in "AB"
        for seed in range(3)
    ]
    runs = bm.runs.read(pd.concat(rows), members="seed", compare="net", at="step:99999")
    assert float(runs["loss"].sel(net="B", member=2)) == pytest.approx(2.00001, rel=1e-12)


def test_names_in_any_script_and_whole_numbers_as_categories():
    rows = pd.DataFrame({"größe": [16, 128] * 6, "种子": np.repeat(range(6), 2), "потеря": np.linspace(0, 1, 12)})
    found = bm.compare(rows, "потеря", compare="größe", members="种子", higher_is_better=False)
    assert [(one.first, one.second) for one in found.pairs] == [("16", "128")]
    assert found.pairs[0].decision == "supported"


def test_copies_of_rows_count_once_and_are_said():
    runs = bm.runs.read(pd.concat([tidy(), tidy().head(22)]), **ADAM)
    assert runs.attrs["left_out"] == [
        "run the frame:1: 22 of 242 rows of the frame are copies of others and count once"
    ]
    assert runs.drop_attrs().equals(bm.runs.read(tidy(), **ADAM).drop_attrs())


def test_columns_that_people_have_are_understood():
    rows = tidy().rename(columns={"step": "Step"}).assign(note=lambda t: t["optimizer"].where(t["Step"] == 0))
    rows["solved"] = rows["val/accuracy"] > 0.8
    runs = bm.runs.read(rows.reset_index(names=""), metrics=["solved"], ignore=["note"], **ADAM)
    assert set(runs["solved"].values.ravel().tolist()) <= {0.0, 1.0}
    assert runs.sizes["step"] == len(fixture.STEPS)


def test_a_table_of_final_values_needs_no_steps():
    rows = tidy().query("step == 100").drop(columns="step")
    found = bm.compare(rows, "val/accuracy", compare="optimizer", members="seed", higher_is_better=True)
    wins = [
        fixture.metrics("adam", s)["val/accuracy"][-1] > fixture.metrics("sgd", s)["val/accuracy"][-1]
        for s in range(10)
    ]
    assert found.pairs[0].superiority == sum(wins) / 10


@pytest.mark.parametrize("path", ["x" * 5000, "a/" * 2500, "a" * 201])
def test_a_path_of_thousands_of_letters_is_short_in_its_error(path):
    with pytest.raises(BathymetryError, match="path = ") as refused:
        bm.runs.read(path, members="seed")
    assert len(str(refused.value)) < 400
    assert "letters)" in str(refused.value)
