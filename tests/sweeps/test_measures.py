"""What a sweep measures at the end, of networks and members of every kind."""

import numpy as np
import pytest
import torch
from torch import nn

import bathymetry as bm
from bathymetry.core.errors import InputError
from sweeps import failing_nets

SINE = {"function": "sin", "samples": 24}
NETS = failing_nets.__file__


def sweep(out, network, measure, **changes):
    fields = {"data": SINE, "training": {"epochs": 3}, "members": 4, "axes": {"batch_size": [6, 12]}} | changes
    return bm.sweep(name="measured", network=network, measure=measure, out=out, **fields)


def test_a_member_that_diverged_is_nan_and_the_others_are_measured_also_with_labels_of_their_own(tmp_path):
    training = {"optimizer": "sgd", "epochs": 10, "batch_size": 10, "label_noise": 0.3}
    data = {"name": "digits", "train_examples": 50, "test_examples": 20}
    run = sweep(
        tmp_path, {"depth": 2, "width": 8}, ["gradient_norm", "sensitivity"], data=data, training=training,
        axes={"learning_rate": [0.1, 1e8]},
    ).dataset  # fmt: skip
    status = run["status"].sel(learning_rate=1e8).values
    assert set(status) == {"done", "diverged"}
    for name in ("gradient_norm", "sensitivity"):
        np.testing.assert_array_equal(np.isfinite(run[name].sel(learning_rate=1e8)), status == "done")
        assert np.isfinite(run[name].sel(learning_rate=0.1)).all()


@pytest.mark.parametrize("family", [{"family": f"{NETS}:drop", "p": 0.5}, {"family": f"{NETS}:random_features"}])
def test_measures_are_taken_without_dropout_and_with_the_frozen_parameters_of_each_member(tmp_path, family):
    run = sweep(tmp_path, family, ["gradient_norm"])
    network = run.networks(batch_size=6)[1].double().eval()
    data = bm.data.function("sin", samples=24)
    loss = nn.functional.mse_loss(network(data.x_train.double()), data.y_train.double())
    gradients = torch.autograd.grad(loss, [one for one in network.parameters() if one.requires_grad])
    expected = torch.cat([one.flatten() for one in gradients]).norm()
    assert float(run.dataset["gradient_norm"].sel(batch_size=6, member=1)) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(
    ("family", "measure", "cause"),
    [
        ("once", "sharpness", "no second derivative"),
        ("dropping", "noise_scale", "BatchNorm in training mode: its examples depend on one another"),
    ],
)
def test_what_can_not_be_measured_is_refused_before_anything_is_trained(tmp_path, family, measure, cause):
    with pytest.raises(InputError, match=f"^measure = {measure}: it can't be measured on .*{cause}.*; leave it out"):
        sweep(tmp_path / "out", {"family": f"{NETS}:{family}"}, ["gradient_norm", measure])
    assert not (tmp_path / "out").exists()
    run = sweep(tmp_path / "out", {"family": f"{NETS}:{family}"}, ["gradient_norm"])
    assert (run.dataset["status"] == "done").all()
