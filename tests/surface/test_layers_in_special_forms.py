"""Layers in forms that need a way of their own: normalised weights, checkpoints, sparse gradients."""

import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint, checkpoint_sequential, create_selective_checkpoint_contexts

from bathymetry.core.errors import InputError
from bathymetry.surface import LossSurface

F64 = torch.float64
OLD, NEW = nn.utils.weight_norm, nn.utils.parametrizations.weight_norm


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def agrees_with_differences(surface, model, data):
    """Compare with the user's own loss at the user's own parameters, and with differences of it."""
    loss = nn.functional.mse_loss(model(data[0]), data[1]).item()
    assert surface.loss().item() == pytest.approx(loss, rel=1e-9)
    theta, v = surface.parameters, drawn(surface.dimension, seed=9).double()
    slope = (surface.loss(theta + 1e-5 * v) - surface.loss(theta - 1e-5 * v)) / 2e-5
    torch.testing.assert_close(surface.gradient() @ v, slope, rtol=1e-6, atol=1e-8)
    bend = (surface.gradient(theta + 1e-5 * v) - surface.gradient(theta - 1e-5 * v)) / 2e-5
    torch.testing.assert_close(surface.hvp(v), bend, rtol=1e-5, atol=1e-7)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("form", [OLD, NEW])
@pytest.mark.parametrize("axis", [0, 1, -1, -2, None])
@pytest.mark.parametrize(
    "layer", [nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d]
)
def test_normalised_weights_of_any_layer_and_axis_are_differentiated_twice(layer, axis, form):
    torch.manual_seed(0)
    size = () if layer is nn.Linear else (2,)
    spatial = 0 if layer is nn.Linear else int(layer.__name__[-2])
    model = form(layer(2, 3, *size).double(), dim=axis)
    x = drawn(3, 2, *[3] * spatial).double()
    data = x, drawn(*model(x).shape, seed=1).double()
    agrees_with_differences(LossSurface(model, "mse", data), model, data)


@pytest.mark.parametrize("form", [OLD, NEW])
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_a_normalised_vector_is_differentiated_twice(form):
    torch.manual_seed(0)
    model = form(nn.LayerNorm(3).double(), dim=0)
    data = drawn(4, 3).double(), drawn(4, 3, seed=1).double()
    agrees_with_differences(LossSurface(model, "mse", data), model, data)


def keeping_products(*_):
    return create_selective_checkpoint_contexts([torch.ops.aten.mm.default])


class Checkpointed(nn.Module):
    """Runs its parts through a call of one's choice."""

    def __init__(self, call):
        super().__init__()
        self.first, self.second, self.call = nn.Linear(3, 4), nn.Linear(4, 2), call

    def forward(self, x):
        return self.call(self.second, self.call(lambda a: self.first(a).tanh(), x).sin())


def plainly(function, *arguments):
    return function(*arguments)


def nested(function, *arguments):
    return checkpoint(partial(checkpoint, function, use_reentrant=False), *arguments, use_reentrant=False)


def sequential(function, x):
    return checkpoint_sequential([function], 1, x, use_reentrant=False)


@pytest.mark.parametrize(
    "call",
    [
        partial(checkpoint, use_reentrant=False),
        partial(checkpoint, use_reentrant=False, early_stop=False, preserve_rng_state=False),
        partial(checkpoint, use_reentrant=False, context_fn=keeping_products),
        nested,
        sequential,
    ],
)
def test_checkpoints_change_no_derivative(call):
    torch.manual_seed(0)
    model = Checkpointed(call)
    data = drawn(5, 3), drawn(5, 2, seed=1)
    plain = Checkpointed(plainly)
    plain.load_state_dict(model.state_dict())
    surface = LossSurface(model, "mse", data, dtype=F64)
    theta = surface.parameters + 0.1  # not the network's own
    names = {n: (p.shape, p.numel()) for n, p in plain.named_parameters()}

    def loss(point):
        parts = point.split([count for _, count in names.values()])
        tensors = {n: part.view(shape) for (n, (shape, _)), part in zip(names.items(), parts, strict=True)}
        return nn.functional.mse_loss(functional_call(plain, tensors, data[0].double()), data[1].double())

    point = theta.clone().requires_grad_()
    torch.testing.assert_close(surface.gradient(theta), torch.autograd.grad(loss(point), point)[0])
    torch.testing.assert_close(surface.hessian(theta), torch.autograd.functional.hessian(loss, theta))
    torch.testing.assert_close(surface.gradient(theta[None])[0], surface.gradient(theta))


def test_checkpoints_are_back_after_a_measurement_that_fails():
    runs = []

    class Failing(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x):
            return checkpoint(self._part, x, use_reentrant=False)

        def _part(self, x):
            runs.append(1)
            if x.shape[0] > 5:
                raise ValueError("too many")
            return self.layer(x).tanh().exp()

    model = Failing()
    with pytest.raises(InputError, match="too many"):
        LossSurface(model, "mse", (drawn(6, 3), drawn(6, 2)))
    runs.clear()
    model(drawn(5, 3)).sum().backward()
    assert len(runs) == 2  # the second is that of the backward pass


@pytest.mark.parametrize("bag", [False, True])
def test_embeddings_with_sparse_gradients_are_measured_as_dense_ones(bag):
    torch.manual_seed(0)
    embedding = nn.EmbeddingBag(5, 3, sparse=True) if bag else nn.Embedding(5, 3, sparse=True)
    model = nn.Sequential(embedding, nn.Flatten(), nn.Tanh(), nn.Linear(3 if bag else 6, 1))
    data = torch.tensor([[0, 1], [2, 3], [1, 1]]), drawn(3, 1)
    dense = copy.deepcopy(model)
    dense[0].sparse = False
    surface = LossSurface(model, "mse", data, dtype=F64)
    nn.functional.mse_loss(dense(data[0]), data[1]).backward()
    slope = torch.cat([p.grad.flatten() for p in dense.parameters()]).double()
    torch.testing.assert_close(surface.gradient(), slope, rtol=1e-5, atol=1e-6)
    assert embedding.sparse
    if not bag:  # PyTorch has no second derivative of a bag
        torch.testing.assert_close(surface.hessian(), LossSurface(dense, "mse", data, dtype=F64).hessian())


class LookingUp(nn.Module):
    """Calls the function behind an embedding itself."""

    def __init__(self):
        super().__init__()
        self.table, self.sparse = nn.Parameter(drawn(5, 3)), True

    def forward(self, words):
        return nn.functional.embedding(words, self.table, sparse=self.sparse).sum(1).tanh()


def test_sparse_gradients_of_a_function_are_refused_with_a_way_on_that_works():
    model, data = LookingUp(), (torch.tensor([[0, 1], [2, 3]]), drawn(2, 3))
    with pytest.raises(InputError, match=r"sparse tensors; expected sparse=False where it calls embedding"):
        LossSurface(model, "mse", data).gradient()
    model.sparse = False
    assert LossSurface(model, "mse", data).gradient().norm() > 0


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize(
    "take",
    [
        torch.jit.script,
        lambda model: torch.jit.trace(model, drawn(5, 2)),
        lambda model: torch.jit.freeze(torch.jit.script(model.eval())),
        lambda model: nn.DataParallel(torch.jit.script(model)),
    ],
    ids=["scripted", "traced", "frozen", "wrapped"],
)
def test_torchscript_is_refused_for_the_network_that_it_was_made_from(take):
    model, data = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)), (drawn(5, 2), drawn(5, 1))
    taken = take(model)
    with pytest.raises(InputError, match=r"model = a \w+: .*expected the nn\.Module"):
        LossSurface(taken, "mse", data)
    surface = LossSurface(model, "mse", data)
    with pytest.raises(InputError, match=r"network = a \w+: .*expected the nn\.Module"):
        surface.flatten(taken)
