"""Whether the gradient is the derivative of the loss, and a Hessian product that of the gradient, by differences.

A `detach`, a gradient hook, a padding index, a re-entrant checkpoint or a custom autograd function can each cut a
derivative without a word. One directional difference shows it:

    (L(θ + hv) − L(θ − hv)) / 2h  =  ∂L(θ)·v          (g(θ + hv) − g(θ − hv)) / 2h  =  H(θ) v

at slightly perturbed parameters, so that branches which start at zero take part. ReLU and max-pooling have kinks, and
low precision has steps: so a derivative counts as wrong only if no step size agrees with it, and two of the smallest
steps agree with each other.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.overrides import TorchFunctionMode

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
