"""Gradient norms, in all, by layer and by example."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

import bathymetry as bm
from bathymetry import LossSurface, probes
from bathymetry.core.errors import InputError
from probes.surfaces import linear_regression


def test_linear_regression_has_the_norm_of_its_closed_form():
    surface, x, y = linear_regression()
    expected = (2 / len(x) * x.T @ (x @ surface.parameters[:, None] - y)).norm()
    assert probes.gradient_norm(surface).value.item() == pytest.approx(expected.item())


def test_the_norms_of_the_layers_add_up_to_the_whole():
    surface = LossSurface(bm.mlp([2, 3, 4, 1]), "mse", (torch.randn(9, 2), torch.randn(9, 1)))
    norm = probes.gradient_norm(surface)
    assert norm.layers == ("0", "2", "4")
    torch.testing.assert_close(norm.by_layer.square().sum().sqrt(), norm.value)


def test_an_ensemble_has_a_norm_for_each_and_nan_where_it_diverged():
    surface, _, _ = linear_regression()
    theta = torch.stack([surface.parameters, torch.full((4,), torch.inf)])
    norm = probes.gradient_norm(surface, theta)
    assert norm.value.isnan().tolist() == [False, True]
    assert norm.by_layer.shape == (2, 1)


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_each_examples_norm_is_that_of_its_own_gradient(loss, wrapped):
    torch.manual_seed(2)
    model = bm.mlp([3, 5, 4], "tanh").double()
    x = torch.randn(7, 3).double()
    y = torch.randn(7, 4).double() if loss == "mse" else torch.randint(0, 4, (7,))
    surface = LossSurface(nn.Sequential(model) if wrapped else model, loss, [(x[:3], y[:3]), (x[3:], y[3:])])
    function = nn.functional.mse_loss if loss == "mse" else nn.functional.cross_entropy

    def one(parameters, inputs, target):
        return function(functional_call(model, parameters, (inputs[None],)), target[None])

    each = vmap(grad(one), in_dims=(None, 0, 0))({n: p.detach() for n, p in model.named_parameters()}, x, y)
    expected = sum(part.flatten(1).square().sum(1) for part in each.values()).sqrt()
    torch.testing.assert_close(probes.example_gradient_norms(surface).value, expected)


def test_examples_that_depend_on_one_another_have_no_norm_of_their_own():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    surface = LossSurface(model, "mse", (torch.randn(5, 2), torch.randn(5, 1)))
    with pytest.raises(InputError, match="depend on one another"):
        probes.example_gradient_norms(surface)


def test_several_points_have_no_examples_norms(unchecked):
    model = nn.Linear(2, 1)
    surface = LossSurface(model, "mse", (torch.randn(5, 2), torch.randn(5, 1)))
    with pytest.raises(InputError, match="2 members"):
        probes.example_gradient_norms(surface, surface.parameters.repeat(2, 1))
