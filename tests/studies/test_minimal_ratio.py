"""Claims and results of `minimal-ratio`, on points whose answers are known."""

import numpy as np
import pytest
import xarray as xr

import bathymetry as bm
from bathymetry.studies.minimal_ratio import ACTIVATIONS, CRITICAL, FLAT, ON_THE_WAY, PHASES, MinimalRatio

FULL = MinimalRatio.preset("full")
DIMS = ("activation", "phase", "member")


def made(loss, ratio, status, norms=(1.0, 0.5, 0.0), members=30):
    shape = (len(ACTIVATIONS), len(PHASES), members)
    whole = xr.Dataset(
        {
            "point_loss": (DIMS, np.broadcast_to(loss, shape)),
            "minimal_ratio": (DIMS, np.broadcast_to(ratio, shape)),
            "status": (DIMS, np.broadcast_to(status, shape)),
            "gradient_norm": (DIMS, np.broadcast_to(np.array(norms)[:, None], shape)),
        },
        {"activation": list(ACTIVATIONS), "phase": list(PHASES), "member": range(members)},
    )
    tree = xr.DataTree.from_dict({"main": whole})
    tree.attrs = {"data": {}}
    return {one.id[-1]: one.verdict for one in FULL.judge(tree)}


@pytest.mark.parametrize(("sign", "decision"), [(-1, "supported"), (1, "contradicted")])
def test_loss_against_ratio_decides_b(sign, decision):
    steps = np.linspace(0.1, 0.9, 30)
    assert made(steps, 0.5 + sign * steps / 3, CRITICAL)["b"].decision == decision


def test_points_that_are_not_critical_are_not_counted():
    steps = np.linspace(0.1, 0.9, 30)
    status = np.where(np.arange(30) < 19, CRITICAL, FLAT)
    verdict = made(steps, 1 - steps, status)["b"]
    assert verdict.decision == "undecided"
    assert verdict.parts[0].members == 19


def test_losses_that_differ_by_rounding_alone_have_no_order():
    loss = 0.5183 + 1e-13 * np.arange(30)
    assert made(loss, np.linspace(0, 1, 30), CRITICAL)["b"].decision == "undecided"


@pytest.mark.parametrize(("norm", "decision"), [(0.5, "contradicted"), (0.001, "supported")])
def test_the_gradient_after_training_is_compared_with_that_before(norm, decision):
    assert made(1.0, 0.5, CRITICAL, (1.0, norm, 0.0))["a"].decision == decision


@pytest.mark.slow
def test_a_small_run_counts_every_eigenvalue_once(tmp_path):
    run = bm.run_study(MinimalRatio, preset="smoke", out=tmp_path, descent=20)
    results = run.results["main"].to_dataset()
    assert results["eigenvalues"].sizes == {"activation": 2, "phase": 3, "member": 6, "index": 32}
    shares = results["minimal_ratio"] + results["zero_share"] + results["negative_share"]
    np.testing.assert_allclose(shares.values, 1)
    critical = results.sel(phase="critical")
    converged = critical["status"] == CRITICAL
    assert bool(converged.any())
    trained = results["gradient_norm"].sel(phase="trained")
    assert bool((critical["gradient_norm"].where(converged, 0) <= 1e-8 * trained).all())
    assert set(np.unique(results["status"].sel(phase="trained"))) == {ON_THE_WAY}
    assert run.figures[0].number == 11
