"""Python attributes of networks and optimizers, such as a counter of passes, which training may change."""

from collections import deque
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_DEPTH = 3  # objects inside objects
_OF_MODULES = frozenset(vars(nn.Module()))
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
        dense = value.detach().to_dense() if value.is_sparse else value.detach().resolve_conj()
        return (value.dtype, value.shape, dense.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    if isinstance(value, np.ndarray | np.generic):
        return (value.dtype, value.shape, value.tolist() if value.dtype.hasobject else value.tobytes())
    if isinstance(value, list | tuple | deque):
        return (type(value), [comparable(one, depth) for one in value])
    if isinstance(value, dict):
        return (type(value), {key: comparable(one, depth) for key, one in value.items()})
    if isinstance(value, set | frozenset):
        return (type(value), sorted(map(repr, value)))
    if depth > 0 and hasattr(value, "__dict__"):
        return (type(value), {name: comparable(one, depth - 1) for name, one in vars(value).items()})
    return type(value)
