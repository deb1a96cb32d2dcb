"""Equal values are one value however a file spells them, and equal numbers make no copy of a run."""

import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bathymetry as bm
from bathymetry.core.errors import BathymetryError
from bathymetry.runs.settings import unified

SCORES = np.random.default_rng(3).normal(size=(2, 2, 7)).round(6)  # of net, rate, seed


def folder_of_runs(root, spelled):
    """Write the scores as W&B-like folders of Lightning, with settings as they are spelled."""
    for place, (index, score) in enumerate(np.ndenumerate(SCORES)):
        folder = root / f"version_{place}"
        folder.mkdir(parents=True)
        (folder / "metrics.csv").write_text(f"step,score\n0,0.5\n1,{score}\n")
        (folder / "hparams.yaml").write_text(json.dumps(spelled(*index)))
    return root


def pairs(source, **options):
    options = {"compare": "net", "by": ["rate"], "higher_is_better": True, "cache": False} | options
    return [one.p_holm for one in bm.compare(source, "score", **options).pairs]


ONE = st.sampled_from([1, 1.0, "1", "1.0", "1e0"])
HALF = st.sampled_from([0.5, "0.5", "5e-1", "0.50"])


@given(st.data())
@settings(max_examples=6, deadline=None)
def test_any_mix_of_spellings_gives_the_same_comparison(data):
    rows, plain = [], []
    for (net, rate, seed), score in np.ndenumerate(SCORES):
        same = {"net": "AB"[net], "score": score}
        plain.append({**same, "rate": (0.5, 1)[rate], "seed": seed})
        seeds = st.sampled_from([seed, float(seed), str(seed), f"{seed}.0"])
        rows.append({**same, "rate": data.draw((HALF, ONE)[rate]), "seed": data.draw(seeds)})
    rows[0] |= {"rate": 0.5, "seed": 0}  # texts are numbers next to numbers
    for options in ({}, {"compare": "rate", "by": ["net"]}, {"baseline": "1", "compare": "rate", "by": ["net"]}):
        assert pairs(pd.DataFrame(rows), **options) == pairs(pd.DataFrame(plain), **options)


def test_types_that_files_give_to_settings_do_not_split_a_comparison(tmp_path):
    plain = folder_of_runs(tmp_path / "a", lambda net, rate, seed: {"net": net, "rate": (0.5, 1)[rate], "seed": seed})
    mixed = folder_of_runs(
        tmp_path / "b",
        lambda net, rate, seed: {
            "net": net,
            "rate": (0.5, (1, 1.0)[net])[rate],
            "seed": (seed, float(seed), str(seed))[seed % 3] if net else seed,
        },
    )
    assert pairs(mixed) == pairs(plain)
    assert len(pairs(mixed, compare="rate", by=["net"])) == 2


def test_truth_values_are_no_numbers_and_labels_of_mixed_kinds_are_unique():
    rows = [
        {"kind": kind, "seed": seed + 3 * (kind == "1"), "score": place + seed / 10}
        for place, kind in enumerate([True, 1, "1", "x"])
        for seed in range(3)
    ]
    found = bm.runs.read(pd.DataFrame(rows), members="seed", compare="kind", metrics=["score"])
    assert found["kind"].values.tolist() == ["1", "True", "x"]


@given(st.lists(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text("0123456789.e-+ aTrueNon"))))
def test_values_that_differ_have_different_texts_and_equal_ones_are_one(values):
    found = unified(values)
    assert unified(found) == found
    assert len(set(map(str, found))) == len({(type(one) is bool, one) for one in found})
    for one, new in zip(values, found, strict=True):
        for other, new_other in zip(values, found, strict=True):
            if type(one) in (int, float) and type(other) in (int, float) and abs(one) < 2**53:
                assert (one == other) == (new == new_other)


def test_equal_rounded_numbers_are_no_copies_where_each_run_is_a_member(tmp_path):
    rows = [
        {"run": f"{net}{seed}", "net": net, "acc": 0.97 + place / 100 + seed % 3 / 100}
        for place, net in enumerate("AB")
        for seed in range(12)
    ]
    found = bm.compare(pd.DataFrame(rows), "acc", compare="net", members="run", higher_is_better=True)
    assert found.pairs[0].members == (12, 12)
    for place, row in enumerate(rows):
        folder = tmp_path / "lightning" / f"version_{place}"
        folder.mkdir(parents=True)
        lines = "".join(f"{epoch},{epoch},{row['acc']}\n" for epoch in range(6))
        (folder / "metrics.csv").write_text(f"step,epoch,acc\n{lines}")
        (folder / "hparams.yaml").write_text(f"net: {row['net']}\n")
    export = pd.DataFrame(rows).rename(columns={"run": "Name"}).assign(State="finished", User="u", Created="2026-01-01")
    export.to_csv(tmp_path / "export.csv", index=False)
    for source in (tmp_path / "lightning", tmp_path / "export.csv"):
        found = bm.compare(source, "acc", compare="net", members="run", higher_is_better=True, cache=False)
        assert found.pairs[0].members == (12, 12)


def test_a_copy_of_a_long_history_is_one_member():
    rows = [
        {"run": f"{net}{seed}{copy}", "net": net, "step": step, "acc": step / 7 + seed + place / 3}
        for place, net in enumerate("AB")
        for seed in range(6)
        for copy in ("", "-copy")[: 1 + (seed == 0)]
        for step in range(6)
    ]
    found = bm.compare(pd.DataFrame(rows), "acc", compare="net", members="run", higher_is_better=True)
    assert found.pairs[0].members == (6, 6)


@pytest.mark.parametrize("order", [1, -1])
def test_a_finished_run_stays_and_its_crashed_copy_does_not(order):
    rows = [
        {"run": f"{net}{seed}{status}", "status": status, "net": net, "seed": seed, "loss": seed + place / 2}
        for place, net in enumerate("AB")
        for seed in range(6)
        for status in ("crashed", "finished")
    ]
    found = bm.compare(pd.DataFrame(rows[::order]), "loss", compare="net", higher_is_better=False)
    assert found.pairs[0].members == (6, 6)
    assert not any("crashed" in one and "left out" in one for one in found.left_out)


@pytest.mark.parametrize("columns", [["time", "net", "epoch", "acc"], ["time", "net", "acc"]])
@pytest.mark.parametrize("kind", [str, pd.Timestamp])
def test_a_column_that_differs_in_every_row_tells_no_runs_apart(columns, kind):
    rows = [
        {
            "time": kind(f"2026-01-0{1 + run} 00:{epoch:02d}:0{place}"),
            "net": net,
            "epoch": epoch,
            "acc": epoch + run / 3,
        }
        for place, net in enumerate("AB")
        for run in range(2)
        for epoch in range(20)
    ]
    with pytest.raises(BathymetryError, match="no column tells runs apart"):
        bm.compare(pd.DataFrame(rows)[columns], "acc", compare="net", members="run", higher_is_better=True)


@pytest.mark.parametrize("kind", [Decimal, np.float32, str])
def test_decimals_and_objects_that_are_numbers_are_metrics(kind):
    rows = [{"net": net, "seed": seed, "acc": seed + (net == "A") / 2} for net in "AB" for seed in range(6)]
    table = pd.DataFrame(rows)
    odd = table.assign(acc=pd.Series([kind(one) for one in table["acc"]], dtype=object))
    if kind is str:
        with pytest.raises(
            BathymetryError, match=r"metric = acc: it holds text; the runs have no metric with numbers\."
        ):
            bm.runs.read(odd, members="seed", compare="net", metrics=["acc"])
    else:
        assert bm.runs.read(odd, members="seed", compare="net").equals(
            bm.runs.read(table, members="seed", compare="net")
        )


def test_lists_in_cells_are_text_and_columns_on_several_levels_are_refused():
    rows = [
        {"net": net, "seed": seed, "acc": 1.0 * seed, "tags": [1, {"a": 2}], "more": {"a": 1}, "some": {3}}
        for net in "AB"
        for seed in range(6)
    ]
    table = pd.DataFrame(rows)
    plain, of_acc = table[["net", "seed", "acc"]], {"members": "seed", "compare": "net", "metrics": ["acc"]}
    assert bm.runs.read(table, **of_acc).equals(bm.runs.read(plain, **of_acc))
    levels = plain.set_axis(pd.MultiIndex.from_tuples([("a", one) for one in plain]), axis=1)
    with pytest.raises(BathymetryError, match="names its columns on 2 levels"):
        bm.runs.read(levels, **of_acc)


def test_copies_of_rows_are_said_of_json_lines_as_of_csv(tmp_path):
    rows = [{"net": n, "seed": s, "step": t, "loss": s + t / 7} for n in "AB" for s in range(6) for t in range(4)]
    rows += rows[:5]
    pd.DataFrame(rows).to_csv(tmp_path / "runs.csv", index=False)
    (tmp_path / "runs.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    said = [
        bm.runs.read(tmp_path / name, members="seed", compare="net", cache=False).attrs["left_out"]
        for name in ("runs.csv", "runs.jsonl")
    ]
    assert "5 of 53 rows" in said[0][-1]
    assert said[1] == [one.replace("csv", "jsonl") for one in said[0]]
