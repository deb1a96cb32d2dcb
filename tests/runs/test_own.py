"""The output folder of a study is read like the runs of any tool."""

import numpy as np

import bathymetry as bm


def test_the_members_of_a_study_are_compared_as_its_results_have_them(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = tmp_path / "out"
    study = bm.run_study("depth-function", preset="smoke", members=6, functions=("cos",), out=str(out))
    stored = study.results["main/loss"].sel(split="train", function="cos", drop=True)
    found = bm.compare(
        out, "train/loss", compare="network", by="function", members="member", higher_is_better=False, baseline="deep"
    )
    assert [one.second for one in found.pairs] == ["deep"] * len(found.pairs)
    for pair in found.pairs:
        a, b = (stored.isel(epoch=-1).sel(network=name).values for name in (pair.first, pair.second))
        assert pair.superiority == np.mean((a < b) + 0.5 * (a == b))
        assert pair.difference == np.median(a - b)
    history = found.results["train/loss_history"].sel(function="cos", network="deep")
    np.testing.assert_array_equal(history.values, stored.sel(network="deep").transpose("member", "epoch").values)
