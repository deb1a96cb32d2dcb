"""Claims and results of `interpolation`."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr

import bathymetry as bm
from bathymetry import models
from bathymetry.studies import find
from bathymetry.studies.interpolation import ALPHAS, PAIRINGS, Between
from bathymetry.studies.legacy import _tree, group_of
from bathymetry.studies.wording import number
from studies.before import judge

STUDY = find("interpolation")


def verdicts(accuracy):
    """What is judged of an accuracy by α, the same for all pairs."""
    values = np.broadcast_to(np.array([accuracy(alpha) for alpha in ALPHAS]), (len(PAIRINGS), 8, len(ALPHAS)))
    named = {f"{half}_accuracy": (("pairing", "member", "alpha"), values) for half in ("train", "test")}
    tree = xr.DataTree(xr.Dataset(named, {"pairing": list(PAIRINGS), "member": range(8), "alpha": list(ALPHAS)}))
    tree.attrs = {"settings": STUDY.preset("full").model_dump(mode="json"), "data": {"mnist": ""}}
    return {one.id[-1]: one.verdict.decision for one in judge(STUDY, tree)}


def test_both_ends_are_on_the_grid_exactly():
    assert 0.0 in ALPHAS
    assert 1.0 in ALPHAS
    assert (ALPHAS[0], ALPHAS[-1], len(ALPHAS)) == (-1.0, 2.0, 61)


def test_two_peaks_with_a_valley_support_both_claims():
    assert verdicts(lambda a: 0.9 - min(abs(a), abs(a - 1))) == {"a": "supported", "b": "supported"}


def test_a_ridge_contradicts_both():
    assert verdicts(lambda a: 0.9 - abs(a - 0.5) / 2) == {"a": "contradicted", "b": "contradicted"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return bm.run_study("interpolation", preset="smoke", out=tmp_path_factory.mktemp("interpolation"))


def test_the_ends_of_every_line_are_the_networks_that_were_trained(run):
    results, trained = run.results["main"].to_dataset(), group_of(_tree(run.results), "training")
    first = trained["test_accuracy"].sel(end="first").isel(epoch=-1).dropna("member").values
    for pairing in PAIRINGS:
        here = results["test_accuracy"].sel(pairing=pairing)
        np.testing.assert_allclose(here.sel(alpha=0.0).values, first)
    for pairing, end in (
        ("shared", "second, shared"),
        ("independent", "second, independent"),
        ("aligned", "second, independent"),
    ):
        last = trained["train_loss"].sel(end=end).isel(epoch=-1).dropna("member").values
        there = results["train_loss"].sel(pairing=pairing, alpha=1.0).values
        np.testing.assert_allclose(there, last, rtol=1e-4)


def test_lines_from_the_start_begin_there(run):
    lines, trained = run.results["from_start"].to_dataset(), group_of(_tree(run.results), "training")
    begun = trained["train_loss"].sel(end="first").isel(epoch=0).dropna("member").values
    np.testing.assert_allclose(lines["train_loss"].isel(learning_rate=0).sel(alpha=0.0).values, begun, rtol=1e-4)


def test_a_member_that_diverged_has_a_line_that_is_not_a_number(monkeypatch):
    network = models.MLPConfig((64, 5, 10))
    good = torch.randn(2, models.parameter_count([64, 5, 10]), generator=torch.Generator().manual_seed(0))
    bad = good.clone()
    bad[1, 7] = torch.nan
    units = [SimpleNamespace(members=range(2), snapshots={3: one}) for one in (good, bad)]
    monkeypatch.setattr("bathymetry.studies.interpolation.vectors", lambda network, unit, epoch: unit.snapshots[epoch])
    line = Between(network, bm.load("digits"), aligned=True)(units)
    losses = line["train_loss"].isel(member=1)
    assert np.isfinite(losses.sel(alpha=0.0))
    assert losses.drop_sel(alpha=0.0).isnull().all()
    assert line["train_loss"].isel(member=0).notnull().all()
    assert line["barrier"].isnull().isel(member=1, quantity=0)


def test_the_figures_are_drawn(run):
    assert run.figures[0].number == 15
    assert len(run.seen) == 3


def test_a_barrier_is_told_above_the_line_first_for_above_the_mean_even_a_slope_has_one(run):
    told = next(sentence for sentence in run.seen if "barrier" in sentence)
    rise = run.results["main/barrier"].median("member")
    for quantity, over in (("loss, line", "the straight line between the ends is"), ("loss, mean", "their mean is")):
        value = number(float(rise.sel(quantity=quantity, pairing="independent")))
        assert f"above {over} {value} for independent pairs" in told
    assert "rate 0.01 (α = 1)" in " ".join(run.seen)
