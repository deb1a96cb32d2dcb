"""A few examples at slightly perturbed parameters, on which a surface is tried out before it is used.

Perturbed, so that branches which start at zero take part; in float64 where the network runs in it, so that differences
are sharp.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from bathymetry.core.errors import InputError
from bathymetry.surface.batches import Batch, tensors_of
from bathymetry.surface.consistency import Disagreement, disagreement, graph_nodes, run_with_rounding, scales
from bathymetry.surface.network import Network, Watch
from bathymetry.surface.randomness import unstirred
from bathymetry.surface.selection import Selection
from bathymetry.training.loss import Criterion

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
        with unstirred(seed):
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
                return f"{row}; set {name}.padding_idx = None, or leave the layer out by `only`"
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
