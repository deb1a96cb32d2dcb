"""Aligned networks compute what they did, permuted copies are recovered, and what can't be permuted is refused."""

import copy
from itertools import permutations, product

import pytest
import torch
from torch import nn

import bathymetry as bm
from bathymetry.core.errors import InputError

F64 = torch.float64


def seeded(build, seed):
    """A network in evaluation mode with statistics that differ from unit to unit."""
    torch.manual_seed(seed)
    model = build().double()
    for _, buffer in model.named_buffers():
        if buffer.is_floating_point():
            buffer.copy_(torch.rand_like(buffer) + 0.5)
    for layer in model:
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(layer.weight)
            nn.init.normal_(layer.bias)
    return model.eval()


def permuted(model, seed=0):
    """The same function, its hidden units in another order, put there by hand, layer by layer."""
    other = copy.deepcopy(model)
    chance = torch.Generator().manual_seed(seed)
    order = None
    weighted = [layer for layer in other if isinstance(layer, nn.Linear | nn.Conv2d)]
    for layer in other:
        if layer in weighted:
            if order is not None:
                run = layer.weight.shape[1] // len(order)
                columns = (order[:, None] * run + torch.arange(run)).flatten()
                layer.weight.data = layer.weight.data[:, columns]
            if layer is weighted[-1]:
                return other
            order = torch.randperm(len(layer.weight), generator=chance)
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.BatchNorm1d | nn.BatchNorm2d) and order is not None:
            for tensor in (*layer.parameters(), *layer.buffers()):
                if tensor.ndim > 0:
                    tensor.data = tensor.data[order]
    return other


NETWORKS = {
    "perceptron": (lambda: bm.mlp([5, 12, 9, 3]), (6, 5)),
    "deep": (lambda: bm.mlp([1, 24, 16, 10, 8, 4, 1]), (6, 1)),
    "no biases": (lambda: nn.Sequential(nn.Linear(4, 7, bias=False), nn.Tanh(), nn.Linear(7, 2, bias=False)), (6, 4)),
    "activations": (
        lambda: nn.Sequential(
            nn.Linear(4, 6), nn.LeakyReLU(), nn.Dropout(0.5), nn.Linear(6, 7), nn.PReLU(), nn.Linear(7, 5),
            nn.Softplus(), nn.Linear(5, 2), nn.Softmax(1),
        ),
        (6, 4),
    ),
    "normalised": (
        lambda: nn.Sequential(
            nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 7), nn.ReLU(), nn.BatchNorm1d(7),
            nn.Linear(7, 2),
        ),
        (6, 4),
    ),
    "convolutional": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 5, 2), nn.BatchNorm2d(5), nn.ReLU(),
            nn.Flatten(), nn.Linear(20, 3),
        ),
        (4, 1, 8, 8),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_permuted_copy_is_recovered_exactly(kind):
    build, shape = NETWORKS[kind]
    for seed in range(10):
        model = seeded(build, seed)
        other = permuted(model, seed)
        inputs = torch.randn(*shape, dtype=F64)
        torch.testing.assert_close(other(inputs), model(inputs))  # the hand above was right
        assert not torch.equal(other[0].weight, model[0].weight)
        aligned = bm.align(model, other).state_dict()
        assert all(torch.equal(mine, aligned[name]) for name, mine in model.state_dict().items())


@pytest.mark.parametrize("kind", NETWORKS)
def test_aligning_changes_no_output(kind):
    build, shape = NETWORKS[kind]
    a, b, inputs = seeded(build, 2), seeded(build, 3), torch.randn(*shape, dtype=F64)
    before = copy.deepcopy(b.state_dict())
    aligned = bm.align(a, b)
    torch.testing.assert_close(aligned(inputs), b(inputs))
    assert not torch.equal(aligned[0].weight, b[0].weight)
    assert all(torch.equal(now, before[name]) for name, now in b.state_dict().items())


def distance(a, b):
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    return sum((x - y).square().sum().item() for x, y in pairs)


def test_one_hidden_layer_is_matched_as_well_as_any_order_could():
    a, b = (seeded(lambda: bm.mlp([3, 5, 2]), seed) for seed in (0, 1))
    tried = []
    for order in permutations(range(5)):
        other, order = copy.deepcopy(b), list(order)
        other[0].weight.data, other[0].bias.data = b[0].weight.data[order], b[0].bias.data[order]
        other[2].weight.data = b[2].weight.data[:, order]
        tried.append(distance(a, other))
    assert distance(a, bm.align(a, b)) == pytest.approx(min(tried))


def test_two_hidden_layers_are_matched_better_than_by_most_orders():
    a, b = (seeded(lambda: bm.mlp([3, 4, 4, 2]), seed) for seed in (0, 1))
    tried = []
    for below, above in product(permutations(range(4)), repeat=2):
        other, below, above = copy.deepcopy(b), list(below), list(above)
        other[0].weight.data, other[0].bias.data = b[0].weight.data[below], b[0].bias.data[below]
        other[2].weight.data, other[2].bias.data = b[2].weight.data[above][:, below], b[2].bias.data[above]
        other[4].weight.data = b[4].weight.data[:, above]
        tried.append(distance(a, other))
    assert sum(one < distance(a, bm.align(a, b)) for one in tried) < len(tried) / 100


@pytest.mark.parametrize("size", [1e-7, 1e7])
def test_the_size_of_the_weights_plays_no_part(size):
    model = seeded(lambda: bm.mlp([5, 12, 9, 3]), 0)
    with torch.no_grad():
        for one in model.parameters():
            one *= size
    aligned = bm.align(model, permuted(model))
    assert all(torch.equal(x, y) for x, y in zip(aligned.parameters(), model.parameters(), strict=True))


def test_sequences_in_sequences_are_one_chain():
    a, b = (seeded(lambda: bm.mlp([4, 6, 5, 2]), seed) for seed in (0, 1))
    nested = [nn.Sequential(nn.Sequential(*one[:3]), *one[3:]) for one in (a, b)]
    inputs = torch.randn(5, 4, dtype=F64)
    aligned = bm.align(*nested)
    torch.testing.assert_close(aligned(inputs), b(inputs))
    torch.testing.assert_close(aligned[0][0].weight, bm.align(a, b)[0].weight)


class Residual(nn.Sequential):
    """Adds each layer's answer, whatever a sequence would do."""

    def forward(self, x):
        for layer in self:
            x = x + layer(x).relu()
        return x


def tied_layer():
    layer = nn.Linear(8, 8)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), layer, nn.ReLU(), layer, nn.ReLU(), nn.Linear(8, 3))


def tied_weight():
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    model[2].weight = model[0].weight
    return model


def hooked():
    model = bm.mlp([4, 6, 2])
    model[1].register_forward_hook(lambda layer, inputs, output: output.cumsum(1))
    return model


def replaced():
    model = bm.mlp([4, 6, 2])
    model[1].forward = lambda x: x.cumsum(1)
    return model


def parametrised():
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 8)), nn.ReLU(), nn.Linear(8, 2))


def sequence(*layers):
    return lambda: nn.Sequential(*layers)


REFUSED = {
    "a tied layer": (tied_layer, "Linear (layer 4)"),
    "a tied weight": (tied_weight, "Linear (layer 2)"),
    "a forward pass of its own": (lambda: Residual(nn.Linear(4, 4), nn.Linear(4, 4)), "Residual"),
    "a hook": (hooked, "ReLU (layer 1)"),
    "a forward pass put in its place": (replaced, "ReLU (layer 1)"),
    "weight normalisation": (parametrised, "ParametrizedLinear (layer 0)"),
    "a flattening that keeps the channels": (
        sequence(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(2), nn.Linear(36, 8)), "Flatten (layer 2)",
    ),
    "a linear layer over space": (sequence(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Linear(8, 3)), "Linear (layer 2)"),
    "pooling over units": (
        sequence(nn.Linear(8, 16), nn.ReLU(), nn.AvgPool1d(3, 1, 1), nn.Linear(16, 3)), "AvgPool1d (layer 2)",
    ),
    "pooling over channels": (
        sequence(nn.Conv1d(1, 4, 3), nn.MaxPool2d(2), nn.Conv1d(2, 4, 3)), "MaxPool2d (layer 1)",
    ),
    "pooling what was flattened": (
        sequence(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.AvgPool1d(2), nn.Linear(72, 3)), "AvgPool1d (layer 2)",
    ),
    "groups": (
        sequence(nn.Conv2d(4, 8, 1, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)), "Conv2d (layer 0)",
    ),
    "softmax between": (sequence(nn.Linear(4, 8), nn.Softmax(1), nn.Linear(8, 3)), "Softmax (layer 1)"),
    "a layer of units that it does not know": (
        sequence(nn.Embedding(9, 4), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), "Embedding (layer 0)",
    ),
    "dropout that is on": (
        lambda: nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 3)).train(), "Dropout (layer 1)",
    ),
    "no sequence": (lambda: nn.LSTM(2, 3), "LSTM"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_can_not_be_permuted_is_refused_by_name(kind):
    build, named = REFUSED[kind]
    model = build()
    with pytest.raises(InputError) as refusal:
        bm.align(model, copy.deepcopy(model))
    assert refusal.value.field == "a"
    assert refusal.value.value == named


def test_networks_that_differ_or_diverged_are_refused():
    with pytest.raises(InputError, match="same architecture"):
        bm.align(bm.mlp([2, 3, 1]), bm.mlp([2, 4, 1]))
    with pytest.raises(InputError, match="same architecture"):
        bm.align(bm.mlp([2, 3, 1]), bm.mlp([2, 3, 1], "tanh"))
    diverged = bm.mlp([2, 3, 1])
    nn.init.constant_(diverged[2].weight, torch.nan)
    with pytest.raises(InputError, match=r"b = 2\.weight that is not finite"):
        bm.align(bm.mlp([2, 3, 1]), diverged)
