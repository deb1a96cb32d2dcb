"""A structure of our own for a user's network, and what its layers do in training mode.

The structure is a deep copy that shares the parameters and buffers: what a forward pass writes into attributes lands in
the copy. Before each measurement it takes over the plain attributes of the user's layers, such as a slope.
"""

import copy
from collections.abc import Iterator
from itertools import chain
from operator import is_
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bathymetry.core.errors import InputError

Mode = Literal["as_is", "no_dropout"]

_PLAIN = (bool, int, float, str, type(None))


class Structure:
    """A copy of a network's layers that follows the original.

    Args:
        module: The network.
        dtype: What to compute in; None for the dtypes it has.

    Raises:
        InputError: If it can't be copied.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype | None) -> None:
        self._theirs, self._dtype = module, dtype
        self._layers = dict(module.named_modules())
        shared = {id(tensor): tensor for tensor in [*module.parameters(), *module.buffers()]}
        shared |= {id(one): one.detach().clone() for one in other_tensors(module)}  # which a pass may write into
        try:
            self.own: nn.Module = copy.deepcopy(module, dict(shared))
        except Exception as error:
            raise InputError(
                "model", type(module).__name__, f"it can't be copied ({error}); give one that can"
            ) from error
        self._taken: dict[tuple[int, str], tuple[Tensor, int]] = {}  # which tensor was copied, at which version
        for layer in self.own.modules():
            layer._backward_hooks.clear()
            layer._backward_pre_hooks.clear()
        self.pairs = list(
            zip(module.modules(), self.own.modules(), strict=True)
        )  # the user's layers, with their copies
        for layer, own in self.pairs:
            for name, value in vars(layer).items():
                if _are_tensors(value):
                    vars(own)[name] = self._cast(vars(own)[name])
                if isinstance(value, Tensor):
                    self._taken[id(layer), name] = value, _version(value)

    def follow(self) -> None:
        """Take over the attributes that the user's layers have now; a layer that is another one is refused."""
        if not all(map(is_, chain(self._theirs.modules(), (None,)), chain(self._layers.values(), (None,)))):
            raise self._replaced()
        for layer, own in self.pairs:
            attributes = vars(own)
            for name, value in vars(layer).items():
                if type(value) in _PLAIN:
                    attributes[name] = value
                elif isinstance(value, Tensor):
                    before, version = self._taken.get((id(layer), name), (None, 0))
                    if before is not value or version != _version(value):
                        attributes[name] = self._cast(value.detach().clone())
                        self._taken[id(layer), name] = value, _version(value)
            if isinstance(layer, nn.Embedding | nn.EmbeddingBag):
                attributes["sparse"] = False  # the same gradient as a dense tensor, which has products and sums

    def _replaced(self) -> InputError:
        """Name the layer that is another one than it was."""
        now = dict(self._theirs.named_modules())
        names = [name for name in [*now, *self._layers] if now.get(name) is not self._layers.get(name)]
        remedy = "make a new LossSurface: this one has the layers that the network had before"
        return InputError("model", f"layer {names[0] or 'the whole'} that was replaced", remedy)

    def state(self) -> dict[str, Any]:
        """Describe what the copy keeps in attributes, to find out what a pass changes.

        Returns:
            By the attribute's name: a number or text, or which object it is and how long.
        """
        found: dict[str, Any] = {}
        for name, layer in self.own.named_modules():
            for attribute, value in vars(layer).items():
                if attribute in _OF_MODULES:
                    continue
                length = len(value) if isinstance(value, list | dict | set) else 0
                where = value if type(value) in _PLAIN else (id(value), length)
                found[f"{name}.{attribute}" if name else attribute] = where
        return found

    def _cast(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.to(self._dtype) if self._dtype is not None and value.is_floating_point() else value
        if isinstance(value, dict):
            return {key: self._cast(one) for key, one in value.items()}
        return type(value)(self._cast(one) for one in value)


_OF_MODULES = frozenset(vars(nn.Module()))


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _are_tensors(value: Any) -> bool:
    # of a network's own, not of those that an LSTM lists beside its parameters
    if type(value) in (list, tuple, dict):
        parts = list(value.values() if isinstance(value, dict) else value)
        return bool(parts) and all(isinstance(one, Tensor) and not isinstance(one, nn.Parameter) for one in parts)
    return isinstance(value, Tensor)


def other_tensors(module: nn.Module) -> list[Tensor]:
    """List a network's tensors that are neither parameters nor buffers.

    Args:
        module: The network.

    Returns:
        Attributes, and gradients that it holds.
    """
    found: list[Tensor] = []
    for layer in module.modules():
        found += [value for value in vars(layer).values() if isinstance(value, Tensor)]
        found += [p.grad for p in layer.parameters(recurse=False) if p.grad is not None]
    return found


def uses_batch_statistics(layer: nn.Module, *, training: bool) -> bool:
    """Tell whether an example's output depends on the others of its batch.

    Args:
        layer: Any layer.
        training: Whether it is in training mode.

    Returns:
        Whether it does.
    """
    if not isinstance(layer, nn.modules.batchnorm._BatchNorm):
        return False
    return training or layer.running_mean is None


def is_random_in_training(layer: nn.Module) -> bool:
    """Tell whether a layer of PyTorch's draws random numbers in training mode.

    Args:
        layer: Any layer.

    Returns:
        Whether it does.
    """
    if isinstance(layer, nn.modules.dropout._DropoutNd):
        return bool(layer.p > 0)
    if isinstance(layer, nn.RNNBase):
        return bool(layer.dropout > 0) and layer.num_layers > 1
    if isinstance(layer, nn.MultiheadAttention):
        return bool(layer.dropout > 0)
    return isinstance(layer, nn.RReLU) and bool(layer.lower < layer.upper)


def norms(layer: nn.Module) -> str:
    """Name the normalisations of weights that a layer has, in PyTorch's newer form or its older.

    Args:
        layer: Any layer.

    Returns:
        Their classes' names.
    """
    return " ".join(type(one).__name__ for one in (layer, *layer._forward_pre_hooks.values()))


def parts(module: nn.Module) -> Iterator[object]:
    """List layers and the hooks that run before them.

    Args:
        module: A network.

    Yields:
        Both.
    """
    for layer in module.modules():
        yield layer
        yield from layer._forward_pre_hooks.values()
