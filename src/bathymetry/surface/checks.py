"""Checks of a network and a loss when they make a surface, on a few examples at slightly perturbed parameters."""

import random
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bathymetry.core.errors import InputError
from bathymetry.surface.batches import Batch, tensors_of
from bathymetry.surface.network import Network, Watch, is_random_in_training
from bathymetry.surface.parameters import Selection
from bathymetry.surface.randomness import preserve_rng_state
from bathymetry.training.loss import Criterion, as_count

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
_INPUT_STEPS = {torch.float64: (1e-2, 1e-4, 1e-6)}
_COARSE_INPUT_STEPS = (1e-1, 1e-2, 1e-3)
_INPUT_TOLERANCE = 1e-2


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
        for step in (one * size for one in _INPUT_STEPS.get(point.dtype, _COARSE_INPUT_STEPS)):
            ahead, behind = (float(function(at + sign * step * direction)) for sign in (1, -1))
            difference = (ahead - behind) / (2 * step)
            noise = 20 * unit * (abs(ahead) + abs(behind)) / step
            away = abs(difference - given)
            if (
                not away > _INPUT_TOLERANCE * max(abs(difference), abs(given), usual) + noise
            ):  # nor where it is not a number
                return
            found.append((away, difference))
    remedy = (
        f"along one direction its output changes by {min(found)[1]:.4g} and PyTorch's derivative is {given:.4g}, as "
        "where it detaches its input, leaves PyTorch (torch.no_grad, NumPy) or has an operation with a derivative of "
        "its own; expected a forward pass that PyTorch can differentiate"
    )
    raise InputError("model", f"{kind}, whose derivative by its input is not that of its output", remedy)


FEW = 8  # examples
_FEWER = 4  # for a Hessian product
_SEEDS = 10  # for a network that draws random numbers without an effect that shows at once
_MOVE = 0.03  # how far parameters are perturbed, relative to the size of their tensor
_LARGEST = 2**25  # parameters that are tried in float64: 2 GiB in all
_LAYERS = 200  # looked at one by one for the one whose gradient is wrong


@dataclass(frozen=True)
class Trial:
    """A few examples, and the network and the loss at a perturbed point."""

    model: nn.Module  # the user's
    network: Network
    criterion: Criterion
    selection: Selection
    batch: Batch
    theta: Float[Tensor, " parameter"]
    direction: Float[Tensor, " parameter"]  # random, each parameter in the size of its tensor
    rounding: float  # of the coarsest dtype that is computed in
    value: Any  # what the loss returns there: a number, or (sum, count)

    @property
    def is_fine(self) -> bool:
        """Whether all is computed in float64, so that differences of gradients are sharp."""
        return self.rounding < 1e-12

    def raw(self, theta: Tensor, batch: Batch) -> Any:
        """Call the loss at a point, with what it returns: a number, or (sum, count)."""
        parameters, constants = self.selection.split(theta), self.network.constants(self.selection.shapes)
        return self.network.raw_loss(parameters, constants, self.criterion, batch)

    def output(self, batch: Batch) -> Any:
        """Give what the network returns for a batch, with its graph."""
        point = self.theta.detach().clone().requires_grad_()
        constants = self.network.constants(self.selection.shapes)
        return self.network.output(self.selection.split(point), constants, batch.inputs)

    def number(self, raw: Any) -> Tensor:
        """Take a number from what the loss returned: of (sum, count) the sum, as a count of a few examples may be 0."""
        return raw[0].reshape(()) if isinstance(raw, tuple | list) else self.criterion.value(raw)

    def loss(self, theta: Tensor) -> Tensor:
        """Give the loss of the examples at a point."""
        with self.network.measuring(), torch.no_grad():
            return self.number(self.raw(theta, self.batch)).double()

    def differentiated(self, theta: Tensor, batch: Batch, *, create_graph: bool = False) -> tuple[Tensor, ...]:
        """Give the point, the loss with its graph, and the gradient."""
        point = theta.detach().clone().requires_grad_()
        loss = self.number(self.raw(point, batch))
        if not loss.requires_grad:
            return point, loss, torch.zeros_like(point)
        (gradient,) = torch.autograd.grad(
            loss, point, create_graph=create_graph, retain_graph=True, materialize_grads=True
        )
        return point, loss, gradient


def trial_of(
    model: nn.Module,
    network: Network,
    criterion: Criterion,
    selection: Selection,
    theta: Tensor,
    batch: Batch,
) -> Trial | None:
    """Choose examples, a perturbed point and a dtype in which the network and the loss run.

    Args:
        model: The user's network.
        network: The same, as the surface runs it.
        criterion: The loss.
        selection: The parameters.
        theta: Their values.
        batch: The first of the data.

    Returns:
        The trial; None if the loss is not a finite number on a few examples, at the parameters and close to them.
    """
    ways = [(network, criterion, selection)]
    if selection.dtype != torch.float64 and theta.numel() <= _LARGEST:
        double = torch.float64
        twin = network.double(), Criterion(criterion.loss, double), Selection(selection.shapes, double)
        ways.insert(0, twin)
    few = batch.spread(FEW)
    for part in [few, batch] if few.rows < batch.rows else [few]:  # some networks take no part of a batch
        for net, loss, chosen in ways:
            for reach in (_MOVE, 0.0):
                trial = _tried(Trial(model, net, loss, chosen, part.map(net.cast), theta, theta, 1.0, None), reach)
                if trial is not None:
                    return trial
    return None


def _tried(trial: Trial, reach: float) -> Trial | None:
    """Move a trial to a perturbed point; None if the loss fails there, or is not a finite number."""
    theta = trial.theta.to(trial.selection.dtype)
    size = scales(theta, list(trial.selection.slices.values()))
    generator = torch.Generator().manual_seed(0)
    moves = [torch.randn(len(theta), generator=generator, dtype=torch.float32).to(size) * size for _ in range(2)]
    theta = theta + reach * moves[0]
    try:
        with trial.network.measuring(), torch.no_grad():
            value, rounding = run_with_rounding(lambda: trial.raw(theta, trial.batch))
            trial.criterion.value(value)  # says what is wrong with what the loss returns
            finite = bool(trial.number(value).isfinite())
    except InputError:  # attributes of another dtype, or no value near these parameters
        return None
    return replace(trial, theta=theta, direction=moves[1], rounding=rounding, value=value) if finite else None


def check_randomness(trial: Trial) -> None:
    """Refuse a network whose randomness only shows away from its initial parameters.

    Args:
        trial: What to check; one whose loss depends on random numbers is refused.
    """
    first = trial.number(trial.value).double()
    for seed in range(1, _SEEDS):
        with preserve_rng_state(seed):
            before = random_states()
            differs = not torch.equal(first, trial.loss(trial.theta))
            drew = random_states() != before
        if differs:
            raise trial.network.unsteady(Watch(drew=drew), lambda: trial.loss(trial.theta))
        if not drew:
            return


def random_states() -> tuple[bytes, Any, bytes, int]:
    """Give the random states of PyTorch, Python and NumPy, to see whether something drew from them."""
    numpy: dict[str, Any] = np.random.get_state(legacy=False)["state"]
    return torch.get_rng_state().numpy().tobytes(), random.getstate(), numpy["key"].tobytes(), numpy["pos"]


def check_gradient(trial: Trial) -> bool:
    """Refuse a loss that reaches around the surface, and a gradient that is not the derivative of the loss.

    Args:
        trial: What to check.

    Returns:
        Whether the network or the loss has autograd functions of its own.

    Raises:
        _reach_refusal: If the loss reaches parameters that are no coordinates of the surface.
        _gradient_refusal: If a directional difference of the loss is not the gradient's slope.
    """
    with trial.network.measuring():
        _, loss, gradient = trial.differentiated(trial.theta, trial.batch)
        reached = _parameters_behind([loss])
    if reached:
        raise _reach_refusal(trial, reached)
    wrong = _slope(trial, gradient, trial.direction)
    if wrong is not None:
        raise _gradient_refusal(trial, loss, gradient, wrong)
    return any(_is_custom(node) for node in graph_nodes(loss))


def padded_examples(model: nn.Module, batch: Batch) -> Batch | None:
    """Find a few examples that hold the padding of an embedding, whose row has no gradient."""
    paddings = {one.padding_idx for one in model.modules() if isinstance(one, nn.Embedding)} - {None}
    for words in tensors_of(batch.inputs) if paddings else ():
        if words.ndim > 0 and len(words) == batch.rows and not words.is_floating_point() and words.dtype != torch.bool:
            held = torch.isin(words, torch.tensor(sorted(paddings), device=words.device)).reshape(batch.rows, -1).any(1)
            if bool(held.any()):
                return batch.take(held.nonzero()[:FEW, 0].cpu())
    return None


def _reach_refusal(trial: Trial, reached: list[nn.Parameter]) -> InputError:
    """Say which parameters a loss reaches that are no coordinates of the surface."""
    with trial.network.measuring():
        of_network = (
            reached if trial.criterion.takes_model else _parameters_behind(tensors_of(trial.output(trial.batch)))
        )
    own = {id(parameter): name for name, parameter in trial.model.named_parameters()}
    names = [own[id(one)] for one in reached if id(one) in own]
    if names and of_network:
        remedy = (
            f"its forward pass reaches {_listed(names)} by another way than self; expected one that uses self alone"
        )
        return InputError("model", trial.network.kind, remedy)
    if names:
        remedy = (
            f"it uses {_listed(names)} of the network itself, not the θ at which it is asked; expected a loss of "
            "(output, target), or one of (model, batch), whose model is the network at θ"
        )
        return InputError("loss", trial.criterion.name, remedy)
    loss_module = trial.criterion.loss
    if isinstance(loss_module, nn.Module) and any(one is mine for one in reached for mine in loss_module.parameters()):
        remedy = (
            "it has trainable parameters of its own, which are not coordinates of this surface; call "
            "loss.requires_grad_(False) to keep them fixed, or put network and loss into one nn.Module and give a "
            "loss of (model, batch)"
        )
        return InputError("loss", trial.criterion.name, remedy)
    remedy = (
        f"it uses {len(reached)} trainable parameters that model.parameters() does not list; register them (a layer in "
        "a list belongs into nn.ModuleList), or call requires_grad_(False) on them to keep them fixed"
    )
    return InputError("model", trial.network.kind, remedy)


def _parameters_behind(values: Iterable[Tensor]) -> list[nn.Parameter]:
    leaves = (getattr(node, "variable", None) for value in values for node in graph_nodes(value))
    return [leaf for leaf in leaves if isinstance(leaf, nn.Parameter)]


def _gradient_refusal(trial: Trial, loss: Tensor, gradient: Tensor, wrong: Disagreement) -> InputError:
    """Name the layers whose gradient is wrong, and why as far as can be seen."""
    layers = []
    for name, part in list(trial.selection.layers.items())[:_LAYERS]:
        direction = torch.zeros_like(trial.direction)
        direction[part] = trial.direction[part]
        if _slope(trial, gradient, direction) is not None:
            layers.append(name)
    where = f"the gradient of {_listed(layers)}" if layers else "its gradient"
    numbers = f"{wrong.derivative:.4g} along a direction where differences give {wrong.difference:.4g}"
    remedy = f"{where} is not the derivative of the loss ({numbers}): {_reason(trial.model, layers, loss)}"
    return InputError("model", trial.network.kind, remedy)


def check_product(trial: Trial) -> None:
    """Refuse a Hessian product that is not the derivative of the gradient.

    Args:
        trial: What to check. Where something is computed in float32 a step may cross the kinks of ReLU, so there only
            networks with autograd functions of their own are checked, for large differences.

    Raises:
        InputError: If a difference of gradients says otherwise.
    """
    few = trial.batch.spread(_FEWER)
    network, direction = trial.network, trial.direction

    def difference(step: float) -> tuple[Tensor, float]:
        with network.measuring():
            ahead, behind = (trial.differentiated(trial.theta + sign * step * direction, few)[2] for sign in (1, -1))
        return (ahead - behind) / (2 * step), float(ahead.norm())

    with network.measuring():
        point, loss, gradient = trial.differentiated(trial.theta, few, create_graph=True)
        product = torch.zeros_like(point)
        if gradient.requires_grad:
            (product,) = torch.autograd.grad(gradient, point, direction, materialize_grads=True)
    wrong = disagreement(product, difference, trial.rounding, coarse_tolerance=0.2)
    if wrong is not None:
        numbers = f"norm {wrong.derivative:.4g} where differences of gradients give {wrong.difference:.4g}"
        remedy = (
            f"its second derivative is not that of its gradient ({numbers}), so only its gradients can be measured: "
            f"{_reason(trial.model, [], loss)}, or an operation that PyTorch differentiates twice wrongly"
        )
        raise InputError("model", network.kind, remedy)


def _slope(trial: Trial, gradient: Tensor, direction: Tensor) -> Disagreement | None:
    def difference(step: float) -> tuple[Tensor, float]:
        ahead, behind = (trial.loss(trial.theta + sign * step * direction) for sign in (1, -1))
        return (ahead - behind) / (2 * step), float(ahead.abs())

    return disagreement((gradient * direction).sum().double(), difference, trial.rounding)


def _reason(model: nn.Module, layers: list[str], loss: Tensor) -> str:
    """Say what cuts a derivative, as far as layers and graph show it."""
    for name in layers:
        layer = dict(model.named_modules()).get(name)
        if isinstance(layer, nn.Embedding):
            if layer.padding_idx is not None:
                row = f"padding_idx={layer.padding_idx} gives a row of {name} no gradient"
                return f"{row}; set {name}.padding_idx = None, or leave the layer out by `params`"
            if layer.max_norm is not None:
                return f"max_norm rescales rows of {name} in the forward pass; set {name}.max_norm = None"
            if layer.scale_grad_by_freq:
                return f"scale_grad_by_freq changes it; set {name}.scale_grad_by_freq = False"
    functions = sorted({type(node).__name__.removesuffix("Backward") for node in graph_nodes(loss) if _is_custom(node)})
    if functions:
        return f"check the backward of the autograd function {_listed(functions)}"
    return (
        "look in the forward pass for detach(), torch.no_grad(), a gradient hook, a straight-through step, or "
        "re-entrant checkpointing (use checkpoint(..., use_reentrant=False))"
    )


def _is_custom(node: Any) -> bool:
    return isinstance(node, torch.autograd.function.BackwardCFunction)


def _listed(names: list[str]) -> str:
    several = list(dict.fromkeys(names))
    return ", ".join(several[:3]) + (f" and {len(several) - 3} more" if len(several) > 3 else "")


class HiddenRandomness(UserWarning):
    """A network or a loss draws random numbers, which changed nothing in the passes that were tried."""


def check_hidden_randomness(network: Network, ask: Callable[[], Any]) -> None:
    """Warn of a network that draws random numbers without an effect that shows, and refuse a layer known to use them.

    Args:
        network: The network.
        ask: Computes the loss.
    """
    generators = _generators(network._own)
    if not (network._draws or generators):
        return
    with network.measuring(), preserve_rng_state(), _layers_that_draw(network._own, generators) as found:
        before = _states(generators)
        ask()
        drew = _states(generators) != before
    if not drew:
        return
    layers = dict(network._own.named_modules())
    if any(layers[name].training and is_random_in_training(layers[name]) for name in found):
        raise network._random()
    kinds = [f"layer {name} ({type(layers[name]).__name__})" if name else network.kind for name in found]
    what = ", ".join(kinds[:3]) or "the loss"
    remedy = "if they can have one, make the noise an input, ((x, noise), y)"
    if any(layers[name].training for name in found):
        remedy = 'call model.eval() first, or give mode="no_dropout", which leaves normalisations in their modes'
    seen = "draws random numbers that had no effect in the passes tried; with an effect there is no loss surface"
    warnings.warn(f"{what} {seen}: {remedy}", HiddenRandomness, stacklevel=3)


@contextmanager
def _layers_that_draw(module: nn.Module, generators: list[Any]) -> Iterator[dict[str, None]]:
    """Name the layers in whose own part of a pass random numbers are drawn."""
    found: dict[str, None] = {}
    last = [_states(generators)]  # when a layer was last entered or left
    running: list[str] = []

    def passed(enters: str | None) -> None:
        now = _states(generators)
        if now != last[0] and running:
            found[running[-1]] = None
        last[0] = now
        if enters is None:
            running.pop()
        else:
            running.append(enters)

    handles = []
    for name, layer in module.named_modules():
        handles += [
            layer.register_forward_pre_hook(lambda _layer, _inputs, name=name: passed(name)),
            layer.register_forward_hook(lambda _layer, _inputs, _output: passed(None)),
        ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _generators(module: nn.Module) -> list[Any]:
    """List the generators that layers, or what they keep in attributes, have of their own."""
    kinds = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
    found = {}
    for layer in module.modules():
        for value in chain(vars(layer).values(), *(vars(one).values() for one in type(layer).__mro__)):
            inside = list(value.values()) if isinstance(value, dict) else value
            if not isinstance(inside, list | tuple):
                inside = [value, *getattr(value, "__dict__", {}).values()]
            found.update({id(one): one for one in inside if isinstance(one, kinds)})
    return list(found.values())


def _states(generators: list[Any]) -> tuple[Any, ...]:
    """Give the random states of the program and of some generators."""
    own: list[Any] = []
    for one in generators:
        if isinstance(one, torch.Generator):
            own.append(one.get_state().numpy().tobytes())
        elif isinstance(one, np.random.Generator):
            own.append(repr(one.bit_generator.state))
        elif isinstance(one, random.Random):
            own.append(one.getstate())
        else:
            own.append(repr(one.get_state(legacy=False)))
    return (random_states(), *own)


def inspect(network: Network, ask: Callable[[Batch], Tensor], batch: Batch) -> None:
    """Find out whether a network is random or writes into what it is handed.

    Args:
        network: The network, which keeps what was found.
        ask: Gives the loss of a batch.
        batch: The first of the data.

    Raises:
        InputError: If network or loss refuse the data, keep what they write, or are random.
    """
    losses = []
    with network.watched() as watch, network.measuring():
        for seed in (0, 1):
            with preserve_rng_state(seed):
                before = random_states()
                losses.append(_asked(network, ask, batch))
                watch.drew |= random_states() != before
    if watch.kept_something:
        remedy = "its forward pass writes into a tensor that it keeps: register that as a buffer"
        raise InputError("model", network.kind, remedy)
    if not torch.equal(losses[0], losses[1]) and not bool(losses[0].isnan() & losses[1].isnan()):
        why = network.unsteady(watch, lambda: _asked(network, ask, batch))
        raise why


def check_weighting(trial: Trial, network: Network, batches: Iterable[Batch], *, several: bool) -> None:
    """Find out whether a batch's loss is the weighted mean over its parts, and refuse a loss for which it is not.

    A network that couples its examples, as BatchNorm does, keeps its batches whole. A loss that does is refused where
    there are several batches: their means would not make the loss of all data.

    Args:
        trial: The network and the loss at a perturbed point.
        network: The network that keeps what was found.
        batches: What to look at.
        several: Whether the data have more than one batch.

    Raises:
        _unknown_weights: If the loss weights the examples of a batch in a way that is not known.
    """
    for batch in batches:
        for parts in _ways_to_cut(batch, known=trial.criterion.is_known):
            try:
                with trial.network.measuring(), torch.no_grad():
                    raws = [trial.raw(trial.theta, part) for part in parts]
            except InputError:  # not even defined on fewer examples
                network.coupled = True
                return
            if _adds_up(trial, raws, parts):
                continue
            if not trial.criterion.is_known and not _is_of_network(trial, parts):
                _refuse_broadcasting(trial, parts[0])
                if several and not _is_pair(raws[0]):
                    raise _unknown_weights(trial.criterion, raws)
            network.coupled = True
            return


def _ways_to_cut(batch: Batch, *, known: bool) -> list[list[Batch]]:
    """Give a batch with its parts: halves of a few examples, and for a loss of unknown weights fifths of all."""
    few = batch.spread(FEW)
    ways = [[few, *few.split((few.rows + 1) // 2)]]
    if not known:
        ways += [[few, *few.split(1)], [batch, *batch.split((batch.rows + 4) // 5)]]
    return [parts for parts in ways if len(parts) > 2]


def total_count(trial: Trial, batches: Iterable[Batch]) -> float | None:
    """Sum the counts of a loss that returns (sum, count) over the data.

    Args:
        trial: The network and the loss at a perturbed point.
        batches: All data.

    Returns:
        The sum of the counts; None for a loss that returns a number.

    Raises:
        InputError: If counts depend on the parameters.
    """
    if not _is_pair(trial.value):
        return None
    with trial.network.measuring(), torch.no_grad():
        elsewhere = trial.raw(trial.theta + trial.direction, trial.batch)
        if float(as_count(trial.value[1])) != float(as_count(elsewhere[1])):
            remedy = "its count depends on the parameters; expected a count that follows from the batch alone"
            raise InputError("loss", trial.criterion.name, remedy)
        return sum(float(as_count(trial.raw(trial.theta, batch)[1])) for batch in batches)


def telling_batches(batches: Iterable[Batch], loss: str) -> Iterator[Batch]:
    """Choose batches on which a loss would show that it counts some examples more than others.

    Args:
        batches: All data.
        loss: The name of the loss.

    Yields:
        Every batch, and a few examples of each with a few of the first, where their shapes allow it.

    Raises:
        InputError: If labels have another shape in another batch, so that nothing tells how they count.
    """
    first: Batch | None = None
    for batch in batches:
        yield batch
        if first is None:
            first = batch
            continue
        if [label.shape[1:] for label in _labels(batch)] != [label.shape[1:] for label in _labels(first)]:
            shapes = " and ".join(str(tuple(_labels(one)[0].shape)) for one in (first, batch))
            remedy = (
                f"batches have labels of shapes {shapes}, and nothing says whether it is a mean over examples or over "
                "labels; expected a loss that returns (sum, count), or one of PyTorch's"
            )
            raise InputError("loss", loss, remedy)
        mixed = _mixed(first, batch)
        if mixed is not None:
            yield mixed


def _mixed(one: Batch, other: Batch) -> Batch | None:
    parts = [batch.spread(FEW // 2) for batch in (one, other)]
    if len(parts[0].tensors()) != len(parts[1].tensors()):
        return None
    partners = iter(parts[1].tensors())
    try:
        whole = parts[0].map(lambda tensor: torch.cat([tensor, next(partners)]) if tensor.ndim else tensor)
    except RuntimeError:  # other shapes
        return None
    return Batch(whole.inputs, whole.targets, parts[0].rows + parts[1].rows)


def _labels(batch: Batch) -> list[Tensor]:
    """Whole-numbered targets, and what a mapping of inputs calls labels."""
    named = batch.inputs.items() if isinstance(batch.inputs, Mapping) else ()
    inside = [tensor for name, part in named if "label" in str(name) for tensor in tensors_of(part)]
    return [one for one in [*tensors_of(batch.targets), *inside] if _are_labels(one) and one.ndim]


def _are_labels(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() and not tensor.is_complex() and tensor.dtype != torch.bool


def _is_pair(raw: Any) -> bool:
    return isinstance(raw, tuple | list)


def _adds_up(trial: Trial, raws: list[Any], parts: list[Batch]) -> bool:
    """Whether the loss of the first part is that of the others together; true where that of the first is not finite."""
    criterion = trial.criterion
    if _is_pair(raws[0]):
        return all(_close([float(raw[i]) for raw in raws], trial.rounding) for i in (0, 1))
    values = [float(criterion.value(raw)) for raw in raws]
    if not criterion.is_mean:
        return _close(values, trial.rounding)
    weights = [criterion.weight(part.targets, part.rows) for part in parts]
    return _close([w * v for w, v in zip(weights, values, strict=True) if w > 0], trial.rounding)


def _close(values: list[float], rounding: float) -> bool:
    whole, *parts = values or [0.0]
    tensor = torch.tensor(values)
    scale = sum(abs(one) for one in values)
    if not parts or not bool(tensor[0].isfinite()):  # nothing to compare with
        return True
    return bool(tensor.isfinite().all()) and abs(whole - sum(parts)) <= 1e3 * rounding * scale


def _is_of_network(trial: Trial, parts: list[Batch]) -> bool:
    """Whether it is the network, not the loss, in which examples depend on one another."""
    # The loss of rows of one and the same output leaves the network out of it. Where an output has no rows, only
    # BatchNorm counts as coupling by the network.
    whole = parts[0]
    if trial.criterion.takes_model:
        return trial.network.couples_examples
    with trial.network.measuring(), torch.no_grad():
        output = trial.output(whole)
        leaves = tensors_of(output)
        if not leaves or not all(leaf.ndim and len(leaf) and len(leaf) % whole.rows == 0 for leaf in leaves):
            return trial.network.couples_examples
        starts = [sum(part.rows for part in parts[1:position]) for position in range(1, len(parts))]
        raws = [trial.criterion.raw(output, *whole.targets)]
        for start, part in zip(starts, parts[1:], strict=True):
            rows = _rows_of(output, start, part.rows, whole.rows)
            raws.append(trial.criterion.raw(rows, *part.targets))
    return _adds_up(trial, raws, parts)


def _rows_of(tree: Any, start: int, rows: int, of: int) -> Any:
    if isinstance(tree, Tensor):
        each = len(tree) // of
        return tree[start * each : (start + rows) * each]
    if isinstance(tree, Mapping):
        return {name: _rows_of(part, start, rows, of) for name, part in tree.items()}
    if isinstance(tree, tuple | list):
        return tuple(_rows_of(part, start, rows, of) for part in tree)
    return tree


def _refuse_broadcasting(trial: Trial, few: Batch) -> None:
    """Name the cause where a loss compares each output with each target."""
    if trial.criterion.takes_model or not few.targets:
        return
    with trial.network.measuring(), torch.no_grad():
        output = trial.output(few)
    target = few.targets[0]
    if not isinstance(output, Tensor) or not isinstance(target, Tensor) or not target.is_floating_point():
        return
    if output.shape != target.shape and output.numel() == target.numel():
        shapes = f"targets of shape (n{_tail(target)}) for outputs of shape (n{_tail(output)})"
        remedy = (
            f"the loss broadcasts them, each output against each target; expected targets of shape (n{_tail(output)})"
        )
        raise InputError("data", shapes, remedy)


def _tail(tensor: Tensor) -> str:
    return "".join(f", {size}" for size in tensor.shape[1:]) or ","


def _unknown_weights(criterion: Criterion, raws: list[Any]) -> InputError:
    whole, *parts = [float(criterion.value(raw)) for raw in raws]
    if _close([whole, *parts], 1e-9):
        remedy = "it is a sum over its batch; expected a mean over its examples, or a loss that returns (sum, 1)"
    else:
        listed = " and ".join(f"{one:.6g}" for one in parts[:2])
        more = " …" if len(parts) > 2 else ""
        remedy = (
            f"it is no mean over the examples of a batch ({whole:.6g} for one, {listed}{more} for its parts), so "
            "batches can't be weighted; expected a loss that returns (sum, count), for example (value * count, count) "
            "with the number of labels that count, or one of PyTorch's with ignore_index, or all data as one batch"
        )
    return InputError("loss", criterion.name, remedy)


def _asked(network: Network, ask: Callable[[Batch], Tensor], batch: Batch) -> Tensor:
    try:
        return ask(batch)
    except InputError:
        raise
    except Exception as error:
        shape = [tuple(tensor.shape) for tensor in batch.tensors()]
        remedy = f"the network or the loss refuses them ({network.explained(error, batch)})"
        raise InputError("data", f"tensors of shape {shape}", remedy) from error
