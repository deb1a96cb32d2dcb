"""Products with the Hessian, the Gauss-Newton matrix and the empirical Fisher, against two other libraries.

curvlinops differentiates gradients in forward mode, hessian-eigenthings in reverse mode. PyTorch 2.13 does the former
wrongly for LayerNorm, so curvlinops is asked about networks without it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import pytest
import torch
from torch import nn

import bathymetry as bm

pytestmark = [
    pytest.mark.slow,
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),  # linear_operator compiles a function on import
]

F64 = torch.float64


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.LSTM(6, 8, num_layers=2, batch_first=True), nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.body(x)[0][:, -1])


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter, self.attend, self.head = (
            nn.Linear(6, 8),
            nn.MultiheadAttention(8, 2, batch_first=True),
            nn.Linear(8, 4),
        )

    def forward(self, x):
        x = self.enter(x)
        return self.head((x + self.attend(x, x, x, need_weights=False)[0]).mean(1))


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.TransformerEncoderLayer(6, 2, 16, dropout=0.0, batch_first=True), nn.Linear(6, 4)

    def forward(self, x):
        return self.head(self.body(x).mean(1))


def perceptron():
    return nn.Sequential(nn.Linear(12, 32), nn.Tanh(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 4))


def convolutions():
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1),
        nn.ELU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3),
        nn.Softplus(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(8, 4),
    )


def grouped_convolutions():
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1),
        nn.GroupNorm(2, 6),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3, stride=2),
        nn.GroupNorm(4, 8),
        nn.GELU(),
        nn.Flatten(),
        nn.Linear(72, 4),
    )


def batch_normalised():
    """Convolutions whose BatchNorm has seen other data, and uses what it remembers of them."""
    model = nn.Sequential(
        nn.Conv2d(2, 6, 3),
        nn.BatchNorm2d(6),
        nn.Tanh(),
        nn.Conv2d(6, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(128, 4),
    )
    model(3 * torch.randn(50, 2, 8, 8))
    return model


@dataclass(frozen=True)
class Problem:
    build: Callable[[], nn.Module]
    inputs: tuple[int, ...]  # of one example
    loss: Callable[[], nn.Module] = nn.CrossEntropyLoss


WITHOUT_LAYER_NORM = {
    "perceptron": Problem(perceptron, (12,)),
    "perceptron under MSE": Problem(perceptron, (12,), nn.MSELoss),
    "perceptron under a sum": Problem(perceptron, (12,), lambda: nn.CrossEntropyLoss(reduction="sum")),
    "convolutions": Problem(convolutions, (2, 8, 8)),
    "convolutions + GroupNorm": Problem(grouped_convolutions, (2, 8, 8)),
    "convolutions + BatchNorm": Problem(batch_normalised, (2, 8, 8)),
    "LSTM": Problem(Recurrent, (5, 6)),
    "attention": Problem(Attention, (5, 6)),
}
MEANS = {name: problem for name, problem in WITHOUT_LAYER_NORM.items() if "sum" not in name}
MEANS["transformer"] = Problem(Transformer, (5, 6))
OPERATORS = [bm.LossSurface.product, bm.GaussNewton, bm.Fisher]
PAIRS_FOR_CURVLINOPS = [
    pair
    for pair in product(OPERATORS, WITHOUT_LAYER_NORM)
    if pair != (bm.LossSurface.product, "convolutions + GroupNorm")  # its gradient has no forward mode in PyTorch
]
PAIRS_FOR_EIGENTHINGS = [
    pair
    for pair in product(OPERATORS, MEANS)
    if pair
    != (bm.Fisher, "LSTM")  # the library takes gradients of examples by vmap, which PyTorch's LSTM does not have
]


@pytest.fixture(autouse=True)
def differentiable_attention():
    """What attention computes in evaluation mode has no forward mode; the libraries take the formula instead."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        yield
    torch.backends.mha.set_fastpath_enabled(before)


def posed(problem):
    """The network, the loss, three batches of unequal sizes, and vectors as columns."""
    torch.manual_seed(0)
    model, loss = problem.build().double().eval(), problem.loss()
    x, labels, values = (
        torch.randn(23, *problem.inputs, dtype=F64),
        torch.randint(0, 4, (23,)),
        torch.randn(23, 4, dtype=F64),
    )
    y = values if isinstance(loss, nn.MSELoss) else labels
    batches = [(x[:5], y[:5]), (x[5:16], y[5:16]), (x[16:], y[16:])]
    vectors = torch.randn(sum(p.numel() for p in model.parameters()), 4, dtype=F64)
    return model, loss, batches, vectors


def assert_same(found, expected):
    difference = (found - expected.detach()).norm()
    assert float(difference) <= 1e-10 * float(found.norm())


@pytest.mark.parametrize(("operator", "name"), PAIRS_FOR_CURVLINOPS)
def test_products_are_those_of_curvlinops(operator, name):
    import curvlinops

    model, loss, batches, vectors = posed(WITHOUT_LAYER_NORM[name])
    theirs = {
        bm.LossSurface.product: curvlinops.HessianLinearOperator,
        bm.GaussNewton: curvlinops.GGNLinearOperator,
        bm.Fisher: curvlinops.EFLinearOperator,
    }[operator]
    expected = theirs(model, loss, list(model.parameters()), batches) @ vectors
    if operator is bm.Fisher and isinstance(loss, nn.MSELoss):
        expected = (
            expected / 4
        )  # its gᵢ is of the sum over the four outputs and its mean is over 4n terms: 4²/4n, not 1/n
    assert_same(operator(bm.LossSurface(model, loss, batches)) @ vectors, expected)


@pytest.mark.parametrize(("operator", "name"), PAIRS_FOR_EIGENTHINGS)
def test_products_are_those_of_hessian_eigenthings(operator, name):
    import hessian_eigenthings

    model, loss, batches, vectors = posed(MEANS[name])
    whole = [tuple(torch.cat(part) for part in zip(*batches, strict=True))]  # it gives batches equal weights
    match operator:
        case bm.GaussNewton:
            theirs = hessian_eigenthings.GGNOperator(
                model, whole, lambda network, batch: network(batch[0]), lambda output, batch: loss(output, batch[1])
            )
        case bm.Fisher:
            theirs = hessian_eigenthings.EmpiricalFisherOperator(
                model, whole, lambda network, one: loss(network(one[0][None]), one[1][None])
            )
        case _:
            theirs = hessian_eigenthings.HessianOperator(
                model, whole, lambda network, batch: loss(network(batch[0]), batch[1])
            )
    expected = torch.stack([theirs.matvec(vector) for vector in vectors.T], dim=1)
    assert_same(operator(bm.LossSurface(model, loss, batches)) @ vectors, expected)


def test_class_weights_in_one_batch_weigh_as_in_curvlinops():
    import curvlinops

    model, _, batches, vectors = posed(WITHOUT_LAYER_NORM["perceptron"])
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 5.0, 0.5], dtype=F64))
    whole = [tuple(torch.cat(part) for part in zip(*batches, strict=True))]  # it weighs batches by their sizes alone
    surface, parameters = bm.LossSurface(model, loss, batches), list(model.parameters())
    assert_same(surface @ vectors, curvlinops.HessianLinearOperator(model, loss, parameters, whole) @ vectors)
    assert_same(
        bm.GaussNewton(surface) @ vectors, curvlinops.GGNLinearOperator(model, loss, parameters, whole) @ vectors
    )
