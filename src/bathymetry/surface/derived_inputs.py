"""The input that a network is derived by, and whether the derivative that PyTorch gives is that of its output.

A forward pass that detaches its input, leaves PyTorch or runs an operation with a derivative of its own has a gradient
all the same, often zero. So a slope along one direction is held to differences of outputs, in float64 where the network
runs in it, with several steps: where none agrees, the gradient is another function's. Where the network does not run in
float64, only a gradient of zero is held to them.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from bathymetry.core.errors import InputError
from bathymetry.surface.batches import Batch

Wrt = str | int | None

# steps in units of the input's size; float64 has room for steps between kinks and jumps
_STEPS = {torch.float64: (1e-2, 1e-4, 1e-6)}
_COARSE = (1e-1, 1e-2, 1e-3)
_TOLERANCE = 1e-2


def derived_input(batch: Batch, wrt: Wrt) -> tuple[Tensor, Callable[[Tensor], Batch]]:
    """Find the input that is derived by.

    Args:
        batch: A batch.
        wrt: Which of several inputs: a name in a mapping, a position in a tuple. None where there is one.

    Returns:
        The input, and how to put another in its place.

    Raises:
        InputError: If there is no such input, it is not made of real numbers, or it has no row for each example.
    """
    inputs = batch.inputs
    names: list[Any] = list(inputs) if isinstance(inputs, Mapping) else []
    if isinstance(inputs, tuple):
        names = list(range(len(inputs)))
    if wrt is None and not isinstance(inputs, Tensor):
        listed = ", ".join(map(repr, names))
        raise InputError("wrt", None, f"the network has several inputs; expected one of {listed} to derive by")
    if wrt is None:
        found, put = inputs, lambda tensor: replace(batch, inputs=tensor)
    else:
        if isinstance(wrt, bool) or wrt not in names:
            listed = f"one of {', '.join(map(repr, names))}" if names else "None, as the network has one input"
            raise InputError("wrt", wrt, f"expected {listed}")
        found = inputs[wrt]

        def put(tensor: Tensor) -> Batch:
            if isinstance(inputs, Mapping):
                return replace(batch, inputs={**inputs, wrt: tensor})
            return replace(batch, inputs=tuple(tensor if at == wrt else one for at, one in enumerate(inputs)))

    if not isinstance(found, Tensor) or not found.is_floating_point():
        kind = found.dtype if isinstance(found, Tensor) else type(found).__name__
        remedy = "only real numbers can be derived by: expected a tensor of them, such as embeddings in place of tokens"
        raise InputError("data", f"inputs that are {kind}", remedy)
    if found.ndim == 0 or len(found) != batch.rows:
        raise InputError("wrt", wrt, f"it has shape {tuple(found.shape)}; expected a row for each example")
    return found, put


def check_slope(function: Callable[[Tensor], Tensor], at: Tensor, kind: str) -> None:
    """Check a derivative with respect to an input against finite differences.

    Args:
        function: A number that follows from the input.
        at: The input.
        kind: The network's class.

    Raises:
        InputError: If no difference agrees with the derivative.
    """
    point = at.detach().clone().requires_grad_()
    value = function(point)
    slope = torch.zeros_like(point)
    if value.requires_grad:
        (slope,) = torch.autograd.grad(value, point, materialize_grads=True)
    chance = torch.Generator().manual_seed(0)
    direction = torch.randn(point.shape, generator=chance, dtype=torch.float64).to(point)
    given = float((slope * direction).sum())
    size, usual = float(point.detach().abs().mean()) or 1.0, float(slope.norm())
    unit = torch.finfo(point.dtype).eps
    if point.dtype != torch.float64 and usual > 0:
        return  # differences are too coarse to tell more than that there is none
    found = []
    with torch.no_grad():
        for step in (one * size for one in _STEPS.get(point.dtype, _COARSE)):
            ahead, behind = (float(function(at + sign * step * direction)) for sign in (1, -1))
            difference = (ahead - behind) / (2 * step)
            noise = 20 * unit * (abs(ahead) + abs(behind)) / step
            away = abs(difference - given)
            if not away > _TOLERANCE * max(abs(difference), abs(given), usual) + noise:  # nor where it is not a number
                return
            found.append((away, difference))
    remedy = (
        f"along one direction its output changes by {min(found)[1]:.4g} and PyTorch's derivative is {given:.4g}, as "
        "where it detaches its input, leaves PyTorch (torch.no_grad, NumPy) or has an operation with a derivative of "
        "its own; expected a forward pass that PyTorch can differentiate"
    )
    raise InputError("model", f"{kind}, whose derivative by its input is not that of its output", remedy)
