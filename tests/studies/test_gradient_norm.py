"""Claims and results of `gradient-norm`, on records whose answers are known."""

import numpy as np
import pytest
import torch
import xarray as xr

import bathymetry as bm
from bathymetry import LossSurface
from bathymetry.studies.gradient_norm import GradientNorm, bends, log_odds_ratio, spikes

FULL = GradientNorm.preset("full")
EPOCHS = np.arange(1501)


def verdicts(norm, loss):
    whole = xr.Dataset(
        {"gradient_norm": (("member", "epoch"), norm), "loss": (("split", "member", "epoch"), loss[None])},
        {"member": range(len(norm)), "epoch": EPOCHS, "split": ["train"]},
    )
    tree = xr.DataTree.from_dict({"main": whole})
    tree.attrs = {"data": {}}
    return {one.id[-1]: one.verdict.decision for one in FULL.judge(tree)}


def test_a_spike_is_three_times_its_neighbourhood():
    norm = np.ones(200)
    norm[[50, 120]] = 3.5, 2.5
    assert np.flatnonzero(spikes(norm)).tolist() == [50]


@pytest.mark.parametrize("epochs", [2, 3, 9, 11, 60])
def test_the_odds_ratio_counts_epochs_one_by_one_however_few_there_are(epochs):
    generator = np.random.default_rng(epochs)
    norm, loss = np.exp(generator.normal(0, 2, epochs)), np.exp(generator.normal(0, 1, epochs))
    spiking, bent = np.flatnonzero(spikes(norm)), bends(loss)
    near = np.array([any(abs(epoch - one) <= 5 for one in spiking) for epoch in range(epochs)])
    counts = {(a, b): 0.5 + sum((near == a) & (bent == b)) for a in (True, False) for b in (True, False)}
    expected = np.log(counts[True, True] * counts[False, False] / counts[True, False] / counts[False, True])
    if len(set(near)) == 1:  # no epoch far from a spike, or none near one
        expected = np.nan
    assert log_odds_ratio(norm, loss) == pytest.approx(expected, nan_ok=True)


def test_a_member_without_spikes_has_no_odds_ratio_and_members_without_one_decide_nothing():
    norm, loss = np.full((6, len(EPOCHS)), 0.5), np.geomspace(1, 0.01, len(EPOCHS))[None].repeat(6, 0)
    assert np.isnan(log_odds_ratio(norm[0], loss[0]))
    assert verdicts(norm, loss)["a"] == "undecided"


def test_a_bend_is_where_log_loss_changes_its_slope():
    epochs = np.arange(400.0)
    loss = np.exp(-np.where(epochs < 200, 0.001 * epochs, 0.2 + 0.05 * (epochs - 200)))
    assert set(range(198, 203)) <= set(np.flatnonzero(bends(loss)).tolist())


def test_spikes_near_bends_have_large_odds_and_elsewhere_small_ones():
    norm, loss = np.ones(400), np.ones(400)
    norm[200] = 10
    loss[200:] = 0.5
    assert log_odds_ratio(norm, loss) > 1
    norm[[50, 100, 300, 350]] = 10
    norm[200] = 1
    assert log_odds_ratio(norm, loss) < 0
    assert np.isnan(log_odds_ratio(np.full(400, np.nan), loss))


@pytest.mark.parametrize(("end", "decision"), [(0.001, "supported"), (0.1, "contradicted")])
def test_at_convergence_the_norm_is_compared_with_its_largest(end, decision):
    norm = np.where(EPOCHS < 900, 1.0, end) * np.ones((8, 1))
    assert verdicts(norm, np.exp(-0.001 * EPOCHS) * np.ones((8, 1)))["c"] == decision


@pytest.mark.parametrize(("sign", "decision"), [(1, "supported"), (-1, "contradicted")])
def test_where_the_norm_is_large_the_loss_falls_fast_or_slowly(sign, decision):
    chance = np.random.default_rng(0)
    rate = 0.5 + sign * 0.4 * np.sin(EPOCHS / 100) + 0.05 * chance.normal(size=(8, len(EPOCHS)))
    norm = 0.5 + 0.4 * np.sin(EPOCHS / 100) * np.ones((8, 1)) + 0.05 * chance.normal(size=(8, len(EPOCHS)))
    assert verdicts(norm, 2000 - np.cumsum(rate, axis=1))["b"] == decision


def test_norm_and_loss_belong_to_the_same_point(tmp_path):
    run = bm.run_study(GradientNorm, preset="smoke", out=tmp_path)
    results = run.results["main"].to_dataset()
    data = bm.data.function("cos", samples=60)
    trained = bm.train(bm.MLPConfig((1, 5, 10, 5, 1)), data, members=6, epochs=80, snapshots=(0, 40))
    surface = LossSurface(trained.model(0), "mse", data, dtype=torch.float64)
    for epoch in (0, 40, 80):
        parameters = trained.snapshots[epoch] if epoch < 80 else trained.parameters
        theta = torch.cat([one.reshape(6, -1) for one in parameters.values()], dim=1)
        here = results.sel(epoch=epoch)
        np.testing.assert_allclose(here["loss"].sel(split="train").values, surface.loss(theta).numpy(), rtol=1e-4)
        np.testing.assert_allclose(here["gradient_norm"].values, surface.gradient(theta).norm(dim=1).numpy(), rtol=2e-3)
    assert float(results["stability_threshold"]) == pytest.approx(38_000)
    assert results["layer_gradient_norm"].sizes["layer"] == 4
    assert bool((results["preconditioned_eigenvalue"] > 0).all())
    assert [figure.number for figure in run.figures][:2] == [(9, 10), None]


def layered(spread):
    """Norms of two layers whose last epoch says the opposite of all before, by as much as members differ."""
    base = np.exp(np.linspace(-spread, spread, 6))
    norms = np.ones((6, 100, 2)) * base[:, None, None] * np.array([1.0, 3.0])
    norms[:, -1] = base[:, None] * np.array([3.0, 1.0])
    axes = {"member": range(6), "epoch": range(100), "layer": ["layer 1", "layer 2"]}
    return xr.Dataset({"layer_gradient_norm": (("member", "epoch", "layer"), norms)}, axes)


@pytest.mark.parametrize(
    ("spread", "words"),
    [
        (0.1, "layer 2 has the largest norm; its interval lies above all others"),
        (3.0, "the intervals of layer 1 and layer 2 overlap: none has clearly the largest norm"),
    ],
)
def test_the_steepest_layer_is_that_of_many_epochs_and_only_if_no_other_comes_near(spread, words):
    finding = FULL.layers(layered(spread))[1]
    assert finding == f"Over the last 10 epochs {words}."


def test_one_member_gives_no_interval_to_compare_layers_by():
    assert "its interval is unknown" in FULL.layers(layered(0.1).isel(member=[0]))[1]
