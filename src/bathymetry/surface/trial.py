"""A few examples at slightly perturbed parameters, on which a surface is checked; in float64 where the network allows.

Perturbed, so that branches which start at zero take part.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.overrides import TorchFunctionMode

from bathymetry.core.errors import InputError
from bathymetry.surface.batches import Batch
from bathymetry.surface.network import Network
from bathymetry.surface.parameters import Selection
from bathymetry.surface.randomness import random_states
from bathymetry.training.loss import Criterion

FEW = 8  # examples
_MOVE = 0.03  # distance of the perturbation, relative to the size of each tensor
_LARGEST = 2**25  # parameters that are tried in float64: 2 GiB in all


@dataclass(frozen=True)
class Trial:
    """A network and a loss at one point, and a few examples."""

    network: Network
    criterion: Criterion
    selection: Selection
    batch: Batch
    theta: Float[Tensor, " parameter"]
    direction: Float[Tensor, " parameter"]  # random, each parameter in the size of its tensor
    rounding: float = 1.0  # of the coarsest dtype that is computed in
    value: Any = None  # what the loss returns: a number, or (sum, count)
    draws: bool = False  # whether random numbers were drawn for it

    @property
    def is_fine(self) -> bool:
        """Whether all is computed in float64, so that differences of gradients are sharp."""
        return self.rounding < 1e-12

    @property
    def returns_pair(self) -> bool:
        """Whether the loss returns (sum, count)."""
        return isinstance(self.value, tuple | list)

    def raw(self, theta: Tensor, batch: Batch) -> Any:
        """What the loss returns for a batch."""
        parameters, constants = self.selection.split(theta), self.network.constants(self.selection.shapes)
        return self.network.raw_loss(parameters, constants, self.criterion, batch)

    def output(self, batch: Batch) -> Any:
        """What the network returns for a batch."""
        parameters, constants = self.selection.split(self.theta), self.network.constants(self.selection.shapes)
        return self.network.output(parameters, constants, batch.inputs)

    def number(self, raw: Any) -> Tensor:
        """The loss as a number: of (sum, count) the sum, as a count of a few examples may be 0."""
        return raw[0].reshape(()) if isinstance(raw, tuple | list) else self.criterion.value(raw)

    def loss(self, theta: Tensor) -> Tensor:
        """The loss of the examples, without a graph."""
        with self.network.measuring(), torch.no_grad():
            return self.number(self.raw(theta, self.batch)).double()

    def gradient(self, theta: Tensor, batch: Batch, *, create_graph: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """A point of the graph, the loss there, and the gradient."""
        point = theta.detach().clone().requires_grad_()
        loss = self.number(self.raw(point, batch))
        if not loss.requires_grad:
            return point, loss, torch.zeros_like(point)
        (gradient,) = torch.autograd.grad(loss, point, None, True, create_graph, materialize_grads=True)
        return point, loss, gradient


def make_trial(
    network: Network, criterion: Criterion, selection: Selection, theta: Float[Tensor, " parameter"], batch: Batch
) -> Trial | None:
    """Choose examples, a dtype and a point near θ with a finite loss; None if there are none."""
    dtypes = [(network, criterion, selection)]
    if selection.dtype != torch.float64 and theta.numel() <= _LARGEST:
        double = torch.float64
        dtypes.insert(0, (network.double(), Criterion(criterion.loss, double), replace(selection, dtype=double)))
    few = batch.spread(FEW)
    parts = [few, batch] if few.rows < batch.rows else [few]  # some networks take no part of a batch
    for part, own, distance in product(parts, dtypes, (_MOVE, 0.0)):
        move, direction = _moves(theta.to(own[2].dtype), own[2])
        point = theta.to(own[2].dtype) + distance * move
        trial = _evaluated(Trial(*own, part.map(own[0].cast), point, direction))
        if trial is not None:
            return trial
    return None


def _moves(theta: Tensor, selection: Selection) -> Iterator[Tensor]:
    """Two random directions; a parameter's size is the root mean square of its tensor, or of θ where that is zero."""
    whole = float(theta.double().square().mean().sqrt()) or 1.0
    size = torch.empty_like(theta)
    for part in selection.slices.values():
        size[part] = float(theta[part].double().square().mean().sqrt()) or whole
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        yield torch.randn(len(theta), generator=generator, dtype=torch.float32).to(size) * size


def _evaluated(trial: Trial) -> Trial | None:
    """Add the loss and the precision of its computation; None if it fails or is not finite."""
    dtypes, before = _Dtypes(), random_states()
    try:
        with trial.network.measuring(), torch.no_grad():
            with dtypes:
                value = trial.raw(trial.theta, trial.batch)
            draws = random_states() != before
            trial.criterion.value(value)  # raises if the loss returns neither a number nor (sum, count)
            finite = bool(trial.number(value).isfinite())
    except InputError:  # attributes of another dtype, or no value near these parameters
        return None
    return replace(trial, rounding=dtypes.rounding, value=value, draws=draws) if finite else None


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
