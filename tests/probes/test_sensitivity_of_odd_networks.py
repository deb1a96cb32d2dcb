"""Sensitivities of networks that cut, choose or take derivatives themselves, against closed forms and differences."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, jacrev, vmap

from bathymetry import LossSurface, probes
from bathymetry.core.errors import InputError

F64 = torch.float64
CHANCE = torch.Generator().manual_seed(0)
X, Z = torch.randn(12, 3, generator=CHANCE), torch.randn(12, 2, generator=CHANCE)
Y = torch.randint(0, 3, (12,), generator=CHANCE)


class Cut(nn.Module):
    """A network that answers by its input and has no derivative by it, in one of many ways."""

    def __init__(self, how):
        super().__init__()
        torch.manual_seed(1)
        self.how, self.first, self.last = how, nn.Linear(3, 5), nn.Linear(5, 3)

    def forward(self, x):
        if self.how == "detach":
            return self.last(self.first(x.detach()).tanh())
        if self.how == "half":  # of two ways, one is cut
            return self.last(self.first(x).tanh() + self.first(x.detach()).relu())
        if self.how == "no_grad":
            with torch.no_grad():
                x = x * 2
            return self.last(self.first(x).tanh())
        if self.how == "numpy":
            return self.last(self.first(torch.from_numpy(np.tanh(x.detach().numpy()))))
        if self.how == "straight through":
            return self.last(x.new_ones(5) * (x + (x.round() - x).detach()).sum(1, keepdim=True))
        if self.how == "float32":  # a network that does not run in float64
            return self.last(self.first(x.detach() + torch.zeros(3)).float())
        return self.last(self.first(x).tanh())


@pytest.mark.parametrize("of", ["loss", "logits", "probabilities"])
@pytest.mark.parametrize("how", ["detach", "half", "no_grad", "numpy", "straight through", "float32"])
def test_a_derivative_by_the_input_that_is_not_that_of_the_output_is_refused(how, of):
    surface = LossSurface(Cut(how), "cross_entropy", (X, Y))
    with pytest.raises(InputError, match=r"Cut, whose derivative by its input is not that of its output.*detach"):
        probes.sensitivity(surface, of=of)


class Constant(nn.Module):
    """Does not depend on its input at all."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(3))

    def forward(self, x):
        return self.bias.expand(len(x), 3)


def test_a_network_that_does_not_depend_on_its_input_is_not_sensitive_to_it():
    assert probes.sensitivity(LossSurface(Constant(), "cross_entropy", (X, Y)), of="logits").value == 0


class Narrow(nn.Sequential):
    """Runs in float32 alone."""

    def forward(self, x):
        return super().forward(x.float())


ROUGH = [nn.ReLU, nn.Hardtanh, nn.LeakyReLU, nn.Hardshrink, nn.ReLU6, nn.Softshrink]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", [nn.Sequential, Narrow])
def test_networks_with_kinks_are_never_refused(kind, seed):
    torch.manual_seed(seed)
    for bent in ROUGH:
        deep = nn.Linear(3, 32), bent(), nn.Linear(32, 32), bent(), nn.Linear(32, 3)
        pooled = nn.Unflatten(1, (1, 3)), nn.Conv1d(1, 8, 2), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(8, 3)
        for layers in (deep, pooled):
            surface = LossSurface(kind(*layers), "cross_entropy", (X, Y))
            for of in ("loss", "logits"):
                assert probes.sensitivity(surface, of=of).value >= 0


class Physical(nn.Module):
    """Answers with u + ∂u/∂x, worked out in one of PyTorch's ways."""

    def __init__(self, how):
        super().__init__()
        torch.manual_seed(1)
        self.how, self.net = how, nn.Sequential(nn.Linear(1, 6), nn.Tanh(), nn.Linear(6, 1))

    def forward(self, x):
        if self.how == "autograd":
            x = x.requires_grad_()
            u = self.net(x)
            return u + torch.autograd.grad(u.sum(), x, create_graph=True)[0]
        if self.how == "enable_grad":
            with torch.enable_grad():
                x = x.clone().requires_grad_() if x.is_leaf else x
                u = self.net(x)
                return u + torch.autograd.grad(u.sum(), x, create_graph=True)[0]
        if self.how == "grad":
            return self.net(x) + vmap(grad(lambda one: self.net(one[None])[0, 0]))(x)
        own = dict(self.net.named_parameters())
        return self.net(x) + vmap(jacrev(lambda one: functional_call(self.net, own, (one[None],))[0]))(x)[:, :, 0]


def by_formula(model, x):
    """(u + u′, u′ + u″) of a tanh network of one variable."""
    first, last = model.net[0], model.net[2]
    w, v = first.weight.double().ravel(), last.weight.double().ravel()
    t = (x * w + first.bias.double()).tanh()
    bent = 1 - t**2
    u, slope = t @ v + last.bias.double(), (bent * w) @ v
    return u + slope, slope + (-2 * t * bent * w**2) @ v


@pytest.mark.parametrize("how", ["autograd", "enable_grad", "grad", "jacrev"])
def test_networks_that_differentiate_by_their_inputs_have_a_surface(how):
    model, x = Physical(how), X[:, :1].double()
    surface = LossSurface(model, "mse", (x, torch.zeros(12, 1, dtype=F64)), dtype=F64)
    value, slope = by_formula(model, x)
    torch.testing.assert_close(surface.loss(), value.square().mean().detach())
    torch.testing.assert_close(surface.loss(surface.parameters.expand(2, -1)), surface.loss().expand(2))
    expected = torch.autograd.grad(value.square().mean(), list(model.parameters()))
    torch.testing.assert_close(
        surface.gradient(), torch.cat([one.ravel() for one in expected]).double(), rtol=1e-6, atol=1e-8
    )
    step = 1e-5 * torch.ones(surface.dimension, dtype=F64)
    difference = (surface.gradient(surface.parameters + step) - surface.gradient(surface.parameters - step)) / 2
    torch.testing.assert_close(surface.hvp(step), difference, rtol=1e-5, atol=1e-9)
    assert surface.example_gradient_norms().shape == (12,)
    if how != "enable_grad":
        torch.testing.assert_close(
            probes.sensitivity(surface, of="logits").per_example, slope.abs().detach(), rtol=1e-6, atol=1e-8
        )


def physical_loss(model, batch):
    """The mean square of u + ∂u/∂x, with the derivative taken in the loss."""
    x = batch[0].requires_grad_()
    u = model(x)
    return (u + torch.autograd.grad(u.sum(), x, create_graph=True)[0]).square().mean()


@pytest.mark.parametrize("rows", [12, 5])
def test_losses_that_differentiate_by_the_inputs_have_a_surface(rows):
    model, x = Physical("autograd").double(), X[:, :1].double()
    surface = LossSurface(model.net, physical_loss, [(one,) for one in x.split(rows)])
    value, slope = by_formula(model, x)
    torch.testing.assert_close(surface.loss(), value.square().mean().detach())
    expected = torch.autograd.grad(value.square().mean(), list(model.parameters()))
    torch.testing.assert_close(surface.gradient(), torch.cat([one.ravel() for one in expected]))
    found = probes.sensitivity(surface, of="loss").per_example
    torch.testing.assert_close(found, (2 * value * slope).abs().detach())
    assert not x.requires_grad


class Pair(nn.Module):
    """Logits that are linear in each of two inputs, among other things; and one of words."""

    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(0)
        self.kind, self.left, self.right = kind, nn.Linear(3, 3), nn.Linear(2, 3)
        self.words = nn.Embedding(5, 3)

    def forward(self, x, z, words):
        logits = self.left(x) + 2 * self.right(z) + self.words(words)
        return (x, logits) if self.kind == "tuple" else SimpleNamespace(logits=logits, hidden=x)


WORDS = torch.arange(12) % 5


@pytest.mark.parametrize(("kind", "output"), [("tuple", 1), ("object", "logits"), ("object", lambda out: out.logits)])
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("rows", [12, 5])
def test_one_output_is_derived_by_one_input(kind, output, named, rows):
    model = Pair(kind).double()
    x, z = X.double(), Z.double()

    def loss(answer, y):
        return nn.functional.cross_entropy(answer[1] if kind == "tuple" else answer.logits, y)

    pieces = zip(x.split(rows), z.split(rows), WORDS.split(rows), Y.split(rows), strict=True)
    batches = [({"x": a, "z": b, "words": c} if named else (a, b, c), d) for a, b, c, d in pieces]
    surface = LossSurface(model, loss, batches)
    p = (model.left(x) + 2 * model.right(z) + model.words(WORDS)).softmax(1).detach()
    spread = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    for wrt, weight in (("x" if named else 0, model.left.weight), ("z" if named else 1, 2 * model.right.weight)):
        weight = weight.detach()
        found = probes.sensitivity(surface, of="logits", output=output, wrt=wrt)
        torch.testing.assert_close(found.per_example, weight.norm().expand(12))
        found = probes.sensitivity(surface, of="probabilities", output=output, wrt=wrt)
        torch.testing.assert_close(found.per_example, (spread @ weight).flatten(1).norm(dim=1))
        found = probes.sensitivity(surface, of="loss", wrt=wrt)
        torch.testing.assert_close(found.per_example, ((p - nn.functional.one_hot(Y, 3)) @ weight).norm(dim=1))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, r"wrt = None: expected one of 'x', 'z', 'words'"),
        ({"wrt": "y"}, r"wrt = y: expected one of 'x', 'z', 'words'"),
        ({"wrt": 0}, r"wrt = 0: expected one of"),
        ({"wrt": True}, r"wrt = True: expected one of"),
        ({"wrt": [1]}, r"wrt = "),
        ({"wrt": "words"}, r"data = inputs that are torch.int64: .*embeddings"),
        ({"wrt": "x"}, r"output = None: the network returns SimpleNamespace of logits, hidden"),
        ({"wrt": "x", "output": "scores"}, r"output = scores: the network returns"),
        ({"wrt": "x", "of": "outputs"}, r"of = outputs"),
        ({"surface": None}, "surface = None: expected a bm.LossSurface"),
        ({"surface": nn.Linear(3, 3)}, "surface = Linear: expected a bm.LossSurface"),
        ({"theta": "here", "wrt": "x"}, "theta = str"),
    ],
)
def test_odd_arguments_are_one_sentence(arguments, sentence, unchecked):
    model = Pair("object")
    data = {"x": X, "z": Z, "words": WORDS}, Y
    surface = LossSurface(model, lambda answer, y: nn.functional.cross_entropy(answer.logits, y), data)
    with pytest.raises(InputError, match=sentence):
        probes.sensitivity(**({"surface": surface, "of": "logits"} | arguments))


def test_an_only_input_needs_no_name():
    surface = LossSurface(copy.deepcopy(Cut("not")), "cross_entropy", (X, Y))
    with pytest.raises(InputError, match="wrt = x: expected None, as the network has one input"):
        probes.sensitivity(surface, wrt="x")
