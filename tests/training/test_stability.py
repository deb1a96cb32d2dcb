"""Gradient descent is stable exactly up to the threshold, and a network trains at its edge."""

import pytest
import torch

import bathymetry as bm
from bathymetry import LossSurface, probes
from bathymetry.core.errors import InputError
from bathymetry.training import SGD, Adam, AdamW, stability_threshold
from bathymetry.training.optimisers import Optimizer


def steps_on_a_parabola(curvature, lr, momentum, steps=2000):
    """Where ½λw² is after so many steps of `torch.optim` from w = 1."""
    weight = torch.nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
    optimizer = torch.optim.SGD([weight], lr=lr, momentum=momentum)
    for _ in range(steps):
        optimizer.zero_grad()
        (curvature * weight**2 / 2).backward()
        optimizer.step()
    return abs(weight.item())


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_a_parabola_diverges_exactly_above_the_threshold(momentum):
    threshold = stability_threshold(SGD(lr=0.1, momentum=momentum))
    assert threshold == pytest.approx(2 * (1 + momentum) / 0.1)
    assert steps_on_a_parabola(0.99 * threshold, 0.1, momentum) < 0.01
    assert steps_on_a_parabola(1.01 * threshold, 0.1, momentum) > 100


def test_adam_with_a_fixed_preconditioner_is_momentum_that_averages():
    """With v held, Adam is m ← β₁m + (1−β₁)g, w ← w − ηm/D: stable up to (2 + 2β₁)/((1 − β₁)η) on λ/D."""
    threshold = stability_threshold(Adam(lr=1e-3))
    assert threshold == pytest.approx(38 / 1e-3)
    for factor, diverges in ((0.99, False), (1.01, True)):
        weight, moment = 1.0, 0.0
        for _ in range(3000):
            moment = 0.9 * moment + 0.1 * factor * threshold * weight
            weight -= 1e-3 * moment
        assert (abs(weight) > 100) is diverges


def test_full_batch_gradient_descent_trains_at_the_edge_of_stability():
    data = bm.data.function("sin(2*x)", low=-3, high=3, samples=60)
    network, lr = bm.Perceptron((1, 20, 1), "tanh"), 0.1
    seen = {}

    def sharpness(moment):
        surface = LossSurface(network(), "mse", data, dtype=torch.float64)
        theta = moment.parameters.vectors().double()
        seen[moment.epoch] = probes.eigenvalues(surface, theta, k=1).values[:, 0]
        return seen[moment.epoch]

    epochs = (0, *range(6000, 12001, 500))
    bm.train(
        network, data, members=2, epochs=12_000, optimizer=SGD(lr=lr), record_at=(0,), dtype=torch.float64,
        measurements={"sharpness": bm.Measurement(sharpness, epochs, "curvature_epoch")},
    )  # fmt: skip
    late = torch.stack([seen[epoch] for epoch in epochs[1:]])
    assert (seen[0] < 0.8 * 2 / lr).all()
    assert (late.median(0).values / (2 / lr) - 1).abs().max() < 0.15


@pytest.mark.parametrize("optimizer", [SGD(lr=(0.1, 0.2)), Optimizer()])
def test_what_has_no_single_threshold_is_refused(optimizer):
    with pytest.raises(InputError):
        stability_threshold(optimizer)


def diverges(step, steps=4000):
    weight, moment = 1.0, 0.0
    for _ in range(steps):
        weight, moment = step(weight, moment)
        if abs(weight) > 1e6:
            return True
    return False


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_weight_decay_takes_its_part_of_sgds_threshold(momentum):
    threshold = stability_threshold(SGD(lr=0.1, momentum=momentum, weight_decay=3.0))
    assert threshold == pytest.approx(2 * (1 + momentum) / 0.1 - 3)

    def step(weight, moment, curvature):
        moment = momentum * moment + (curvature + 3.0) * weight
        return weight - 0.1 * moment, moment

    assert not diverges(lambda w, m: step(w, m, 0.995 * threshold))
    assert diverges(lambda w, m: step(w, m, 1.005 * threshold))


def test_decoupled_weight_decay_takes_its_part_of_adams_threshold():
    threshold = stability_threshold(AdamW(lr=1e-2, weight_decay=20.0))

    def step(weight, moment, curvature):
        moment = 0.9 * moment + 0.1 * curvature * weight
        return (1 - 1e-2 * 20.0) * weight - 1e-2 * moment, moment

    assert not diverges(lambda w, m: step(w, m, 0.995 * threshold))
    assert diverges(lambda w, m: step(w, m, 1.005 * threshold))


def test_no_threshold_is_made_up():
    with pytest.raises(InputError, match="weight_decay"):
        stability_threshold(Adam(lr=1e-3, weight_decay=0.1))
    with pytest.raises(InputError, match="lr"):
        stability_threshold(SGD(lr=0.0))
