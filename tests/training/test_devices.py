"""A GPU trains to the numbers of a plain loop on the CPU, resumes bit for bit, and hands its results back."""

import functools

import pytest
import torch
from torch import nn

from bathymetry.training import SGD, Adam, AdamW, Measurement, StopWhen, train
from training import cases
from training.test_checkpoint import interrupted_after
from training.test_options import plain_loop

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=GPU)]
OPTIMIZERS = {
    "Adam": (Adam(lr=1e-2), functools.partial(torch.optim.Adam, lr=1e-2)),
    "AdamW": (AdamW(lr=1e-2, weight_decay=0.1), functools.partial(torch.optim.AdamW, lr=1e-2, weight_decay=0.1)),
    "SGD": (SGD(lr=1e-2, momentum=0.9), functools.partial(torch.optim.SGD, lr=1e-2, momentum=0.9)),
    "RMSprop": (functools.partial(torch.optim.RMSprop, lr=1e-3),) * 2,
}
NETWORKS = [cases.perceptron, cases.convolution, cases.normalised]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("build", NETWORKS)
def test_trains_to_the_parameters_of_a_plain_loop(build, optimizer, device):
    if build is cases.normalised and optimizer != "SGD":
        pytest.skip(
            "batch normalisation makes a bias's gradient 0 up to rounding, which Adam scales to its learning rate"
        )
    ours, torchs = OPTIMIZERS[optimizer]
    data = cases.regression()
    options = {"members": range(1, 4), "steps": 17, "batch_size": 5, "dtype": torch.float64}
    trained = train(build, data, optimizer=ours, device=device, **options)
    for member in (1, 3):
        expected = plain_loop(build, data, torchs, member, 17, 5)
        for mine, plain in zip(trained.model(member).parameters(), expected.parameters(), strict=True):
            torch.testing.assert_close(mine.cpu(), plain, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("build", [*NETWORKS, cases.with_dropout])
def test_a_resumed_training_is_the_uninterrupted_one(build, device):
    settings = {
        "build": build, "data": cases.classification(), "loss": "cross_entropy", "members": range(2, 5),
        "optimizer": AdamW(), "steps": 13, "batch_size": 5, "snapshots": (0, 1, 2), "device": device,
        "measurements": {"norm": Measurement(lambda moment: moment.gradients.vectors().norm(dim=1))},
    }  # fmt: skip
    whole = train(**settings)
    resumed = train(**settings, resume=interrupted_after(6, **settings))
    assert resumed.record.identical(whole.record)
    for epoch, snapshot in whole.snapshots.items():
        assert all(torch.equal(resumed.snapshots[epoch][name], values) for name, values in snapshot.items())


@pytest.mark.parametrize("device", DEVICES)
def test_losses_and_stopping_agree_with_the_cpu(device):
    settings = {
        "build": lambda: nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)), "data": cases.regression(),
        "optimizer": SGD(lr=0.1), "members": 4, "epochs": 60, "stop": StopWhen("train_loss", at_most=0.5),
        "dtype": torch.float64,
    }  # fmt: skip
    there, here = train(**settings, device=device), train(**settings)
    assert (there.record.stopped_at == here.record.stopped_at).all()
    torch.testing.assert_close(*(torch.tensor(run.record.loss.values) for run in (there, here)), equal_nan=True)
