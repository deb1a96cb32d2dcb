"""Whether gradients, Hessian products and derivatives by inputs are the derivatives that differences show.

A `detach`, a hook, a padding index or a custom autograd function can cut a derivative silently; a difference shows it:

    (L(θ + hv) − L(θ − hv)) / 2h  =  ∂L(θ)·v          (g(θ + hv) − g(θ − hv)) / 2h  =  H(θ) v
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from itertools import islice, product
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bathymetry.core.errors import InputError
from bathymetry.core.randomness import random_states
from bathymetry.surface.batches import Batch, tensors_of
from bathymetry.surface.derivatives import Derivatives, InputDerivative, graph_nodes
from bathymetry.surface.selection import Output, Point, Wrt, derived_input

FEW = 8  # examples
_FEWER = 4  # examples for a Hessian product
_MOVE = 0.03  # distance of a trial from θ, relative to the size of each tensor
_LARGEST = 2**25  # parameters that are tried in float64: 2 GiB in all
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
    *,
    scale: float | None = None,
) -> Disagreement | None:
    """Compare a derivative by a step at 0 with central differences; None if one of the steps confirms it.

    As ReLU has kinks and low precision has jumps, a derivative counts as wrong only if two of the smallest steps agree
    with each other; with a `scale`, the size of the derivative in other directions, each step counts.
    """
    found: list[Disagreement] = []
    last = derivative
    for position, step in enumerate(steps.sizes):
        ahead, behind = function(step), function(-step)
        value = (ahead - behind) / (2 * step)
        if not bool(value.isfinite().all()):
            return None
        noise = _ROUNDING * rounding * float(ahead.norm() + behind.norm()) / step
        off = float((value - derivative).norm())
        if off <= steps.tolerance * max(float(value.norm()), float(derivative.norm()), scale or 0.0) + noise:
            return None
        if scale is not None or (position >= 2 and off > 10 * float((value - last).norm()) + noise):
            found.append(Disagreement(off, *(float(one.norm() if one.ndim else one) for one in (derivative, value))))
        last = value
    return min(found, default=None)


class Trial(Derivatives):
    """The loss of a few examples near θ; away from it, so that branches which start at zero take part."""

    def __init__(self, derivatives: Derivatives, theta: Point, batch: Batch, distance: float) -> None:
        super().__init__(derivatives.network, derivatives.criterion, derivatives.selection)
        theta = theta.to(self.selection.dtype)
        size = torch.empty_like(theta)  # the root mean square of a parameter's tensor, or of θ where that is zero
        whole = float(theta.double().square().mean().sqrt()) or 1.0
        for part in self.selection.slices.values():
            size[part] = float(theta[part].double().square().mean().sqrt()) or whole
        generator = torch.Generator().manual_seed(0)
        move, self.direction = (
            torch.randn(len(theta), generator=generator, dtype=torch.float32).to(size) * size for _ in range(2)
        )
        self.theta, self.batch = theta + distance * move, batch.map(self.network.cast)
        self.rounding = 1.0  # of the coarsest dtype that is computed in
        self.result: Any = None  # what the loss returns: a number, or (sum, count)
        self.draws = False  # whether random numbers are drawn for it

    def on(self, batch: Batch) -> "Trial":
        other = copy.copy(self)
        other.batch = batch.map(self.network.cast)
        return other

    @property
    def is_fine(self) -> bool:
        """Whether all is computed in float64, so that differences of gradients are sharp."""
        return self.rounding < 1e-12

    @property
    def returns_pair(self) -> bool:
        """Whether the loss returns (sum, count)."""
        return isinstance(self.result, tuple | list)

    def is_finite(self) -> bool:
        """Compute the loss and the precision of its computation; false if it fails or is not finite."""
        dtypes, before = _Dtypes(), random_states()
        try:
            with self.network.measuring(), torch.no_grad():
                with dtypes:
                    self.result = self.raw(self.theta, self.batch)
                self.draws = random_states() != before
                self.criterion.value(self.result)  # raises if the loss returns neither a number nor (sum, count)
                self.rounding = dtypes.rounding
                return bool(self.number(self.result).isfinite())
        except InputError:  # attributes of another dtype, or no value near these parameters
            return False

    def number(self, raw: Any) -> Tensor:
        """The loss as a number: of (sum, count) the sum, as a count of a few examples may be 0."""
        return raw[0].reshape(()) if isinstance(raw, tuple | list) else self.criterion.value(raw)

    def along(self, step: float = 0.0, direction: Tensor | None = None) -> Tensor:
        """The loss some way along a direction, without a graph."""
        point = self.theta + step * (self.direction if direction is None else direction)
        with self.network.measuring(), torch.no_grad():
            return self.number(self.raw(point, self.batch)).double()

    def slope(self, batch: Batch, step: float = 0.0, *, create_graph: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """A point of the graph some way along the direction, the loss there, and the gradient."""
        point = (self.theta + step * self.direction).detach().requires_grad_()
        loss = self.number(self.raw(point, batch))
        if not loss.requires_grad:
            return point, loss, torch.zeros_like(point)
        (gradient,) = torch.autograd.grad(loss, point, None, True, create_graph, materialize_grads=True)
        return point, loss, gradient


def make_trial(derivatives: Derivatives, theta: Point, batch: Batch) -> Trial | None:
    """Choose examples, a dtype (float64 if possible) and a point near θ with a finite loss; None if there are none."""
    exact = [derivatives.double()] if theta.dtype != torch.float64 and theta.numel() <= _LARGEST else []
    few = batch.spread(FEW)
    parts = [few, batch] if few.rows < batch.rows else [few]  # some networks take no part of a batch
    for part, own, distance in product(parts, [*exact, derivatives], (_MOVE, 0.0)):
        trial = Trial(own, theta, part, distance)
        if trial.is_finite():
            return trial
    return None


def check_gradient(trial: Trial) -> bool:
    """Refuse a loss of other parameters than θ, or a wrong gradient; tell whether there are custom functions."""
    with trial.network.measuring():
        _, loss, gradient = trial.slope(trial.batch)
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
            return trial.slope(few, step)[2]

    with trial.network.measuring():
        point, loss, gradient = trial.slope(few, create_graph=True)
        moved = torch.zeros_like(point)
        if gradient.requires_grad:
            (moved,) = torch.autograd.grad(gradient, point, trial.direction, materialize_grads=True)
    wrong = _compared(trial, moved, gradient_at, _COARSE_PRODUCT)
    if wrong is not None:
        numbers = f"norm {wrong.derivative:.4g} where differences of gradients give {wrong.difference:.4g}"
        what = f"its second derivative is not that of its gradient ({numbers}), so it has no Hessian"
        cause = f"{_reason(trial.network.module, [], loss)}, or an operation that PyTorch differentiates twice wrongly"
        raise InputError("model", trial.network.kind, f"{what}: {cause}")


def check_input_norms(
    derivatives: Derivatives, theta: Point, batch: Batch, of: InputDerivative, output: Output, wrt: Wrt
) -> None:
    """Compare the derivative with respect to the input with differences, in float64 if the network runs in it."""
    exact = derivatives.double()
    try:
        with exact.network.measuring():
            exact.loss(theta[None].double(), batch.map(exact.network.cast))
    except InputError:  # float64 does not suit it
        exact = derivatives
    at, put = derived_input(batch.map(exact.network.cast), wrt)
    direction = torch.randn(at.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(at)

    def function(tensor: Tensor) -> Tensor:
        columns = torch.stack(exact.input_columns(theta, put(tensor), of, output))
        generator = torch.Generator().manual_seed(1)
        return columns @ torch.randn(len(columns), generator=generator, dtype=torch.float64).to(columns)

    def value_at(step: float) -> Tensor:
        with torch.no_grad():
            return function(at + step * direction).double()

    with exact.network.measuring():
        point = at.detach().clone().requires_grad_()
        value = function(point)
        slope = torch.zeros_like(point)
        if value.requires_grad:
            (slope,) = torch.autograd.grad(value, point, materialize_grads=True)
        is_fine = at.dtype == torch.float64
        if not is_fine and bool(slope.norm() > 0):
            return  # differences are too coarse to show more than that there is no derivative
        steps, size = _INPUT if is_fine else _COARSE_INPUT, float(at.detach().abs().mean()) or 1.0
        steps = Steps([size * step for step in steps.sizes], steps.tolerance)
        own = (slope * direction).sum().double()
        wrong = disagreement(own, value_at, steps, torch.finfo(at.dtype).eps, scale=float(slope.norm()))
    if wrong is not None:
        what = f"{derivatives.network.kind}, whose derivative by its input is not that of its output"
        numbers = f"{wrong.derivative:.4g} along a direction where its output changes by {wrong.difference:.4g}"
        cause = "look in the forward pass for detach(), torch.no_grad(), NumPy, or a derivative of its own"
        raise InputError("model", what, f"it is {numbers}: {cause}")


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


def _compared(
    trial: Trial, derivative: Tensor, function: Callable[[float], Tensor], coarse: Steps
) -> Disagreement | None:
    """Compare with differences in the precision of a trial, if that is enough."""
    if trial.rounding > 1e-5 or not bool(derivative.isfinite().all()):
        return None
    return disagreement(derivative, function, _FINE if trial.is_fine else coarse, trial.rounding)


def _wrong_slope(trial: Trial, gradient: Tensor, direction: Tensor) -> Disagreement | None:
    slope = (gradient * direction).sum().double()
    return _compared(trial, slope, lambda step: trial.along(step, direction), _COARSE)


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
            by_network = bool(_parameters_behind(tensors_of(trial.output(trial.theta, trial.batch))))
    if names and by_network:
        remedy = f"its forward pass reaches {names} by another way than self; expected one that uses self alone"
        return InputError("model", trial.network.kind, remedy)
    if names:
        remedy = f"it uses {names} of the network itself; expected a loss of (output, target) or of (model, batch)"
        return InputError("loss", trial.criterion.name, remedy)
    if isinstance(loss, nn.Module) and any(one is mine for one in reached for mine in loss.parameters()):
        remedy = "it has trainable parameters of its own: call loss.requires_grad_(False), or make it part of the model"
        return InputError("loss", trial.criterion.name, remedy)
    what = f"it uses {len(reached)} trainable parameters that model.parameters() does not list"
    return InputError("model", trial.network.kind, f"{what}: register them (nn.ModuleList), or freeze them")


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
        for option, off in (("padding_idx", None), ("max_norm", None), ("scale_grad_by_freq", False)):
            if isinstance(layer, nn.Embedding) and getattr(layer, option) != off:
                value = getattr(layer, option)
                return f"{option}={value} changes rows of {name} or their gradient; set {name}.{option} = {off}"
    functions = sorted({type(node).__name__.removesuffix("Backward") for node in graph_nodes(loss) if _is_custom(node)})
    if functions:
        return f"check the backward of the autograd function {_listed(functions)}"
    cuts = "detach(), torch.no_grad(), a gradient hook, a straight-through step, or re-entrant checkpointing"
    return f"look in the forward pass for {cuts} (use checkpoint(..., use_reentrant=False))"


def _listed(names: list[str]) -> str:
    several = list(dict.fromkeys(names))
    return ", ".join(several[:3]) + (f" and {len(several) - 3} more" if len(several) > 3 else "")


class _Dtypes(TorchFunctionMode):  # a TorchDispatchMode sees more, and loads the compiler: a second more at first use
    """Finds the coarsest floating-point dtype that any operation returns."""

    def __init__(self) -> None:
        super().__init__()
        self.rounding: float = torch.finfo(torch.float64).eps

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for one in result if isinstance(result, tuple | list) else (result,):
            if isinstance(one, Tensor) and one.is_floating_point():
                self.rounding = max(self.rounding, torch.finfo(one.dtype).eps)
        return result
