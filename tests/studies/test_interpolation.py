"""Claims and results of `interpolation`."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr

import bathymetry as bm
from bathymetry import models
from bathymetry.models.mlp import parameter_count
from bathymetry.studies.interpolation import ALPHAS, Between, Interpolation

FULL = Interpolation.preset("full")
PAIRINGS = ("independent", "shared", "aligned")


def verdicts(accuracy):
    """What is decided from an accuracy by α, the same for all pairs."""
    values = np.broadcast_to(np.array([accuracy(alpha) for alpha in ALPHAS]), (len(PAIRINGS), 2, 8, len(ALPHAS)))
    axes = {"pairing": list(PAIRINGS), "split": ["train", "test"], "member": range(8), "alpha": list(ALPHAS)}
    tree = xr.DataTree.from_dict({"main": xr.Dataset({"accuracy": (tuple(axes), values)}, axes)})
    tree.attrs = {"data": {"mnist": ""}}
    return {one.id[-1]: one.verdict.decision for one in FULL.judge(tree)}


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
    results, trained = (run.results[name].to_dataset() for name in ("main", "training"))
    first = trained["accuracy"].sel(end="first", split="test").isel(epoch=-1).dropna("member").values
    for pairing in PAIRINGS:
        here = results["accuracy"].sel(pairing=pairing, split="test")
        np.testing.assert_allclose(here.sel(alpha=0.0).values, first)
    for pairing, end in (
        ("shared", "second, shared"),
        ("independent", "second, independent"),
        ("aligned", "second, independent"),
    ):
        last = trained["loss"].sel(end=end, split="train").isel(epoch=-1).dropna("member").values
        there = results["loss"].sel(pairing=pairing, split="train", alpha=1.0).values
        np.testing.assert_allclose(there, last, rtol=1e-4)


def test_lines_from_the_start_begin_there(run):
    lines, trained = (run.results[name]["loss"].sel(split="train") for name in ("from_start", "training"))
    begun = trained.sel(end="first").isel(epoch=0).dropna("member").values
    np.testing.assert_allclose(lines.isel(learning_rate=0).sel(alpha=0.0).values, begun, rtol=1e-4)


def test_an_accuracy_knows_of_how_many_examples_it_is(run):
    for name in ("main", "from_start"):
        assert (run.results[name]["examples"] == run.results["training"]["examples"]).all()


def test_a_member_that_diverged_has_a_line_that_is_not_a_number(monkeypatch):
    network = models.MLPConfig((64, 5, 10))
    good = torch.randn(2, parameter_count([64, 5, 10]), generator=torch.Generator().manual_seed(0))
    bad = good.clone()
    bad[1, 7] = torch.nan
    units = [SimpleNamespace(members=range(2), snapshots={3: one}) for one in (good, bad)]
    monkeypatch.setattr("bathymetry.studies.interpolation.vectors", lambda network, unit, epoch: unit.snapshots[epoch])
    line = Between(network, bm.load("digits"), aligned=True)(units)
    train = line["loss"].sel(split="train")
    losses = train.isel(member=1)
    assert np.isfinite(losses.sel(alpha=0.0))
    assert losses.drop_sel(alpha=0.0).isnull().all()
    assert train.isel(member=0).notnull().all()
    assert line["barrier"].isnull().isel(member=1, quantity=0)


def test_the_figures_are_drawn(run):
    assert [one.number for one in run.figures] == [15, None, None, None]
    assert len(run.main_findings) == 3


def test_a_barrier_is_named_above_the_line_because_above_the_mean_even_a_slope_has_one(run):
    words = next(sentence for sentence in run.main_findings if "barrier" in sentence)
    rise = run.results["main/barrier"].median("member").sel(quantity="loss, line", pairing="independent")
    said = float(re.search(r"above the straight line between the ends: ([\d.]+) for independent, ", words)[1])
    values = run.results["main/barrier"].sel(quantity="loss, line", pairing="independent").values
    assert abs(said - float(rise)) < values.std() + 0.5 * 10.0 ** np.floor(np.log10(said))
    assert "(rate 0.001)" in run.main_findings[0]


def test_both_definitions_of_a_barrier_have_one_scale(run):
    (barriers,) = [one for one in run.figures if one.name == "barriers"]
    titles = [panel.title for panel in barriers.panels]
    assert titles == ["Above the mean of the ends", "Above the straight line between the ends"]
    scales = [layer["encoding"]["x"]["scale"] for panel in barriers.panels for layer in panel.chart.to_dict()["layer"]
              if layer.get("name") == "members"]  # fmt: skip
    assert scales[0] == scales[1]
