"""Gradient descent is stable exactly up to the threshold, and a network trains at its edge."""

import pytest
import torch

import bathymetry as bm
from bathymetry import LossSurface, probes
from bathymetry.core.errors import InputError
from bathymetry.training import SGD, Adam, AdamW, stability_threshold
from bathymetry.training.optimizers import Optimizer


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
    network, lr = bm.MLPConfig((1, 20, 1), "tanh"), 0.1
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


def size_after(make, curvature, steps=3000, prepare=None):
    """Where ½λw² is after so many steps of an optimiser of PyTorch from w = 1."""
    weight = torch.nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    optimizer = make([weight])
    for step in range(steps):
        weight.grad = curvature * weight.detach()
        optimizer.step()
        if step == 0 and prepare is not None:
            prepare(optimizer, weight)
        if weight.abs() > 1e3 or weight.abs() < 1e-3:
            break
    return weight.abs().item()


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"momentum": 0.9},
        {"momentum": 0.9, "dampening": 0.5},
        {"dampening": 0.5},  # without momentum it does nothing
        {"momentum": 0.9, "nesterov": True},
        {"momentum": 0.5, "nesterov": True, "weight_decay": 2.0},
        {"momentum": 0.9, "dampening": 0.5, "weight_decay": 2.0},
        {"lr": torch.tensor(0.1)},
    ],
)
def test_sgd_of_pytorch_diverges_just_above_the_threshold(given):
    def make(parameters):
        return torch.optim.SGD(parameters, **{"lr": 0.1, **given})

    threshold = stability_threshold(make([torch.zeros(1)]))
    assert size_after(make, 0.97 * threshold) < 0.1
    assert size_after(make, 1.03 * threshold) > 100


HELD = 4.0  # a second moment that stays where it is


def hold_second_moment(optimizer, weight):
    state = optimizer.state[weight]
    state["step"].fill_(2.0**60)  # so that no bias is left to correct
    state["exp_avg_sq" if "exp_avg_sq" in state else "square_avg"].fill_(HELD)
    for name in {"exp_avg", "momentum_buffer"} & set(state):
        state[name].zero_()
    weight.data.fill_(1.0)


@pytest.mark.parametrize(
    ("make", "decay"),
    [
        (lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.9, 1 - 2.0**-53)), 0.0),
        (lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.5, 1 - 2.0**-53), amsgrad=False), 0.0),
        (lambda p: torch.optim.AdamW(p, lr=0.01, betas=(0.9, 1 - 2.0**-53), weight_decay=20.0), 20.0),
        (lambda p: torch.optim.RMSprop(p, lr=0.01, alpha=1 - 2.0**-53), 0.0),
        (lambda p: torch.optim.RMSprop(p, lr=0.01, alpha=1 - 2.0**-53, momentum=0.9), 0.0),
    ],
)
def test_adaptive_optimisers_of_pytorch_diverge_just_above_the_threshold_on_what_they_precondition(make, decay):
    """With the second moment held at 4 the gradient is divided by 2, and λ/2 is what counts."""
    threshold = stability_threshold(make([torch.zeros(1)]))
    assert size_after(make, 0.97 * 2 * threshold, prepare=hold_second_moment) < 0.1
    assert size_after(make, 1.03 * 2 * threshold, prepare=hold_second_moment) > 100


@pytest.mark.parametrize(
    ("optimizer", "field"),
    [
        (torch.optim.SGD([{"params": [torch.zeros(1)]}, {"params": [torch.ones(1)], "lr": 0.2}], lr=0.1), "lr"),
        (torch.optim.Adam([{"params": [torch.zeros(1)]}, {"params": [torch.ones(1)], "betas": (0.5, 0.9)}]), "betas"),
        (torch.optim.SGD([torch.zeros(1)], lr=0.1, maximize=True), "maximize"),
        (torch.optim.Adam([torch.zeros(1)], weight_decay=0.1), "weight_decay"),
        (torch.optim.RMSprop([torch.zeros(1)], weight_decay=0.1), "weight_decay"),
        (torch.optim.Adagrad([torch.zeros(1)]), "optimizer = torch.optim's Adagrad"),
        (torch.optim.NAdam([torch.zeros(1)]), "optimizer = torch.optim's NAdam"),
        (type("Mine", (torch.optim.SGD,), {})([torch.zeros(1)], lr=0.1), "optimizer = torch.optim's Mine"),
        (None, "optimizer"),
        ("sgd", "optimizer"),
        (SGD, "optimizer"),
    ],
)
def test_an_optimiser_without_one_known_threshold_is_refused_by_name(optimizer, field, unchecked):
    with pytest.raises(InputError, match=field):
        stability_threshold(optimizer)


def quadratic_surface(curvatures):
    """½ Σ λᵢwᵢ²: mean squared error of inputs √(nλ/2) on the diagonal."""
    model = torch.nn.Linear(len(curvatures), 1, bias=False).double()
    inputs = torch.diag((torch.tensor(curvatures).double() * len(curvatures) / 2).sqrt())
    return model, LossSurface(model, "mse", (inputs, torch.zeros(len(curvatures), 1).double()))


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.Adam(p, lr=1e-2, eps=1e-3),
        lambda p: torch.optim.Adam(p, lr=1e-2, amsgrad=True),
        lambda p: torch.optim.AdamW(p, lr=1e-2),
        lambda p: torch.optim.RMSprop(p, lr=1e-2),
        lambda p: torch.optim.RMSprop(p, lr=1e-2, centered=True),
    ],
)
def test_the_preconditioner_is_what_the_next_step_divides_by(make):
    """A step of θ − m/(1 − β₁ᵗ)·η/D, from the state before: solve it for D."""
    torch.manual_seed(0)
    model, surface = quadratic_surface([1.0, 3.0, 10.0])
    optimizer = make(model.parameters())
    for _ in range(7):
        optimizer.zero_grad()
        (surface._batches.first.inputs @ model.weight.T).square().mean().backward()
        before = model.weight.detach().clone()
        optimizer.step()
    divisor = probes.preconditioner(surface, optimizer)
    state, group = optimizer.state[model.weight], optimizer.param_groups[0]
    moved = before * (1 - group["lr"] * group["weight_decay"]) - model.weight.detach()
    moment = state["exp_avg"] / (1 - group["betas"][0] ** 7) if "exp_avg" in state else model.weight.grad
    torch.testing.assert_close(divisor, (group["lr"] * moment / moved).ravel(), rtol=1e-9, atol=1e-12)


def test_adams_sharpness_of_a_quadratic_is_its_curvature_over_the_preconditioner():
    model, surface = quadratic_surface([1.0, 3.0, 10.0])
    optimizer = torch.optim.Adam(model.parameters())
    model.weight.grad = torch.tensor([[2.0, -4.0, 50.0]]).double()
    optimizer.step()
    divisor = probes.preconditioner(surface, optimizer)  # after one step v/(1 − β₂) = g²
    torch.testing.assert_close(divisor, torch.tensor([2.0, 4.0, 50.0]).double() + 1e-8)
    assert probes.preconditioned_eigenvalue(surface, preconditioner=divisor).item() == pytest.approx(3 / 4)


@pytest.mark.parametrize(
    ("optimizer", "match"),
    [
        (lambda model: torch.optim.Adam(model.parameters()), "at least one step"),
        (lambda model: torch.optim.Adam([torch.nn.Parameter(torch.ones(3))]), "does not train weight"),
        (lambda model: torch.optim.SGD(model.parameters(), lr=0.1), "optimizer = SGD"),
        (lambda model: None, "optimizer = NoneType"),
    ],
)
def test_what_holds_no_preconditioner_is_refused(optimizer, match, unchecked):
    model, surface = quadratic_surface([1.0, 3.0])
    with pytest.raises(InputError, match=match):
        probes.preconditioner(surface, optimizer(model))
