"""Interpolation, sensitivity, sharpness, noise scale and landscapes, against closed forms."""

import math

import pytest
import torch
from torch import nn

import bathymetry as bm
from bathymetry import LossSurface, probes
from bathymetry.core.errors import InputError
from probes.surfaces import linear_regression, quadratic, surface_of


def softmax_regression(examples=9):
    torch.manual_seed(0)
    x, y = torch.randn(examples, 4).double(), torch.randint(0, 3, (examples,))
    model = nn.Linear(4, 3).double()
    return model, LossSurface(model, "cross_entropy", [(x[:2], y[:2]), (x[2:], y[2:])]), x, y


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


def test_softmax_regression_has_its_sensitivities_in_closed_form():
    model, surface, x, y = softmax_regression()
    weight = model.weight.detach()
    p = (x @ weight.T + model.bias).softmax(1).detach()
    spread = torch.stack([torch.diag(q) - torch.outer(q, q) for q in p])
    expected = {
        "logits": weight.norm().expand(9),
        "probabilities": (spread @ weight).flatten(1).norm(dim=1),
        "loss": ((p - nn.functional.one_hot(y, 3)) @ weight).norm(dim=1),
    }
    for of, norms in expected.items():
        found = probes.sensitivity(surface, of)
        torch.testing.assert_close(found.per_example, norms)
        torch.testing.assert_close(found.value, norms.mean())


def test_a_model_that_fits_every_example_is_as_sensitive_as_ever():
    x = torch.eye(3).double()
    model = nn.Linear(3, 2, bias=False).double()
    surface = LossSurface(model, "mse", (x, model(x).detach()))
    assert probes.gradient_norm(surface).value < 1e-12
    assert probes.sensitivity(surface, "logits").value.item() == pytest.approx(model.weight.norm().item())


@pytest.mark.parametrize("of", ["loss", "logits", "probabilities"])
def test_sensitivity_does_not_depend_on_the_batches(of):
    model, _, x, y = softmax_regression()
    whole = probes.sensitivity(LossSurface(model, "cross_entropy", (x, y)), of)
    single = probes.sensitivity(LossSurface(model, "cross_entropy", list(zip(x.split(1), y.split(1), strict=True))), of)
    torch.testing.assert_close(whole.per_example, single.per_example)


def test_the_ball_around_a_parabolas_bottom_rises_by_half_its_largest_eigenvalue():
    matrix = torch.diag(torch.tensor([1.0, 7.0, -9.0, 3.0]).double())
    found = probes.sharpness(quadratic(matrix), "ball", epsilon=0.1)
    assert found.value.item() == pytest.approx(0.5 * 0.1**2 * 7, rel=1e-6)


def test_keskars_box_is_climbed_to_its_corner():
    found = probes.sharpness(quadratic(torch.diag(torch.tensor([2.0, 4.0]).double())), "keskar", epsilon=0.1)
    assert found.value.item() == pytest.approx(100 * (0.1**2 * 2 + 0.1**2 * 4) / 2, rel=1e-6)


def test_sam_steps_along_the_gradient():
    surface = quadratic(torch.diag(torch.tensor([2.0, 4.0]).double()), torch.tensor([1.0, 1.0]))
    theta = surface.parameters
    step = 0.05 * surface.gradient() / surface.gradient().norm()
    found = probes.sharpness(surface, "sam", epsilon=0.05)
    assert found.value.item() == pytest.approx(float(surface.loss(theta + step) - surface.loss(theta)))


def rescaled(factor):
    """A ReLU network without biases, its first layer times a factor and its second divided by it."""
    torch.manual_seed(4)
    model = nn.Sequential(nn.Linear(3, 6, bias=False), nn.ReLU(), nn.Linear(6, 2, bias=False)).double()
    x, y = torch.randn(20, 3).double(), torch.randn(20, 2).double()
    with torch.no_grad():
        model[0].weight *= factor
        model[2].weight /= factor
    return LossSurface(model, "mse", (x, y))


def test_rescaling_layers_changes_the_trace_and_nothing_that_is_filter_normalised():
    one, other = rescaled(1.0), rescaled(5.0)
    assert one.loss().item() == pytest.approx(other.loss().item())
    planes = [probes.landscape(surface, "filter", points=5, reach=0.3) for surface in (one, other)]
    torch.testing.assert_close(planes[0].loss, planes[1].loss)
    sharp = [probes.sharpness(s, "ball", epsilon=0.1, scale="filter").value.item() for s in (one, other)]
    assert sharp[0] == pytest.approx(sharp[1], rel=1e-4)
    plain = [probes.sharpness(s, "ball", epsilon=0.1).value.item() for s in (one, other)]
    assert abs(plain[0] / plain[1] - 1) > 0.5
    traces = [probes.trace(surface).value.item() for surface in (one, other)]
    assert abs(traces[0] / traces[1] - 1) > 0.5


@pytest.mark.parametrize("wrapped", [False, True])
def test_linear_regression_with_gaussian_inputs_has_the_noise_scale_of_its_closed_form(wrapped):
    """(d + 1) + d σ² / ‖Δ‖², Δ the distance to the true weights, σ² the label noise."""
    chance = torch.Generator().manual_seed(2)
    width, count, noise = 5, 40_000, 0.7
    x = torch.randn(count, width, generator=chance).double()
    true, away = torch.randn(2, width, generator=chance).double()
    y = x @ true[:, None] + noise * torch.randn(count, 1, generator=chance).double()
    model = nn.Linear(width, 1, bias=False).double()
    model.weight.data = (true + away)[None]
    few = slice(0, count if not wrapped else 8000)
    found = probes.noise_scale(LossSurface(nn.Sequential(model) if wrapped else model, "mse", (x[few], y[few])))
    expected = width + 1 + width * noise**2 / away.square().sum().item()
    assert abs(found.value - expected) < 4 * found.standard_error
    assert found.standard_error < 0.1 * expected


def test_a_landscape_has_true_distances_its_centre_and_its_gaps():
    surface = quadratic(torch.eye(2).double())
    along = torch.tensor([[3.0, 4.0]]).double()
    line = probes.landscape(surface, along, reach=2.0, points=5)
    torch.testing.assert_close(line.axes[0], torch.tensor([-10.0, -5, 0, 5, 10]).double())
    torch.testing.assert_close(line.loss, line.axes[0].square() / 2)
    broken = surface_of(lambda w: w[0].log(), 1.0)
    gaps = probes.landscape(broken, torch.tensor([[1.0]]).double(), reach=2.0, points=5).loss
    assert bool(gaps[0].isnan())
    assert gaps[2] == 0


def test_eigenvectors_span_the_plane_of_the_sharpest_directions():
    surface = quadratic(torch.diag(torch.tensor([1.0, 5.0, 3.0]).double()))
    plane = probes.landscape(surface, "eigenvectors", reach=1.0, points=3)
    assert plane.loss[2, 1].item() == pytest.approx(2.5)
    assert plane.loss[1, 2].item() == pytest.approx(1.5)


def test_label_noise_is_a_members_own_and_of_the_share_asked_for():
    labels = torch.arange(1000) % 10
    noisy = bm.data.label_noise(labels, 0.2, 10, range(5))
    assert torch.equal(noisy[3], bm.data.label_noise(labels, 0.2, 10, range(3, 4))[0])
    changed = (noisy != labels).sum(1)
    assert (changed <= 200).all()
    assert abs(changed.double().mean() - 180) < 4 * math.sqrt(18 / 5)
    assert not torch.equal(noisy[0], noisy[1])
    with pytest.raises(InputError, match=r"share = 1\.5"):
        bm.data.label_noise(labels, 1.5, 10, range(1))
