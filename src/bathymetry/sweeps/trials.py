"""A trial of a network of the user's, before anything is stored: one step of two members on a few examples."""

import os
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bathymetry.core.errors import InputError, first_line
from bathymetry.core.showing import plural, short
from bathymetry.data import Data
from bathymetry.data.examples import Examples
from bathymetry.sweeps.measures import try_measuring
from bathymetry.sweeps.sections import Network, plain
from bathymetry.training import TrainingConfig, train
from bathymetry.training.ensemble import SAME_START

_FEW = 4  # examples from everywhere, besides those with the smallest and largest numbers


def has_single(config: TrainingConfig) -> bool:
    """Whether a batch has a single example, which some layers can't take."""
    count, size = len(config.train_examples), config.batch_size
    return size == 1 or (count % size if size else count) == 1


def untrainable(config: TrainingConfig, network: Network) -> InputError | None:
    """Why a network can't be trained, naming the function that makes it and its arguments; None if it can.

    Where there is no network, or one that does not take the batch size, this is raised: nothing can be planned with it.
    """
    tried = replace(
        config,
        data=_few(config.data),
        epochs=None,
        steps=1,
        batch_size=1 if has_single(config) else None,
        targets=None,
        record_at=(),
        measurements={},
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the training itself warns
            train(tried, members=2, backend="loop")
            if config.measurements:
                return _unmeasurable(tried, config, network)
    except InputError as error:
        if error.field == "members":  # two need more memory than there is: one may not
            return None
        if error.field == "batch_size":
            raise InputError("batch_size", config.batch_size or "full", error.remedy) from error
        fault = InputError("network.family", called(network, config.network), _fault(error, config))
        if error.field == "build":
            raise fault from error
        return fault
    except Exception as error:  # noqa: BLE001 - of the user's network
        remedy = f"a step of training fails ({_reason(error)})"
        return InputError("network.family", called(network, config.network), remedy)
    return None


def _unmeasurable(tried: TrainingConfig, config: TrainingConfig, network: Network) -> InputError | None:
    for name in config.measurements:
        try:
            try_measuring(tried, name)
        except Exception as error:  # noqa: BLE001 - of the user's network
            reason = str(error).rstrip(".") if isinstance(error, InputError) else _reason(error)
            reason = reason.removesuffix(": call model.eval() first")  # nobody can in a sweep
            remedy = f"it can't be measured on {called(network, config.network)} ({reason}); leave it out"
            return InputError("measure", name, remedy)
    return None


def called(network: Network, build: Callable[[], nn.Module]) -> str:
    """The function that makes a network, with what it is called with: net.py:build(inputs=1, width=3)."""
    arguments: dict[str, Any] = build.keywords if isinstance(build, partial) else {}
    words = ", ".join(f"{name}={short(value)}" for name, value in arguments.items())
    return f"{os.path.basename(str(plain(network.family)))}({words})"


def _fault(error: InputError, config: TrainingConfig) -> str:
    reason = "" if error.__cause__ is None else f" ({_reason(error.__cause__)})"
    if error.field == "build":
        remedy = error.remedy.removesuffix(SAME_START)
        return f"it fails{reason}; expected a function that makes one network" if reason else f"{error.value}; {remedy}"
    if error.field in ("x_train", "x_test"):
        return f"it can't take inputs of shape {tuple(config.train_examples.inputs.shape[1:])}{reason}"
    assert isinstance(config.data, Data)
    if error.field in ("y_train", "y_test", "data"):
        outputs = config.data.classes or config.train_examples.targets[0].numel()
        expected = f"expected {outputs} {plural('output', outputs)}"
        return f"its outputs do not fit the targets, on a few examples {error.value}; {expected}"
    return f"{error.field} = {error.value}: {error.remedy}"


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {first_line(error)}"


def _few(data: object) -> Data:
    assert isinstance(data, Data)
    return replace(data, train=_some(data.train), test=_some(data.test))


def _some(examples: Examples) -> Examples:
    """A few examples, with the smallest and the largest of whole numbers, which may be classes or indices."""
    rows = torch.linspace(0, len(examples) - 1, min(_FEW, len(examples))).round().long().tolist()
    for tensor in (examples.inputs, examples.targets):
        rows += _extremes(tensor) if not tensor.is_floating_point() and tensor.dtype != torch.uint8 else []
    chosen = torch.tensor(sorted(set(rows)))
    return Examples(examples.inputs[chosen], examples.targets[chosen], examples.scale)


def _extremes(tensor: Tensor) -> list[int]:
    rows = tensor.reshape(len(tensor), -1)
    return [int(rows.amin(1).argmin()), int(rows.amax(1).argmax())]
