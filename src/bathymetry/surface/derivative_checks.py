"""Whether gradients, Hessian products and derivatives by inputs are the derivatives that differences show.

A `detach`, a gradient hook, a padding index, a re-entrant checkpoint or a custom autograd function can each cut a
derivative silently. One directional difference shows it:

    (L(θ + hv) − L(θ − hv)) / 2h  =  ∂L(θ)·v          (g(θ + hv) − g(θ − hv)) / 2h  =  H(θ) v
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bathymetry.core.errors import InputError
from bathymetry.surface.batches import Batch, tensors_of
from bathymetry.surface.trial import FEW, Trial

_FEWER = 4  # examples for a Hessian product
_LAYERS = 200  # checked one by one for the one whose gradient is wrong
_ROUNDING = 50.0  # rounding units by which each end of a difference may be off


class Steps(NamedTuple):
    """Step sizes of differences, relative to the parameters or the input, and the relative tolerance."""

    sizes: Sequence[float]
    tolerance: float


_FINE = Steps((1e-5, 1e-6, 1e-7, 1e-9), 1e-4)  # in float64
_COARSE = Steps((1e-2, 3e-3, 1e-3), 2e-2)  # where anything is computed in float32
_COARSE_PRODUCT = Steps(_COARSE.sizes, 0.2)
_INPUT, _COARSE_INPUT = Steps((1e-2, 1e-4, 1e-6), 1e-2), Steps((1e-1, 1e-2, 1e-3), 1e-2)


class Disagreement(NamedTuple):
    """A derivative that differences do not confirm."""

    off: float
    derivative: float  # its norm if it is a vector
    difference: float


def disagreement(
    derivative: Tensor,
    function: Callable[[float], Tensor],
    steps: Steps,
    rounding: float,
    scale: float = 0.0,
    *,
    kinks: bool = True,
) -> Disagreement | None:
    """Compare a derivative by a step at 0 with central differences; None if one of the steps confirms it."""
    # ReLU and max-pooling have kinks, and low precision has jumps: with `kinks`, a derivative counts as wrong only if
    # two of the smallest steps agree with each other.
    found: list[Disagreement] = []
    last = derivative
    for position, step in enumerate(steps.sizes):
        ahead, behind = function(step), function(-step)
        value = (ahead - behind) / (2 * step)
        if not bool(value.isfinite().all()):
            return None
        noise = _ROUNDING * rounding * float(ahead.norm() + behind.norm()) / step
        off = float((value - derivative).norm())
        if off <= steps.tolerance * max(float(value.norm()), float(derivative.norm()), scale) + noise:
            return None
        if not kinks or (position >= 2 and off > 10 * float((value - last).norm()) + noise):
            found.append(Disagreement(off, *(float(one.norm() if one.ndim else one) for one in (derivative, value))))
        last = value
    return min(found, default=None)


def check_gradient(trial: Trial) -> bool:
    """Refuse a loss of other parameters than θ, or a wrong gradient; tell whether there are custom functions."""
    with trial.network.measuring():
        _, loss, gradient = trial.gradient(trial.theta, trial.batch)
        reached = _parameters_behind([loss])
    if reached:
        raise _reach_error(trial, reached)
    wrong = _wrong_slope(trial, gradient, trial.direction)
    if wrong is not None:
        raise _gradient_error(trial, loss, gradient, wrong)
    return any(map(_is_custom, graph_nodes(loss)))


def check_product(trial: Trial) -> None:
    """Refuse a Hessian product that is not the derivative of the gradient."""
    few = trial.batch.spread(_FEWER)

    def gradient_at(step: float) -> Tensor:
        with trial.network.measuring():
            return trial.gradient(trial.theta + step * trial.direction, few)[2]

    with trial.network.measuring():
        point, loss, gradient = trial.gradient(trial.theta, few, create_graph=True)
        product = torch.zeros_like(point)
        if gradient.requires_grad:
            (product,) = torch.autograd.grad(gradient, point, trial.direction, materialize_grads=True)
    wrong = _compared(trial, product, gradient_at, _COARSE_PRODUCT)
    if wrong is not None:
        numbers = f"norm {wrong.derivative:.4g} where differences of gradients give {wrong.difference:.4g}"
        what = f"its second derivative is not that of its gradient ({numbers}), so only its gradients can be measured"
        cause = f"{_reason(trial.network.module, [], loss)}, or an operation that PyTorch differentiates twice wrongly"
        raise InputError("model", trial.network.kind, f"{what}: {cause}")


def check_input_derivative(function: Callable[[Tensor], Tensor], at: Tensor, kind: str) -> None:
    """Refuse a network whose derivative by an input is not that of a number that follows from the input."""
    point = at.detach().clone().requires_grad_()
    value = function(point)
    slope = torch.zeros_like(point)
    if value.requires_grad:
        (slope,) = torch.autograd.grad(value, point, materialize_grads=True)
    is_fine = point.dtype == torch.float64
    if not is_fine and bool(slope.norm() > 0):
        return  # differences are too coarse to tell more than that there is no derivative
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(point.shape, generator=generator, dtype=torch.float64).to(point)

    def value_at(step: float) -> Tensor:
        with torch.no_grad():
            return function(at + step * direction).double()

    steps, size = _INPUT if is_fine else _COARSE_INPUT, float(point.detach().abs().mean()) or 1.0
    steps = Steps([size * step for step in steps.sizes], steps.tolerance)
    own = (slope * direction).sum().double()
    wrong = disagreement(own, value_at, steps, torch.finfo(at.dtype).eps, float(slope.norm()), kinks=False)
    if wrong is not None:
        what = f"{kind}, whose derivative by its input is not that of its output"
        numbers = f"its output changes by {wrong.difference:.4g} and PyTorch's derivative is {wrong.derivative:.4g}"
        cause = "as where it detaches its input, leaves PyTorch (torch.no_grad, NumPy) or has a derivative of its own"
        expected = "expected a forward pass that PyTorch can differentiate"
        raise InputError("model", what, f"along one direction {numbers}, {cause}; {expected}")


def padded_examples(model: nn.Module, batches: Callable[[], Iterable[Batch]]) -> Batch | None:
    """A few examples of the first batch that holds the padding of an embedding, whose row has no gradient."""
    paddings = {one.padding_idx for one in model.modules() if isinstance(one, nn.Embedding)} - {None}
    for batch in batches() if paddings else ():
        for words in tensors_of(batch.inputs):
            if words.ndim == 0 or len(words) != batch.rows or words.is_floating_point() or words.dtype == torch.bool:
                continue
            padding = torch.tensor(sorted(paddings), device=words.device)
            held = torch.isin(words, padding).reshape(batch.rows, -1).any(1)
            if bool(held.any()):
                return batch.take(held.nonzero()[:FEW, 0].cpu())
    return None


def graph_nodes(value: Tensor) -> Iterator[Any]:
    """Each node of the graph that autograd recorded for a value."""
    seen: set[Any] = set()
    waiting = [value.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        waiting += [following for following, _ in node.next_functions]


def _compared(
    trial: Trial, derivative: Tensor, function: Callable[[float], Tensor], coarse: Steps
) -> Disagreement | None:
    """Compare with differences in the precision of a trial, if that is enough to tell."""
    if trial.rounding > 1e-5 or not bool(derivative.isfinite().all()):
        return None
    return disagreement(derivative, function, _FINE if trial.is_fine else coarse, trial.rounding)


def _wrong_slope(trial: Trial, gradient: Tensor, direction: Tensor) -> Disagreement | None:
    slope = (gradient * direction).sum().double()
    return _compared(trial, slope, lambda step: trial.loss(trial.theta + step * direction), _COARSE)


def _parameters_behind(values: Iterable[Tensor]) -> list[nn.Parameter]:
    leaves = (getattr(node, "variable", None) for value in values for node in graph_nodes(value))
    return [leaf for leaf in leaves if isinstance(leaf, nn.Parameter)]


def _is_custom(node: Any) -> bool:
    return isinstance(node, torch.autograd.function.BackwardCFunction)


def _reach_error(trial: Trial, reached: list[nn.Parameter]) -> InputError:
    """Which parameters a loss depends on that are no coordinates of the surface, and the way that works."""
    model, loss = trial.network.module, trial.criterion.loss
    own = {id(parameter): name for name, parameter in model.named_parameters()}
    names = _listed([own[id(one)] for one in reached if id(one) in own])
    by_network = trial.criterion.takes_model
    if not by_network:
        with trial.network.measuring():
            by_network = bool(_parameters_behind(tensors_of(trial.output(trial.batch))))
    if names and by_network:
        remedy = f"its forward pass reaches {names} by another way than self; expected one that uses self alone"
        return InputError("model", trial.network.kind, remedy)
    if names:
        remedy = f"it uses {names} of the network itself, not the θ at which it is evaluated"
        expected = "expected a loss of (output, target), or one of (model, batch), whose model is the network at θ"
        return InputError("loss", trial.criterion.name, f"{remedy}; {expected}")
    if isinstance(loss, nn.Module) and any(one is mine for one in reached for mine in loss.parameters()):
        remedy = "it has trainable parameters of its own, which are not coordinates of this surface"
        fix = "call loss.requires_grad_(False), or put both into one nn.Module with a loss of (model, batch)"
        return InputError("loss", trial.criterion.name, f"{remedy}; {fix}")
    remedy = f"it uses {len(reached)} trainable parameters that model.parameters() does not list"
    fix = "register them (layers of a list belong into nn.ModuleList), or call requires_grad_(False) on them"
    return InputError("model", trial.network.kind, f"{remedy}; {fix}")


def _gradient_error(trial: Trial, loss: Tensor, gradient: Tensor, wrong: Disagreement) -> InputError:
    """Name the layers whose gradient is wrong, and the cause as far as it shows."""
    layers = []
    for name, part in islice(trial.selection.layers.items(), _LAYERS):
        direction = torch.zeros_like(trial.direction)
        direction[part] = trial.direction[part]
        if _wrong_slope(trial, gradient, direction) is not None:
            layers.append(name)
    where = f"the gradient of {_listed(layers)}" if layers else "its gradient"
    numbers = f"{wrong.derivative:.4g} along a direction where differences give {wrong.difference:.4g}"
    reason = _reason(trial.network.module, layers, loss)
    return InputError("model", trial.network.kind, f"{where} is not the derivative of the loss ({numbers}): {reason}")


def _reason(model: nn.Module, layers: list[str], loss: Tensor) -> str:
    """What cuts a derivative, as far as layers and graph show it."""
    for name in layers:
        layer = dict(model.named_modules()).get(name)
        if isinstance(layer, nn.Embedding):
            if layer.padding_idx is not None:
                fix = f"set {name}.padding_idx = None, or leave the layer out by `params`"
                return f"padding_idx={layer.padding_idx} gives a row of {name} no gradient; {fix}"
            if layer.max_norm is not None:
                return f"max_norm rescales rows of {name} in the forward pass; set {name}.max_norm = None"
            if layer.scale_grad_by_freq:
                return f"scale_grad_by_freq changes it; set {name}.scale_grad_by_freq = False"
    functions = sorted({type(node).__name__.removesuffix("Backward") for node in graph_nodes(loss) if _is_custom(node)})
    if functions:
        return f"check the backward of the autograd function {_listed(functions)}"
    cuts = "detach(), torch.no_grad(), a gradient hook, a straight-through step, or re-entrant checkpointing"
    return f"look in the forward pass for {cuts} (use checkpoint(..., use_reentrant=False))"


def _listed(names: list[str]) -> str:
    several = list(dict.fromkeys(names))
    return ", ".join(several[:3]) + (f" and {len(several) - 3} more" if len(several) > 3 else "")
