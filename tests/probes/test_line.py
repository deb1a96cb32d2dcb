"""Losses, accuracies and barriers along lines, against closed forms."""

import math

import pytest
import torch
from torch import nn

from bathymetry import LossSurface, models, probes
from bathymetry.core.errors import InputError
from probes.surfaces import linear_regression, softmax_regression, surface_of


def test_between_two_least_squares_solutions_the_loss_is_a_parabola():
    surface, x, _ = linear_regression()
    a, b = torch.randn(2, 4, generator=torch.Generator().manual_seed(1)).double()
    alphas = torch.arange(-20, 41).double() / 20
    line = probes.interpolate(surface, a, b, alphas)
    first, last = surface.loss(a), surface.loss(b)
    bend = (x @ (a - b)).square().sum() / len(x)
    torch.testing.assert_close(line.loss, (1 - alphas) * first + alphas * last - alphas * (1 - alphas) * bend)
    assert line.loss[20] == first
    assert line.loss[40] == last
    assert line.accuracy is None


def test_identical_networks_are_flat():
    _, surface, _, _ = softmax_regression()
    theta = torch.stack([surface.parameters, surface.parameters + 1])
    line = probes.interpolate(surface, theta, theta)
    assert (line.loss == line.loss[:, :1]).all()
    for quantity in (line.barrier, line.barrier_above_line, line.error_barrier, line.error_barrier_above_line):
        assert (quantity == 0).all()
    assert line.monotone.all()


def test_the_two_barriers_differ_where_the_ends_do():
    surface = surface_of(lambda w: (w[0] ** 2 - 1) ** 2 + w[0] / 4, 0.0)
    line = probes.interpolate(surface, torch.tensor([-1.0]).double(), torch.tensor([1.0]).double(), 41)
    values, alphas = line.loss, line.alpha
    assert line.barrier.item() == pytest.approx(float(values.max() - (values[0] + values[-1]) / 2))
    straight = (1 - alphas) * values[0] + alphas * values[-1]
    assert line.barrier_above_line.item() == pytest.approx(float((values - straight).max()))
    assert not line.monotone


def test_accuracy_along_a_line_is_that_of_each_network():
    _, surface, x, y = softmax_regression()
    a, b = surface.parameters, -surface.parameters
    line = probes.interpolate(surface, a, b, [0.0, 0.25, 1.0])
    for alpha, seen in zip(line.alpha.tolist(), line.accuracy.tolist(), strict=True):
        theta = (1 - alpha) * a + alpha * b
        logits = x @ theta[:12].view(3, 4).T + theta[12:]
        assert seen == pytest.approx(float((logits.argmax(1) == y).double().mean()))


@pytest.mark.parametrize("alphas", [[0.0, 0.5], [0.1, 1.0], [1.0, 0.0]])
def test_a_grid_without_its_ends_is_refused(alphas):
    surface, _, _ = linear_regression()
    with pytest.raises(InputError, match="alphas"):
        probes.interpolate(surface, surface.parameters, surface.parameters, alphas)


def test_where_one_end_diverged_the_other_is_itself_and_all_between_is_not_a_number():
    _, surface, _, _ = softmax_regression()
    good, bad = surface.parameters, torch.full_like(surface.parameters, torch.nan)
    line = probes.interpolate(surface, torch.stack([good, bad]), torch.stack([bad, good]), [-1.0, 0.0, 0.5, 1.0, 2.0])
    at_the_ends = line.loss[:, [1, 3]]
    assert at_the_ends.isfinite().tolist() == [[True, False], [False, True]]
    assert (at_the_ends[at_the_ends.isfinite()] == surface.loss()).all()
    assert line.loss[:, [0, 2, 4]].isnan().all()
    assert line.barrier.isnan().all()
    assert not line.monotone.any()


@pytest.mark.parametrize("shape", [(2, 5), (4, 5), (2, 2, 5), (20,), (0, 10)])
def test_ends_that_are_no_points_of_the_surface_are_refused(shape, unchecked):
    surface = LossSurface(nn.Linear(4, 2), "mse", (torch.ones(3, 4), torch.ones(3, 2)))
    assert surface.dimension == 10
    with pytest.raises(InputError, match=r"^a = shape"):
        probes.interpolate(surface, torch.ones(shape), torch.ones(shape))


@pytest.mark.parametrize(
    "ends", [(torch.ones(2, 10), torch.ones(10)), (torch.ones(10), torch.ones(1, 10)), (torch.ones(10), None)]
)
def test_ends_of_different_shapes_are_refused(ends, unchecked):
    surface = LossSurface(nn.Linear(4, 2), "mse", (torch.ones(3, 4), torch.ones(3, 2)))
    with pytest.raises(InputError, match=r"^b = "):
        probes.interpolate(surface, *ends)


@pytest.mark.parametrize("alphas", [True, "x", None, 1, [0.0, math.nan, 1.0], [0.0, 1.0, math.inf], [[0.0, 1.0]]])
def test_a_grid_that_is_none_is_refused(alphas, unchecked):
    surface, _, _ = linear_regression()
    with pytest.raises(InputError, match=r"^alphas = "):
        probes.interpolate(surface, surface.parameters, surface.parameters, alphas)


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_a_perceptrons_line_is_that_of_its_points_one_after_another(activation, loss):
    """The first layer is worked out at both ends only; wrapped, the same network has no such way."""
    chance = torch.Generator().manual_seed(3)
    model = models.mlp([6, 9, 5, 4], activation).double()
    x = torch.randn(23, 6, generator=chance, dtype=torch.float64)
    y = torch.randint(0, 4, (23,), generator=chance)
    if loss == "mse":
        y = torch.randn(23, 4, generator=chance, dtype=torch.float64)
    batches = [(x[:20], y[:20]), (x[20:], y[20:])]
    fast, slow = (LossSurface(one, loss, batches) for one in (model, torch.nn.Sequential(model)))
    a, b = torch.randn(2, 3, fast.dimension, generator=chance, dtype=torch.float64)
    b[2] = a[2]
    lines = [probes.interpolate(one, a, b, [-1.0, 0.0, 0.3, 1.0, 2.0]) for one in (fast, slow)]
    torch.testing.assert_close(lines[0].loss, lines[1].loss, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        lines[0].loss[:, [1, 3]], torch.stack([fast.loss(a), fast.loss(b)], 1), rtol=1e-12, atol=0
    )
    assert (lines[0].loss[2] == lines[0].loss[2, 0]).all()
    if loss == "cross_entropy":
        assert torch.equal(lines[0].accuracy, lines[1].accuracy)


def test_ends_that_steps_miss_by_their_rounding_are_the_ends():
    surface, _, _ = linear_regression()
    alphas = torch.linspace(-1, 2, 61, dtype=torch.float64)
    assert not (alphas == 0).any()
    line = probes.interpolate(surface, surface.parameters, surface.parameters + 1, alphas)
    assert line.alpha[20] == 0
    assert line.loss[20] == surface.loss()
