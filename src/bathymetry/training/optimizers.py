"""Optimisers for a whole ensemble: PyTorch's own, stepping all members at once, each with its own hyperparameters.

Members that share their hyperparameters are stepped together by PyTorch's fused kernels, so an ensemble's step is by
construction the step of `torch.optim`. The moments lie in buffers of ours, laid out like the parameters, where
measurements and checkpoints can read them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from math import cos, pi
from numbers import Real
from typing import ClassVar

import torch

from bathymetry.core.errors import InputError
from bathymetry.training.denormals import drop_nothing
from bathymetry.training.mlp_backend import StackedTensors

Hyperparameter = float | Sequence[float]


@dataclass(frozen=True)
class Optimizer:
    """What all optimisers have: a learning rate, and rules for what a hyperparameter may be."""

    lr: Hyperparameter = 1e-3
    weight_decay: Hyperparameter = 0.0

    _below_one: ClassVar[frozenset[str]] = frozenset()
    _moments: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for name, value in self.hyperparameters().items():
            for one in value if isinstance(value, Sequence) and not isinstance(value, str) else [value]:
                limit = 1.0 if name in self._below_one else float("inf")
                if isinstance(one, bool) or not isinstance(one, Real) or not 0 <= float(one) < limit:
                    below = ", below 1" if limit == 1.0 else ""
                    remedy = f"give a finite number from 0{below}, or a list with one for each member"
                    raise InputError(_LONG_NAMES.get(name, name), one, remedy)

    def hyperparameters(self) -> dict[str, Hyperparameter]:
        """Give every hyperparameter by PyTorch's name for it.

        Returns:
            A number for all members, or a sequence with one number a member.
        """
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def _torch(self, groups: list[dict[str, object]]) -> torch.optim.Optimizer:
        raise TypeError(f"{type(self).__name__} has no step for {len(groups)} groups: use Adam, AdamW or SGD.")


_LONG_NAMES = {"lr": "learning_rate"}


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam, Kingma and Ba 2015, arXiv:1412.6980; any hyperparameter may be a sequence with one value a member."""

    beta1: Hyperparameter = 0.9
    beta2: Hyperparameter = 0.999
    eps: Hyperparameter = 1e-8

    _below_one: ClassVar[frozenset[str]] = frozenset({"beta1", "beta2"})
    _moments: ClassVar[tuple[str, ...]] = ("exp_avg", "exp_avg_sq")

    def _torch(self, groups: list[dict[str, object]]) -> torch.optim.Optimizer:
        for group in groups:
            group["betas"] = (group.pop("beta1"), group.pop("beta2"))
        return torch.optim.Adam(groups, fused=True)


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay, Loshchilov and Hutter 2019, arXiv:1711.05101."""

    weight_decay: Hyperparameter = 1e-2

    def _torch(self, groups: list[dict[str, object]]) -> torch.optim.Optimizer:
        for group in groups:
            group["betas"] = (group.pop("beta1"), group.pop("beta2"))
        return torch.optim.AdamW(groups, fused=True)


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent, with heavy-ball momentum if asked."""

    lr: Hyperparameter = 1e-2
    momentum: Hyperparameter = 0.0

    _below_one: ClassVar[frozenset[str]] = frozenset({"momentum"})
    _moments: ClassVar[tuple[str, ...]] = ("momentum_buffer",)

    def _torch(self, groups: list[dict[str, object]]) -> torch.optim.Optimizer:
        return torch.optim.SGD(groups, fused=True)


_SWEPT_EVERY = 64  # steps
_SHRINKING = 1e4  # room above the smallest normal number for a moment with β = 0.9 to shrink in so many steps


class Stepper:
    """An optimiser at work on one ensemble: the moments of all members and the step that moves them.

    Args:
        optimizer: Which optimiser, with its hyperparameters.
        parameters: The ensemble's parameters, moved in place.
        gradients: Where the gradients will be.
    """

    def __init__(self, optimizer: Optimizer, parameters: StackedTensors, gradients: StackedTensors) -> None:
        members = parameters.members
        self.moments = {name: parameters.zeros_like() for name in optimizer._moments}
        rows = _member_rows(optimizer.hyperparameters(), members)
        distinct = list(dict.fromkeys(rows))
        keys = list(optimizer.hyperparameters())
        groups: list[dict[str, object]] = []
        self._steps: list[torch.Tensor] = []
        pieces: list[tuple[torch.Tensor, dict[str, torch.Tensor]]] = []
        for values in distinct:
            chosen = [member for member, row in enumerate(rows) if row == values] if len(distinct) > 1 else None
            tensors = parameters.pieces(chosen)
            for tensor, gradient in zip(tensors, gradients.pieces(chosen), strict=True):
                tensor.grad = gradient
            moments = zip(*(moment.pieces(chosen) for moment in self.moments.values()), strict=True)
            pieces += [(t, dict(zip(self.moments, m, strict=True))) for t, m in zip(tensors, moments, strict=True)]
            groups.append({"params": tensors, **dict(zip(keys, values, strict=True))})
        self._optimizer = optimizer._torch(groups)
        self._rates = [float(group["lr"]) for group in self._optimizer.param_groups]
        self._made = 0
        for tensor, state in pieces:
            step = torch.tensor(0.0, device=tensor.device)
            self._steps.append(step)
            self._optimizer.state[tensor] = {"step": step, **state}

    def step(self, rate_factor: float = 1.0) -> None:
        """Move every member once along its gradient.

        Args:
            rate_factor: What the schedule makes of the learning rate now.
        """
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * rate_factor
        self._optimizer.step()
        self._made += 1
        if self._made % _SWEPT_EVERY == 0:
            self._sweep()

    def resume(self, moments: Mapping[str, torch.Tensor], steps: int) -> None:
        """Go on from stored moments.

        Args:
            moments: Flat moments by name, as `moments[name].flat` had them.
            steps: How many steps had been made.
        """
        for name, flat in moments.items():
            self.moments[name].flat.copy_(flat)
        for step in self._steps:
            step.fill_(float(steps))
        self._made = steps

    def _sweep(self) -> None:
        for moment in self.moments.values():
            drop_nothing(moment.flat, _SHRINKING)


def _member_rows(hyperparameters: Mapping[str, Hyperparameter], members: int) -> list[tuple[float, ...]]:
    columns = []
    for name, value in hyperparameters.items():
        if isinstance(value, Sequence):
            if len(value) != members:
                remedy = f"give one number, or one for each of the {members} members"
                raise InputError(_LONG_NAMES.get(name, name), tuple(value), remedy)
            columns.append([float(one) for one in value])
        else:
            columns.append([float(value)] * members)
    return list(zip(*columns, strict=True))


@dataclass(frozen=True)
class Constant:
    """The learning rate stays as it is."""

    def factor(self, progress: float) -> float:  # noqa: ARG002 - every schedule is asked the same question
        """Give what to multiply the learning rate by.

        Args:
            progress: Share of all steps that are done, from 0 to 1.

        Returns:
            1.
        """
        return 1.0


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from the full rate to a last share of it; Loshchilov and Hutter 2017, arXiv:1608.03983."""

    last: float = 0.0

    def __post_init__(self) -> None:
        if not _is_number(self.last) or not 0 <= self.last <= 1:
            raise InputError("last", self.last, "give a share of the learning rate, from 0 to 1")

    def factor(self, progress: float) -> float:
        """Give what to multiply the learning rate by.

        Args:
            progress: Share of all steps that are done, from 0 to 1.

        Returns:
            last + (1 − last)(1 + cos(π · progress)) / 2.

        Example:
            >>> Cosine(last=0.5).factor(0.0), Cosine(last=0.5).factor(1.0)
            (1.0, 0.5)
        """
        return self.last + (1 - self.last) * (1 + cos(pi * progress)) / 2


@dataclass(frozen=True)
class Step:
    """The learning rate is multiplied by `by` as training passes each of the shares `at`."""

    at: tuple[float, ...] = (0.5, 0.75)
    by: float = 0.1

    def __post_init__(self) -> None:
        if not isinstance(self.at, Sequence) or any(not _is_number(share) or not 0 <= share <= 1 for share in self.at):
            raise InputError("at", self.at, "give shares of the training, from 0 to 1")
        if not _is_number(self.by) or not self.by > 0:
            raise InputError("by", self.by, "give a positive factor")

    def factor(self, progress: float) -> float:
        """Give what to multiply the learning rate by.

        Args:
            progress: Share of all steps that are done, from 0 to 1.

        Returns:
            `by` to the power of the number of shares passed.

        Example:
            >>> Step(at=(0.5, 0.75), by=0.1).factor(0.5)
            0.1
        """
        return self.by ** sum(progress >= share for share in self.at)


Schedule = Constant | Cosine | Step


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
