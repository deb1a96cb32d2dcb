"""Which numbers of a sequential network belong to which hidden unit.

Between two layers with weights, a hidden unit owns a row of the lower weight, a column of the upper one (a run of
neighbouring columns after a flattening), and its entries of biases and normalisations in between. Only what acts on
each unit alone may stand there; anything else is refused by name, since permuted units would then be another network.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NoReturn

from torch import nn

from bathymetry.core.errors import InputError

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
