"""Moments that have shrunk to nothing are nothing, and no network moves otherwise for it."""

import torch
from torch import nn

import bathymetry as bm
from bathymetry.training.backends import Batch
from bathymetry.training.ensemble import StackedTensors
from bathymetry.training.perceptrons import MLPBackend
from bathymetry.training.stepper import Stepper

STEPS = 1_500


def sparse_gradient(step: int) -> torch.Tensor:
    """Two weights learn on, two have seen their last gradient."""
    chance = torch.Generator().manual_seed(step)
    gradient = torch.randn(4, generator=chance)
    gradient[2:] *= step < 10
    return gradient


def test_a_weight_whose_gradient_ceased_keeps_no_denormal_moment_and_moves_as_in_torch():
    parameter = nn.Parameter(torch.ones(4))
    theirs = torch.optim.Adam([parameter], lr=1e-2)
    ours = StackedTensors.of([{"weight": torch.ones(4)}], torch.float32, torch.device("cpu"))
    gradients = ours.zeros_like()
    stepper = Stepper(bm.Adam(lr=1e-2), None, ours, gradients)
    for step in range(STEPS):
        gradients.views["weight"][0] = sparse_gradient(step)
        stepper.step(0.0, lambda member: torch.zeros(()))
        parameter.grad = sparse_gradient(step)
        theirs.step()
    left = theirs.state[parameter]["exp_avg"]
    assert (left[2:].abs() < torch.finfo(torch.float32).tiny).all()
    assert (left[2:] != 0).all()  # stuck at denormal numbers, for which this is
    moment = stepper.moments["exp_avg"].views["weight"][0]
    assert (moment[2:] == 0).all()
    torch.testing.assert_close(ours.views["weight"][0], parameter.data, rtol=1e-5, atol=0)
    torch.testing.assert_close(moment[:2], left[:2], rtol=1e-5, atol=0)


def test_what_is_no_number_stays_none():
    ours = StackedTensors.of([{"weight": torch.ones(2)}], torch.float32, torch.device("cpu"))
    gradients = ours.zeros_like()
    stepper = Stepper(bm.Adam(), None, ours, gradients)
    for _ in range(64):
        gradients.views["weight"][0] = torch.tensor([float("nan"), 1.0])
        stepper.step(0.0, lambda member: torch.zeros(()))
    assert stepper.moments["exp_avg"].views["weight"][0, 0].isnan()
    assert ours.views["weight"][0].isfinite().tolist() == [False, True]


def test_what_is_long_ruled_out_makes_no_denormal_gradient():
    """Of the classes that lie far behind, some have probabilities too small for a normal number."""
    logits = torch.tensor([0.0, -60.0, -88.0, -95.0, -101.0])
    weight = torch.cat([logits[:, None], torch.zeros(5, 1)], dim=1)
    tensors = [{"0.weight": weight, "0.bias": torch.zeros(5)}]
    parameters = StackedTensors.of(tensors, torch.float32, torch.device("cpu"), dense=True)
    gradients = parameters.zeros_like()
    network = MLPBackend(parameters, gradients, [], "cross_entropy")
    network.differentiate(Batch(torch.tensor([[1.0, 0.0]]), torch.tensor([[0]]), True))
    module = nn.Linear(2, 5)
    module.weight.data, module.bias.data = weight.clone(), torch.zeros(5)
    nn.functional.cross_entropy(module(torch.tensor([[1.0, 0.0]])), torch.tensor([0])).backward()
    tiny = torch.finfo(torch.float32).tiny
    theirs, ours = module.weight.grad[:, 0], gradients.views["0.weight"][0, :, 0]
    assert ((theirs.abs() > 0) & (theirs.abs() < tiny)).any()
    assert not ((ours.abs() > 0) & (ours.abs() < tiny)).any()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-29)
    assert ours[1] > 0  # small is not nothing
