"""Whether the gradient is the derivative of the loss, and a Hessian product that of the gradient, by differences.

A `detach`, a gradient hook, a padding index, a re-entrant checkpoint or a custom autograd function can each cut a
derivative without a word. One directional difference shows it:

    (L(θ + hv) − L(θ − hv)) / 2h  =  ∂L(θ)·v          (g(θ + hv) − g(θ − hv)) / 2h  =  H(θ) v

at slightly perturbed parameters, so that branches which start at zero take part. ReLU and max-pooling have kinks, and
low precision has steps: so a derivative counts as wrong only if no step size agrees with it, and two of the smallest
steps agree with each other.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.overrides import TorchFunctionMode

from bathymetry.core.errors import InputError
from bathymetry.surface.batches import Batch

_STEPS = (1e-5, 1e-6, 1e-7, 1e-9)  # in float64, relative to the parameters
_COARSE_STEPS = (1e-2, 3e-3, 1e-3)  # where anything is computed in float32
_TOLERANCE, _COARSE_TOLERANCE = 1e-4, 2e-2  # relative
_ROUNDING = 100.0  # rounding units by which a difference may be off


@dataclass(frozen=True)
class Disagreement:
    """A derivative that differences do not confirm."""

    derivative: float  # its norm
    difference: float
    step: float  # relative to the parameters


def scales(theta: Float[Tensor, " parameter"], parts: Sequence[slice]) -> Float[Tensor, " parameter"]:
    """Give the typical size of each parameter.

    Args:
        theta: Parameters.
        parts: Where each tensor lies in them.

    Returns:
        The root mean square of the tensor that a parameter belongs to; of all parameters where that is zero.
    """
    rms = float(theta.double().square().mean().sqrt()) or 1.0
    sizes = torch.empty_like(theta)
    for part in parts:
        sizes[part] = float(theta[part].double().square().mean().sqrt()) or rms
    return sizes


def run_with_rounding(run: Callable[[], Any]) -> tuple[Any, float]:
    """Run a computation and find the rounding unit of the coarsest dtype that it uses.

    Args:
        run: The computation.

    Returns:
        What it returns, and the rounding unit.
    """
    seen = _Dtypes()
    with seen:
        value = run()
    return value, seen.rounding


def disagreement(
    derivative: Tensor,
    difference: Callable[[float], tuple[Tensor, float]],
    rounding: float,
    coarse_tolerance: float = _COARSE_TOLERANCE,
) -> Disagreement | None:
    """Compare a derivative with differences.

    Args:
        derivative: A slope, or a vector.
        difference: Gives for a step the central difference, and the size of what was subtracted.
        rounding: The rounding unit of the computation.
        coarse_tolerance: By how much they may differ, relatively, where anything is computed in float32.

    Returns:
        None if a step confirms it, or if no two steps agree with each other; what disagrees otherwise.
    """
    if rounding > 1e-5 or not bool(derivative.isfinite().all()):
        return None
    fine = rounding < 1e-12
    tolerance = _TOLERANCE if fine else coarse_tolerance
    last: Tensor | None = None
    found: Disagreement | None = None
    for position, step in enumerate(_STEPS if fine else _COARSE_STEPS):
        value, size = difference(step)
        if not bool(value.isfinite().all()):
            return None
        noise = _ROUNDING * rounding * size / step
        off, length = float((value - derivative).norm()), max(float(value.norm()), float(derivative.norm()))
        if off <= tolerance * length + noise:
            return None
        if position >= 2 and last is not None and off > 10 * float((value - last).norm()) + noise:
            found = found or Disagreement(float(derivative.norm()), float(value.norm()), step)
        last = value
    return found


class _Dtypes(TorchFunctionMode):  # a TorchDispatchMode sees more, and loads the compiler: a second more at first use
    """Notes the coarsest floating-point dtype that any operation returns."""

    def __init__(self) -> None:
        super().__init__()
        self.rounding: float = torch.finfo(torch.float64).eps

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for one in result if isinstance(result, tuple | list) else (result,):
            if isinstance(one, Tensor) and one.is_floating_point():
                self.rounding = max(self.rounding, torch.finfo(one.dtype).eps)
        return result


def graph_nodes(value: Tensor) -> Iterator[Any]:
    """Walk the graph that autograd recorded.

    Args:
        value: What was computed.

    Yields:
        Each node once.
    """
    seen: set[Any] = set()
    waiting = [value.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        waiting += [following for following, _ in node.next_functions]


Wrt = str | int | None

# steps in units of the input's size; float64 has room for steps between kinks and jumps
_DERIVED_INPUTS_STEPS = {torch.float64: (1e-2, 1e-4, 1e-6)}
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
        for step in (one * size for one in _DERIVED_INPUTS_STEPS.get(point.dtype, _COARSE)):
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
