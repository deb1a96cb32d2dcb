"""The gradient noise scale, against closed forms, the definition, and populations that are known."""

import numpy as np
import pytest
import torch
from torch import nn

from bathymetry import LossSurface, probes
from bathymetry.core.errors import InputError

F64 = torch.float64


@pytest.mark.parametrize("wrapped", [False, True])
def test_linear_regression_with_gaussian_inputs_has_the_noise_scale_of_its_closed_form(wrapped):
    """(d + 1) + d σ² / ‖Δ‖², Δ the distance to the true weights, σ² the label noise."""
    chance = torch.Generator().manual_seed(2)
    width, count, noise = 5, 40_000, 0.7
    x = torch.randn(count, width, generator=chance).double()
    true, away = torch.randn(2, width, generator=chance).double()
    y = x @ true[:, None] + noise * torch.randn(count, 1, generator=chance).double()
    model = nn.Linear(width, 1, bias=False).double()
    model.weight.data = (true + away)[None]
    few = slice(0, count if not wrapped else 8000)
    found = probes.noise_scale(LossSurface(nn.Sequential(model) if wrapped else model, "mse", (x[few], y[few])))
    expected = width + 1 + width * noise**2 / away.square().sum().item()
    assert abs(found.value - expected) < 4 * found.standard_error
    assert found.standard_error < 0.1 * expected


def shifted(y):
    """A surface whose examples have the gradients −2y, at 0."""
    model = nn.Linear(1, y.shape[1], bias=False).double()
    nn.init.zeros_(model.weight)
    return LossSurface(model, nn.MSELoss(reduction="sum"), (torch.ones(len(y), 1, dtype=F64), y.double()))


def by_definition(gradients):
    """B of per-example gradients, (example, parameter): the mean of gᵢ·gⱼ over pairs stands for ‖G‖²."""
    count = len(gradients)
    products = gradients @ gradients.T
    square = (products.sum() - products.trace()) / (count * (count - 1))
    return (gradients.var(0).sum() / square).item()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("rows", [1, 4, 23])
def test_it_is_the_definition_of_each_examples_gradient(reduction, rows):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 6), nn.Softplus(), nn.Linear(6, 4)).double()
    x, y = torch.randn(23, 8, dtype=F64), torch.randint(0, 4, (23,))
    gradients = []
    for one, label in zip(x, y, strict=True):
        model.zero_grad()
        nn.functional.cross_entropy(model(one[None]), label[None]).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    batches = list(zip(x.split(rows), y.split(rows), strict=True))
    found = probes.noise_scale(LossSurface(model, nn.CrossEntropyLoss(reduction=reduction), batches))
    expected = by_definition(torch.stack(gradients))
    assert found.value.item() == pytest.approx(expected if expected > 0 else torch.inf)
    assert found.gradient_norm.item() == pytest.approx(torch.stack(gradients).mean(0).norm().item())


def test_its_error_is_the_jackknifes():
    y = torch.randn(30, 3, generator=torch.Generator().manual_seed(0)).double() + 1
    found = probes.noise_scale(shifted(y))
    left_out = [1 / by_definition(torch.cat([y[:i], y[i + 1 :]])) for i in range(30)]
    error = np.sqrt(29 / 30 * ((np.array(left_out) - np.mean(left_out)) ** 2).sum())
    value = by_definition(y)
    assert found.value.item() == pytest.approx(value)
    assert found.standard_error.item() == pytest.approx(error * value**2)
    assert found.low.item() == pytest.approx(1 / (1 / value + 1.959964 * error))
    assert found.high.item() == pytest.approx(1 / (1 / value - 1.959964 * error))


@pytest.mark.slow
@pytest.mark.parametrize(("mean", "width", "count"), [(1.0, 5, 50), (0.1, 20, 50), (0.1, 20, 200), (0.1, 5, 100)])
def test_nineteen_intervals_of_twenty_hold_the_populations_noise_scale(mean, width, count):
    """yᵢ ~ N(μ, 1)ᵈ has tr(Σ)/‖G‖² = 1/μ², whether or not that is more than the number of examples."""
    chance = torch.Generator().manual_seed(3)
    truth = 1 / mean**2
    samples = [mean + torch.randn(count, width, generator=chance) for _ in range(150)]
    found = [probes.noise_scale(shifted(one)) for one in samples]
    covered = np.mean([one.low.item() <= truth <= one.high.item() for one in found])
    assert covered > 0.95 - 4 * np.sqrt(0.95 * 0.05 / 150)
    assert np.median([one.value.item() for one in found]) == pytest.approx(truth, rel=0.3)


def test_a_mean_gradient_that_noise_explains_has_no_finite_noise_scale():
    y = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    assert by_definition(y.double()) < 0
    found = probes.noise_scale(shifted(y))
    assert found.value == found.standard_error == found.high == torch.inf
    assert 0 < found.low < torch.inf


@pytest.mark.parametrize(("y", "value"), [(torch.ones(4, 2), 0.0), (torch.zeros(4, 2), torch.nan)])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_gradients_that_are_all_the_same_have_no_noise_and_none_at_all_no_noise_scale(y, value, dtype):
    model = nn.Linear(3, 2).to(dtype)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    found = probes.noise_scale(LossSurface(model, "mse", (torch.full((4, 3), 0.3, dtype=dtype), y.to(dtype))))
    torch.testing.assert_close(found.value.item(), value, equal_nan=True)


@pytest.mark.parametrize(
    "loss", [nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0])), nn.CrossEntropyLoss(ignore_index=1)]
)
def test_a_loss_that_is_no_plain_mean_is_refused(loss):
    surface = LossSurface(nn.Linear(2, 3), loss, (torch.randn(6, 2), torch.tensor([0, 1, 2, 0, 1, 2])))
    with pytest.raises(InputError, match="counts some examples more"):
        probes.noise_scale(surface)
