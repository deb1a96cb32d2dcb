"""Networks that torch.func batches only with care, or not at all, train as a plain loop trains each member."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from bathymetry.core.errors import InputError
from bathymetry.training import SGD, Adam, AdamW, train
from training import cases
from training.test_options import GIVEN, assert_equal_to, plain_loop

DATA = cases.regression()


ADAM = (Adam(lr=1e-2), partial(torch.optim.Adam, lr=1e-2))


def assert_trains_as_plain_loops(build, backend="auto", batch_size=5, optimizers=ADAM):
    """Each member, together with others and alone, is the one of a plain loop; returns the training."""
    settings = {**GIVEN, "batch_size": batch_size, "optimizer": optimizers[0], "backend": backend}
    together = train(build, DATA, **settings)
    alone = train(build, DATA, **{**settings, "members": range(1, 2)})
    assert alone.backend == together.backend
    for member in together.members:
        twin = plain_loop(build, DATA, optimizers[1], member, 40, batch_size)
        assert_equal_to(together, twin, member)
        if member == 1:
            assert_equal_to(alone, twin, 1)
    return together


class RegisteredTwice(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.again = self.first
        self.tied, self.last = nn.Linear(3, 3), nn.Linear(3, 2)
        self.tied.weight = self.first.weight

    def forward(self, x):
        return self.last(self.tied(torch.tanh(self.again(torch.tanh(self.first(x))))))


def one_layer_twice():
    layer = nn.Linear(3, 3)
    return nn.Sequential(layer, nn.Tanh(), layer, nn.Tanh(), nn.Linear(3, 2))


@pytest.mark.parametrize("batch_size", [None, 5])
@pytest.mark.parametrize("build", [RegisteredTwice, one_layer_twice])
def test_a_layer_that_is_registered_twice_is_one_layer(build, batch_size):
    trained = assert_trains_as_plain_loops(build, batch_size=batch_size)
    assert trained.backend == "vmap"
    assert all(type(one) is nn.Parameter for network in trained.networks() for one in network.parameters())


class Masked(nn.Module):
    """Control flow that depends on the inputs, and not on the parameters."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(3, 2)

    def forward(self, x):
        negative = x < 0
        return self.last(x.masked_fill(negative, 0.0) if negative.any() else x)


@pytest.mark.parametrize(("batch_size", "backend"), [(None, "vmap"), (5, "loop")])
def test_control_flow_that_depends_on_the_inputs_is_batched_where_members_share_them(batch_size, backend):
    assert assert_trains_as_plain_loops(Masked, batch_size=batch_size).backend == backend


def test_control_flow_that_depends_on_each_members_inputs_is_refused_where_vmap_is_asked_for():
    with pytest.raises(InputError, match=r"backend = vmap: torch.func can't batch .*; expected auto or loop"):
        train(Masked, DATA, members=2, epochs=1, batch_size=5, backend="vmap")


class Counting(nn.Module):
    """A network whose outputs depend on the passes in training mode that it has counted."""

    def __init__(self, late: int = 0):
        super().__init__()
        self.layer, self._late, self._passes = nn.Linear(3, 2), late, 0

    def forward(self, x):
        self._passes += self.training
        if self._late:
            return self.layer(x) * (1.0 if self._passes <= self._late else 0.5)
        return self.layer(x) * (1 + self._passes % 3)


class CountingInAnObject(Counting):
    def __init__(self):
        super().__init__()
        self.counts = SimpleNamespace(passes=0)

    def forward(self, x):
        self.counts.passes += self.training
        return self.layer(x) * (1.0 if self.counts.passes <= 5 else 0.5)


@pytest.mark.parametrize("build", [Counting, lambda: Counting(late=5), CountingInAnObject])
def test_a_network_that_counts_its_passes_trains_in_a_loop_from_its_first_pass(build):
    assert assert_trains_as_plain_loops(build).backend == "loop"
    with pytest.raises(InputError, match=r"backend = vmap: .* writes buffers or attributes"):
        train(build, DATA, members=2, epochs=1, batch_size=5, backend="vmap")


class Unused(nn.Module):
    """A layer that no batch reaches."""

    def __init__(self):
        super().__init__()
        self.last, self.unused = nn.Linear(3, 2), nn.Linear(2, 2)

    def forward(self, x):
        return self.last(x)


MIDDLE = float(DATA.x_train.mean() + DATA.x_train[:3].mean()) / 2


class Switched(nn.Module):
    """Layers of which each batch reaches one; a trial with the first examples not the one that all examples reach."""

    def __init__(self):
        super().__init__()
        self.last, self.either = nn.Linear(3, 2), nn.ModuleList([nn.Linear(3, 2), nn.Linear(3, 2)])

    def forward(self, x):
        return self.last(x) + self.either[int(x.mean() > MIDDLE)](x)


DECAYING = {
    "Adam": (Adam(lr=1e-2, weight_decay=0.1), partial(torch.optim.Adam, lr=1e-2, weight_decay=0.1)),
    "AdamW": (AdamW(lr=1e-2, weight_decay=0.5), partial(torch.optim.AdamW, lr=1e-2, weight_decay=0.5)),
    "SGD": (SGD(lr=0.05, momentum=0.9), partial(torch.optim.SGD, lr=0.05, momentum=0.9)),
    "RMSprop": (partial(torch.optim.RMSprop, lr=1e-2, weight_decay=0.5),) * 2,
}


@pytest.mark.parametrize("name", DECAYING)
@pytest.mark.parametrize(
    ("build", "batch_size", "backend"),
    [(Unused, 5, "auto"), (Unused, None, "auto"), (Unused, 5, "loop"), (Switched, 5, "auto"), (Switched, None, "auto")],
)
def test_a_parameter_without_a_gradient_stays_as_pytorch_leaves_it(build, batch_size, backend, name):
    trained = assert_trains_as_plain_loops(build, backend, batch_size, DECAYING[name])
    by_vmap = name != "RMSprop" and backend == "auto" and not (build is Switched and batch_size)
    assert trained.backend == ("vmap" if by_vmap else "loop")


def test_a_parameter_without_a_gradient_stays_where_members_have_rates_of_their_own():
    trained = train(Switched, DATA, **GIVEN, optimizer=AdamW(lr=(1e-2, 2e-2, 1e-2), weight_decay=0.5))
    for member, rate in ((0, 1e-2), (1, 2e-2)):
        make = partial(torch.optim.AdamW, lr=rate, weight_decay=0.5)
        assert_equal_to(trained, plain_loop(Switched, DATA, make, member, 40, 5), member)


def test_an_embedding_with_sparse_gradients_trains_as_one_with_dense_ones():
    x, y = torch.randint(0, 9, (20, 4)), torch.randn(20, 2)

    def embedding(*, sparse):
        return nn.Sequential(nn.Embedding(9, 3, sparse=sparse), nn.Flatten(), nn.Linear(12, 2))

    sparse, dense = (
        train(partial(embedding, sparse=one), (x, y), members=2, epochs=3, batch_size=5, backend="loop")
        for one in (True, False)
    )
    torch.testing.assert_close(sparse.theta, dense.theta)
