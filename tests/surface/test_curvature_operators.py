"""The Hessian, the Gauss-Newton matrix and the empirical Fisher as operators, against closed forms and slow ones."""

import pytest
import torch
from scipy.sparse.linalg import eigsh
from torch import nn
from torch.func import functional_call

import bathymetry as bm
from bathymetry import Fisher, GaussNewton, LossSurface
from bathymetry.core.errors import InputError
from bathymetry.linalg import eigenpairs, estimates
from bathymetry.linalg.estimates import spectral_density
from surface import cases

F64 = torch.float64
OPERATORS = pytest.mark.parametrize("operator", [LossSurface.product, GaussNewton, Fisher])
ARCHITECTURES = pytest.mark.parametrize("name", ["convolution", "lstm", "attention", "batchnorm, evaluating", "tied"])


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def labels(count, classes, seed=0):
    return torch.randint(0, classes, (count,), generator=torch.Generator().manual_seed(seed))


def dense(operator):
    return operator @ torch.eye(operator.dimension, dtype=operator.dtype)


def built(name):
    case = cases.CASES[name]
    return case, cases.built(case)


def test_the_gauss_newton_matrix_of_linear_regression_is_its_hessian():
    """L = mean over n·k entries of (XWᵀ − Y)², so H = G = 2/(nk) I ⊗ XᵀX."""
    model, x, y = nn.Linear(3, 2, bias=False).double(), drawn(9, 3), drawn(9, 2, seed=1)
    surface = LossSurface(model, "mse", [(x[:2], y[:2]), (x[2:], y[2:])])
    expected = 2 / 18 * torch.kron(torch.eye(2, dtype=F64), x.T @ x)
    torch.testing.assert_close(dense(GaussNewton(surface)), expected)
    torch.testing.assert_close(surface.hessian(), expected)


@pytest.mark.parametrize("wrapped", [False, True])
def test_the_gauss_newton_matrix_of_softmax_regression_is_a_sum_of_kronecker_products(wrapped):
    """G = 1/n Σᵢ (diag pᵢ − pᵢpᵢᵀ) ⊗ xᵢxᵢᵀ, which is the Hessian too."""
    x, y = drawn(11, 4), labels(11, 3)
    layer = nn.Linear(4, 3, bias=False).double()
    surface = LossSurface(nn.Sequential(layer) if wrapped else layer, "cross_entropy", [(x[:4], y[:4]), (x[4:], y[4:])])
    p = (x @ layer.weight.detach().T).softmax(1)
    expected = sum(
        torch.kron(torch.diag(q) - torch.outer(q, q), torch.outer(one, one)) for q, one in zip(p, x, strict=True)
    )
    torch.testing.assert_close(dense(GaussNewton(surface)), expected / 11)
    torch.testing.assert_close(surface.hessian(), expected / 11)


@ARCHITECTURES
def test_the_gauss_newton_matrix_is_that_of_whole_jacobians(name):
    case, model = built(name)
    batches = case.batches()
    surface = LossSurface(model, case.loss, batches)
    theta, expected = surface.parameters, 0
    for x, y in batches:

        def output(point, x=x):
            return functional_call(model, surface.selection.split(point), (x,))

        jacobian = torch.autograd.functional.jacobian(output, theta).flatten(0, 1)
        loss = nn.functional.cross_entropy if case.kind == "classes" else nn.functional.mse_loss
        inner = torch.autograd.functional.hessian(lambda z, y=y, loss=loss: loss(z, y), output(theta))
        inner = inner.reshape(len(jacobian), len(jacobian))
        expected = expected + len(x) / 12 * jacobian.T @ inner @ jacobian
    torch.testing.assert_close(dense(GaussNewton(surface)), expected, rtol=1e-9, atol=1e-12)


def brute_force_fisher(surface, loss, batches, weights, total):
    """Σᵢ wᵢ gᵢgᵢᵀ / total, one example after another."""
    found, position = 0, 0
    for x, y in batches:
        for one, target in zip(x, y, strict=True):
            theta = surface.parameters.requires_grad_()
            output = functional_call(surface._model, surface.selection.split(theta), (one[None],))
            if weights[position]:
                (gradient,) = torch.autograd.grad(loss(output, target[None]), theta)
                found = found + weights[position] * torch.outer(gradient, gradient)
            position += 1
    return found / total


@ARCHITECTURES
def test_the_empirical_fisher_is_the_mean_of_outer_products_of_gradients(name):
    case, model = built(name)
    batches = case.batches()
    surface = LossSurface(model, case.loss, batches)
    loss = nn.functional.cross_entropy if case.kind == "classes" else nn.functional.mse_loss
    expected = brute_force_fisher(surface, loss, batches, [1.0] * 12, 12)
    torch.testing.assert_close(dense(Fisher(surface)), expected, rtol=1e-9, atol=1e-12)


def test_the_empirical_fisher_weights_examples_as_the_loss_does():
    x, y = drawn(10, 4), labels(10, 3)
    y[3] = -100
    weight = torch.tensor([1.0, 2.0, 5.0], dtype=F64)
    batches = [(x[:4], y[:4]), (x[4:], y[4:])]
    surface = LossSurface(nn.Linear(4, 3).double(), nn.CrossEntropyLoss(weight=weight), batches)
    weights = [0.0 if label < 0 else float(weight[label]) for label in y]
    expected = brute_force_fisher(surface, nn.functional.cross_entropy, batches, weights, sum(weights))
    torch.testing.assert_close(dense(Fisher(surface)), expected)


def test_the_empirical_fisher_of_a_sum_is_a_sum():
    x, y = drawn(7, 4), drawn(7, 3, seed=1)
    batches = [(x[:3], y[:3]), (x[3:], y[3:])]
    surface = LossSurface(nn.Linear(4, 3).double(), nn.MSELoss(reduction="sum"), batches)
    expected = brute_force_fisher(surface, nn.MSELoss(reduction="sum"), batches, [1.0] * 7, 1)
    torch.testing.assert_close(dense(Fisher(surface)), expected)


def test_the_empirical_fisher_at_logistic_labels_is_xx_times_squared_residuals():
    """gᵢ = (pᵢ − yᵢ) xᵢ, so F = 1/n Σᵢ (pᵢ − yᵢ)² xᵢxᵢᵀ."""
    x, y = drawn(12, 3), labels(12, 2)[:, None].double()
    layer = nn.Linear(3, 1, bias=False).double()
    surface = LossSurface(layer, nn.BCEWithLogitsLoss(), [(x[:5], y[:5]), (x[5:], y[5:])])
    residual = (x @ layer.weight.detach().T).sigmoid() - y
    torch.testing.assert_close(dense(Fisher(surface)), (residual * x).T @ (residual * x) / 12)


@OPERATORS
@pytest.mark.parametrize("name", ["convolution", "lstm"])
def test_parts_that_fit_into_memory_amount_to_the_whole(operator, name):
    case, model = built(name)
    roomy, narrow = (LossSurface(model, case.loss, case.batches(), max_bytes=size) for size in (2**31, 30_000))
    vectors = drawn(3, roomy.dimension)
    torch.testing.assert_close(operator(narrow)(vectors), operator(roomy)(vectors), rtol=1e-10, atol=1e-12)


@OPERATORS
def test_an_ensemble_of_operators_is_its_members_one_by_one(operator):
    case, model = built("convolution")
    surface = LossSurface(model, case.loss, case.batches())
    theta = surface.parameters + 0.1 * drawn(3, surface.dimension)
    together, vectors = operator(surface, theta), drawn(3, 2, surface.dimension, seed=1)
    assert together.shape == (3, surface.dimension, surface.dimension)
    alone = torch.stack([operator(surface, one)(own) for one, own in zip(theta, vectors, strict=True)])
    torch.testing.assert_close(together(vectors), alone, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(together @ vectors.mT, alone.mT, rtol=1e-10, atol=1e-12)


@OPERATORS
def test_an_operator_multiplies_rows_by_a_call_and_columns_by_matmul(operator):
    case, model = built("attention")
    matrix = operator(LossSurface(model, case.loss, case.batches()))
    vectors = drawn(4, matrix.dimension)
    assert matrix.shape == (matrix.dimension, matrix.dimension)
    assert matrix.dtype == F64
    torch.testing.assert_close(matrix @ vectors.T, matrix(vectors).T)
    torch.testing.assert_close(matrix @ vectors[0], matrix(vectors[0]))
    torch.testing.assert_close(matrix(vectors), vectors @ dense(matrix), rtol=1e-9, atol=1e-12)


@OPERATORS
def test_algorithms_for_operators_take_each_curvature(operator):
    case, model = built("convolution")
    matrix = operator(LossSurface(model, case.loss, case.batches()))
    whole = dense(matrix)
    values = torch.linalg.eigvalsh(whole)
    generator = torch.Generator().manual_seed(0)
    found = eigenpairs.eigenpairs(matrix, 2, "largest", generator=generator)
    torch.testing.assert_close(found.values.sort().values, values[-2:], rtol=1e-6, atol=1e-9)
    assert found.converged.all()
    many = matrix.dimension
    torch.testing.assert_close(torch.tensor(estimates.trace(matrix, many, generator).value).double(), whole.trace())
    torch.testing.assert_close(estimates.diagonal(matrix, many, generator).value.double(), whole.diagonal())
    density = spectral_density(matrix, 2, many, generator)
    assert float(density.nodes.max()) == pytest.approx(float(values[-1]), rel=1e-6)
    largest = eigsh(matrix.linear_operator(), k=1, which="LA", return_eigenvectors=False)
    assert float(largest[0]) == pytest.approx(float(values[-1]), rel=1e-8)


def test_a_surface_multiplies_by_the_hessian_at_the_networks_own_parameters():
    surface = LossSurface(bm.mlp([4, 5, 3], "tanh").double(), "mse", (drawn(6, 4), drawn(6, 3, seed=1)))
    vectors = drawn(surface.dimension, 3)
    assert surface.shape == (surface.dimension, surface.dimension)
    torch.testing.assert_close(surface @ vectors, surface.hessian() @ vectors)
    torch.testing.assert_close(surface @ vectors[:, 0], surface.hessian() @ vectors[:, 0])


def test_a_gauss_newton_matrix_without_known_outputs_is_refused():
    x, y = drawn(6, 4), drawn(6, 3, seed=1)

    def loss(model, batch):
        return (model(batch[0]) - batch[1]).square().mean()

    with pytest.raises(InputError, match=r"loss = loss: .*expected a loss of"):
        GaussNewton(LossSurface(nn.Linear(4, 3).double(), loss, (x, y)))
    with pytest.raises(InputError, match="linear in the network's outputs"):
        GaussNewton(LossSurface(nn.Linear(4, 3).double(), lambda output, _: output.mean(), (x, y)))


def test_a_fisher_of_examples_that_depend_on_one_another_is_refused():
    case, model = built("batchnorm, evaluating")
    with pytest.raises(InputError, match="BatchNorm in training mode"):
        Fisher(LossSurface(model.train(), case.loss, case.batches()))


@OPERATORS
def test_vectors_that_do_not_fit_an_operator_are_refused(operator, unchecked):
    surface = LossSurface(nn.Linear(4, 3).double(), "mse", (drawn(6, 4), drawn(6, 3, seed=1)))
    for odd in (torch.zeros(3), torch.zeros(2, 2, 15), torch.zeros(()), None, "v"):
        with pytest.raises(InputError, match="vectors = "):
            operator(surface)(odd)
    with pytest.raises(InputError, match=r"vectors = shape \(3, 15\): .*\(2, 15\) or \(2, vector, 15\)"):
        operator(surface, torch.zeros(2, 15))(torch.zeros(3, 15))


@pytest.mark.parametrize("matrix", [GaussNewton, Fisher])
def test_a_matrix_of_a_network_without_data_is_refused(matrix, unchecked):
    with pytest.raises(InputError, match=r"^surface = Sequential: expected a bm\.LossSurface"):
        matrix(bm.mlp([1, 2, 1]))
