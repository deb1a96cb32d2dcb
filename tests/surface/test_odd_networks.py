"""Networks, losses and data that misbehave: the surface stays a function of θ, and nothing of theirs changes."""

import random
import threading

import numpy as np
import pytest
import torch
from torch import nn

from bathymetry import probes
from bathymetry.core.errors import InputError
from bathymetry.surface import HiddenRandomness, LossSurface

F64 = torch.float64


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Counting(nn.Module):
    """Writes into a buffer while it is asked, and answers by it."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x):
        self.seen += 1
        return self.layer(x) * self.seen


def test_what_a_pass_writes_into_a_buffer_does_not_reach_the_next_member():
    torch.manual_seed(0)
    surface = LossSurface(Counting(), "mse", (drawn(5, 2), drawn(5, 1, seed=1)))
    theta = surface.parameters.repeat(3, 1)
    torch.testing.assert_close(surface.loss(theta), surface.loss(theta[0]).expand(3))


@pytest.mark.parametrize("norm", [nn.utils.parametrizations.spectral_norm, nn.utils.spectral_norm])
def test_spectral_normalisation_has_a_surface_only_when_it_stays(norm):
    torch.manual_seed(0)
    model = nn.Sequential(norm(nn.Linear(2, 3)), nn.Tanh(), nn.Linear(3, 1))
    data = drawn(6, 2), drawn(6, 1, seed=1)
    with pytest.raises(InputError, match="spectral normalisation in training mode"):
        LossSurface(model, "mse", data)
    surface = LossSurface(model.eval(), "mse", data, dtype=F64)
    v = drawn(surface.dimension, seed=2).double()
    point = surface.parameters
    slope = (surface.gradient(point + 1e-5 * v) - surface.gradient(point - 1e-5 * v)) / 2e-5
    torch.testing.assert_close(surface.hvp(v), slope, rtol=1e-5, atol=1e-6)


def test_layers_that_work_in_place_leave_the_data_alone():
    x = drawn(6, 3)
    before = x.clone()
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(3, 1), nn.ReLU(inplace=True))
    surface = LossSurface(model, lambda output, target: (output - target).square().mean(), (x, drawn(6, 1, seed=1)))
    surface.loss(), surface.gradient(), surface.hessian()
    assert torch.equal(x, before)


@pytest.mark.parametrize("frozen", [True, False])
def test_an_embedding_that_renormalises_itself_leaves_its_weights_alone(frozen):
    embedding = nn.Embedding(4, 3, max_norm=0.5)
    model = nn.Sequential(embedding, nn.Flatten(), nn.Linear(6, 1))
    embedding.weight.requires_grad_(not frozen)
    before = embedding.weight.detach().clone()
    words = torch.tensor([[0, 1], [2, 3], [1, 1]])
    if not frozen:  # the loss follows the rescaled rows, and PyTorch's gradient does not
        with pytest.raises(InputError, match=r"gradient of 0 is not the derivative of the loss.*max_norm"):
            LossSurface(model, "mse", (words, drawn(3, 1)))
    else:
        surface = LossSurface(model, "mse", (words, drawn(3, 1)))
        theta = surface.parameters
        kept = theta.clone()
        surface.loss(theta), surface.gradient(theta)
        assert torch.equal(theta, kept)
    assert torch.equal(embedding.weight, before)


class Remembering(nn.Module):
    """Adds what it saw to a tensor that is no buffer."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)
        self.total = torch.zeros(1)

    def forward(self, x):
        self.total += x.mean().detach()
        return self.layer(x)


def test_a_tensor_that_is_kept_outside_the_buffers_is_neither_changed_nor_trusted():
    model = Remembering()
    with pytest.raises(InputError, match="register that as a buffer"):
        LossSurface(model, "mse", (drawn(4, 2), drawn(4, 1)))
    assert model.total.item() == 0.0


class Drawing(nn.Module):
    """Draws random numbers for nothing."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x):
        torch.rand(3), random.random(), np.random.rand()
        return self.layer(x)


def test_random_states_are_left_as_they_were(unchecked):  # type checks draw random numbers themselves
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    expected = torch.rand(1), random.random(), np.random.rand()
    model = Drawing()
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    with pytest.warns(HiddenRandomness, match="Drawing draws random numbers"):
        surface = LossSurface(model, "mse", (drawn(4, 2), drawn(4, 1)))
    surface.loss(), surface.gradient(), surface.hessian()
    assert (torch.rand(1), random.random(), np.random.rand()) == expected


class Sprinkling(nn.Module):
    """Random while training, without a dropout layer."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x):
        return self.layer(nn.functional.dropout(x, 0.5, self.training))


def test_randomness_that_is_switched_on_later_is_refused_too():
    model = Sprinkling().eval()
    surface = LossSurface(model, "mse", (drawn(4, 2), drawn(4, 1)))
    surface.loss()
    model.train()
    with pytest.raises(InputError, match="a random function in training mode"):
        surface.gradient()


def test_class_weights_follow_the_precision():
    model = nn.Linear(2, 3)
    data = drawn(9, 2), torch.arange(9) % 3
    weights = torch.tensor([1.0, 2.0, 4.0])
    loss = nn.CrossEntropyLoss(weight=weights)
    wide = LossSurface(model, loss, data, dtype=F64)
    assert wide.loss().item() == pytest.approx(loss(model(data[0]), data[1]).item(), rel=1e-6)
    assert probes.curvature_index(LossSurface(model, loss, data)).exact
    assert loss.weight is weights
    assert weights.dtype == torch.float32


@pytest.mark.parametrize("loss", ["mse", nn.MSELoss(), nn.functional.mse_loss])
def test_squared_error_is_weighed_by_elements_whatever_it_is_called(loss):
    model = nn.Conv1d(1, 1, 1)
    ragged = [(drawn(2, 1, 3), drawn(2, 1, 3, seed=1)), (drawn(2, 1, 5, seed=2), drawn(2, 1, 5, seed=3))]
    squares = [(model(x) - y).square().sum().item() for x, y in ragged]
    assert LossSurface(model, loss, ragged).loss().item() == pytest.approx(sum(squares) / 16, rel=1e-6)


class PerExample(nn.Module):
    """A loss of one's own: the mean over examples of summed squares."""

    def forward(self, output, target):
        return (output - target).square().flatten(1).sum(1).mean()


def test_a_loss_module_of_ones_own_is_a_mean_over_examples():
    model = nn.Conv1d(1, 1, 1)
    ragged = [(drawn(3, 1, 3), drawn(3, 1, 3, seed=1)), (drawn(2, 1, 5, seed=2), drawn(2, 1, 5, seed=3))]
    sums = [(model(x) - y).square().sum().item() for x, y in ragged]
    assert LossSurface(model, PerExample(), ragged).loss().item() == pytest.approx(sum(sums) / 5, rel=1e-6)


class Centred(nn.Module):
    """Takes the batch's mean out, so that examples depend on one another."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x):
        return self.layer(x - x.mean(0)).square()


def test_a_network_that_couples_examples_keeps_its_batches_whole():
    model, data = Centred(), (drawn(40, 2), drawn(40, 1, seed=1))
    whole = LossSurface(model, "mse", data, dtype=F64)
    little = LossSurface(model, "mse", data, dtype=F64, max_bytes=2000)
    torch.testing.assert_close(little.loss(), whole.loss())
    torch.testing.assert_close(little.hessian(), whole.hessian())
    with pytest.raises(InputError, match="depend on one another"):
        whole.example_gradient_norms()


class Shared(nn.Module):
    """Takes a matrix beside its inputs, which has as many rows as a batch."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x, mixing):
        return self.layer(x @ mixing)


def test_an_argument_that_only_looks_like_examples_is_not_cut():
    model, mixing = Shared(), drawn(2, 2, seed=4)
    data = ((drawn(2, 2), mixing), drawn(2, 1, seed=1))
    little = LossSurface(model, "mse", [data], max_bytes=1)
    expected = (model(*data[0]) - data[1]).square().mean().item()
    assert little.loss().item() == pytest.approx(expected, rel=1e-6)


def test_bfloat16_is_measured_with_its_own_rounding():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 2)).to(torch.bfloat16)
    surface = LossSurface(model, "cross_entropy", (drawn(20, 3).to(torch.bfloat16), torch.arange(20) % 2))
    exact = LossSurface(
        model, "cross_entropy", (drawn(20, 3).to(torch.bfloat16), torch.arange(20) % 2), dtype=F64
    ).hessian()
    assert float((surface.hessian().double() - exact).norm() / exact.norm()) < 0.1


def test_examples_that_are_ignored_have_no_gradient_and_do_not_disappear(unchecked):
    model = nn.Linear(2, 3)
    x = drawn(6, 2)
    y = torch.tensor([0, 1, -100, -100, 2, 0])
    loss = nn.CrossEntropyLoss()
    surface = LossSurface(model, loss, [(x[:2], y[:2]), (x[2:4], y[2:4]), (x[4:], y[4:])])
    norms = surface.example_gradient_norms()
    assert len(norms) == 6
    assert norms[2:4].tolist() == [0.0, 0.0]
    assert bool((norms[[0, 1, 4, 5]] > 0).all())
    with pytest.raises(InputError, match="one point"):
        surface.example_gradient_norms(surface.parameters[None].repeat(2, 1))


def test_a_later_batch_that_does_not_fit_is_one_clear_error():
    model = nn.Sequential(nn.Linear(2, 3), nn.Softplus(), nn.Linear(3, 1))
    surface = LossSurface(model, "mse", [(drawn(4, 2), drawn(4, 1)), (drawn(4, 3), drawn(4, 1))])
    with pytest.raises(InputError, match="fails on these data"):
        surface.loss()


class Once(torch.autograd.Function):
    """An operation without a second derivative."""

    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, slope):
        return slope * 2


class UsesOnce(nn.Module):
    """A network with that operation."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x):
        return Once.apply(self.layer(x))


def test_an_operation_without_a_second_derivative_is_one_clear_error():
    surface = LossSurface(UsesOnce(), "mse", (drawn(4, 2), drawn(4, 1)))
    assert surface.gradient().isfinite().all()
    with pytest.raises(InputError, match="once_differentiable"):
        surface.hvp(torch.ones(surface.dimension))


def test_no_vectors_have_no_products():
    surface = LossSurface(nn.Linear(2, 1), "mse", (drawn(4, 2), drawn(4, 1)))
    assert surface.hvp(torch.zeros(0, surface.dimension)).shape == (0, surface.dimension)


@pytest.mark.parametrize("theta", [[0.0, 1.0, 2.0], np.array([0.0, 1.0, 2.0])])
def test_theta_may_be_anything_that_makes_a_tensor(theta, unchecked):
    surface = LossSurface(nn.Linear(2, 1), "mse", (drawn(4, 2), drawn(4, 1)))
    torch.testing.assert_close(surface.loss(theta), surface.loss(torch.tensor([0.0, 1.0, 2.0])))


@pytest.mark.parametrize(
    ("theta", "sentence"), [("here", "a tensor of real numbers"), (torch.zeros(3, dtype=torch.complex64), "real")]
)
def test_theta_that_is_no_point_is_refused(theta, sentence, unchecked):
    surface = LossSurface(nn.Linear(2, 1), "mse", (drawn(4, 2), drawn(4, 1)))
    with pytest.raises(InputError, match=sentence):
        surface.loss(theta)


@pytest.mark.parametrize("given", [{"max_bytes": None}, {"max_bytes": float("nan")}, {"max_bytes": 0}, {"params": []}])
def test_settings_of_the_wrong_kind_are_refused(given, unchecked):
    with pytest.raises(InputError, match=next(iter(given))):
        LossSurface(nn.Linear(2, 1), "mse", (drawn(4, 2), drawn(4, 1)), **given)


@pytest.mark.parametrize(
    ("loss", "y", "sentence"),
    [
        (nn.CrossEntropyLoss(), torch.zeros(6), r"expected y\.long\(\)"),
        (nn.MSELoss, torch.zeros(6, 3), r"a class is no loss yet; expected MSELoss\(\)"),
        (lambda m, b: m(b[0]).square().mean(), torch.zeros(6, 3), r"not callable.*first argument is model"),
    ],
)
def test_losses_that_are_called_otherwise_are_answered_by_what_is_expected(loss, y, sentence):
    with pytest.raises(InputError, match=sentence):
        LossSurface(nn.Linear(2, 3), loss, (drawn(6, 2), y))


@pytest.mark.parametrize(
    ("network", "loss", "data", "operation"),
    [
        (lambda: nn.Sequential(nn.Linear(2, 3), nn.Hardsigmoid(), nn.Linear(3, 1)), "mse", (drawn(5, 2), drawn(5, 1)),
         "hardsigmoid"),
        (lambda: nn.Sequential(nn.EmbeddingBag(5, 3), nn.Linear(3, 1)), "mse", (torch.arange(10).reshape(5, 2) % 5,
         drawn(5, 1)), "embedding_bag"),
        (lambda: nn.Linear(2, 3), nn.MultiMarginLoss(), (drawn(5, 2), torch.arange(5) % 3), "multi_margin_loss"),
        (lambda: nn.Linear(2, 3), nn.MultiLabelMarginLoss(), (drawn(5, 2), torch.tensor([[0, -1, 0]] * 5)),
         "multilabel_margin_loss"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("ask", [LossSurface.hessian, lambda s: probes.eigenvalues(s, k=1), probes.critical_point])
def test_a_layer_without_a_second_derivative_in_pytorch_is_named_and_has_its_gradient(
    ask, network, loss, data, operation
):
    torch.manual_seed(0)
    model = network().double()
    inputs, targets = (one.double() if one.is_floating_point() else one for one in data)
    surface = LossSurface(model, loss, (inputs, targets))
    with pytest.raises(InputError, match=f"no second derivative of {operation}, and so .* loss and gradient work"):
        ask(surface)
    gradient, value = surface.gradient(), nn.MSELoss() if loss == "mse" else loss
    twin = torch.autograd.grad(value(model(inputs), targets), list(model.parameters()))
    torch.testing.assert_close(gradient, torch.cat([one.flatten() for one in twin]))


class Measured(nn.Linear):
    """Notes how many examples a pass has."""

    rows = 0

    def forward(self, x):
        type(self).rows = max(self.rows, len(x))
        return super().forward(x)


def test_a_surface_is_checked_on_eight_examples():
    data = drawn(1000, 3), torch.arange(1000) % 2
    LossSurface(nn.Sequential(Measured(3, 4), nn.GELU(), nn.Linear(4, 2)), "cross_entropy", data)
    assert Measured.rows == 8


class SeldomDropped(nn.Linear):
    """Leaves out about one example in a hundred."""

    def forward(self, x):
        return super().forward(x * (torch.rand(len(x), 1) > 0.01))


def test_randomness_of_few_examples_is_found_in_a_large_batch():
    data = drawn(1000, 3), drawn(1000, 1, seed=1)
    with pytest.raises(InputError, match="would differ at each evaluation"):
        LossSurface(SeldomDropped(3, 1), "mse", data)


def test_a_network_that_can_not_be_copied_is_refused_with_the_reason():
    model = nn.Linear(2, 1)
    model.lock = threading.Lock()
    with pytest.raises(InputError, match=r"model = Linear: .*be copied.*cannot pickle '_thread\.lock' object"):
        LossSurface(model, "mse", (drawn(5, 2), drawn(5, 1, seed=1)))
