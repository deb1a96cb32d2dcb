"""Numbers whose squares are none in float32, and networks that compute in half precision."""

import warnings

import pytest
import torch
from torch import nn

import bathymetry as bm
from bathymetry import LossSurface, probes
from bathymetry.core.tensors import norms
from bathymetry.linalg import operator

TINY = 1e-25  # its square is below every number of float32


def surfaces(model=None):
    """The same surface, and the same times 10⁻²⁵."""
    torch.manual_seed(0)
    x, y = torch.randn(40, 3), torch.randn(40, 2)
    model = model or nn.Linear(3, 2)
    small = LossSurface(model, lambda output, target: TINY * ((output - target) ** 2).mean(), (x, y))
    return LossSurface(model, lambda output, target: ((output - target) ** 2).mean(), (x, y)), small


def agree(small, plain, scale=TINY, rtol=1e-4):
    torch.testing.assert_close(small.double() / scale, plain.double(), rtol=rtol, atol=0)


def test_gradients_whose_squares_underflow_have_their_norms():
    plain, small = surfaces()
    found, truth = probes.gradient_norm(small), probes.gradient_norm(plain)
    agree(found.value, truth.value)
    agree(found.by_layer, truth.by_layer)
    agree(probes.example_gradient_norms(small).value, probes.example_gradient_norms(plain).value)


def test_examples_of_a_perceptron_whose_squares_underflow_have_their_norms():
    """Cross-entropy of examples that are all but certain: δ of 10⁻²⁶, by double precision."""
    model, x = bm.mlp([2, 2], "relu"), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[30.0, -30.0], [-30.0, 30.0]]))
        model[0].bias.zero_()
    surface = LossSurface(model, "cross_entropy", (x, torch.tensor([1, 0])))
    certain = LossSurface(model, "cross_entropy", (x, torch.tensor([0, 1])))
    assert "formulas" in certain.backend
    torch.testing.assert_close(surface.example_gradient_norms(), torch.full((2,), 2.0).double())  # √2 · √(1 + 1)
    torch.testing.assert_close(
        certain.example_gradient_norms(), certain.double().example_gradient_norms(), rtol=1e-5, atol=1e-40
    )


def test_a_noise_scale_does_not_depend_on_the_scale_of_the_loss():
    plain, small = surfaces()
    found, truth = probes.noise_scale(small), probes.noise_scale(plain)
    assert found.value.item() == pytest.approx(truth.value.item(), rel=1e-4)
    assert found.standard_error.item() == pytest.approx(truth.standard_error.item(), rel=1e-4)
    agree(found.gradient_norm, truth.gradient_norm)


@pytest.mark.parametrize("kind", ["sam", "ball"])
def test_a_rise_whose_gradients_square_underflows_is_found(kind):
    plain, small = surfaces()
    found, truth = (probes.sharpness(one, kind=kind, epsilon=0.05).value for one in (small, plain))
    agree(found, truth, rtol=1e-3)


def test_eigenvalues_and_density_of_a_small_hessian_are_found():
    torch.manual_seed(0)
    x = torch.randn(50, 400)
    small = LossSurface(
        nn.Linear(400, 1), lambda output, target: TINY * output.square().mean(), (x, torch.zeros(50, 1))
    )
    with_bias = torch.cat([x, torch.ones(50, 1)], dim=1).double()
    largest = 2 * torch.linalg.svdvals(with_bias)[:2] ** 2 / 50
    found = probes.eigenvalues(small, k=2)
    assert found.converged.all()
    agree(found.values, largest, rtol=1e-3)
    density = probes.spectral_density(small, steps=60)
    agree(density.nodes.amax().detach(), largest[0], rtol=1e-2)


def test_directions_and_weights_whose_squares_underflow_have_a_length():
    plain, _ = surfaces()
    direction = torch.full((1, 8), 1e-30)
    found = probes.landscape(plain, directions=direction, points=3, radius=1e30)
    assert found.axes[0][-1].item() == pytest.approx(8**0.5)
    model = nn.Linear(3, 2)
    model.weight.data *= 1e-25
    surface, _ = surfaces(model)
    lengths = probes.landscape(surface, dimensions=1, points=3, seed=0).axes[0]
    assert 0 < lengths[-1] < 1e-23


def test_lengths_are_those_of_float64_and_elsewhere_the_usual_ones_to_the_last_bit():
    torch.manual_seed(0)
    rows = torch.randn(60, 50) * 10.0 ** torch.linspace(-37, 37, 60)[:, None]
    torch.testing.assert_close(norms(rows).double(), rows.double().norm(dim=1), rtol=1e-6, atol=0)
    usual = torch.randn(60, 50) * 10.0 ** torch.linspace(-8, 8, 60)[:, None]
    assert torch.equal(norms(usual), usual.norm(dim=1))
    assert norms(torch.zeros(2, 3)).tolist() == [0.0, 0.0]
    assert norms(torch.tensor([[torch.nan, 1.0], [torch.inf, 1.0]])).isfinite().tolist() == [False, False]


HALF = [
    lambda s: probes.sharpness(s, kind="sam", epsilon=0.01).rise,
    lambda s: probes.sharpness(s, kind="ball", epsilon=0.01).rise,
    lambda s: probes.sharpness(s, kind="keskar", epsilon=1e-4).rise,
    lambda s: probes.landscape(s, dimensions=1, points=5, radius=1e-3).loss.diff(),
    lambda s: probes.interpolate(s, s.parameters, s.parameters + 1e-4, torch.linspace(0, 1, 5)).loss.diff(),
    lambda s: probes.eigenvalues(s, k=2).values,
    lambda s: probes.trace(s).value,
    lambda s: probes.diagonal(s).value,
    lambda s: probes.spectral_density(s).moment(2)[0],
]


def half_network(dtype):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 3)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("measure", HALF)
def test_differences_of_a_network_in_half_precision_are_those_of_float64_and_it_is_said(dtype, measure):
    model = half_network(dtype)
    data = torch.randn(40, 4).to(dtype), torch.randint(0, 3, (40,))
    surface, truth = (LossSurface(model, "cross_entropy", data, dtype=kind) for kind in (None, torch.float64))
    with pytest.warns(UserWarning, match=r"dtype=torch\.float32"):
        found = measure(surface)
    expected = measure(truth)
    torch.testing.assert_close(found.double(), expected.double(), rtol=0.02, atol=3e-6)
    assert next(model.parameters()).dtype == dtype


def test_networks_in_single_and_double_precision_are_measured_as_they_are():
    for dtype in (torch.float32, torch.float64):
        model = half_network(dtype)
        surface = LossSurface(model, "cross_entropy", (torch.randn(4, 4).to(dtype), torch.randint(0, 3, (4,))))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert surface.at_least_float32() is surface


def test_a_slope_that_is_not_finite_has_no_sharpness():
    from probes.surfaces import surface_of

    surface = surface_of(lambda w: w[0].abs().sqrt() + w[1] ** 2, 0.0, 1.0)
    for kind in ("sam", "ball", "keskar"):
        with pytest.raises(operator.NotFiniteError, match="not finite"):
            probes.sharpness(surface, kind=kind)
