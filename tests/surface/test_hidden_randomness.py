"""Random numbers that are drawn in each pass and hardly ever change the loss."""

import random
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from bathymetry.core.errors import InputError
from bathymetry.surface import HiddenRandomness, LossSurface

X = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
DATA = X, X[:, :1].sin()

SOURCES = {
    "PyTorch's state": lambda _: torch.rand(()).item(),
    "Python's state": lambda _: random.random(),
    "NumPy's state": lambda _: np.random.rand(),
    "a generator of PyTorch's": lambda own: torch.rand((), generator=own).item(),
    "a generator of NumPy's": lambda own: own.random(),
    "an old generator of NumPy's": lambda own: own.rand(),
    "a generator of Python's": lambda own: own.random(),
}
GENERATORS = {
    "a generator of PyTorch's": lambda: torch.Generator().manual_seed(0),
    "a generator of NumPy's": lambda: np.random.default_rng(0),
    "an old generator of NumPy's": lambda: np.random.RandomState(0),
    "a generator of Python's": lambda: random.Random(0),
}


class Dropped(nn.Module):
    """A layer that is left out once in a million passes while training."""

    def __init__(self, source, *, always=False, within=False):
        super().__init__()
        self.layer, self.source, self.always = nn.Linear(3, 3), source, always
        self.own = GENERATORS.get(source, lambda: None)()
        if within:
            self.helper, self.own = SimpleNamespace(own=self.own), None

    def forward(self, x):
        own = self.helper.own if self.own is None and hasattr(self, "helper") else self.own
        if (self.training or self.always) and SOURCES[self.source](own) < 1e-6:
            return x
        return self.layer(x)


def network(source, **how):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 3), Dropped(source, **how), nn.Tanh(), nn.Linear(3, 1))


@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize("source", SOURCES)
def test_a_layer_that_is_rarely_random_is_named_with_a_way_on_that_works(source, within, unchecked):
    model = network(source, within=within)
    with pytest.warns(HiddenRandomness, match=r"^layer 1 \(Dropped\) draws .*model\.eval\(\).*no_dropout"):
        LossSurface(model, "mse", DATA)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (
            LossSurface(model, "mse", DATA, mode="no_dropout").loss() == LossSurface(model.eval(), "mse", DATA).loss()
        )


@pytest.mark.parametrize("source", ["NumPy's state", "a generator of PyTorch's"])
def test_one_that_is_random_in_evaluation_mode_too_is_not_sent_there(source, unchecked):
    model = network(source, always=True).eval()
    with pytest.warns(HiddenRandomness, match=r"layer 1 \(Dropped\) draws .*make the noise an input"):
        LossSurface(model, "mse", DATA)


def test_a_loss_that_is_rarely_random_is_named(unchecked):
    def loss(output, target):
        return (output - target).square().mean() * (2.0 if random.random() < 1e-6 else 1.0)

    with pytest.warns(HiddenRandomness, match="^the loss draws random numbers"):
        LossSurface(nn.Sequential(nn.Linear(3, 2), nn.Softplus(), nn.Linear(2, 1)), loss, DATA)


def test_a_generator_that_nothing_draws_from_is_no_matter(unchecked):
    model = network("a generator of PyTorch's").eval()
    before = model[1].own.get_state()
    LossSurface(model, "mse", DATA).hessian()
    assert torch.equal(model[1].own.get_state(), before)


@pytest.mark.parametrize("source", GENERATORS)
def test_a_generator_of_the_networks_own_is_left_where_it_was(source, unchecked):
    model = network(source)
    with pytest.warns(HiddenRandomness):
        LossSurface(model, "mse", DATA).gradient()
    assert SOURCES[source](model[1].own) == SOURCES[source](GENERATORS[source]())


def test_a_generator_that_belongs_to_the_class_is_found_too(unchecked):
    class Sharing(Dropped):
        of_all = torch.Generator().manual_seed(0)

        def forward(self, x):
            return x if torch.rand((), generator=self.of_all).item() < 1e-6 else self.layer(x)

    with pytest.warns(HiddenRandomness, match="^Sharing draws"):
        LossSurface(Sharing("PyTorch's state"), "mse", (X, X))


class Halved(nn.Module):
    """A recurrent layer with dropout between its halves."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.LSTM(3, 2, num_layers=2, dropout=1e-9, batch_first=True), nn.Linear(2, 1)

    def forward(self, x):
        return self.head(self.body(x[:, None])[0][:, 0])


class Attending(nn.Module):
    """Attention with dropout."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.MultiheadAttention(3, 1, dropout=1e-9, batch_first=True), nn.Linear(3, 1)

    def forward(self, x):
        x = x[:, None]
        return self.head(self.body(x, x, x)[0][:, 0])


@pytest.mark.parametrize("make", [Halved, Attending])
def test_a_layer_known_to_be_random_is_refused_though_nothing_shows(make, unchecked):
    model = make()
    with pytest.raises(InputError, match=r"layer body .*, random in training mode"):
        LossSurface(model, "mse", DATA)
    LossSurface(model.eval(), "mse", DATA)


def test_a_surface_in_another_precision_does_not_warn_again(unchecked):
    with pytest.warns(HiddenRandomness) as warned:
        LossSurface(network("NumPy's state"), "mse", DATA).double()
    assert len(warned) == 1
