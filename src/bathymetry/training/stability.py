"""How sharp a surface may be before an optimiser's steps overshoot by more each time.

On a quadratic with curvature λ along a direction, that direction is stable up to

    gradient descent            λ = 2/η
    with momentum β             λ = 2(1 + β)/((1 − d)η), d the dampening
    with Nesterov's momentum    λ = (2 + 2β)/((1 + 2β)η)
    Adam, preconditioned λ      λ = (2 + 2β₁)/((1 − β₁)η)     38/η at β₁ = 0.9
    RMSprop, preconditioned λ   λ = 2(1 + β)/η

Weight decay ω takes its part of that: ω itself from the first three, and AdamW's leaves
(1 + β₁)(2 − ηω)/((1 − β₁)η).

Cohen et al. 2021, arXiv:2103.00065, and 2022, arXiv:2207.14484.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from bathymetry.core.errors import InputError, positive_number
from bathymetry.training.optimizers import SGD, Adam, AdamW, Optimizer

_KNOWN = "a threshold is known for SGD, Adam and AdamW, and for torch.optim's SGD, Adam, AdamW and RMSprop"


def stability_threshold(optimizer: Optimizer | torch.optim.Optimizer) -> float:
    """Give the largest curvature at which an optimiser is stable.

    Args:
        optimizer: SGD, Adam or AdamW with one value for each hyperparameter; or PyTorch's own SGD, Adam, AdamW or
            RMSprop, whose groups of parameters agree.

    Returns:
        The threshold on the largest eigenvalue of the Hessian; for Adam, AdamW and RMSprop on that of the
        preconditioned Hessian.

    Raises:
        InputError: If a hyperparameter differs between members or groups, or no threshold is known.

    Example:
        >>> stability_threshold(SGD(lr=0.1)), round(stability_threshold(Adam(lr=1e-3)))
        (20.0, 38000)
        >>> stability_threshold(torch.optim.SGD([torch.zeros(1)], lr=0.1, momentum=0.5))
        30.0
    """
    if isinstance(optimizer, torch.optim.Optimizer):
        return _of_torch(optimizer)
    if not isinstance(optimizer, Optimizer):
        raise InputError("optimizer", type(optimizer).__name__, _KNOWN)
    given: dict[str, float] = {}
    for name, value in optimizer.hyperparameters().items():
        if isinstance(value, Sequence):
            raise InputError(name, tuple(value), "give one value: each has a threshold of its own")
        given[name] = value
    rate, decay = positive_number("lr", given["lr"]), given["weight_decay"]
    if isinstance(optimizer, AdamW):
        return _adamw(rate, given["beta1"], decay)
    if isinstance(optimizer, Adam):
        return _adam(rate, given["beta1"], decay)
    if isinstance(optimizer, SGD):
        return _sgd(rate, decay, given["momentum"])
    raise InputError("optimizer", type(optimizer).__name__, _KNOWN)


def _sgd(rate: float, decay: float, momentum: float, dampening: float = 0.0, *, nesterov: bool = False) -> float:
    if nesterov:
        return (2 + 2 * momentum) / ((1 + 2 * momentum) * rate) - decay
    if momentum == 0:  # without a buffer nothing is damped
        return 2 / rate - decay
    if dampening >= 1:
        raise InputError("dampening", dampening, "expected less than 1, or no gradient moves anything")
    return 2 * (1 + momentum) / ((1 - dampening) * rate) - decay


def _adam(rate: float, beta1: float, decay: float) -> float:
    _refuse_decay(decay)
    return (2 + 2 * beta1) / ((1 - beta1) * rate)


def _adamw(rate: float, beta1: float, decay: float) -> float:
    """Give the threshold of a decay beside the gradient: θ ← (1 − ηω)θ − ηm/D."""
    return (1 + beta1) * (2 - rate * decay) / ((1 - beta1) * rate)


def _refuse_decay(decay: float) -> None:
    if decay:
        raise InputError(
            "weight_decay", decay, "its decay is preconditioned with the gradient: give AdamW, or no decay"
        )


def _of_torch(optimizer: torch.optim.Optimizer) -> float:
    threshold = _OF_TORCH.get(type(optimizer))
    if threshold is None:
        raise InputError("optimizer", f"torch.optim's {type(optimizer).__name__}", _KNOWN)
    groups = [
        {name: _plain(value) for name, value in group.items() if name != "params"} for group in optimizer.param_groups
    ]
    for name in groups[0]:
        values = [group.get(name) for group in groups]
        if any(value != values[0] for value in values):
            shown = ", ".join(str(value) for value in values)
            raise InputError(name, shown, "expected one value in all groups: each has a threshold of its own")
    if groups[0].get("maximize"):
        raise InputError("maximize", True, "a threshold is one of descent: expected maximize=False")
    return threshold({**groups[0], "lr": positive_number("lr", groups[0]["lr"])})


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, torch.Tensor) and value.numel() == 1 else value


def _torch_sgd(group: Mapping[str, Any]) -> float:
    momentum, dampening = float(group["momentum"]), float(group["dampening"])
    return _sgd(group["lr"], float(group["weight_decay"]), momentum, dampening, nesterov=group["nesterov"])


def _torch_adam(group: Mapping[str, Any]) -> float:
    decoupled = group.get("decoupled_weight_decay", False)
    return (_adamw if decoupled else _adam)(group["lr"], float(_plain(group["betas"][0])), float(group["weight_decay"]))


def _torch_adamw(group: Mapping[str, Any]) -> float:
    return _adamw(group["lr"], float(_plain(group["betas"][0])), float(group["weight_decay"]))


def _torch_rmsprop(group: Mapping[str, Any]) -> float:
    _refuse_decay(float(group["weight_decay"]))
    return _sgd(group["lr"], 0.0, float(group["momentum"]))


_OF_TORCH: Mapping[type, Callable[[Mapping[str, Any]], float]] = {
    torch.optim.SGD: _torch_sgd, torch.optim.Adam: _torch_adam, torch.optim.AdamW: _torch_adamw,
    torch.optim.RMSprop: _torch_rmsprop,
}  # fmt: skip
