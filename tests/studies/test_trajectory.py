"""Claims and results of `trajectory`, on paths whose answers are known."""

import numpy as np
import pytest
import xarray as xr

import bathymetry as bm
from bathymetry.core.errors import InputError
from bathymetry.studies.trajectory import Trajectory


def judged(weights):
    """The verdict on paths that are written by hand: (member, snapshot, 23)."""
    members, snapshots, _ = weights.shape
    whole = xr.Dataset(
        {"weights": (("member", "snapshot", "coordinate"), weights)},
        {"member": range(members), "snapshot": range(snapshots)},
    )
    tree = xr.DataTree.from_dict({"main": whole})
    tree.attrs = {"data": {}}
    return Trajectory.preset("full", members=members).judge(tree)[0].verdict


def test_members_that_hardly_move_from_far_starts_contradict_the_plane():
    chance = np.random.default_rng(0)
    weights = chance.normal(size=(8, 1, 23)) + 0.01 * chance.normal(size=(8, 11, 23))
    verdict = judged(weights)
    assert verdict.decision == "contradicted"
    assert [part.coordinates["scope"] for part in verdict.parts] == ["layer 2", "network"]
    assert verdict.parts[0].estimate == pytest.approx(-0.1, abs=0.01)


def test_members_that_move_from_one_start_support_it():
    chance = np.random.default_rng(1)
    path = np.linspace(0, 1, 11)[:, None] * chance.normal(size=23)
    verdict = judged(path + 0.05 * chance.normal(size=(8, 11, 23)))
    assert verdict.decision == "supported"
    assert verdict.parts[1].estimate == pytest.approx(0.9, abs=0.05)


def test_a_share_of_the_variance_has_no_negative_bound():
    chance = np.random.default_rng(3)
    still = np.repeat(chance.normal(size=(6, 1, 23)), 11, axis=1)
    still[0] += 1e-3 * chance.normal(
        size=(11, 23)
    )  # one member alone moves: its share has an interval wider than itself
    for part in judged(still).parts:
        assert part.interval[0] == pytest.approx(-0.1, abs=1e-15)
        assert "interval 0 to " in part.summary
        assert "(95 % interval −" not in part.summary


def test_a_small_run_has_the_datasets_of_the_schema(tmp_path):
    run = bm.run_study(Trajectory, preset="smoke", out=tmp_path)
    results = run.results["main"].to_dataset()
    assert results["weights"].sizes == {"member": 6, "snapshot": 11, "coordinate": 23}
    assert set(results["projection"].dims) == {"scope", "member", "snapshot", "component"}
    assert results["explained_variance_ratio"].dims == results["random_walk_ratio"].dims == ("scope", "component")
    recorded = results["loss"].sel(split="train").transpose("member", "epoch").values
    np.testing.assert_allclose(results["point_loss"].transpose("member", "snapshot").values, recorded, rtol=1e-4)
    long = run.results["long"]
    assert long["projection"].sizes["snapshot"] == 61
    assert long["within_share"].values == pytest.approx(1)
    assert [figure.number for figure in run.figures][:2] == [7, 8]
    assert len(run.main_findings) == 3


def test_where_every_member_diverges_there_is_no_plane_and_the_page_is_made_all_the_same(tmp_path):
    run = bm.run_study(Trajectory, preset="smoke", out=tmp_path, members=2, long_epochs=10, learning_rate=1e30)
    results = run.results["main"].to_dataset()
    assert results["diverged"].all()
    assert np.isnan(results["projection"]).all()
    assert np.isnan(results["plane_loss"]).all()
    assert [len(figure.panels) for figure in run.figures] == [2, 2, 2, 2, 2]
    assert "unknown" in run.main_findings[1]
    assert {claim.verdict.decision for claim in run.claims} <= {"undecided", "not tested"}


@pytest.mark.parametrize("network", ["1", "1,1"])
def test_a_second_layer_of_one_weight_has_no_plane_and_is_refused(network):
    with pytest.raises(InputError, match=r"network = .* two weights in the second layer"):
        Trajectory.preset("smoke", network=network)
    assert Trajectory.preset("smoke", network="1,2").network == (1, 2)
