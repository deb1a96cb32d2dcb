"""From a point of a sweep to the `TrainingConfig` of its ensemble."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from bathymetry import data as data_sets
from bathymetry import models
from bathymetry.core.errors import InputError, did_you_mean
from bathymetry.core.system import check_memory
from bathymetry.data import Data
from bathymetry.models import MLPConfig
from bathymetry.models.mlp import parameter_count
from bathymetry.studies.catalogue import module_of_file
from bathymetry.studies.families import NoisyLabels
from bathymetry.sweeps.measures import measurements
from bathymetry.sweeps.optimizer import optimizer, refused
from bathymetry.sweeps.sections import DataSet, Network, Section, Training
from bathymetry.training import TrainingConfig
from bathymetry.training.optimizers import Cosine

_EPOCHS, _WIDTH, _DEPTH = 10, 32, 2
_MANY = 10**8  # parameters, from which on it is looked whether there is memory for them
_PATHS: Mapping[str, str] = {  # of what others name in their own way
    "parameters": "network.parameters",
    "hidden_layers": "network.depth",
    "activation": "network.activation",
    "lr": "training.learning_rate",
    "seed": "seed",
    "data_seed": "data_seed",
    "record_at": "record",
    "data": "data.name",
    "functions": "data.function",
    **{name: f"{section.title}.{name}" for section in (DataSet, Training) for name in section.model_fields},
}


@dataclass
class Configs:
    """Makes the config of each point; points with the same data share them in memory."""

    sections: Mapping[str, Section]
    seed: int
    data_seed: int
    measure: tuple[str, ...]
    record: str
    written: Mapping[str, str]  # how the specification calls each axis, by its path
    _data: dict[Any, Data] = field(default_factory=dict)
    _read: dict[Any, Section] = field(default_factory=dict)

    @property
    def has_classes(self) -> bool:
        """Whether any of the data that were read so far have classes."""
        return any(one.classes is not None for one in self._data.values())

    def at(self, values: Mapping[str, Any]) -> TrainingConfig:
        """The config of a point, from the value of each axis by its path."""
        with self.naming(values):
            network, data, training = self.at_point(values)
            try:
                seeds = values.get("seed", self.seed), values.get("data_seed", self.data_seed)
                return self._config(network, data, training, *seeds)
            except InputError as error:
                if error.field == "optimizer":
                    raise refused(training, error) from error
                raise

    def at_point(self, values: Mapping[str, Any]) -> tuple[Network, DataSet, Training]:
        """The sections with the values of a point."""
        network, data, training = (self._section(title, values) for title in ("network", "data", "training"))
        assert isinstance(network, Network)
        assert isinstance(data, DataSet)
        assert isinstance(training, Training)
        return network, data, training

    @contextmanager
    def naming(self, values: Mapping[str, Any]) -> Iterator[None]:
        """Make what is refused at a point name the axis, or the fixed field, that the specification has."""
        try:
            yield
        except InputError as error:
            path = _PATHS.get(error.field, error.field)
            axis = next((one for one in values if f"{path}.".startswith(f"{one}.")), None)
            field = path if axis is None else f"axes.{self.written[axis]}{path.removeprefix(axis)}"
            raise InputError(field, error.value, error.remedy) from error

    def _config(self, network: Network, data: DataSet, training: Training, seed: int, data_seed: int) -> TrainingConfig:
        examples = self._examples(data, data_seed)
        config = TrainingConfig(
            network=factory(network, examples),
            data=examples,
            seed=seed,
            optimizer=optimizer(training),
            loss=_loss(training, examples),
            epochs=(training.epochs or _EPOCHS) if training.steps is None else None,
            steps=training.steps,
            batch_size=training.batch_size,
            schedule=Cosine() if training.schedule == "cosine" else None,
            targets=_targets(training, examples, data_seed),
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
            self._data[key] = examples_of(data, seed)
        return self._data[key]


def examples_of(data: DataSet, seed: int) -> Data:
    """Load or draw the examples."""
    if data.name is None:
        return data_sets.function(data.function or "sin", data.low, data.high, data.samples, seed)
    whole = data_sets.load(data.name)
    for limit, examples in (("train_examples", whole.train), ("test_examples", whole.test)):
        if (getattr(data, limit) or 0) > len(examples):
            remedy = f"expected at most {len(examples):,}, as many as {whole.name} has"
            raise InputError(f"data.{limit}", getattr(data, limit), remedy)
    return data_sets.subset(whole, data.train_examples, data.test_examples, seed)


def factory(network: Network, examples: Data) -> Callable[[], nn.Module]:
    """What makes one network for these examples."""
    inputs = examples.train.inputs[0].numel()
    outputs = examples.classes or examples.train.targets[0].numel()
    if network.is_mlp:
        widths = (inputs, *_hidden(network, inputs, outputs), outputs)
        if parameter_count(widths) > _MANY:
            given = next((one for one in ("hidden", "parameters", "width") if one in network.given), "depth")
            what, remedy = f"networks of {parameter_count(widths):,} parameters take", "expected a smaller network"
            check_memory(f"network.{given}", getattr(network, given), 4 * parameter_count(widths), what, remedy)
        return MLPConfig(widths, network.activation)
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


def _loss(training: Training, examples: Data) -> Literal["mse", "cross_entropy"]:
    """The loss that fits the targets, and none other."""
    classes = not examples.train.targets.is_floating_point()
    fitting: Literal["mse", "cross_entropy"] = "cross_entropy" if classes else "mse"
    if training.loss not in (None, fitting):
        what = "classes" if classes else "values"
        remedy = f"the targets of {examples.name} are {what}; expected {fitting}"
        raise InputError("training.loss", training.loss, remedy)
    return fitting


def _targets(training: Training, examples: Data, seed: int) -> NoisyLabels | None:
    if not training.label_noise:
        return None
    if examples.classes is None:
        remedy = "the targets of these data are values; expected 0, or data with classes"
        raise InputError("training.label_noise", training.label_noise, remedy)
    return NoisyLabels(examples, training.label_noise, seed)
