"""What large networks need: θ cut in one operation, and an estimate of memory that counts activations alone."""

import pytest
import torch
from torch import nn
from torch.autograd.graph import Node

from bathymetry import LossSurface, probes


class Tied(nn.Module):
    """A small language model whose last layer is its embedding."""

    def __init__(self):
        super().__init__()
        self.words, self.layer, self.norm = nn.Embedding(11, 6), nn.Linear(6, 6), nn.LayerNorm(6)
        self.out = nn.Linear(6, 11, bias=False)
        self.out.weight = self.words.weight

    def forward(self, tokens):
        hidden = self.words(tokens)
        return self.out(self.norm(hidden + torch.tanh(self.layer(hidden)))).transpose(1, 2)


def language_surface(dtype=torch.float64, rows=5):
    torch.manual_seed(0)
    tokens = torch.randint(0, 11, (rows, 8))
    return LossSurface(Tied(), "cross_entropy", (tokens[:, :-1], tokens[:, 1:]), dtype=dtype)


def nodes_behind(tensor):
    seen, open_ = set(), [tensor.grad_fn]
    while open_:
        node = open_.pop()
        if isinstance(node, Node) and node not in seen:
            seen.add(node)
            open_ += [following for following, _ in node.next_functions]
    return [node.name() for node in seen]


def test_theta_is_cut_in_one_operation_and_in_the_order_of_the_parameters():
    surface = language_surface()
    theta = surface.parameters.requires_grad_()
    parts = surface.selection.split(theta)
    start = 0
    for name, shape in surface.selection.shapes.items():
        flat = theta.detach()[start : start + parts[name].numel()]
        assert torch.equal(parts[name].detach(), flat.view(shape))
        start += parts[name].numel()
    names = nodes_behind(sum(part.sum() for part in parts.values()))
    assert names.count("SplitWithSizesBackward0") == 1
    assert not [name for name in names if name.startswith("Slice")]


def test_a_tied_embedding_has_the_gradient_of_backward():
    surface = language_surface()
    model = surface._model.double()
    batch = surface._batches.first
    nn.functional.cross_entropy(model(batch.inputs), batch.targets[0]).backward()
    own = torch.cat([parameter.grad.ravel() for parameter in model.parameters()])
    torch.testing.assert_close(surface.gradient(), own, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_memory_of_an_example_is_that_of_its_activations(dtype):
    """A linear layer keeps its input; its weight is there anyway, and so are weights cast from another dtype."""
    for model in (nn.Linear(1000, 3), nn.Linear(1000, 3).bfloat16(), nn.Linear(1000, 3).double()):
        surface = LossSurface(model, lambda out, y: out.mean(), (torch.ones(4, 1000), torch.ones(4)), dtype=dtype)
        points = surface.parameters[None]
        bytes_each = surface._parts.bytes_per_example(points, surface._batches.first)
        assert bytes_each <= 1000 * points.element_size() + 64


def test_the_memory_of_an_example_is_measured_once_for_batches_of_one_shape(monkeypatch):
    surface, asked = language_surface(), []
    measured = surface._derivatives._saved_bytes
    monkeypatch.setattr(surface._derivatives, "_saved_bytes", lambda *given: asked.append(1) or measured(*given))
    for _ in range(3):
        surface.gradient()
        surface.loss()
        surface.product()
    assert len(asked) <= 1


def test_products_of_a_network_with_more_parameters_than_activations_are_kept():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(50_000, 8), nn.Flatten(), nn.Linear(24, 3))
    data = torch.randint(0, 50_000, (6, 3)), torch.randint(0, 3, (6,))
    surface = LossSurface(model, "cross_entropy", data, max_bytes=2**22)
    product = surface.product()
    assert product._kept is not None
    assert len(product._kept) == 1  # and the batch is one piece, not six
    vector = torch.randn(surface.dimension)
    torch.testing.assert_close(product(vector), LossSurface(model, "cross_entropy", data).hvp(vector))


def test_many_batches_whose_products_would_not_fit_are_prepared_in_each_call():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(50_000, 8), nn.Flatten(), nn.Linear(24, 3))
    batches = [(torch.randint(0, 50_000, (2, 3)), torch.randint(0, 3, (2,))) for _ in range(4)]
    small, large = (LossSurface(model, "cross_entropy", batches, max_bytes=memory) for memory in (2**22, 2**31))
    product = small.product()
    assert product._kept is None
    vector, expected = torch.randn(small.dimension), large.hvp(torch.ones(large.dimension))
    torch.testing.assert_close(small.hvp(torch.ones(small.dimension)), expected)
    torch.testing.assert_close(product(vector), large.product()(vector))


def test_the_largest_eigenvalue_of_a_language_model_is_that_of_its_dense_hessian():
    surface = language_surface()
    truth = torch.linalg.eigvalsh(surface.hessian())[-1]
    assert probes.eigenvalues(surface, k=1).values.item() == pytest.approx(truth.item(), rel=1e-6)
