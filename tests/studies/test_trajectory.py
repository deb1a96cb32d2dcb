"""Claims and results of `trajectory`, on paths whose answers are known."""

import numpy as np
import pytest
import xarray as xr

import bathymetry as bm
from bathymetry.core.errors import InputError
from bathymetry.studies.trajectory import Trajectory

PARAMETERS = 32  # of the network 1-3-5-1, 23 of them weights


def judged(weights):
    """The verdict on paths that are written by hand: (member, snapshot, 23)."""
    members, snapshots, _ = weights.shape
    study = Trajectory.preset("full", members=members)
    parameters = np.zeros((members, snapshots, PARAMETERS))
    parameters[..., study._scopes()["network"]] = weights
    whole = xr.Dataset(
        {"parameters": (("member", "snapshot", "parameter"), parameters)},
        {"member": range(members), "snapshot": range(snapshots)},
    )
    tree = xr.DataTree.from_dict({"main": study.derive({"main": whole})["main"]})
    tree.attrs = {"data": {}}
    return study.judge(tree)[0].verdict


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


def test_a_share_of_the_variance_is_between_none_and_all_of_it():
    chance = np.random.default_rng(3)
    still = np.repeat(chance.normal(size=(6, 1, 23)), 11, axis=1)
    for part in judged(still).parts:
        assert part.interval == pytest.approx((-0.1, -0.1), abs=1e-12)
        assert "interval 0.0 to 0.0 %" in part.summary


def test_each_members_share_is_about_its_own_mean_and_about_that_of_all():
    chance = np.random.default_rng(4)
    weights = chance.normal(size=(7, 1, 23)) + chance.normal(size=(7, 11, 23))
    points = weights.reshape(-1, 23) - weights.mean((0, 1))
    paths = (points @ np.linalg.svd(points)[2][:2].T).reshape(7, 11, 2)
    shares = [((path - path.mean(0)) ** 2).sum() / (path**2).sum() for path in paths]
    assert judged(weights).parts[1].estimate == pytest.approx(np.median(shares) - 0.1)


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
