"""Permuting the hidden units of one perceptron so that they match another's.

A network computes the same function whatever the order of its hidden units. Matching the weights of two networks layer
by layer, each layer an assignment problem given the others, until no layer improves (weight matching):

    max over permutations P of Σₗ ⟨Aₗ, Pₗ Bₗ Pₗ₋₁ᵀ⟩

Ainsworth, Hayase and Srinivasa 2023, arXiv:2209.04836.
"""

import copy
from collections.abc import Sequence

import torch
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from bathymetry.core.errors import InputError

_ROUNDS = 100
Layer = tuple[Tensor, Tensor | None]  # weight (output, input, *kernel) and bias (output)


def align(a: nn.Module, b: nn.Module) -> nn.Module:
    """Permute the hidden units of one network to match another's.

    Args:
        a: The network to match: an `nn.Sequential` of linear or convolutional layers, with what acts unit by unit or
            within a unit between them (activations, pooling, flattening).
        b: The network to permute, of the same architecture.

    Returns:
        A copy of b that computes what b does, its hidden units in the order that matches a.

    Raises:
        InputError: If they are other kinds of network, or not of one architecture.

    Example:
        >>> from bathymetry.models import mlp
        >>> a = mlp([2, 3, 1])
        >>> b = copy.deepcopy(a)
        >>> b[0].weight.data, b[0].bias.data = a[0].weight.data[[2, 0, 1]], a[0].bias.data[[2, 0, 1]]
        >>> b[2].weight.data = a[2].weight.data[:, [2, 0, 1]]
        >>> bool((align(a, b)[0].weight == a[0].weight).all())
        True
    """
    first, second = _weighted(a), _weighted(b)
    if [type(x) for x in first] != [type(x) for x in second] or any(
        x.weight.shape != y.weight.shape for x, y in zip(first, second, strict=True)
    ):
        raise InputError("b", type(b).__name__, "give a network of the same architecture as a")
    orders = _matched([_layer(one) for one in first], [_layer(one) for one in second])
    aligned = copy.deepcopy(b)
    with torch.no_grad():
        for place, layer in enumerate(_weighted(aligned)):
            weight, bias = layer.weight, layer.bias
            if place < len(orders):
                weight.copy_(weight[orders[place]].clone())
                if bias is not None:
                    bias.copy_(bias[orders[place]].clone())
            if place > 0:
                weight.copy_(_inputs_permuted(weight, orders[place - 1]))
    return aligned


def _weighted(module: nn.Module) -> list[nn.Linear | nn.Conv2d | nn.Conv1d]:
    plain = nn.ReLU | nn.Tanh | nn.Sigmoid | nn.GELU | nn.ELU | nn.SiLU | nn.Identity | nn.Flatten
    pooling = nn.MaxPool2d | nn.AvgPool2d | nn.AdaptiveAvgPool2d | nn.MaxPool1d | nn.AvgPool1d
    layers = list(module) if isinstance(module, nn.Sequential) else []
    found = [layer for layer in layers if isinstance(layer, nn.Linear | nn.Conv2d | nn.Conv1d)]
    known = all(isinstance(layer, nn.Linear | nn.Conv2d | nn.Conv1d | plain | pooling) for layer in layers)
    grouped = any(isinstance(layer, nn.Conv2d | nn.Conv1d) and layer.groups > 1 for layer in found)
    if not found or not known or grouped:
        remedy = "give an nn.Sequential of linear or convolutional layers with activations and pooling between them"
        raise InputError("network", type(module).__name__, remedy)
    return found


def _layer(layer: nn.Linear | nn.Conv2d | nn.Conv1d) -> Layer:
    bias = layer.bias
    return layer.weight.detach().double(), None if bias is None else bias.detach().double()


def _inputs_permuted(weight: Tensor, order: Tensor) -> Tensor:
    # after a flattening, each unit below is a run of neighbouring inputs
    run = weight.shape[1] // len(order)
    grouped = weight.reshape(weight.shape[0], len(order), run, *weight.shape[2:])
    return grouped[:, order].reshape(weight.shape).clone()


def _matched(a: Sequence[Layer], b: Sequence[Layer]) -> list[Tensor]:
    orders = [torch.arange(len(weight)) for weight, _ in a[:-1]]
    for _ in range(_ROUNDS):
        changed = False
        for place in range(len(orders)):
            gain = _gain(a, b, orders, place)
            rows, columns = linear_sum_assignment(gain.numpy(), maximize=True)
            order = torch.as_tensor(columns)
            del rows
            better = gain.gather(1, order[:, None]).sum() > gain.gather(1, orders[place][:, None]).sum() + 1e-12
            if bool(better):
                orders[place], changed = order, True
        if not changed:
            break
    return orders


def _gain(a: Sequence[Layer], b: Sequence[Layer], orders: Sequence[Tensor], place: int) -> Float[Tensor, "unit unit"]:
    """Give how well unit i of a's layer and unit j of b's go together, from the weights into and out of them."""
    (own, own_bias), (other, other_bias) = a[place], b[place]
    if place > 0:
        other = _inputs_permuted(other, orders[place - 1])
    gain = own.flatten(1) @ other.flatten(1).T
    if own_bias is not None and other_bias is not None:
        gain = gain + own_bias[:, None] * other_bias
    units = len(own)
    above, above_other = a[place + 1][0], b[place + 1][0]
    if place + 1 < len(orders):
        above_other = above_other[orders[place + 1]]
    leaving, leaving_other = (
        one.reshape(one.shape[0], units, -1).transpose(0, 1).flatten(1) for one in (above, above_other)
    )
    return gain + leaving @ leaving_other.T
