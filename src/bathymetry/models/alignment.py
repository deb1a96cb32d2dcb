"""Permuting the hidden units of one network so that they match another's.

A network computes the same function whatever the order of its hidden units, so two that were trained apart may differ
by little else. Matched by their weights: Ainsworth, Hayase and Srinivasa 2023, arXiv:2209.04836.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NoReturn

import torch
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from bathymetry.core.errors import InputError
from bathymetry.core.networks import unwrapped

_SPATIAL: dict[type[nn.Module], int] = {  # axes after that of the units
    nn.Linear: 0, nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3,
    nn.MaxPool1d: 1, nn.AvgPool1d: 1, nn.AdaptiveAvgPool1d: 1, nn.AdaptiveMaxPool1d: 1,
    nn.MaxPool2d: 2, nn.AvgPool2d: 2, nn.AdaptiveAvgPool2d: 2, nn.AdaptiveMaxPool2d: 2,
    nn.MaxPool3d: 3, nn.AvgPool3d: 3, nn.AdaptiveAvgPool3d: 3, nn.AdaptiveMaxPool3d: 3,
}  # fmt: skip
_WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS: dict[type[nn.Module], tuple[int, ...]] = {
    nn.BatchNorm1d: (0, 1), nn.BatchNorm2d: (2,), nn.BatchNorm3d: (3,), nn.PReLU: (0, 1, 2, 3),
}  # fmt: skip
_UNITWISE = {
    nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus,
    nn.Softsign, nn.Tanh, nn.Sigmoid, nn.LogSigmoid, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish, nn.Hardshrink,
    nn.Softshrink, nn.Tanhshrink, nn.Threshold,
}  # fmt: skip
_RANDOM = {nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout, nn.RReLU}
_TENSORS = ("weight", "bias", "running_mean", "running_var")

Named = tuple[str, Any]  # a layer with its name


@dataclass(frozen=True)
class HiddenUnits:
    """The units between two layers with weights."""

    count: int
    entering: tuple[str, ...]  # parameters with a row or an entry a unit
    statistics: tuple[str, ...]  # buffers likewise
    leaving: str  # the weight above, with a column a unit or a run of columns


def hidden_units(field: str, network: nn.Module) -> list[HiddenUnits]:
    """Read a network's hidden units.

    Args:
        field: What to call the network in a complaint.
        network: An `nn.Sequential`, or several inside one another, of linear or convolutional layers with what acts on
            each unit alone between them.

    Returns:
        One entry for each pair of neighbouring layers with weights, inputs first.

    Raises:
        InputError: If a layer is none whose units can be permuted; the sentence names it.
    """
    layers = list(_layers(field, network, ""))
    weighted = [place for place, (_, layer) in enumerate(layers) if type(layer) in _WEIGHTED]
    if not weighted:
        raise InputError(field, type(network).__name__, "give an nn.Sequential with linear or convolutional layers")
    _refuse_ties(field, layers)
    for name, layer in [*layers[: weighted[0]], *layers[weighted[-1] + 1 :]]:
        if type(layer) not in _NORMS and next(layer.parameters(), None) is not None:
            _refuse(field, name, layer, "it may have hidden units that can't be put in order; leave it out")
    return [_between(field, layers[below : above + 1]) for below, above in pairwise(weighted)]


def _layers(field: str, module: nn.Module, name: str) -> Iterator[Named]:
    hooked = module._forward_hooks or module._forward_pre_hooks
    replaced = "forward" in vars(module) or type(module).__call__ is not nn.Module.__call__
    if hooked or replaced:
        what = "hooks" if hooked else "a forward pass of its own"
        _refuse(field, name, module, f"it has {what}, which may mix units; give a network without")
    if not isinstance(module, nn.Sequential):
        yield name, module
        return
    if type(module).forward is not nn.Sequential.forward:
        remedy = "it has a forward pass of its own; give a plain nn.Sequential, one layer after another"
        _refuse(field, name, module, remedy)
    for own, layer in module._modules.items():  # which lists a layer twice if it runs twice
        if layer is not None:
            yield from _layers(field, layer, f"{name}.{own}" if name else own)


def _refuse_ties(field: str, layers: Sequence[Named]) -> None:
    seen: dict[int, str] = {}
    for name, layer in layers:
        if getattr(layer, "groups", 1) > 1:
            _refuse(field, name, layer, "its groups tie units together; give a convolution of one group")
        for tensor in [*layer.parameters(), *layer.buffers()]:
            other = seen.setdefault(tensor.data_ptr(), name) if tensor.numel() else name
            if other != name:
                _refuse(field, name, layer, f"it shares numbers with layer {other}, so neither can be permuted")


def _between(field: str, chain: Sequence[Named]) -> HiddenUnits:
    (name, below), *between, (top, above) = chain
    count, spatial, flattened = len(below.weight), _SPATIAL[type(below)], False
    owners = [(name, below)]

    def fits(size: int) -> bool:  # a flattened unit is a run of neighbours
        return size % count == 0 if flattened else size == count

    for name, layer in between:
        kind = type(layer)
        if kind in _RANDOM and layer.training and getattr(layer, "p", 1) > 0:
            _refuse(field, name, layer, "it is random in training mode; call .eval() first")
        if kind in _NORMS:
            size = layer.num_parameters if kind is nn.PReLU else layer.num_features
            single = kind is nn.PReLU and size == 1  # one slope for all units
            if spatial not in _NORMS[kind] or not (fits(size) or single):
                _refuse(field, name, layer, "it does not act on each unit of the layer below alone")
            owners += [] if single else [(name, layer)]
        elif kind is nn.Flatten:
            if (layer.start_dim, layer.end_dim) != (1, -1):
                _refuse(field, name, layer, "give nn.Flatten(1, -1), which leaves each unit's numbers together")
            spatial, flattened = 0, flattened or spatial > 0
        elif kind in _SPATIAL:
            if spatial == 0 or _SPATIAL[kind] != spatial:
                _refuse(field, name, layer, "it pools over units; let it follow a convolution of as many axes")
        elif kind not in _UNITWISE | _RANDOM:
            _refuse(field, name, layer, "it is not known to act on each unit alone; leave it out")
    if _SPATIAL[type(above)] != spatial or not fits(above.weight.shape[1]):
        remedy = "it does not take the units below as its channels; put nn.Flatten() before a linear layer"
        _refuse(field, top, above, remedy)
    named = [(f"{owner}.{one}", getattr(layer, one, None)) for owner, layer in owners for one in _TENSORS]
    held = [(name, tensor) for name, tensor in named if tensor is not None]
    return HiddenUnits(
        count=count,
        entering=tuple(name for name, tensor in held if isinstance(tensor, nn.Parameter)),
        statistics=tuple(name for name, tensor in held if not isinstance(tensor, nn.Parameter)),
        leaving=f"{top}.weight",
    )


def _refuse(field: str, name: str, layer: nn.Module, remedy: str) -> NoReturn:
    kind = type(layer).__name__
    raise InputError(field, f"{kind} (layer {name})" if name else kind, remedy)


_ROUNDS = 100
_ROUNDING = 1e-12  # a gain below this share of what is added up may be rounding alone

Order = Tensor  # (unit,), int64: which unit comes where
Tensors = Mapping[str, Tensor]


def matched(places: Sequence[HiddenUnits], a: Tensors, b: Tensors) -> list[Order]:
    """Find the order of b's hidden units that matches a best.

    Args:
        places: The hidden units, inputs first.
        a: The parameters to match, by name, float64.
        b: Those to permute.

    Returns:
        An order for each place.
    """
    pair = _Pair(places, a, b)
    best, most = [torch.arange(one.count) for one in places], -torch.inf
    for start in (pair.from_inputs(), pair.from_outputs(), best):
        orders = pair.settled(start)
        reached, size = pair.agreement(orders)
        if reached > most + _ROUNDING * size:
            best, most = orders, reached
    return best


def permuted(tensor: Float[Tensor, "*axes"], axis: int, order: Order) -> Float[Tensor, "*axes"]:
    """Put the units along an axis in another order.

    Args:
        tensor: Any tensor.
        axis: Where the units lie, each a run of neighbours.
        order: Which unit comes where.

    Returns:
        The tensor with its units in that order.
    """
    shape = tensor.shape
    runs = tensor.reshape(*shape[:axis], len(order), -1, *shape[axis + 1 :])
    return runs.index_select(axis, order.to(tensor.device)).reshape(shape)


@dataclass(frozen=True)
class _Pair:
    places: Sequence[HiddenUnits]
    a: Tensors
    b: Tensors

    def from_inputs(self) -> list[Order]:
        orders: list[Order] = []
        for place in range(len(self.places)):
            orders.append(_assigned(self._entering(place, orders)))
        return orders

    def from_outputs(self) -> list[Order]:
        orders = [torch.arange(one.count) for one in self.places]
        for place in reversed(range(len(self.places))):
            orders[place] = _assigned(self._leaving(place, orders))
        return orders

    def settled(self, start: Sequence[Order]) -> list[Order]:
        """Improve one layer after another until none can be."""
        orders = list(start)
        for _ in range(_ROUNDS):
            changed = False
            for place in range(len(orders)):
                gain = self._entering(place, orders) + self._leaving(place, orders)
                order = _assigned(gain)
                new, old = (gain.gather(1, one[:, None]) for one in (order, orders[place]))
                if bool(new.sum() - old.sum() > _ROUNDING * (new.abs().sum() + old.abs().sum())):
                    orders[place], changed = order, True
            if not changed:
                break
        return orders

    def agreement(self, orders: Sequence[Order]) -> tuple[float, float]:
        """Give Σ ⟨A, P B Pᵀ⟩, and the same of absolute values."""
        terms = [self.a[name] * self._moved(name, place, orders) for place, name in self._names()]
        return sum(float(term.sum()) for term in terms), sum(float(term.abs().sum()) for term in terms)

    def _names(self) -> list[tuple[int, str]]:
        last = len(self.places)
        own = [(place, name) for place, one in enumerate(self.places) for name in one.entering]
        return [*own, *((last, one.leaving) for one in self.places[-1:])]

    def _moved(self, name: str, place: int, orders: Sequence[Order]) -> Tensor:
        """Give a tensor of b that enters the units of a place, in the orders on both of its sides."""
        tensor = self._inputs_moved(name, place, orders)
        return permuted(tensor, 0, orders[place]) if place < len(self.places) else tensor

    def _inputs_moved(self, name: str, place: int, orders: Sequence[Order]) -> Tensor:
        below = place > 0 and self.places[place - 1].leaving == name
        return permuted(self.b[name], 1, orders[place - 1]) if below else self.b[name]

    def _entering(self, place: int, orders: Sequence[Order]) -> Float[Tensor, "unit unit"]:
        count = self.places[place].count
        products = [
            self.a[name].view(count, -1) @ self._inputs_moved(name, place, orders).reshape(count, -1).T
            for name in self.places[place].entering
        ]
        return torch.stack(products).sum(0)

    def _leaving(self, place: int, orders: Sequence[Order]) -> Float[Tensor, "unit unit"]:
        one = self.places[place]
        above = self.b[one.leaving]
        if place + 1 < len(self.places):
            above = permuted(above, 0, orders[place + 1])
        mine, theirs = (
            tensor.reshape(len(tensor), one.count, -1).transpose(0, 1).flatten(1)
            for tensor in (self.a[one.leaving], above)
        )
        return mine @ theirs.T


def _assigned(gain: Float[Tensor, "unit unit"]) -> Order:
    _, columns = linear_sum_assignment(gain.numpy(), maximize=True)
    return torch.as_tensor(columns)


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
