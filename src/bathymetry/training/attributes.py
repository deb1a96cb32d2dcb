"""Python attributes of networks and optimizers, such as a counter of passes, which training may change."""

import hashlib
import random
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bathymetry.core.errors import InputError

_DEPTH = 3  # objects inside objects
_OF_MODULES = frozenset(vars(nn.Module()))
_STATES: dict[type, Callable[[Any], object]] = {
    torch.Generator: lambda one: one.get_state(),
    np.random.Generator: lambda one: one.bit_generator.state,
    random.Random: lambda one: one.getstate(),
}
_OF_OPTIMIZERS = frozenset(("defaults", "state", "param_groups", "step"))


def own_attributes(owner: nn.Module | torch.optim.Optimizer) -> dict[str, Any]:
    """Attributes other than those that every module or optimizer has."""
    of_pytorch = _OF_MODULES if isinstance(owner, nn.Module) else _OF_OPTIMIZERS
    return {name: value for name, value in vars(owner).items() if name not in of_pytorch}


def comparable(value: object, depth: int = _DEPTH) -> object:
    """Something that can be compared by ==; modules and parameters, which training changes, count as equal."""
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return value
    if isinstance(value, nn.Parameter | nn.Module | type):
        return type(value)
    if isinstance(value, Tensor):
        return (value.dtype, value.shape, _digest(value) if value.layout is torch.strided else value.layout)
    if isinstance(value, np.ndarray | np.generic):
        return (value.dtype, value.shape, value.tolist() if value.dtype.hasobject else value.tobytes())
    if isinstance(value, list | tuple | deque):
        return (type(value), [comparable(one, depth) for one in value])
    if isinstance(value, dict):
        return (type(value), {key: comparable(one, depth) for key, one in value.items()})
    if isinstance(value, set | frozenset):
        return (type(value), sorted(map(repr, value)))
    if depth > 0 and isinstance(value, tuple(_STATES)):
        return next(comparable(state(value)) for kind, state in _STATES.items() if isinstance(value, kind))
    if depth > 0 and hasattr(value, "__dict__"):
        return (type(value), {name: comparable(one, depth - 1) for name, one in vars(value).items()})
    return type(value)


def _digest(values: Tensor) -> bytes:
    flat = values.detach().resolve_conj().cpu().contiguous().flatten().view(torch.uint8)
    return hashlib.blake2b(flat.numpy().data).digest()


def copied(value: Any) -> Any:
    """Copy numbers, texts, tensors, and lists, tuples and dictionaries of them; TypeError for anything else."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        return value.detach().clone()
    if type(value) in (list, tuple):
        return type(value)(copied(one) for one in value)
    if type(value) is dict and all(isinstance(key, str | int) for key in value):
        return {key: copied(one) for key, one in value.items()}
    raise TypeError(f"{type(value).__name__} can't be stored")


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Copies of the values that `copied` takes."""
    found = {}
    for name, value in values.items():
        try:
            found[name] = copied(value)
        except TypeError:
            continue
    return found


class Attributes:
    """The attributes of some networks' layers or optimizers, as they are and as they were at first."""

    def __init__(
        self, field: str, owners: Mapping[str, nn.Module | torch.optim.Optimizer], device: str | torch.device = "cpu"
    ) -> None:
        self._field, self._owners, self._device = field, owners, device
        self._initial = {owner: _comparable(one) for owner, one in owners.items()}

    def plain(self) -> dict[str, dict[str, Any]]:
        """Copies of all that are plain, by owner."""
        return {owner: plain(own_attributes(one)) for owner, one in self._owners.items()}

    def changed(self) -> dict[str, dict[str, Any]]:
        """Copies of those that are no longer what they were at first."""
        found: dict[str, dict[str, Any]] = {}
        for owner, one in self._owners.items():
            first, now = self._initial[owner], _comparable(one)
            names = [name for name in (*first, *(now.keys() - first)) if now.get(name, ...) != first.get(name, ...)]
            values = own_attributes(one)
            for name in names:
                try:
                    found.setdefault(owner, {})[name] = copied(values[name])
                except (KeyError, TypeError) as error:
                    value = f"{type(one).__name__} whose attribute {name} changes"
                    remedy = "a checkpoint holds numbers, texts and tensors: expected one of those, or no checkpoint"
                    raise InputError(self._field, value, remedy) from error
        return found

    def load(self, values: Mapping[str, Mapping[str, Any]]) -> None:
        """Set attributes to copies of what `plain` or `changed` returned."""
        for owner, own in values.items():
            attributes = vars(self._owners[owner])
            for name, value in own.items():
                device = getattr(attributes.get(name), "device", self._device)
                attributes[name] = value.clone().to(device) if isinstance(value, Tensor) else copied(value)


def _comparable(owner: nn.Module | torch.optim.Optimizer) -> dict[str, object]:
    return {name: comparable(value) for name, value in own_attributes(owner).items()}
