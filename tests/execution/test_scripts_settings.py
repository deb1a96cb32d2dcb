"""What a script has set in PyTorch changes nothing that is stored: a chunk's name says nothing of it."""

from contextlib import ExitStack, contextmanager
from functools import reduce

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import bathymetry as bm
from bathymetry.execution import executors
from execution import drawing_study, own_study

WIDE = {"hidden": [800, 400]}  # products that are large enough for oneDNN


def normalised():
    return nn.Sequential(nn.Linear(1, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 1))


def convolution():
    return nn.Sequential(
        nn.Unflatten(1, (1, 1)), nn.Conv1d(1, 16, 1), nn.BatchNorm1d(16), nn.Flatten(), nn.Linear(16, 1)
    )


@contextmanager
def restored(set_, value, before):
    set_(value)
    try:
        yield
    finally:
        set_(before)


@contextmanager
def backend(path, value):
    *owners, name = path.split(".")
    owner = reduce(getattr, owners, torch.backends)
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
        assert getattr(owner, name) == value
    finally:
        setattr(owner, name, before)


SETTINGS = {
    "bfloat16 products": lambda: restored(torch.set_float32_matmul_precision, "medium", "highest"),
    "bfloat16 products of one backend": lambda: backend("mkldnn.matmul.fp32_precision", "bf16"),
    "TF32": lambda: backend("fp32_precision", "tf32"),
    "no oneDNN": lambda: backend("mkldnn.enabled", False),
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "device": lambda: restored(torch.set_default_device, "meta", None),
    "anomalies": lambda: torch.autograd.set_detect_anomaly(True),
}


def sweep(out, network, **options):
    return bm.sweep(
        name="settings", network=network, data={"function": "sin", "samples": 64}, members=2, out=out,
        training={"epochs": 3}, axes={"batch_size": [32, 64]}, **options,
    )  # fmt: skip


@pytest.mark.parametrize(
    "network", [WIDE, {"family": normalised}, {"family": convolution}], ids=["mlp", "module", "convolution"]
)
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_a_sweep_has_the_same_bits(tmp_path, setting, network):
    plain = sweep(tmp_path / "plain", network)
    with SETTINGS[setting]():
        other = sweep(tmp_path / "other", network)
    xr.testing.assert_identical(other.dataset.drop_attrs(), plain.dataset.drop_attrs())


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_a_study_has_the_same_bits(tmp_path, setting):
    plain = bm.run_study("trajectory", preset="smoke", out=tmp_path / "plain")
    with SETTINGS[setting]():
        other = bm.run_study("trajectory", preset="smoke", out=tmp_path / "other")
    for group in plain.results.children:
        one, two = (run.results[group].to_dataset().drop_attrs() for run in (plain, other))
        xr.testing.assert_identical(two, one)


def test_settings_of_the_script_are_as_they_were(tmp_path):
    with ExitStack() as stack:
        stack.enter_context(SETTINGS["bfloat16 products"]())
        stack.enter_context(torch.no_grad())
        stack.enter_context(SETTINGS["device"]())
        bm.run_study(own_study.OwnWidth, preset="smoke", members=2, out=tmp_path)
        assert torch.get_float32_matmul_precision() == "medium"
        assert not torch.is_grad_enabled()
        assert torch.empty(1).device.type == "meta"


def test_workers_have_the_default_dtype_of_the_script(tmp_path, monkeypatch):
    """It is part of a config: a function of the user's may compute in it."""
    monkeypatch.setattr(executors, "_STARTING", 0.0)
    with restored(torch.set_default_dtype, torch.float64, torch.float32):
        alone = sweep(tmp_path / "alone", WIDE)
        together = sweep(tmp_path / "together", WIDE, workers=2)
    xr.testing.assert_identical(together.dataset.drop_attrs(), alone.dataset.drop_attrs())


def test_draws_of_a_study_without_a_seed_are_the_same_in_any_process_and_again(tmp_path, monkeypatch):
    monkeypatch.setattr(executors, "_STARTING", 0.0)
    file = drawing_study.__file__
    runs = [
        bm.run_study(file, preset="smoke", members=12, out=tmp_path / f"{workers}", workers=workers)
        for workers in (1, 2, 1)
    ]
    for group in ("main", "between"):
        first, *others = (run.results[group].to_dataset().drop_attrs() for run in runs)
        for one in others:
            xr.testing.assert_identical(one, first)
    assert len(np.unique(runs[0].results["main/derived"])) == 12
    other = bm.run_study(file, preset="smoke", members=12, seed=1, out=tmp_path / "other")
    assert not np.isin(other.results["main/derived"], runs[0].results["main/derived"]).any()
