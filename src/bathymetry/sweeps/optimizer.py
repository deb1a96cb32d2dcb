"""The optimizer that a specification names: one of Bathymetry's own, or a class of `torch.optim` with its options."""

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from bathymetry.core.errors import InputError, did_you_mean, first_line, is_real
from bathymetry.sweeps.sections import Training
from bathymetry.training import SGD, Adam, AdamW
from bathymetry.training.optimizers import Optimizer, OptimizerFactory, check_optimizer

_OWN: Mapping[str, type[Optimizer]] = {"adam": Adam, "adamw": AdamW, "sgd": SGD}
_FIELDS: Mapping[str, str] = {  # argument → field
    "lr": "learning_rate",
    "weight_decay": "weight_decay",
    "momentum": "momentum",
    "beta1": "beta1",
    "beta2": "beta2",
    "eps": "eps",
}


def optimizer(training: Training) -> Optimizer | OptimizerFactory:
    """The optimizer of a training."""
    own = _OWN.get(training.optimizer.lower())
    if own is None:
        return partial(_class(training), **_arguments(training))
    given = _given(training)
    for name, value in given.items():
        if name not in own.__dataclass_fields__:
            raise InputError(f"training.{name}", value, f"{training.optimizer} has none; leave it out")
    if training.options:
        remedy = f"{training.optimizer} takes none; expected weight_decay, momentum, beta1, beta2 or eps"
        raise InputError("training.options", training.options, remedy)
    return own(**given)


def refused(training: Training, error: InputError) -> InputError:
    """Name the field without which an optimizer of PyTorch works; without any, the optimizer itself."""
    kind, arguments, reason = _class(training), _arguments(training), first_line(error.__cause__ or error)
    for name, value in arguments.items():
        rest = {other: one for other, one in arguments.items() if other != name}
        if _works(partial(kind, **rest)):
            path = _path(name, is_option=name in (training.options or {}))
            return InputError(path, value, f"torch.optim.{kind.__name__} refuses it ({reason})")
    remedy = f"it can't train these networks ({reason}); expected adam, adamw, sgd or another class of torch.optim"
    return InputError("training.optimizer", training.optimizer, remedy)


def _path(argument: str, *, is_option: bool) -> str:
    """The field that an argument comes from."""
    return f"training.options.{argument}" if is_option else f"training.{_FIELDS.get(argument, 'beta1')}"


def _works(factory: OptimizerFactory) -> bool:
    try:
        check_optimizer(factory)
    except InputError:
        return False
    return True


def _class(training: Training) -> type[torch.optim.Optimizer]:
    known: dict[str, type[torch.optim.Optimizer]]
    known = {name: one for name, one in vars(torch.optim).items() if _is_optimizer(one)}
    kind = known.get(training.optimizer)
    if kind is None:
        similar = did_you_mean(training.optimizer, [*_OWN, *known])
        remedy = f"{similar}expected adam, adamw, sgd or the name of a class of torch.optim"
        raise InputError("training.optimizer", training.optimizer, remedy)
    return kind


def _is_optimizer(one: object) -> bool:
    return isinstance(one, type) and issubclass(one, torch.optim.Optimizer) and one is not torch.optim.Optimizer


def _given(training: Training) -> dict[str, Any]:
    """The hyperparameters that have fields, by the name of the argument."""
    fields = {name: getattr(training, field) for name, field in _FIELDS.items()}
    return {name: value for name, value in fields.items() if value is not None}


def _arguments(training: Training) -> dict[str, Any]:
    """What a class of PyTorch is called with."""
    kind, given = _class(training), _given(training)
    taken = inspect.signature(kind).parameters
    if "betas" in taken and ("beta1" in given or "beta2" in given):
        usual = taken["betas"].default
        given["betas"] = (given.pop("beta1", usual[0]), given.pop("beta2", usual[1]))
    options = {name: tuple(one) if isinstance(one, list) else one for name, one in (training.options or {}).items()}
    for name, value in {**given, **options}.items():
        is_option = name in options
        path = _path(name, is_option=is_option)
        if name not in taken:
            raise InputError(path, value, f"torch.optim.{kind.__name__} takes no {name}; leave it out")
        if is_option and name == "betas":
            raise InputError(path, value, "they have fields of their own; write training.beta1 and training.beta2")
        if is_option and name in _FIELDS and is_real(taken[name].default):  # Adafactor has two numbers as its eps
            raise InputError(path, value, f"it has a field of its own; write training.{_FIELDS[name]}")
    return {**given, **options}
