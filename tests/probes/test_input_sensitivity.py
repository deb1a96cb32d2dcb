"""Derivatives with respect to the input, against closed forms."""

import pytest
import torch
from torch import nn

from bathymetry import LossSurface, probes
from bathymetry.core.errors import InputError
from probes.surfaces import softmax_regression


def test_softmax_regression_has_its_sensitivities_in_closed_form():
    model, surface, x, y = softmax_regression()
    weight = model.weight.detach()
    p = (x @ weight.T + model.bias).softmax(1).detach()
    spread = torch.stack([torch.diag(q) - torch.outer(q, q) for q in p])
    expected = {
        "logits": weight.norm().expand(9),
        "probabilities": (spread @ weight).flatten(1).norm(dim=1),
        "loss": ((p - nn.functional.one_hot(y, 3)) @ weight).norm(dim=1),
    }
    for of, norms in expected.items():
        found = probes.sensitivity(surface, of=of)
        torch.testing.assert_close(found.per_example, norms)
        torch.testing.assert_close(found.value, norms.mean())


def test_a_model_that_fits_every_example_is_as_sensitive_as_ever():
    x = torch.eye(3).double()
    model = nn.Linear(3, 2, bias=False).double()
    surface = LossSurface(model, "mse", (x, model(x).detach()))
    assert probes.gradient_norm(surface).value < 1e-12
    assert probes.sensitivity(surface, of="logits").value.item() == pytest.approx(model.weight.norm().item())


@pytest.mark.parametrize("of", ["loss", "logits", "probabilities"])
def test_sensitivity_does_not_depend_on_the_batches(of):
    model, _, x, y = softmax_regression()
    whole = probes.sensitivity(LossSurface(model, "cross_entropy", (x, y)), of=of)
    single = probes.sensitivity(
        LossSurface(model, "cross_entropy", list(zip(x.split(1), y.split(1), strict=True))), of=of
    )
    torch.testing.assert_close(whole.per_example, single.per_example)


def batched(x, y, rows):
    return list(zip(x.split(rows), y.split(rows), strict=True))


def reaction(logits, y, weight):
    """∂(−log softmax)/∂x of each example under logits that are linear in x."""
    return (logits.softmax(1) - nn.functional.one_hot(y, 3)) @ weight


@pytest.mark.parametrize("rows", [1, 4, 7, 23])
@pytest.mark.parametrize("memory", [2**31, 20_000])
def test_an_examples_loss_counts_as_the_loss_weighs_it_in_whatever_batch_it_comes(rows, memory):
    model, _, x, y = softmax_regression(23)
    classes = torch.tensor([1.0, 2.0, 0.5]).double()
    loss = nn.CrossEntropyLoss(weight=classes, ignore_index=2)
    found = probes.sensitivity(LossSurface(model, loss, batched(x, y, rows), max_bytes=memory), of="loss")
    expected = reaction(model(x), y, model.weight).norm(dim=1) * classes[y] * (y != 2)
    torch.testing.assert_close(found.per_example, expected.detach())
    torch.testing.assert_close(found.value, expected.detach().mean())


@pytest.mark.parametrize("rows", [1, 5, 12])
def test_a_sum_and_a_mean_over_outputs_have_the_examples_own(rows):
    torch.manual_seed(0)
    model = nn.Linear(4, 3).double()
    x, y = torch.randn(12, 4).double(), torch.randn(12, 3).double()
    slopes = (2 * (model(x) - y) @ model.weight).detach().norm(dim=1)
    for reduction, share in (("sum", 1), ("mean", 3)):
        surface = LossSurface(model, nn.MSELoss(reduction=reduction), batched(x, y, rows))
        torch.testing.assert_close(probes.sensitivity(surface, of="loss").per_example, slopes / share)


def test_several_labels_an_example_are_each_weighed():
    torch.manual_seed(0)
    model = nn.Conv1d(4, 3, 1).double()
    x, y = torch.randn(6, 4, 5).double(), torch.randint(0, 3, (6, 5))
    classes = torch.tensor([1.0, 2.0, 0.5]).double()
    surface = LossSurface(model, nn.CrossEntropyLoss(weight=classes), batched(x, y, 2))
    weight = model.weight.detach()[:, :, 0]
    logits = model(x).detach()
    each = torch.stack([reaction(logits[..., t], y[:, t], weight) * classes[y[:, t], None] for t in range(5)], dim=1)
    torch.testing.assert_close(probes.sensitivity(surface, of="loss").per_example, each.flatten(1).norm(dim=1) / 5)
    p = logits.softmax(1).transpose(1, 2)
    turned = torch.diag_embed(p) @ weight - p[..., None] * (p @ weight)[..., None, :]
    found = probes.sensitivity(surface, of="probabilities").per_example
    torch.testing.assert_close(found, turned.flatten(1).norm(dim=1))


@pytest.mark.parametrize(
    ("model", "loss", "target", "why"),
    [
        (nn.Linear(4, 1), nn.BCEWithLogitsLoss(), torch.ones(5, 1), "softmax of one output"),
        (nn.Linear(4, 3), nn.BCEWithLogitsLoss(), torch.ones(5, 3), "no softmax"),
        (
            nn.Sequential(nn.Linear(4, 6), nn.Unflatten(1, (2, 3))),
            nn.MSELoss(),
            torch.ones(5, 2, 3),
            "no axis is known",
        ),
    ],
)
def test_what_has_no_probabilities_is_refused(model, loss, target, why):
    surface = LossSurface(model, loss, (torch.randn(5, 4), target))
    with pytest.raises(InputError, match=why):
        probes.sensitivity(surface, of="probabilities")
    assert probes.sensitivity(surface, of="logits").value > 0
