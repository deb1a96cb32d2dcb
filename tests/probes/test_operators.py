"""Probes of products take the Gauss-Newton matrix and the Fisher as they take a surface's Hessian."""

import pytest
import torch
from torch import nn

import bathymetry as bm
from bathymetry import LossSurface, linalg, probes
from bathymetry.core.errors import InputError
from bathymetry.linalg.operator import ScaledOperator
from probes.surfaces import linear_regression, quadratic


def test_the_gauss_newton_matrix_of_linear_regression_has_the_spectrum_of_its_hessian():
    surface, x, _ = linear_regression()
    hessian = 2 / len(x) * x.T @ x
    matrix = bm.GaussNewton(surface)
    found = probes.eigenvalues(matrix, k=4)
    torch.testing.assert_close(found.values, torch.linalg.eigvalsh(hessian).flip(0))
    assert found.converged.all()
    assert found.backend == "GaussNewton"
    assert probes.trace(matrix).value.item() == pytest.approx(hessian.trace().item())
    torch.testing.assert_close(probes.diagonal(matrix).value, hessian.diagonal())
    share, error = probes.spectral_density(matrix, probes=4, steps=4).mass(0, 1e9)
    assert (share.item(), error.item()) == (pytest.approx(1), 0)


def test_the_trace_of_the_fisher_is_the_mean_square_of_the_gradients_of_examples():
    torch.manual_seed(0)
    model = bm.mlp([3, 5, 2], "tanh").double()
    surface = LossSurface(model, "cross_entropy", (torch.randn(12, 3).double(), torch.randint(0, 2, (12,))))
    squares = probes.example_gradient_norms(surface).value.square()
    assert probes.trace(bm.Fisher(surface)).value.item() == pytest.approx(squares.mean().item())


def test_large_operators_are_searched_by_products_and_come_with_their_residuals():
    values = torch.linspace(-1, 2, 400, dtype=torch.float64)
    matrix = linalg.MatrixOperator(torch.diag(values))
    found = probes.eigenvalues(matrix, k=2, which="both", tolerance=1e-6)
    torch.testing.assert_close(found.values, values[[-1, -2, 1, 0]], atol=1e-5, rtol=0)
    residual = (values * found.vectors - found.values[:, None] * found.vectors).norm(dim=1)
    torch.testing.assert_close(found.residuals, residual, atol=1e-12, rtol=1e-6)


PROBES = [probes.eigenvalues, probes.spectral_density, probes.trace, probes.diagonal]


@pytest.mark.parametrize("probe", PROBES)
def test_an_operator_has_one_point_of_its_own(probe, unchecked):
    surface = quadratic(torch.eye(7).double())
    with pytest.raises(InputError, match=r"^theta = "):
        probe(bm.GaussNewton(linear_regression()[0]), torch.zeros(4))
    with pytest.raises(InputError, match=r"^surface = an operator of shape \(2, 7, 7\)"):
        probe(surface.product(torch.zeros(2, 7)))


def test_an_operator_is_preconditioned_by_scaling_it():
    matrix = torch.tensor([[2.0, 1.0], [1.0, 8.0]]).double()
    divisor = torch.tensor([1.0, 4.0]).double()
    operator = linalg.MatrixOperator(matrix)
    with pytest.raises(InputError, match=r"^preconditioner = "):
        probes.eigenvalues(operator, k=1, preconditioner=divisor)
    scaled = probes.eigenvalues(ScaledOperator(operator, divisor.rsqrt()), k=1).values
    torch.testing.assert_close(scaled[0], probes.preconditioned_eigenvalue(quadratic(matrix), preconditioner=divisor))


@pytest.mark.parametrize("probe", PROBES)
def test_a_network_is_no_operator(probe, unchecked):
    with pytest.raises(InputError, match=r"^surface = Linear"):
        probe(nn.Linear(2, 1))
