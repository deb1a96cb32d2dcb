"""Permuting the hidden units of one network so that they match another's.

A network computes the same function whatever the order of its hidden units, so two that were trained apart may differ
by little else. Matched by their weights: Ainsworth, Hayase and Srinivasa 2023, arXiv:2209.04836.
"""

import copy

import torch
from torch import Tensor, nn

from bathymetry.core.errors import InputError
from bathymetry.core.networks import unwrapped
from bathymetry.models.hidden_units import hidden_units
from bathymetry.models.weight_matching import matched, permuted


def align(a: nn.Module, b: nn.Module) -> nn.Module:
    """Permute the hidden units of one network to match another's.

    Args:
        a: The network to match: an `nn.Sequential` of linear or convolutional layers, with what acts on each unit alone
            between them: activations, BatchNorm, pooling over space, flattening, dropout that is switched off. The
            inputs' first axis is the example; a linear layer takes one row an example.
        b: The network to permute, of the same architecture.

    Returns:
        A copy of b that computes what b does, its hidden units in the order that matches a. Of a permuted copy of a,
        whose units differ from one another, that is a itself.

    Raises:
        InputError: If they hold layers whose units can't be permuted, are not of one architecture, or hold weights that
            are not finite.

    Example:
        >>> from bathymetry.models import mlp
        >>> a = mlp([2, 3, 1])
        >>> b = copy.deepcopy(a)
        >>> b[0].weight.data, b[0].bias.data = a[0].weight.data[[2, 0, 1]], a[0].bias.data[[2, 0, 1]]
        >>> b[2].weight.data = a[2].weight.data[:, [2, 0, 1]]
        >>> bool((align(a, b)[0].weight == a[0].weight).all())
        True
    """
    a, b = unwrapped(a, "a"), unwrapped(b, "b")
    places, theirs = hidden_units("a", a), hidden_units("b", b)
    if places != theirs or _shape(a) != _shape(b):
        raise InputError("b", type(b).__name__, "give a network of the same architecture as a")
    orders = matched(places, _parameters("a", a), _parameters("b", b))
    aligned = copy.deepcopy(b)
    tensors = {**dict(aligned.named_parameters()), **dict(aligned.named_buffers())}
    with torch.no_grad():
        for place, order in zip(places, orders, strict=True):
            for name in (*place.entering, *place.statistics):
                tensors[name].copy_(permuted(tensors[name], 0, order))
            tensors[place.leaving].copy_(permuted(tensors[place.leaving], 1, order))
    return aligned


def _shape(network: nn.Module) -> list[tuple[object, ...]]:
    layers = [(type(layer),) for layer in network.modules() if not isinstance(layer, nn.Sequential)]
    tensors = [*network.named_parameters(), *network.named_buffers()]
    return [*layers, *((name, *tensor.shape) for name, tensor in tensors)]


def _parameters(field: str, network: nn.Module) -> dict[str, Tensor]:
    found = {}
    for name, tensor in network.named_parameters():
        if not bool(tensor.isfinite().all()):
            raise InputError(field, f"{name} that is not finite", "give networks that did not diverge")
        found[name] = tensor.detach().cpu().double()
    return found
