"""The training configuration: everything that determines an ensemble's numbers, validated once."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property, partial
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from bathymetry.core.errors import InputError, check_dense, did_you_mean, is_real, is_whole, whole_number
from bathymetry.core.identity import Description, describe
from bathymetry.data.examples import Data, Examples
from bathymetry.training.ensemble import EvaluationSet
from bathymetry.training.loss import Criterion, Loss
from bathymetry.training.optimizers import (
    Adam,
    Optimizer,
    OptimizerFactory,
    Schedule,
    check_optimizer,
    check_schedule,
)
from bathymetry.training.records import Measure, Measurement

_MOST = 10**15  # epochs, steps or examples
_NEWER = {"newer": True}  # of fields that came after members were stored: at its default such a field is not described
_RESERVED = {"diverged", "stopped_at", "member", "epoch", "step", "split", "examples", "loss", "accuracy"}


@dataclass(frozen=True)
class StopWhen:
    """Stop a member when a recorded quantity reaches a level; its parameters stay as they are then.

    Args:
        quantity: Which set and what, such as "train_accuracy", or the name of a measurement.
        at_least: The level, if it is reached from below.
        at_most: The level, if it is reached from above; either this or `at_least`.
    """

    quantity: str
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        if (self.at_least is None) == (self.at_most is None):
            raise InputError("stop", self.quantity, "expected one level, at_least or at_most")
        level = self.at_most if self.at_least is None else self.at_least
        if not is_real(level) or math.isnan(level):
            raise InputError("stop", level, f"expected the level of {self.quantity} as a number")

    def reached(self, recorded: Mapping[str, Float[Tensor, " member"]]) -> Bool[Tensor, " member"]:
        """Return which members have reached the level; NaN reaches none."""
        if self.quantity not in recorded:
            raise InputError("stop", self.quantity, f"expected one of {', '.join(recorded)}")
        values = recorded[self.quantity]
        return values >= self.at_least if self.at_least is not None else values <= torch.as_tensor(self.at_most)


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that determines an ensemble's numbers, except which members are trained.

    Args:
        network: Makes one network with random weights: `MLPConfig`, or a function. It is called once per member, under
            the member's own random stream.
        data: What `bm.load` returns, or tensors (x, y) or (x, y, x_test, y_test).
        seed: With a member's number it determines its initialisation, data order and dropout.
        optimizer: `Adam`, `AdamW` or `SGD`, which step all members at once and take one value per member for any
            hyperparameter; or a class or function that makes an optimizer of PyTorch from a list of parameters, such as
            `functools.partial(torch.optim.RMSprop, lr=1e-3)`, with which members are trained one by one.
        loss: "mse", "cross_entropy", a loss of PyTorch, or a function of (output, target) that returns the mean over
            its batch.
        epochs: How often each example is used; either this or `steps`.
        steps: Number of steps.
        batch_size: Examples per batch; None for all of them in every step, one step per epoch.
        schedule: Factor of the learning rate as a function of the progress from 0 to 1, such as
            `bm.training.Cosine()`; or what makes a scheduler of PyTorch from `optimizer`, such as
            `functools.partial(torch.optim.lr_scheduler.StepLR, step_size=100)`, which is stepped after every step.
            Constant if None.
        stop: When a member stops early.
        targets: Training targets of every member, (member, example, *target), or a function of the members' numbers
            that returns them.
        evaluate_on: Sets to evaluate on by name, each `Examples`, an `EvaluationSet`, or a function of the members'
            numbers that returns one; the training and test set of `data` if None.
        record_at: Epochs to record besides the first and the last; None for all.
        measurements: Functions of a `TrainingState`, or `Measurement`s, by name.
        snapshots: Epochs at which all parameters are stored.
        dtype: torch.float32 or torch.float64.
        same_start: Whether members may begin with equal parameters, as where `network` copies one network.
        clip_norm: Largest norm of a member's gradient; a larger gradient is scaled down to it. None for no clipping.

    Raises:
        InputError: If a field is not what is expected.
    """

    network: Callable[[], nn.Module]
    data: Data | Sequence[Tensor]
    seed: int = 0
    optimizer: Optimizer | OptimizerFactory = field(default_factory=Adam)
    loss: Loss = "mse"
    epochs: int | None = None
    steps: int | None = None
    batch_size: int | None = None
    schedule: Schedule | None = None
    stop: StopWhen | None = None
    targets: Tensor | Callable[[range], Shaped[Tensor, "member example *target"]] | None = None
    evaluate_on: Mapping[str, Examples | EvaluationSet | Callable[[range], EvaluationSet]] | None = None
    record_at: Sequence[int] | None = None
    measurements: Mapping[str, Measure | Measurement] = field(default_factory=dict)
    snapshots: Sequence[int] = ()
    dtype: torch.dtype = torch.float32
    same_start: bool = field(default=False, metadata=_NEWER)
    clip_norm: float | None = field(default=None, metadata=_NEWER)

    version: ClassVar[int] = 3  # of the algorithm: raised when the same config would give other numbers

    def __post_init__(self) -> None:
        for name, (fits, expected) in _KINDS.items():
            value = getattr(self, name)
            if not fits(value):
                raise InputError("build" if name == "network" else name, _shown(value), f"expected {expected}")
        if Criterion(self.loss).takes_model:
            remedy = "a loss of (model, batch) is for surfaces; expected one of (output, targets)"
            raise InputError("loss", Criterion(self.loss).name, remedy)
        check_optimizer(self.optimizer)
        check_schedule(self.schedule)
        if isinstance(self.targets, Tensor):
            check_dense("targets", self.targets)
        self._check_length()
        self._check_records()

    @classmethod
    def of(cls, **fields: Any) -> "TrainingConfig":
        """Make a config from fields by name; one that does not exist is an InputError."""
        for name in fields.keys() - cls.__dataclass_fields__.keys():
            own = f"optimizer=bm.Adam({name}=…)" if hasattr(Adam(), name) else "a field of TrainingConfig"
            remedy = f"{did_you_mean(name, cls.__dataclass_fields__)}expected {own}"
            raise InputError(name, fields[name], remedy)
        return cls(**fields)

    def _check_length(self) -> None:
        if self.epochs is not None and self.steps is not None:
            raise InputError("epochs", f"{self.epochs}, steps = {self.steps}", "expected only one of them")
        if self.epochs is None and self.steps is None:
            raise InputError("epochs", None, "expected a number of epochs, or of steps as steps=…")
        for name in ("epochs", "steps", "batch_size"):
            if getattr(self, name) is not None:
                whole_number(name, getattr(self, name), 1, _MOST)
        examples = len(self.train_examples)
        if self.batch_size is not None and self.batch_size > examples > 0:
            remedy = f"expected at most {examples:,}, the number of training examples"
            raise InputError("batch_size", self.batch_size, remedy)

    def _check_records(self) -> None:
        for name, examples in (self.evaluate_on or {}).items():
            if not isinstance(examples, Examples | EvaluationSet) and not _is_function(examples):
                remedy = "expected examples: data.test, or bm.Examples(inputs, targets)"
                raise InputError(f"evaluate_on[{name}]", _shown(examples), remedy)
        recorded = () if self.record_at is None else self.record_at
        epochs: dict[str, Any] = {"record_at": recorded, "snapshots": self.snapshots}
        names = ("train", "test") if self.evaluate_on is None else tuple(self.evaluate_on)
        reserved = {*_RESERVED, *(f"{name}_{quantity}" for name in names for quantity in ("loss", "accuracy"))}
        for name, one in self.named_measurements.items():
            if not callable(one.function):
                raise InputError(f"measurements[{name}]", one.function, "expected a function of a TrainingState")
            if name in reserved:
                raise InputError(f"measurements[{name}]", name, "choose another name: this one is recorded anyway")
            epochs[f"measurements[{name}].epochs"] = () if one.epochs is None else one.epochs
        for which, chosen in epochs.items():
            _check_epochs(which, chosen, self.num_epochs)

    @cached_property
    def train_examples(self) -> Examples:
        """The examples to train on."""
        return self.data.train if isinstance(self.data, Data) else Examples(self.data[0], self.data[1])

    @cached_property
    def test_examples(self) -> Examples | None:
        """The test set of `data`; None for tensors (x, y)."""
        if isinstance(self.data, Data):
            return self.data.test
        return Examples(self.data[2], self.data[3]) if len(self.data) == 4 else None

    @cached_property
    def steps_per_epoch(self) -> int:
        """Number of batches that hold every example once."""
        return 1 if self.batch_size is None else -(-max(len(self.train_examples), 1) // int(self.batch_size))

    @cached_property
    def num_steps(self) -> int:
        """Number of steps of the whole training."""
        return int(self.steps) if self.steps is not None else int(self.epochs or 0) * self.steps_per_epoch

    @cached_property
    def num_epochs(self) -> int:
        """Number of epochs, of which the last may be cut short by `steps`."""
        return int(self.epochs) if self.epochs is not None else -(-self.num_steps // self.steps_per_epoch)

    @property
    def recorded_epochs(self) -> Sequence[int]:
        """The epochs of `record_at`; all if it is None."""
        return range(self.num_epochs + 1) if self.record_at is None else self.record_at

    @property
    def named_measurements(self) -> dict[str, Measurement]:
        """The measurements by name."""
        named = self.measurements.items()
        return {name: one if isinstance(one, Measurement) else Measurement(one) for name, one in named}

    def train_set(self, members: range) -> EvaluationSet:
        """Training examples and targets of these members."""
        own = self.targets if self.targets is None or isinstance(self.targets, Tensor) else self.targets(members)
        return EvaluationSet(self.train_examples, own)

    def evaluation_sets(self, members: range) -> dict[str, EvaluationSet]:
        """The sets of `evaluate_on` for these members; without it the test set of `data`, if there is one."""
        if self.evaluate_on is None:
            return {} if self.test_examples is None else {"test": EvaluationSet(self.test_examples)}
        sets: dict[str, EvaluationSet] = {}
        for name, one in self.evaluate_on.items():
            found = one if isinstance(one, Examples | EvaluationSet) else one(members)
            sets[name] = EvaluationSet(found) if isinstance(found, Examples) else found
        return sets

    def description(self) -> Description:
        """Describe the config in plain JSON; its hash names stored members.

        Returns:
            Every field; of the data, their digest.

        Raises:
            InputError: If a field belongs to certain members.
        """
        self._check_shareable()
        data = self.data
        if not isinstance(data, Data):
            data = Data("tensors", self.train_examples, self.test_examples or self.train_examples)
        loss = describe(self.loss if self.loss in ("mse", "cross_entropy") else self._described_loss())
        described: dict[str, Description] = {"version": self.version, "data": data.digest, "loss": loss}
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name not in described and not (one.metadata.get("newer") and value == one.default):
                described[one.name] = describe(value)
        if torch.get_default_dtype() != torch.float32:  # which functions of the user's compute in
            described["default dtype"] = describe(torch.get_default_dtype())
        return described

    def _described_loss(self) -> object:
        """The loss, or the name of what is the same as a loss known by name."""
        criterion = Criterion(self.loss)
        usual = criterion.plain == "mse" or (criterion.plain and criterion.loss.ignore_index == -100)
        return criterion.plain if usual else self.loss

    def _check_shareable(self) -> None:
        """Refuse what would have to differ from one range of members to the next, and code that can't be described."""
        for name, value in self.optimizer.hyperparameters().items() if isinstance(self.optimizer, Optimizer) else ():
            if isinstance(value, Sequence):
                remedy = "a stored config has one value for all members; make a config for each value"
                raise InputError(name, tuple(value), remedy)
        remedy = "a stored config is of any members; expected a function of their numbers"
        if isinstance(self.targets, Tensor):
            raise InputError("targets", "a tensor", remedy)
        for name, one in (self.evaluate_on or {}).items():
            if isinstance(one, EvaluationSet) and one.own_targets is not None:
                raise InputError(f"evaluate_on[{name}]", "targets of certain members", remedy)
        for name in ("optimizer", "schedule"):
            made = getattr(self, name)
            while isinstance(made, partial):
                made = made.func
            if isinstance(made, type) and made.__module__.partition(".")[0] != "torch":
                remedy = "its source is not part of the config; expected a function that makes it, or a class of torch"
                raise InputError(name, made.__name__, remedy)


def _check_epochs(field: str, chosen: Any, epochs: int) -> None:
    if isinstance(chosen, str | bytes) or not isinstance(chosen, Iterable):
        raise InputError(field, chosen, f"expected a list of epochs from 0 to {epochs}")
    for epoch in (chosen[0], chosen[-1]) if isinstance(chosen, range) and chosen else chosen:
        if not is_whole(epoch) or not 0 <= epoch <= epochs:
            raise InputError(field, epoch, f"expected epochs from 0 to {epochs}")


def _is_function(value: Any) -> bool:
    return callable(value) and not isinstance(value, type | nn.Module)


def _shown(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return value if value is None or isinstance(value, str | int | float | torch.dtype) else type(value).__name__


_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {  # of what kind a field's value is
    "network": (
        lambda one: _is_function(one) or (isinstance(one, type) and issubclass(one, nn.Module)),
        "a function that makes one network, such as lambda: bm.mlp([1, 8, 1])",
    ),
    "data": (
        lambda one: isinstance(one, Data) or (isinstance(one, tuple | list) and len(one) in (2, 4)),
        "what bm.load returns, or tensors: (x, y), or (x, y, x_test, y_test); from a DataLoader: "
        "torch.utils.data.default_collate(list(loader.dataset))",
    ),
    "seed": (is_whole, "a whole number"),
    "stop": (lambda one: isinstance(one, StopWhen | None), "bm.StopWhen(...)"),
    "targets": (lambda one: isinstance(one, Tensor | None) or _is_function(one), "a tensor with a row for each member"),
    "evaluate_on": (lambda one: isinstance(one, Mapping | None), 'sets by name, such as {"test": data.test}'),
    "measurements": (lambda one: isinstance(one, Mapping), 'functions by name, such as {"norm": norm}'),
    "dtype": (lambda one: one is torch.float32 or one is torch.float64, "torch.float32 or torch.float64"),
    "same_start": (lambda one: isinstance(one, bool), "True or False"),
    "clip_norm": (lambda one: one is None or (is_real(one) and 0 < one < math.inf), "a positive number"),
}
