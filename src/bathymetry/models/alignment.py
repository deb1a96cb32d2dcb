"""Alignment: permuting the hidden units of one network to match another's."""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, NoReturn

import torch
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from bathymetry.core.errors import InputError
from bathymetry.core.tensors import unwrapped

_UNITWISE_NAMES: Final = (
    "Identity ReLU ReLU6 LeakyReLU ELU SELU CELU GELU SiLU Mish Softplus Softsign Tanh Sigmoid LogSigmoid Hardtanh "
    "Hardsigmoid Hardswish Hardshrink Softshrink Tanhshrink Threshold"
)
_RANDOM_NAMES: Final = "Dropout Dropout1d Dropout2d Dropout3d AlphaDropout FeatureAlphaDropout RReLU"
_UNITWISE: Final = {getattr(nn, name) for name in _UNITWISE_NAMES.split()}
_RANDOM: Final = {getattr(nn, name) for name in _RANDOM_NAMES.split()}
# by kind of layer, the number of spatial axes after that of the units
_WEIGHTED: Final[dict[type[nn.Module], int]] = {nn.Linear: 0, nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}
_POOLS: Final[dict[type[nn.Module], int]] = {
    getattr(nn, f"{kind}Pool{axes}d"): axes
    for kind in ("Max", "Avg", "AdaptiveMax", "AdaptiveAvg")
    for axes in (1, 2, 3)
}
_NORMS: Final[dict[type[nn.Module], tuple[int, ...]]] = {
    nn.BatchNorm1d: (0, 1),
    nn.BatchNorm2d: (2,),
    nn.BatchNorm3d: (3,),
    nn.PReLU: (0, 1, 2, 3),
}
_TENSORS: Final = ("weight", "bias", "running_mean", "running_var")
_ROUNDS: Final = 100
_ROUNDING: Final = 1e-12  # a gain below this share of what is added up may be rounding alone

Named = tuple[str, Any]  # a layer with its name
Order = Tensor  # int64, one number per unit: which unit comes where


@dataclass(frozen=True)
class HiddenUnits:
    """The units between two neighbouring layers with weights."""

    count: int
    own: tuple[str, ...]  # parameters and statistics with a row or an entry per unit
    leaving: str  # the weight above, with a column per unit or a run of columns


def align(a: nn.Module, b: nn.Module) -> nn.Module:
    """Permute the hidden units of one network to match another's, by their weights.

    A network computes the same function whatever the order of its hidden units, so two that were trained separately may
    differ by little else. Ainsworth, Hayase and Srinivasa 2023, arXiv:2209.04836.

    Args:
        a: The network to match: an `nn.Sequential` of linear or convolutional layers with, between them, layers that
            act on each unit alone: activations, BatchNorm, pooling over space, flattening, dropout in evaluation mode.
            The inputs' first axis is the example; a linear layer takes one row per example.
        b: The network to permute, of the same architecture.

    Returns:
        A copy of b that computes the same function. If b is a permuted copy of a whose units differ from one another,
        the result equals a.

    Raises:
        InputError: If a layer's units can't be permuted, the architectures differ, or a weight is not finite.

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
    units = _hidden_units("a", a)
    if units != _hidden_units("b", b) or _architecture(a) != _architecture(b):
        raise InputError("b", type(b).__name__, "expected a network of the same architecture as a")
    matching = _Matching(units, _parameters("a", a), _parameters("b", b))
    orders = matching.best()
    aligned = copy.deepcopy(b)
    with torch.no_grad():
        for name, tensor in [*aligned.named_parameters(), *aligned.named_buffers()]:
            tensor.copy_(matching.moved(name, tensor, orders))
    return aligned


def _architecture(network: nn.Module) -> list[tuple[object, ...]]:
    layers = [(type(layer),) for layer in network.modules() if not isinstance(layer, nn.Sequential)]
    tensors = [*network.named_parameters(), *network.named_buffers()]
    return [*layers, *((name, *tensor.shape) for name, tensor in tensors)]


def _parameters(field: str, network: nn.Module) -> dict[str, Tensor]:
    for name, tensor in network.named_parameters():
        if not bool(tensor.isfinite().all()):
            raise InputError(field, f"{name} that is not finite", "expected a network that did not diverge")
    return {name: tensor.detach().cpu().double() for name, tensor in network.named_parameters()}


def _refuse(field: str, name: str, layer: nn.Module, remedy: str) -> NoReturn:
    kind = type(layer).__name__
    raise InputError(field, f"{kind} (layer {name})" if name else kind, remedy)


def _hidden_units(field: str, network: nn.Module) -> list[HiddenUnits]:
    """Find a network's hidden units, inputs first."""
    layers = list(_layers(field, network, ""))
    weighted = [index for index, (_, layer) in enumerate(layers) if type(layer) in _WEIGHTED]
    if not weighted:
        raise InputError(field, type(network).__name__, "expected an nn.Sequential with linear or convolutional layers")
    owners: dict[int, str] = {}
    for name, layer in layers:
        if getattr(layer, "groups", 1) > 1:
            _refuse(field, name, layer, "its groups tie units together; use a convolution with one group")
        for tensor in [*layer.parameters(), *layer.buffers()]:
            owner = owners.setdefault(tensor.data_ptr(), name) if tensor.numel() else name
            if owner != name:
                _refuse(field, name, layer, f"it shares numbers with layer {owner}, so neither can be permuted")
    for name, layer in [*layers[: weighted[0]], *layers[weighted[-1] + 1 :]]:
        if type(layer) not in _NORMS and next(layer.parameters(), None) is not None:
            _refuse(field, name, layer, "it may have hidden units that can't be permuted; leave it out")
    return [_between(field, layers[below : above + 1]) for below, above in pairwise(weighted)]


def _layers(field: str, module: nn.Module, name: str) -> Iterator[Named]:
    """The layers of sequences within sequences, in the order in which they run."""
    if module._forward_hooks or module._forward_pre_hooks:
        _refuse(field, name, module, "it has hooks, which may mix units; expected a network without")
    is_sequence = isinstance(module, nn.Sequential)
    overridden = is_sequence and type(module).forward is not nn.Sequential.forward
    if overridden or "forward" in vars(module) or type(module).__call__ is not nn.Module.__call__:
        _refuse(field, name, module, "it has a forward pass of its own, which may mix units; expected PyTorch's own")
    if not is_sequence:
        yield name, module
        return
    for own, layer in module._modules.items():  # which lists a layer twice if it runs twice
        if layer is not None:
            yield from _layers(field, layer, f"{name}.{own}" if name else own)


def _between(field: str, chain: Sequence[Named]) -> HiddenUnits:
    """Follow the units of the first layer of a chain to the weights of the last."""
    (name, below), *between, (top, above) = chain
    count, axes, is_flattened = len(below.weight), _WEIGHTED[type(below)], False
    owners = [(name, below)]

    def fits(size: int) -> bool:  # a flattened unit is a run of neighbours
        return size % count == 0 if is_flattened else size == count

    for name, layer in between:
        kind = type(layer)
        if kind in _NORMS:
            size = layer.num_parameters if kind is nn.PReLU else layer.num_features
            is_shared = kind is nn.PReLU and size == 1  # one slope for all units
            if axes not in _NORMS[kind] or not (fits(size) or is_shared):
                _refuse(field, name, layer, "it does not act on each unit of the layer below alone")
            owners += [] if is_shared else [(name, layer)]
        elif kind is nn.Flatten:
            if (layer.start_dim, layer.end_dim) != (1, -1):
                _refuse(field, name, layer, "use nn.Flatten(1, -1), which leaves each unit's numbers together")
            axes, is_flattened = 0, is_flattened or axes > 0
        elif kind in _POOLS:
            if axes == 0 or _POOLS[kind] != axes:
                _refuse(field, name, layer, "it pools over units; put it after a convolution with as many axes")
        elif kind in _RANDOM:
            if layer.training and getattr(layer, "p", 1) > 0:
                _refuse(field, name, layer, "it is random in training mode; call .eval() first")
        elif kind not in _UNITWISE:
            _refuse(field, name, layer, "it is not known to act on each unit alone; leave it out")
    if _WEIGHTED[type(above)] != axes or not fits(above.weight.shape[1]):
        remedy = "it does not take the units below as its channels; put nn.Flatten() before a linear layer"
        _refuse(field, top, above, remedy)
    own = [f"{name}.{one}" for name, layer in owners for one in _TENSORS if getattr(layer, one, None) is not None]
    return HiddenUnits(count, tuple(own), f"{top}.weight")


@dataclass(frozen=True)
class _Matching:
    """The search for the orders of b's hidden units, by their place, that match a best."""

    units: Sequence[HiddenUnits]
    a: Mapping[str, Tensor]  # parameters by name, float64
    b: Mapping[str, Tensor]

    def best(self) -> dict[int, Order]:
        """Start from both ends and from the given order, improve each, and take the best agreement."""
        places = range(len(self.units))
        best = given = {place: torch.arange(self.units[place].count) for place in places}
        most = -torch.inf
        for start in (self.greedy(places, axis=0), self.greedy(reversed(places), axis=1), given):
            orders = self.settled(start)
            agreement, size = self.agreement(orders)
            if agreement > most + _ROUNDING * size:
                best, most = orders, agreement
        return best

    def greedy(self, places: Iterable[int], axis: int) -> dict[int, Order]:
        """Match one place after another by the weights on one side of it."""
        orders: dict[int, Order] = {}
        for place in places:
            orders[place] = _assigned(self.gain(place, orders, (axis,)))
        return orders

    def settled(self, start: Mapping[int, Order]) -> dict[int, Order]:
        """Improve one place after another until none can be."""
        orders = dict(start)
        for _ in range(_ROUNDS):
            changed = False
            for place in range(len(self.units)):
                gain = self.gain(place, orders, (0, 1))
                order = _assigned(gain)
                new, old = (gain.gather(1, one[:, None]) for one in (order, orders[place]))
                if bool(new.sum() - old.sum() > _ROUNDING * (new.abs().sum() + old.abs().sum())):
                    orders[place], changed = order, True
            if not changed:
                break
        return orders

    def agreement(self, orders: Mapping[int, Order]) -> tuple[float, float]:
        """Σ ⟨A, P B Pᵀ⟩, and the same of absolute values."""
        names = [name for one in self.units for name in one.own if name in self.a]
        names += [one.leaving for one in self.units[-1:]]
        terms = [self.a[name] * self.moved(name, self.b[name], orders) for name in names]
        return sum(float(term.sum()) for term in terms), sum(float(term.abs().sum()) for term in terms)

    def gain(self, place: int, orders: Mapping[int, Order], axes: tuple[int, ...]) -> Float[Tensor, "unit unit"]:
        """Inner products of the weights of a's units and b's, along these axes of the weights."""
        one = self.units[place]
        others = {other: order for other, order in orders.items() if other != place}
        names = [(name, 0) for name in one.own if name in self.a] + [(one.leaving, 1)]
        products = []
        for name, axis in names:
            if axis in axes:
                pair = (self.a[name], self.moved(name, self.b[name], others))
                mine, theirs = (_runs(tensor, axis, one.count).movedim(axis, 0).flatten(1) for tensor in pair)
                products.append(mine @ theirs.T)
        return torch.stack(products).sum(0)

    def moved(self, name: str, tensor: Tensor, orders: Mapping[int, Order]) -> Tensor:
        """Put the units along a tensor's axes into the given orders; those without an order stay where they are."""
        for place, order in orders.items():
            if name in self.units[place].own:
                tensor = _permuted(tensor, 0, order)
            if name == self.units[place].leaving:
                tensor = _permuted(tensor, 1, order)
        return tensor


def _permuted(tensor: Tensor, axis: int, order: Order) -> Tensor:
    runs = _runs(tensor, axis, len(order))
    return runs.index_select(axis, order.to(tensor.device)).reshape(tensor.shape)


def _runs(tensor: Tensor, axis: int, count: int) -> Tensor:
    """Split an axis into units and the run of neighbours that belongs to each."""
    return tensor.reshape(*tensor.shape[:axis], count, -1, *tensor.shape[axis + 1 :])


def _assigned(gain: Float[Tensor, "unit unit"]) -> Order:
    _, columns = linear_sum_assignment(gain.numpy(), maximize=True)
    return torch.as_tensor(columns)
