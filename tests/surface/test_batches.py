"""Data in every form that loaders and users give it, and data that do not stay: held to PyTorch's loss of all data."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, SubsetRandomSampler, TensorDataset

from bathymetry import LossSurface, probes
from bathymetry.core.errors import InputError


def drawn(rows=50, seed=0):
    chance = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 4, generator=chance), torch.randint(0, 3, (rows,), generator=chance)


def network():
    torch.manual_seed(1)
    return nn.Linear(4, 3)


def refilled(x, y, rows, numpy):
    """Batches in one buffer, filled anew for each; of NumPy's memory, PyTorch does not see it written."""
    at, of = np.empty((rows, 4), dtype=np.float32), np.empty(rows, dtype=np.int64)
    inputs, targets = torch.from_numpy(at), torch.from_numpy(of)
    for start in range(0, len(x), rows):
        here = x[start : start + rows]
        if numpy:
            at[: len(here)], of[: len(here)] = here.numpy(), y[start : start + rows].numpy()
        else:
            inputs[: len(here)].copy_(here)
            targets[: len(here)].copy_(y[start : start + rows])
        yield inputs[: len(here)], targets[: len(here)]


class Refilling:
    """The same as an iterable of its own."""

    def __init__(self, *arguments):
        self.arguments = arguments

    def __iter__(self):
        return refilled(*self.arguments)


@pytest.mark.parametrize("numpy", [False, True])
@pytest.mark.parametrize("iterable", [refilled, Refilling])
def test_a_buffer_that_is_filled_anew_for_each_batch_is_copied(iterable, numpy):
    x, y = drawn()
    surface = LossSurface(network(), "cross_entropy", iterable(x, y, 12, numpy))
    torch.testing.assert_close(surface.loss().item(), nn.functional.cross_entropy(network()(x), y).item())


@pytest.mark.parametrize("numpy", [False, True])
def test_a_loader_that_collates_into_one_buffer_is_copied(numpy):
    x, y = drawn()
    at, of = np.empty((10, 4), dtype=np.float32), np.empty(10, dtype=np.int64)
    inputs, targets = torch.from_numpy(at), torch.from_numpy(of)

    def collate(examples):
        for row, (one, label) in enumerate(examples):
            if numpy:
                at[row], of[row] = one.numpy(), int(label)
            else:
                inputs[row], targets[row] = one, label
        return inputs, targets

    surface = LossSurface(
        network(), "cross_entropy", DataLoader(TensorDataset(x, y), batch_size=10, collate_fn=collate)
    )
    torch.testing.assert_close(surface.loss().item(), nn.functional.cross_entropy(network()(x), y).item())


@pytest.mark.parametrize("numpy", [False, True])
def test_a_list_of_one_buffer_is_refused_and_a_list_of_views_is_not(numpy):
    x, y = drawn()
    with pytest.raises(InputError, match=r"batches 0 and 1, whose inputs share their memory.*x\.clone\(\)"):
        LossSurface(network(), "cross_entropy", list(refilled(x, y, 10, numpy)))
    views = list(zip(x.split(12), y.split(12), strict=True))
    loss = LossSurface(network(), "cross_entropy", views).loss().item()
    torch.testing.assert_close(loss, nn.functional.cross_entropy(network()(x), y).item())


@pytest.mark.parametrize("which", [0, 1])
def test_data_that_are_written_into_afterwards_are_refused(which):
    data = drawn()
    surface = LossSurface(network(), "cross_entropy", data)
    surface.loss()
    data[which][0] += 1
    with pytest.raises(InputError, match="written into since the surface was made: make a new surface"):
        surface.loss()


X, Y = drawn()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (DataLoader(TensorDataset(X, Y), batch_size=None), r"single examples.*shapes \(4,\), \(\).*batch_size=32"),
        (list(zip(X, Y, strict=True)), r"single examples without a batch axis.*x\[None\]"),
        ([(one, int(label)) for one, label in zip(X, Y, strict=True)], "single examples without a batch axis"),
        ([(one, one[:1]) for one in X], r"4 inputs and 1 targets.*x\[None\]"),
        (TensorDataset(X, Y), r"expected DataLoader\(data, batch_size=…\)"),
        ((X.numpy(), Y.numpy()), r"torch\.as_tensor"),
        ((X.to_sparse(), Y), r"x\.to_dense\(\)"),
        ((X.to("meta"), Y), "on the meta device"),
        ((X, None), r"loss = CrossEntropyLoss\(\): it compares outputs with targets"),
        ((X,), "it compares outputs with targets"),
        (X, r"\(inputs,\), a tuple of one"),
        ([None], "a batch that is a NoneType"),
        (3, "data = int"),
    ],
)
def test_data_in_no_usable_form_are_one_sentence(data, sentence, unchecked):
    with pytest.raises(InputError, match=sentence):
        LossSurface(network(), "cross_entropy", data)


def test_a_batch_with_names_is_refused_for_a_loss_with_targets_in_a_sentence_that_says_what_works():
    x, y = drawn()
    batch, loss, model = {"x": x, "y": y}, nn.CrossEntropyLoss(), network()
    with pytest.raises(InputError, match=r'lambda model, batch: loss\(model\(batch\["x"\]\), batch\["y"\]\)'):
        LossSurface(model, loss, [batch])
    surface = LossSurface(model, lambda model, batch: loss(model(batch["x"]), batch["y"]), [batch])
    torch.testing.assert_close(surface.loss().float(), loss(model(x), y).detach())


@pytest.mark.parametrize("rows", [50, 16])
def test_a_loss_of_the_outputs_alone_needs_no_targets(rows):
    """The mean square of W x + b has a Hessian of 2/3 ⟨x̃ x̃ᵀ⟩ for each output, x̃ = (x, 1)."""
    batches = [(one,) for one in X.double().split(rows)]
    model = network().double()
    for data, loss in (
        (batches, lambda output: output.square().mean()),
        ([(one, None) for (one,) in batches], lambda output, _: output.square().mean()),
        (DataLoader(TensorDataset(X.double()), batch_size=rows), lambda output: output.square().mean()),
    ):
        surface = LossSurface(model, loss, data)
        torch.testing.assert_close(surface.loss(), model(X.double()).square().mean().detach())
        expected = 2 / 3 * X.double().T @ X.double() / 50
        torch.testing.assert_close(surface.hessian()[:4, :4], expected)
        assert not surface.has_classes
        with pytest.raises(InputError, match="no classes"):
            surface.accuracy()


class OwnLoss(nn.Module):
    """A network that is handed its labels and answers with its loss, as those of Hugging Face."""

    def __init__(self):
        super().__init__()
        self.layer = network()

    def forward(self, x, labels, scale=1.0):
        logits = self.layer(x) * scale
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


@pytest.mark.parametrize("rows", [50, 16])
def test_a_batch_may_be_a_mapping(rows):
    batches = [{"x": a, "labels": b, "scale": 2.0} for a, b in zip(X.split(rows), Y.split(rows), strict=True)]
    surface = LossSurface(
        OwnLoss(), lambda output: output["loss"], batches[0] if rows == 50 else batches, dtype=torch.float64
    )
    assert surface.num_examples == 50
    expected = nn.functional.cross_entropy(2 * network().double()(X.double()), Y)
    torch.testing.assert_close(surface.loss(), expected.detach())
    assert probes.eigenvalues(surface, k=1).values > 0


class Propagating(nn.Module):
    """One step of a graph network: a sparse matrix mixes its nodes."""

    def __init__(self):
        super().__init__()
        self.layer = network()

    def forward(self, x, graph):
        return torch.sparse.mm(graph, self.layer(x))


def test_a_sparse_matrix_beside_the_inputs_belongs_to_all_of_them():
    graph = torch.eye(50) + torch.eye(50).roll(1, 0)
    surface = LossSurface(Propagating(), "cross_entropy", ((X, graph.to_sparse()), Y), max_bytes=10_000)
    expected = nn.functional.cross_entropy(graph @ network()(X), Y)
    torch.testing.assert_close(surface.loss().item(), expected.item())
    with pytest.raises(InputError, match=r"Propagating, or its loss, which mixes the examples of a batch"):
        surface.example_gradient_norms()


def test_two_inputs_in_a_flat_triple_are_answered_by_where_they_go(unchecked):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Bilinear(4, 4, 3)

        def forward(self, left, right):
            return self.layer(left, right)

    with pytest.raises(InputError, match=r"missing 1 required positional argument.*\(\(x1, x2\), y\)"):
        LossSurface(Two(), "cross_entropy", (X, X, Y))
    assert LossSurface(Two(), "cross_entropy", ((X, X), Y)).loss() > 0


def test_targets_in_one_buffer_are_warned_of_and_a_shared_constant_is_not():
    buffer, batches = torch.empty(4, 3), []
    for seed in range(3):
        buffer.copy_(torch.randn(4, 3, generator=torch.Generator().manual_seed(seed)))
        batches.append((torch.randn(4, 3), buffer))
    with pytest.warns(UserWarning, match=r"Batches 0 and 1 share the memory of their targets.*y\.clone\(\)"):
        LossSurface(nn.Linear(3, 3), "mse", batches[:2])
    zeros = torch.zeros(4, 3)
    assert LossSurface(nn.Linear(3, 3), "mse", [(x, zeros) for x, _ in batches]).num_examples == 12


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("own_generator", [False, True])
@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on one core
def test_a_loader_that_shuffles_is_read_in_the_order_of_its_data_set(own_generator, workers):
    x, y = drawn(23)
    generator = torch.Generator().manual_seed(3) if own_generator else None
    model, data = network(), TensorDataset(x, y)
    shuffled = DataLoader(data, batch_size=5, shuffle=True, generator=generator, num_workers=workers)
    states = torch.get_rng_state(), None if generator is None else generator.get_state()
    surface = LossSurface(model, "cross_entropy", shuffled)
    ordered = LossSurface(model, "cross_entropy", DataLoader(data, batch_size=5))
    vector = torch.ones(surface.dimension)
    for measure in (LossSurface.loss, LossSurface.gradient, LossSurface.example_gradient_norms):
        assert torch.equal(measure(surface), measure(ordered))
    assert torch.equal(surface @ vector, ordered @ vector)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert generator is None or torch.equal(generator.get_state(), states[1])


def test_a_loader_that_shuffles_a_part_of_its_data_set_is_read_in_order():
    x, y = drawn(23)
    loader = DataLoader(TensorDataset(x, y), batch_size=4, sampler=SubsetRandomSampler([7, 2, 19, 11, 4]))
    surface = LossSurface(network(), "cross_entropy", loader)
    part = LossSurface(network(), "cross_entropy", (x[[2, 4, 7, 11, 19]], y[[2, 4, 7, 11, 19]]))
    assert surface.num_examples == 5
    torch.testing.assert_close(surface.example_gradient_norms(), part.example_gradient_norms())
