"""A loss surface is held to closed forms, to differences of losses and gradients, and to its slow twin."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import eigsh
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader, Dataset, RandomSampler, TensorDataset, WeightedRandomSampler

import bathymetry as bm
from bathymetry import LossSurface
from bathymetry.core.errors import InputError
from surface import cases

EVERY = pytest.mark.parametrize("name", cases.CASES)


def slope(function, theta, direction, step=1e-6):
    return (function(theta + step * direction) - function(theta - step * direction)) / (2 * step)


def linear_regression(examples=7, features=3, device="cpu"):
    torch.manual_seed(3)
    x, y = torch.randn(examples, features).double(), torch.randn(examples, 1).double()
    return nn.Linear(features, 1, bias=False).double().to(device), x.to(device), y.to(device)


def test_linear_regression_has_its_closed_form(device):
    model, x, y = linear_regression(device=device)
    surface = LossSurface(model, "mse", (x, y))
    residual = x @ surface.parameters[:, None] - y
    torch.testing.assert_close(surface.loss(), residual.square().mean())
    torch.testing.assert_close(surface.gradient(), (2 / 7 * x.T @ residual).ravel())
    torch.testing.assert_close(surface.hessian(), 2 / 7 * x.T @ x)


def test_softmax_regression_has_its_closed_form(device):
    torch.manual_seed(0)
    x, y = torch.randn(9, 4).double().to(device), torch.randint(0, 3, (9,)).to(device)
    surface = LossSurface(nn.Sequential(nn.Linear(4, 3)).double().to(device), "cross_entropy", (x, y))
    weight = surface.parameters[:12].view(3, 4)
    p = (x @ weight.T + surface.parameters[12:]).softmax(1)
    outer = sum(
        torch.kron(torch.diag(q) - torch.outer(q, q), torch.outer(one, one)) for q, one in zip(p, x, strict=True)
    )
    torch.testing.assert_close(surface.hessian()[:12, :12], outer / 9)


def test_logistic_regression_has_its_closed_form():
    torch.manual_seed(0)
    x, y = torch.randn(11, 3).double(), torch.randint(0, 2, (11, 1)).double()
    surface = LossSurface(
        nn.Linear(3, 1, bias=False).double(), nn.BCEWithLogitsLoss(), [(x[:4], y[:4]), (x[4:], y[4:])]
    )
    p = (x @ surface.parameters[:, None]).sigmoid()
    torch.testing.assert_close(surface.gradient(), (x.T @ (p - y)).ravel() / 11)
    torch.testing.assert_close(surface.hessian(), x.T @ (p * (1 - p) * x) / 11)


class Product(nn.Module):
    """½(w₁w₂ − 1)², as a network of one input that is 1."""

    def __init__(self, first, second):
        super().__init__()
        self.weights = nn.Parameter(torch.tensor([first, second], dtype=torch.float64))

    def forward(self, x):
        return x * self.weights.prod()


@pytest.mark.parametrize(("at", "eigenvalues"), [((0.0, 0.0), (-1.0, 1.0)), ((2.0, 0.5), (0.0, 4.25))])
def test_a_product_of_two_weights_has_its_saddle_and_its_valley(at, eigenvalues):
    one = torch.ones(1, 1, dtype=torch.float64)
    surface = LossSurface(Product(*at), lambda output, target: (output - target).square().mean() / 2, (one, one))
    torch.testing.assert_close(torch.linalg.eigvalsh(surface.hessian()), torch.tensor(eigenvalues).double())


@EVERY
def test_batches_of_unequal_sizes_amount_to_all_the_data_at_once(name, device):
    case = cases.CASES[name]
    model, batches = cases.built(case, device), case.batches()
    surface = LossSurface(model, case.loss, batches)
    whole = cases.truth(model, case, cases.joined(case, batches))
    theta = surface.parameters
    torch.testing.assert_close(surface.loss(), whole(theta).detach(), rtol=1e-12, atol=1e-12)
    expected = torch.autograd.grad(whole(theta.requires_grad_()), theta)[0]
    torch.testing.assert_close(surface.gradient(), expected, rtol=1e-10, atol=1e-12)


@EVERY
def test_products_are_differences_of_gradients_and_columns_of_the_hessian(name, device):
    case = cases.CASES[name]
    surface = LossSurface(cases.built(case, device), case.loss, case.batches())
    vectors = torch.randn(3, surface.dimension, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    vectors = vectors.to(device)
    products = surface.hvp(vectors)
    differences = torch.stack([slope(surface.gradient, surface.parameters, vector) for vector in vectors])
    torch.testing.assert_close(products, differences, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(products, vectors @ surface.hessian(), rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(surface.hvp(vectors[0]), products[0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["tanh perceptron", "convolution", "lstm", "attention"])
def test_the_hessian_is_that_of_the_loss_of_all_data_at_once(name, device):
    case = cases.CASES[name]
    model, batches = cases.built(case, device), case.batches()
    surface, theta = LossSurface(model, case.loss, batches), LossSurface(model, case.loss, batches).parameters
    whole = cases.truth(model, case, cases.joined(case, batches))
    with (
        sdpa_kernel(SDPBackend.MATH),
        torch.backends.cudnn.flags(enabled=False),
    ):  # the others have no second derivative
        expected = torch.autograd.functional.hessian(whole, theta)
    torch.testing.assert_close(surface.hessian(), expected, rtol=1e-9, atol=1e-11)


@EVERY
def test_an_ensemble_is_its_members_one_by_one(name, device):
    case = cases.CASES[name]
    surface = LossSurface(cases.built(case, device), case.loss, case.batches())
    chance = torch.Generator().manual_seed(6)
    shift = torch.randn(3, surface.dimension, dtype=torch.float64, generator=chance).to(device)
    theta = surface.parameters + 0.1 * shift
    vectors = torch.randn(3, 2, surface.dimension, dtype=torch.float64, generator=chance).to(device)
    for together, alone in [
        (surface.loss(theta), [surface.loss(one) for one in theta]),
        (surface.gradient(theta), [surface.gradient(one) for one in theta]),
        (surface.hessian(theta), [surface.hessian(one) for one in theta]),
        (surface.hvp(vectors, theta), [surface.hvp(own, one) for own, one in zip(vectors, theta, strict=True)]),
        (surface.hvp(vectors[:, 0], theta), [surface.hvp(v[0], one) for v, one in zip(vectors, theta, strict=True)]),
    ]:
        torch.testing.assert_close(together, torch.stack(alone), rtol=1e-9, atol=1e-11)


@EVERY
def test_the_network_is_left_as_it_was_found(name):
    case = cases.CASES[name]
    model = cases.built(case)
    model(**case.batches()[0][0]) if isinstance(case.batches()[0][0], dict) else None
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    modes = [layer.training for layer in model.modules()]
    wanted = [parameter.requires_grad for parameter in model.parameters()]
    chance = torch.get_rng_state()
    batches = case.batches()
    torch.set_rng_state(chance)
    surface = LossSurface(model, case.loss, batches)
    surface.loss(), surface.gradient(), surface.hvp(torch.ones(surface.dimension)), surface.hessian()
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert [layer.training for layer in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == wanted
    assert all(torch.equal(parameter.grad, torch.ones_like(parameter)) for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), chance)


def test_the_network_is_left_as_it_was_found_when_a_measurement_is_interrupted():
    class Interrupted(nn.Linear):
        armed = False

        def forward(self, x):
            if type(self).armed:
                raise KeyboardInterrupt
            return super().forward(x)

    model = nn.Sequential(Interrupted(3, 1))
    before = model[0].weight
    surface = LossSurface(model, "mse", (torch.randn(4, 3), torch.randn(4, 1)), dtype=torch.float64)
    Interrupted.armed = True
    with pytest.raises(KeyboardInterrupt):
        surface.gradient()
    assert model[0].weight is before
    assert before.dtype == torch.float32
    assert model[0].training


def test_unequal_batches_are_weighted_by_their_counts():
    model, x, y = linear_regression(100)
    expected = 2 / 100 * x.T @ x
    batches = list(zip(torch.split(x, 32), torch.split(y, 32), strict=True))  # 32, 32, 32 and 4
    unweighted = sum(2 / len(one) * one.T @ one for one, _ in batches) / 4
    torch.testing.assert_close(LossSurface(model, "mse", batches).hessian(), expected, rtol=1e-12, atol=1e-12)
    assert (unweighted - expected).norm() > 0.05 * expected.norm()  # what a plain mean over batches would give


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=5),
    st.sampled_from([torch.float32, torch.float64]),
    st.sampled_from(["relu", "tanh", "sigmoid", "identity"]),
    st.sampled_from(["mse", "cross_entropy"]),
    st.lists(st.integers(1, 4), min_size=2, max_size=4),
    st.integers(1, 3),
)
def test_a_perceptrons_formulas_are_those_of_automatic_differentiation(sizes, dtype, activation, loss, widths, members):
    torch.manual_seed(len(sizes))
    model = bm.mlp(widths, activation)
    x = torch.randn(sum(sizes), widths[0])
    y = torch.randn(len(x), widths[-1]) if loss == "mse" else torch.randint(0, widths[-1], (len(x),))
    batches = list(zip(torch.split(x, sizes), torch.split(y, sizes), strict=True))
    fast = LossSurface(model, loss, batches, dtype=dtype)
    slow = LossSurface(nn.Sequential(model), loss, (x, y), dtype=dtype)
    assert fast.backend != slow.backend
    theta = fast.parameters + torch.randn(members, fast.dimension, dtype=dtype)
    vectors = torch.randn(members, 2, fast.dimension, dtype=dtype)
    tolerance = {"rtol": 1e-3, "atol": 1e-3} if dtype == torch.float32 else {"rtol": 1e-10, "atol": 1e-11}
    torch.testing.assert_close(fast.loss(theta), slow.loss(theta), **tolerance)
    torch.testing.assert_close(fast.gradient(theta), slow.gradient(theta), **tolerance)
    torch.testing.assert_close(fast.hessian(theta), slow.hessian(theta), **tolerance)
    torch.testing.assert_close(fast.hvp(vectors, theta), slow.hvp(vectors, theta), **tolerance)


@pytest.mark.parametrize("name", ["tanh perceptron", "convolution", "lstm"])
def test_a_small_memory_changes_nothing_but_the_pieces(name):
    case = cases.CASES[name]
    model = cases.built(case)
    roomy, narrow = (LossSurface(model, case.loss, case.batches(), max_bytes=size) for size in (2**31, 30_000))
    vectors = torch.randn(4, roomy.dimension, dtype=torch.float64)
    torch.testing.assert_close(narrow.loss(), roomy.loss(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(narrow.gradient(), roomy.gradient(), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(narrow.hvp(vectors), roomy.hvp(vectors), rtol=1e-10, atol=1e-12)


def test_a_hessian_that_does_not_fit_is_refused():
    surface = LossSurface(bm.mlp([4, 50, 3]), "mse", (torch.randn(5, 4), torch.randn(5, 3)), max_bytes=10_000)
    with pytest.raises(InputError, match=r"max_bytes = 10000 bytes for Hessians that need \d+: use products"):
        surface.hessian()


def test_batchnorm_in_training_uses_the_batch_and_keeps_no_statistics():
    case = cases.CASES["batchnorm, evaluating"]
    model = cases.built(case).train()
    batches = case.batches()
    before = model[1].running_mean.clone()
    surface = LossSurface(model, "mse", batches)
    expected = sum(len(x) * nn.functional.mse_loss(model(x), y).item() for x, y in batches) / 12
    model[1].running_mean.copy_(before)
    assert surface.loss().item() == pytest.approx(expected, rel=1e-12)
    surface.hessian()
    assert torch.equal(model[1].running_mean, before)


def test_a_network_may_go_on_training_under_its_surface():
    model, x, y = linear_regression()
    surface = LossSurface(model, "mse", (x, y))
    with torch.no_grad():
        model.weight.zero_()
    assert surface.loss().item() == pytest.approx(y.square().mean().item())


def test_some_parameters_alone_can_be_measured():
    case = cases.CASES["tanh perceptron"]
    model = cases.built(case)
    every, last = LossSurface(model, "mse", case.batches()), LossSurface(model, "mse", case.batches(), params=["4"])
    place = every.selection.layers["4"]
    torch.testing.assert_close(last.hessian(), every.hessian()[place, place])
    assert LossSurface(model, "mse", case.batches(), params=["0.bias", "4.weight"]).dimension == 5 + 12
    tied = cases.built(cases.CASES["tied"])
    assert LossSurface(tied, "mse", cases.CASES["tied"].batches(), params=["second"]).dimension == 20


def test_several_dtypes_meet_in_one_surface():
    model = nn.Sequential(nn.Linear(3, 4).double(), nn.Tanh(), nn.Linear(4, 1).double())
    model[2].bias.data = model[2].bias.data.float()

    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = model

        def forward(self, x):
            return nn.functional.linear(self.body[:2](x), self.body[2].weight) + self.body[2].bias

    data = torch.randn(5, 3).double(), torch.randn(5, 1).double()
    surface = LossSurface(Mixed(), "mse", data)
    assert surface.dtype == torch.float64
    assert surface.gradient().isfinite().all()


def test_scipy_takes_the_hessian_as_an_operator():
    case = cases.CASES["convolution"]
    surface = LossSurface(cases.built(case), case.loss, case.batches())
    largest = eigsh(surface.linear_operator(), k=2, which="LA", return_eigenvectors=False)
    np.testing.assert_allclose(np.sort(largest), torch.linalg.eigvalsh(surface.hessian())[-2:].numpy(), rtol=1e-8)


class Noisy(Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, index):
        return torch.randn(3), torch.zeros(1)


EXAMPLES = TensorDataset(torch.randn(10, 3), torch.randn(10, 1))
DRAWN = RandomSampler(EXAMPLES, replacement=True)
WEIGHTED = WeightedRandomSampler(torch.ones(10), 10)


def normalised():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))


def functional_dropout():
    class Random(nn.Linear):
        def forward(self, x):
            return nn.functional.dropout(super().forward(x))

    return Random(3, 1)


@pytest.mark.parametrize(
    ("model", "loss", "data", "sentence"),
    [
        (nn.Linear(3, 1), "mse", DataLoader(EXAMPLES, batch_size=4, sampler=DRAWN), "with replacement, or a part"),
        (nn.Linear(3, 1), "mse", DataLoader(EXAMPLES, batch_size=4, sampler=WEIGHTED), "second pass differs"),
        (normalised(), "mse", DataLoader(EXAMPLES, batch_size=5, shuffle=True), "shuffle=True: which examples share"),
        (nn.Linear(3, 1), "mse", DataLoader(Noisy(), batch_size=2, shuffle=True), "second pass differs"),
        (nn.Linear(3, 1), "mse", DataLoader(EXAMPLES, 4, shuffle=True, drop_last=True), "drops 2 of 10 examples"),
        (nn.Linear(3, 1), "mse", DataLoader(EXAMPLES, batch_size=4, drop_last=True), "drops 2 of 10 examples"),
        (nn.Linear(3, 1), "mse", DataLoader(Noisy(), batch_size=2), "second pass differs"),
        (
            nn.Sequential(nn.Linear(3, 1), nn.Dropout()),
            "mse",
            EXAMPLES[:],
            r"layer 1 \(Dropout\), random in training mode.*model\.eval",
        ),
        (functional_dropout(), "mse", EXAMPLES[:], "draws random numbers in evaluation mode too"),
        (nn.Linear(3, 1), lambda output, target: (output - target) ** 2, EXAMPLES[:], r"shape \(10, 1\).*one number"),
        (nn.Linear(3, 1), nn.MSELoss(reduction="none"), EXAMPLES[:], "reduction none"),
        (nn.Linear(3, 1), "hinge", EXAMPLES[:], "loss = hinge"),
        (nn.Linear(3, 1), "mse", [], "no batch"),
        (nn.Linear(3, 1), "mse", (torch.randn(0, 3), torch.randn(0, 1)), "expected at least one example"),
        (nn.Linear(3, 1), "mse", (torch.randn(5, 3), torch.randn(4, 1)), "5 inputs and 4 targets"),
        (nn.Linear(3, 1), "mse", torch.randn(5, 3), "data = Tensor"),
        (nn.Linear(5, 1), "mse", EXAMPLES[:], "refuses them"),
        (nn.ReLU(), "mse", EXAMPLES[:], "trainable parameters"),
    ],
)
def test_what_is_no_surface_is_refused_with_the_reason(model, loss, data, sentence, unchecked):
    with pytest.raises(InputError, match=sentence):
        LossSurface(model, loss, data)


def test_a_wrong_second_derivative_is_refused():
    class Fused(nn.Module):
        def __init__(self):
            super().__init__()
            self.v, self.g = nn.Parameter(torch.randn(3, 4)), nn.Parameter(torch.rand(3, 1))

        def forward(self, x):
            return x @ torch._weight_norm(self.v, self.g, 0).T

    surface = LossSurface(Fused(), "mse", (torch.randn(8, 4), torch.randn(8, 3)))
    with pytest.raises(InputError, match=r"second derivative is not that of its gradient.*PyTorch"):
        surface.hessian()


@pytest.mark.parametrize("shape", [(4,), (2, 4), (0,), (1, 2, 3)])
def test_a_theta_of_the_wrong_length_is_refused(shape, unchecked):
    model, x, y = linear_regression()
    with pytest.raises(InputError, match=r"theta = shape .*expected shape \(3,\) or \(member, 3\)"):
        LossSurface(model, "mse", (x, y)).loss(torch.zeros(shape, dtype=torch.float64))


@pytest.mark.parametrize("shape", [(4,), (1, 1, 3)])
def test_a_vector_of_the_wrong_length_is_refused(shape, unchecked):
    model, x, y = linear_regression()
    with pytest.raises(InputError, match=r"vectors = shape .*expected shape \(3,\) or \(vector, 3\)"):
        LossSurface(model, "mse", (x, y)).hvp(torch.zeros(shape, dtype=torch.float64))


def test_integer_parameters_are_refused_only_when_they_are_asked_for():
    model, x, y = linear_regression()
    model.register_parameter("steps", nn.Parameter(torch.tensor([3]), requires_grad=False))
    assert LossSurface(model, "mse", (x, y)).dimension == 3
    with pytest.raises(InputError, match=r"steps = a parameter of torch\.int64"):
        LossSurface(model, "mse", (x, y), params=["steps"])
    with pytest.raises(InputError, match="params = stepps"):
        LossSurface(model, "mse", (x, y), params=["stepps"])


def test_nan_is_a_loss_like_any_other():
    model, x, y = linear_regression()
    theta = torch.stack([torch.zeros(3), torch.full((3,), torch.nan)]).double()
    loss = LossSurface(model, "mse", (x, y)).loss(theta)
    assert loss.isnan().tolist() == [False, True]


@pytest.mark.parametrize("at_parameters", [True, False])
@pytest.mark.parametrize("layer", [nn.Tanh(), nn.Softplus()], ids=["formulas", "double backward"])
def test_a_hessian_product_makes_at_most_12_calls_before_its_arithmetic(layer, at_parameters):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), layer, nn.Linear(5, 3))
    surface = LossSurface(model, "mse", (torch.randn(20, 4), torch.randn(20, 3)))
    v, theta = torch.ones(surface.dimension), None if at_parameters else surface.parameters
    surface.hvp(v, theta)  # the first call checks second derivatives and cuts the data
    package, called = str(Path(bm.__file__).parent), []

    def note(frame, event, _argument):
        if event == "call" and frame.f_code.co_filename.startswith(package):
            called.append(frame.f_code.co_name)

    sys.setprofile(note)
    try:
        surface.hvp(v, theta)
    finally:
        sys.setprofile(None)
    assert called[0] == "hvp"
    assert called.index("product") <= 12, called
