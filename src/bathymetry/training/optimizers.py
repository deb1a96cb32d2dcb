"""Optimizers and learning-rate schedules."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from math import cos, inf, pi
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from bathymetry.core.errors import InputError, is_real, positive_number
from bathymetry.core.showing import kind_of
from bathymetry.training.ensemble import refusing

Hyperparameter = float | Sequence[float]

_BELOW_ONE = ("beta1", "beta2", "momentum")


@dataclass(frozen=True)
class Optimizer:
    """Base class of the optimizers that step all members at once."""

    lr: Hyperparameter = 1e-3
    weight_decay: Hyperparameter = 0.0

    _moments: ClassVar[tuple[str, ...]]
    _torch: ClassVar[type[torch.optim.Optimizer]]

    def __post_init__(self) -> None:
        for name, value in self.hyperparameters().items():
            limit, below = (1.0, ", below 1") if name in _BELOW_ONE else (inf, "")
            for one in value if isinstance(value, Sequence) and not isinstance(value, str) else [value]:
                if not is_real(one) or not 0 <= float(one) < limit:
                    remedy = f"expected a finite number, at least 0{below}, or one for each member"
                    raise InputError(name, one, remedy)

    def hyperparameters(self) -> dict[str, Hyperparameter]:
        """Each hyperparameter by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def rows(self, members: int) -> list[dict[str, float]]:
        """The hyperparameters of every member."""
        columns: dict[str, Sequence[float]] = {}
        for name, value in self.hyperparameters().items():
            columns[name] = value if isinstance(value, Sequence) else [value] * members
            if len(columns[name]) != members:
                remedy = f"expected one number, or one for each of the {members} members"
                raise InputError(name, tuple(columns[name]), remedy)
        return [{name: float(values[k]) for name, values in columns.items()} for k in range(members)]


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam, Kingma and Ba 2015, arXiv:1412.6980.

    Args:
        lr: Learning rate; any hyperparameter may be a sequence with one value per member.
        weight_decay: Factor of the parameters that is added to the gradient.
        beta1: Decay of the first moment.
        beta2: Decay of the second moment.
        eps: Added to the root of the second moment.
    """

    beta1: Hyperparameter = 0.9
    beta2: Hyperparameter = 0.999
    eps: Hyperparameter = 1e-8

    _moments: ClassVar[tuple[str, ...]] = ("exp_avg", "exp_avg_sq")
    _torch: ClassVar[type[torch.optim.Optimizer]] = torch.optim.Adam


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay, Loshchilov and Hutter 2019, arXiv:1711.05101; arguments as of `Adam`."""

    weight_decay: Hyperparameter = 1e-2

    _torch: ClassVar[type[torch.optim.Optimizer]] = torch.optim.AdamW


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent.

    Args:
        lr: Learning rate; any hyperparameter may be a sequence with one value per member.
        weight_decay: Factor of the parameters that is added to the gradient.
        momentum: Heavy-ball momentum.
    """

    lr: Hyperparameter = 1e-2
    momentum: Hyperparameter = 0.0

    _moments: ClassVar[tuple[str, ...]] = ("momentum_buffer",)
    _torch: ClassVar[type[torch.optim.Optimizer]] = torch.optim.SGD


@dataclass(frozen=True)
class Constant:
    """A constant learning rate."""

    def __call__(self, progress: float) -> float:  # noqa: ARG002 - all schedules have this signature
        """Return 1, whatever the progress."""
        return 1.0


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from the full learning rate to a fraction of it; Loshchilov and Hutter 2017, arXiv:1608.03983.

        last + (1 − last)(1 + cos(π · progress)) / 2

    Args:
        last: The fraction at the end, from 0 to 1.

    Example:
        >>> Cosine(last=0.5)(0.0), Cosine(last=0.5)(1.0)
        (1.0, 0.5)
    """

    last: float = 0.0

    def __post_init__(self) -> None:
        if not is_real(self.last) or not 0 <= self.last <= 1:
            raise InputError("last", self.last, "expected a fraction of the learning rate, from 0 to 1")

    def __call__(self, progress: float) -> float:
        """Return the factor of the learning rate at a progress from 0 to 1."""
        return self.last + (1 - self.last) * (1 + cos(pi * progress)) / 2


@dataclass(frozen=True)
class Step:
    """The learning rate is multiplied by `by` as training passes each of the fractions `at`.

    Args:
        at: Fractions of the training, from 0 to 1.
        by: The factor.

    Example:
        >>> Step(at=(0.5, 0.75), by=0.1)(0.5)
        0.1
    """

    at: tuple[float, ...] = (0.5, 0.75)
    by: float = 0.1

    def __post_init__(self) -> None:
        if not isinstance(self.at, Sequence) or any(not is_real(one) or not 0 <= one <= 1 for one in self.at):
            raise InputError("at", self.at, "expected fractions of the training, from 0 to 1")
        if not is_real(self.by) or not self.by > 0:
            raise InputError("by", self.by, "expected a positive factor")

    def __call__(self, progress: float) -> float:
        """Return the factor of the learning rate at a progress from 0 to 1."""
        return self.by ** sum(progress >= fraction for fraction in self.at)


OptimizerFactory = Callable[[Sequence[nn.Parameter]], torch.optim.Optimizer]
Schedule = Callable[[float], float] | Callable[[torch.optim.Optimizer], LRScheduler]


def makes_scheduler(schedule: Any) -> bool:
    """Whether it is an `LRScheduler` class, a partial of one, or a function of `optimizer`."""
    while isinstance(schedule, partial):
        schedule = schedule.func
    if isinstance(schedule, type):
        return issubclass(schedule, LRScheduler) and not issubclass(schedule, ReduceLROnPlateau)
    return inspect.isfunction(schedule) and next(iter(inspect.signature(schedule).parameters), "") == "optimizer"


def check_optimizer(optimizer: Any) -> None:
    """Accept an `Optimizer`, or a class or function that makes an optimizer of PyTorch from a list of parameters."""
    if isinstance(optimizer, Adam | SGD):
        return
    expected = "expected bm.Adam(lr=1e-3) or the like, or functools.partial(torch.optim.RMSprop, lr=1e-3)"
    own = isinstance(optimizer, type) and not issubclass(optimizer, torch.optim.Optimizer)
    if isinstance(optimizer, torch.optim.Optimizer):
        name = type(optimizer).__name__
        remedy = f"it already holds parameters; expected what makes one, functools.partial(torch.optim.{name}, lr=1e-3)"
        raise InputError("optimizer", f"{name}(…)", remedy)
    if own or isinstance(optimizer, nn.Module) or not callable(optimizer):
        name = optimizer if isinstance(optimizer, str) else getattr(optimizer, "__name__", type(optimizer).__name__)
        raise InputError("optimizer", name, expected)
    parameters = [nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(2))]
    made = called("optimizer", optimizer, parameters)
    if not isinstance(made, torch.optim.Optimizer):
        raise InputError("optimizer", f"a function that returns {kind_of(made)}", expected)
    if type(made).__module__.startswith("torch.optim."):  # of anybody else's we do not know that a step changes nothing
        for one in parameters:
            one.grad = torch.ones_like(one)
        with refusing("optimizer", type(made).__name__, "it can't step a network", "expected another one"):
            made.step(lambda: torch.zeros(()))  # type: ignore[arg-type, return-value]


def check_schedule(schedule: Any) -> None:
    """Accept None, a function of the progress, or one that makes an `LRScheduler`."""
    if schedule is None:
        return
    expected = "expected bm.training.Cosine() or the like, a function of the progress from 0 to 1, or PyTorch's"
    if makes_scheduler(schedule):
        trial = torch.optim.SGD([nn.Parameter(torch.zeros(2))], lr=1.0, momentum=0.5)
        made = called("schedule", schedule, trial)
        fits = isinstance(made, LRScheduler)
    elif callable(schedule) and not isinstance(schedule, type | nn.Module):
        made = called("schedule", schedule, 0.0)
        fits = is_real(made)
    else:
        raise InputError("schedule", getattr(schedule, "__name__", schedule), expected)
    if not fits:
        raise InputError("schedule", f"a function that returns {kind_of(made)}", expected)


def called(field: str, function: Any, argument: Any) -> Any:
    name, expected = getattr(function, "__name__", function), "name its other arguments with functools.partial"
    with refusing(field, name, "it fails when it is called", expected):
        return function(argument)


_KNOWN = "a threshold is known for SGD, Adam and AdamW, and for torch.optim's SGD, Adam, AdamW and RMSprop"


def stability_threshold(optimizer: Optimizer | torch.optim.Optimizer) -> float:
    """Return the largest curvature at which an optimizer is stable.

    On a quadratic, a direction of curvature λ is stable up to

        gradient descent            λ = 2/η
        with momentum β             λ = 2(1 + β)/((1 − d)η), d the dampening
        with Nesterov's momentum    λ = (2 + 2β)/((1 + 2β)η)
        Adam, preconditioned λ      λ = (2 + 2β₁)/((1 − β₁)η)     38/η at β₁ = 0.9
        RMSprop, preconditioned λ   λ = 2(1 + β)/η

    Weight decay ω lowers the first three by ω; AdamW's leaves (1 + β₁)(2 − ηω)/((1 − β₁)η). Cohen et al. 2021,
    arXiv:2103.00065, and 2022, arXiv:2207.14484.

    Args:
        optimizer: SGD, Adam or AdamW; or PyTorch's own, or its RMSprop. Members and parameter groups must agree.

    Returns:
        The threshold on the largest eigenvalue of the (preconditioned) Hessian.

    Raises:
        InputError: If a hyperparameter differs between members or groups, or no threshold is known.

    Example:
        >>> stability_threshold(SGD(lr=0.1)), round(stability_threshold(Adam(lr=1e-3)))
        (20.0, 38000)
        >>> stability_threshold(torch.optim.SGD([torch.zeros(1)], lr=0.1, momentum=0.5))
        30.0
    """
    if isinstance(optimizer, Adam | SGD):
        kind, groups = optimizer._torch, [dict[str, Any](optimizer.hyperparameters())]
        for name, value in groups[0].items():
            if isinstance(value, Sequence):
                raise InputError(name, tuple(value), "expected one value: each has a threshold of its own")
    elif type(optimizer) in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop):
        assert isinstance(optimizer, torch.optim.Optimizer)
        kind, groups = type(optimizer), [_plain(group) for group in optimizer.param_groups]
    else:
        of_torch = "torch.optim's " if isinstance(optimizer, torch.optim.Optimizer) else ""
        raise InputError("optimizer", f"{of_torch}{type(optimizer).__name__}", _KNOWN)
    for name, value in groups[0].items():
        if any(group.get(name) != value for group in groups):
            shown = ", ".join(str(group.get(name)) for group in groups)
            raise InputError(name, shown, "expected one value in all groups: each has a threshold of its own")
    return _threshold(kind, groups[0])


def _plain(group: Mapping[str, Any]) -> dict[str, Any]:
    own = {name: one.item() if isinstance(one, Tensor) else one for name, one in group.items() if name != "params"}
    return own | ({"beta1": float(group["betas"][0])} if "betas" in own else {})


def _threshold(kind: type[torch.optim.Optimizer], group: Mapping[str, Any]) -> float:
    rate, decay, beta1 = positive_number("lr", group["lr"]), float(group["weight_decay"]), group.get("beta1", 0.0)
    if group.get("maximize"):
        raise InputError("maximize", True, "a threshold is one of descent: expected maximize=False")
    if issubclass(kind, torch.optim.AdamW) or group.get("decoupled_weight_decay"):  # θ ← (1 − ηω)θ − ηm/D
        return float((1 + beta1) * (2 - rate * decay) / ((1 - beta1) * rate))
    if decay and not issubclass(kind, torch.optim.SGD):
        raise InputError("weight_decay", decay, "it is preconditioned with the gradient: expected AdamW, or no decay")
    if issubclass(kind, torch.optim.Adam):
        return float((2 + 2 * beta1) / ((1 - beta1) * rate))
    momentum, dampening = float(group["momentum"]), float(group.get("dampening", 0.0))
    if group.get("nesterov"):
        return (2 + 2 * momentum) / ((1 + 2 * momentum) * rate) - decay
    if momentum == 0:  # without a buffer nothing is damped
        return 2 / rate - decay
    if dampening >= 1:
        raise InputError("dampening", dampening, "expected less than 1, or no gradient moves anything")
    return 2 * (1 + momentum) / ((1 - dampening) * rate) - decay
