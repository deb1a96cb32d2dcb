"""From a point of a sweep to the `TrainingConfig` of its ensemble."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bathymetry import data as data_sets
from bathymetry import models
from bathymetry.core.errors import InputError, did_you_mean
from bathymetry.data import Data
from bathymetry.models import MLPConfig
from bathymetry.studies.catalogue import module_of_file
from bathymetry.studies.families import NoisyLabels
from bathymetry.sweeps.measures import measurements
from bathymetry.sweeps.sections import DataSet, Network, Section, Training
from bathymetry.training import SGD, Adam, AdamW, TrainingConfig
from bathymetry.training.optimizers import Cosine, Optimizer, OptimizerFactory

_OWN: Mapping[str, type[Optimizer]] = {"adam": Adam, "adamw": AdamW, "sgd": SGD}
_HYPERPARAMETERS = ("weight_decay", "momentum", "beta1", "beta2", "eps")
_EPOCHS, _WIDTH, _DEPTH = 10, 32, 2


@dataclass
class Configs:
    """Makes the config of each point; points with the same data share them in memory."""

    sections: Mapping[str, Section]
    seed: int
    measure: tuple[str, ...]
    record: str
    _data: dict[Any, Data] = field(default_factory=dict)
    _read: dict[Any, Section] = field(default_factory=dict)

    @property
    def has_classes(self) -> bool:
        """Whether any of the data that were read so far have classes."""
        return any(one.classes is not None for one in self._data.values())

    def at(self, values: Mapping[str, Any]) -> TrainingConfig:
        """The config of a point, from the value of each axis by its path."""
        seed = values.get("seed", self.seed)
        network, data, training = (self._section(title, values) for title in ("network", "data", "training"))
        assert isinstance(network, Network)
        assert isinstance(data, DataSet)
        assert isinstance(training, Training)
        examples = self._examples(data, seed)
        loss = training.loss or ("mse" if examples.classes is None else "cross_entropy")
        config = TrainingConfig(
            network=factory(network, examples),
            data=examples,
            seed=seed,
            optimizer=optimizer(training),
            loss=loss,
            epochs=(training.epochs or _EPOCHS) if training.steps is None else None,
            steps=training.steps,
            batch_size=training.batch_size,
            schedule=Cosine() if training.schedule == "cosine" else None,
            targets=_targets(training, examples, seed),
            record_at=None if self.record == "all" else (),
            dtype=torch.float32 if training.dtype == "float32" else torch.float64,
            clip_norm=training.clip_norm,
        )
        return measurements(config, self.measure)

    def _section(self, title: str, values: Mapping[str, Any]) -> Section:
        own = {path.partition(".")[2]: one for path, one in values.items() if path.startswith(f"{title}.")}
        key = (title, *((name, repr(one)) for name, one in own.items()))
        if key not in self._read:
            section = self.sections[title]
            self._read[key] = type(section).of({**section.given, **own})
        return self._read[key]

    def _examples(self, data: DataSet, seed: int) -> Data:
        key = (repr(sorted(data.given.items())), seed)
        if key not in self._data:
            try:
                self._data[key] = examples_of(data, seed)
            except InputError as error:
                field = {"data": "name", "functions": "function"}.get(error.field, error.field)
                raise InputError(f"data.{field}", error.value, error.remedy) from error
        return self._data[key]


def examples_of(data: DataSet, seed: int) -> Data:
    """Load or draw the examples."""
    if data.name is None:
        return data_sets.function(data.function or "sin", data.low, data.high, data.samples, seed)
    whole = data_sets.load(data.name)
    train = min(data.train_examples or len(whole.train), len(whole.train))
    test = min(data.test_examples or len(whole.test), len(whole.test))
    return data_sets.subset(whole, train, test, seed)


def factory(network: Network, examples: Data) -> Callable[[], nn.Module]:
    """What makes one network for these examples."""
    inputs = examples.train.inputs[0].numel()
    outputs = examples.classes or examples.train.targets[0].numel()
    if network.is_mlp:
        return MLPConfig((inputs, *_hidden(network, inputs, outputs), outputs), network.activation)
    function = function_of(network)
    arguments = {**network.arguments, **_sizes_taken(function, network, inputs=inputs, outputs=outputs)}
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError as error:
        known = list(inspect.signature(function).parameters)
        wrong = next((name for name in network.arguments if name not in known), None)
        if wrong is None:
            raise InputError("network.family", network.family, f"{error}; write it next to family") from error
        remedy = f"{function.__name__} does not take it; {did_you_mean(wrong, known)}expected {', '.join(known)}"
        raise InputError(f"network.{wrong}", network.arguments[wrong], remedy) from error
    return partial(function, **arguments)


def _hidden(network: Network, inputs: int, outputs: int) -> tuple[int, ...]:
    if network.hidden is not None:
        return network.hidden
    depth = network.depth or _DEPTH
    if network.parameters is not None:
        return tuple(models.fit_budget(network.parameters, inputs, outputs, depth)[1:-1])
    return (network.width or _WIDTH,) * depth


def function_of(network: Network) -> Callable[..., Any]:
    """The function that makes networks, from the file that defines it."""
    if callable(network.family):
        return network.family
    path, _, name = network.family.rpartition(":")
    if not path.endswith(".py"):
        remedy = "a function is known by its file; expected FILE.py:FUNCTION"
        raise InputError("network.family", network.family, remedy)
    module = module_of_file("network.family", Path(path))
    found = getattr(module, name, None)
    if not callable(found):
        known = [one for one, value in vars(module).items() if callable(value) and not one.startswith("_")]
        raise InputError("network.family", network.family, f"{did_you_mean(name, known)}{path} has no function {name}")
    return found  # type: ignore[no-any-return]


def _sizes_taken(function: Callable[..., Any], network: Network, **sizes: int) -> dict[str, int]:
    """The numbers of inputs and outputs, where the function asks for them and they are not given."""
    asked = inspect.signature(function).parameters
    return {name: size for name, size in sizes.items() if name in asked and name not in network.arguments}


def optimizer(training: Training) -> Optimizer | OptimizerFactory:
    """The optimizer of a training."""
    given = {name: getattr(training, name) for name in _HYPERPARAMETERS if getattr(training, name) is not None}
    if training.learning_rate is not None:
        given["lr"] = training.learning_rate
    own = _OWN.get(training.optimizer.lower())
    if own is None:
        return _of_torch(training, given)
    for name, value in given.items():
        if name not in own.__dataclass_fields__:
            raise InputError(f"training.{name}", value, f"{training.optimizer} has none; leave it out")
    if training.options:
        remedy = f"{training.optimizer} takes none; expected weight_decay, momentum, beta1, beta2 or eps"
        raise InputError("training.options", training.options, remedy)
    return own(**given)


def _of_torch(training: Training, given: dict[str, Any]) -> OptimizerFactory:
    known = {name: one for name, one in vars(torch.optim).items() if _is_optimizer(one)}
    kind = known.get(training.optimizer)
    if kind is None:
        similar = did_you_mean(training.optimizer, [*_OWN, *known])
        remedy = f"{similar}expected adam, adamw, sgd or the name of a class of torch.optim"
        raise InputError("training.optimizer", training.optimizer, remedy)
    taken = inspect.signature(kind).parameters
    own = {name: tuple(one) if isinstance(one, list) else one for name, one in (training.options or {}).items()}
    options = {**given, **own}
    for name, value in options.items():
        if name not in taken:
            shown = "learning_rate" if name == "lr" else f"options.{name}" if name in own else name
            pair = "; write options: {betas: [0.9, 0.999]}" if "betas" in taken and name in ("beta1", "beta2") else ""
            remedy = f"torch.optim.{kind.__name__} takes no {name}{pair or '; leave it out'}"
            raise InputError(f"training.{shown}", value, remedy)
    return partial(kind, **options)


def _is_optimizer(one: object) -> bool:
    return isinstance(one, type) and issubclass(one, torch.optim.Optimizer) and one is not torch.optim.Optimizer


def _targets(training: Training, examples: Data, seed: int) -> NoisyLabels | None:
    if not training.label_noise:
        return None
    if examples.classes is None:
        remedy = "the targets of these data are values; expected 0, or data with classes"
        raise InputError("training.label_noise", training.label_noise, remedy)
    return NoisyLabels(examples, training.label_noise, seed)
