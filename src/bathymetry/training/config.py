"""A training setting: all that decides an ensemble's numbers, so that stored members can be known again."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import Any, ClassVar, get_args

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from bathymetry.core.errors import InputError, check_dense, whole_number
from bathymetry.core.identity import Description, describe
from bathymetry.core.resources import free_bytes, gigabytes
from bathymetry.data.examples import Data, Examples
from bathymetry.training.checkpoint import Checkpoint
from bathymetry.training.loss import Loss
from bathymetry.training.module_backends import Path
from bathymetry.training.optimizers import Adam, Constant, Cosine, Optimizer, Schedule, Step
from bathymetry.training.records import EvaluationSet, Measure, Measurement


@dataclass(frozen=True)
class StopWhen:
    """Stop a member when a recorded quantity reaches a level; its parameters stay as they are then."""

    quantity: str  # "train_accuracy", "train_loss", …
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        if (self.at_least is None) == (self.at_most is None):
            raise InputError("stop", self.quantity, "give one level, at_least or at_most")
        level = self.at_most if self.at_least is None else self.at_least
        if isinstance(level, bool) or not isinstance(level, Real) or math.isnan(float(level)):
            raise InputError("stop", level, f"give the level of {self.quantity} as a number")

    def reached(self, recorded: Mapping[str, Float[Tensor, " member"]]) -> Bool[Tensor, " member"]:
        """Tell which members have reached the level.

        Args:
            recorded: This epoch's records.

        Returns:
            One answer a member; NaN reaches nothing.

        Raises:
            InputError: If the quantity is not recorded.
        """
        if self.quantity not in recorded:
            raise InputError("stop", self.quantity, f"name one of {', '.join(recorded)}")
        values = recorded[self.quantity]
        return values >= self.at_least if self.at_least is not None else values <= torch.as_tensor(self.at_most)


OwnTargets = Callable[[range], Shaped[Tensor, "member example *target"]]
OwnSet = Callable[[range], EvaluationSet]


@dataclass(frozen=True)
class TrainingConfig:
    """What `train` is given, but for the members: those come by range, and each range is a unit of its own.

    Whatever is computed for each member, such as labels of its own, is a function of the members' numbers.
    """

    network: Callable[[], nn.Module]  # a frozen dataclass such as `MLPConfig`, or a function; makes one network
    data: Data
    seed: int = 0
    optimizer: Optimizer = field(default_factory=Adam)
    loss: Loss = "mse"
    epochs: int | None = None
    steps: int | None = None
    batch_size: int | None = None
    schedule: Schedule | None = None
    stop: StopWhen | None = None
    targets: OwnTargets | None = None
    evaluate_on: Mapping[str, Examples | OwnSet] | None = None
    record_at: Sequence[int] | None = None
    measurements: Mapping[str, Measure | Measurement] = field(default_factory=dict)
    snapshots: Sequence[int] = ()
    dtype: torch.dtype = torch.float32
    same_start: bool = False

    version: ClassVar[int] = 1  # of the algorithm: raised when the same setting would give other numbers

    def __post_init__(self) -> None:
        for name, value in self.optimizer.hyperparameters().items():
            if isinstance(value, Sequence):
                remedy = "a setting has one value for all members; make a setting for each value"
                raise InputError(name, tuple(value), remedy)

    def description(self) -> Description:
        """Describe the setting, for its hash.

        Returns:
            Plain JSON; of the data, their digest.
        """
        described = {one.name: describe(getattr(self, one.name)) for one in fields(self) if one.name != "data"}
        if not self.same_start:  # units stored before there was such a choice keep their names
            del described["same_start"]
        return {"version": self.version, "data": self.data.digest, **described}


_OWN_DATA = "tensors: (x, y), or (x, y, x_test, y_test)"
_WHOLE = (
    "each member draws its own batches from tensors; expected (x, y), for example "
    "torch.utils.data.default_collate(list(loader.dataset)), where dataset[i] is (x, y)"
)
_KINDS: Mapping[str, tuple[type | tuple[type, ...], str]] = {
    "data": ((Data, tuple, list), f"give what bm.load gives, or {_OWN_DATA}"),
    "optimizer": (Optimizer, "give an optimiser of bathymetry, such as bm.Adam(lr=1e-3)"),
    "schedule": ((Constant, Cosine, Step), "give Constant(), Cosine(...) or Step(...) of bathymetry.training"),
    "stop": (StopWhen, "give bm.StopWhen(...)"),
    "evaluate_on": (Mapping, 'give sets by name, such as {"test": data.test}'),
    "measurements": (Mapping, 'give functions by name, such as {"norm": norm}'),
    "targets": (Tensor, "give a tensor with a row for each member"),
    "resume": (Checkpoint, "give what `checkpoint` was given"),
}
_CALLED = {
    "build": "a function that makes one network",
    "progress": "a function of a share",
    "checkpoint": "a function",
}
_ROW_BYTES = 1_000  # what Python keeps for a few tensors
_MOST_MEMBERS = 10**12
_RECORDED = ("diverged", "stopped_at", "member", "epoch", "step")


def check_kinds(**given: Any) -> None:
    """Insist that each argument is of its kind; None is left to others.

    Args:
        **given: Arguments of `train` by their names.

    Raises:
        InputError: If one is of another kind.
    """
    if isinstance(given["data"], DataLoader | Dataset):
        raise InputError("data", f"a {type(given['data']).__name__}", _WHOLE)
    for name, value in given.items():
        if name in _KINDS and value is not None and not isinstance(value, _KINDS[name][0]):
            raise InputError(name, value if isinstance(value, str | int) else type(value).__name__, _KINDS[name][1])
        if name in _CALLED and value is not None and not callable(value):
            raise InputError(name, value, f"give {_CALLED[name]}")
    for name in ("build", "data"):
        if given[name] is None:
            raise InputError(name, None, f"give {_CALLED['build']}" if name == "build" else _KINDS["data"][1])
    if not isinstance(given["dtype"], torch.dtype) or given["dtype"] not in (torch.float32, torch.float64):
        raise InputError("dtype", given["dtype"], "give torch.float32 or torch.float64")
    if not isinstance(given["path"], str) or given["path"] not in get_args(Path):
        raise InputError("path", given["path"], f"give one of {', '.join(get_args(Path))}")
    if not isinstance(given["checkpoint_every"], Real) or not float(given["checkpoint_every"]) >= 0:
        raise InputError("checkpoint_every", given["checkpoint_every"], "give seconds, from 0")
    if isinstance(given["seed"], bool) or not isinstance(given["seed"], Integral):
        raise InputError("seed", given["seed"], "give a whole number")
    if not isinstance(given["same_start"], bool):
        raise InputError("same_start", given["same_start"], "expected True or False")
    if isinstance(given["loss"], type):
        name = given["loss"].__name__
        raise InputError("loss", name, f"a class is no loss yet: give {name}()")
    if given["targets"] is not None:
        check_dense("targets", given["targets"])
    for name in ("build", "progress", "checkpoint"):
        if isinstance(given[name], type) and not (name == "build" and issubclass(given[name], nn.Module)):
            raise InputError(name, given[name].__name__, f"a class is not yet called: give {_CALLED[name]}")


def as_data(given: Any) -> tuple[Data, dict[str, Examples]]:
    """Give data, and the sets to judge by that they bring.

    Args:
        given: Data, or tensors: (x, y), or (x, y, x_test, y_test).

    Returns:
        The data, and their training and test set; without test tensors the training set alone.

    Raises:
        InputError: If they are neither.
    """
    if isinstance(given, Data):
        return given, {"train": given.train, "test": given.test}
    if len(given) not in (2, 4):
        raise InputError("data", f"a {type(given).__name__} of {len(given)}", _KINDS["data"][1])
    train = Examples(given[0], given[1])
    if len(given) == 2:
        return Data("own", train, train), {"train": train}
    test = Examples(given[2], given[3])
    return Data("own", train, test), {"train": train, "test": test}


def numbered(members: int | range) -> range:
    """Give the members' numbers.

    Args:
        members: How many, or their numbers.

    Returns:
        Their numbers.

    Raises:
        InputError: If there is none, or they do not follow one another.
    """
    given = members
    if not isinstance(members, range):
        members = range(whole_number("members", members, 1))
    if members.stop - members.start > _MOST_MEMBERS:
        raise InputError("members", given, f"expected at most {_MOST_MEMBERS:,}")
    if len(members) < 1 or members.step != 1 or members.start < 0:
        raise InputError("members", members, "give at least 1, in steps of 1 from 0 or above")
    return members


def check_room(field: str, count: int, members: int, bytes_each: int) -> None:
    """Insist that what is kept at so many epochs fits into memory.

    Args:
        field: The argument that decides how many.
        count: At how many epochs something is kept.
        members: How many members there are.
        bytes_each: What is kept of a member at an epoch.

    Raises:
        InputError: If there is not enough memory.
    """
    needed, free = count * (members * bytes_each + _ROW_BYTES), free_bytes()
    if needed > free:
        told = f"what is kept at {count:,} epochs takes about {gigabytes(needed)} and {gigabytes(free)} are free"
        raise InputError(field, f"{count:,} epochs", f"{told}; expected a list of fewer epochs")


def as_epochs(field: str, chosen: Any, epochs: int) -> Sequence[int]:
    """Insist on epochs of the training.

    Args:
        field: The argument's name.
        chosen: What was given.
        epochs: The last epoch.

    Returns:
        The epochs; a range stays one, however long.

    Raises:
        InputError: If they are no whole numbers, or lie outside.
    """
    if isinstance(chosen, str | bytes) or not isinstance(chosen, Iterable):
        raise InputError(field, chosen, f"give a list of epochs from 0 to {epochs}")
    kept = chosen if isinstance(chosen, range) else list(chosen)
    for epoch in (kept[0], kept[-1]) if isinstance(kept, range) and kept else kept:
        if isinstance(epoch, bool) or not isinstance(epoch, Integral) or not 0 <= int(epoch) <= epochs:
            raise InputError(field, epoch, f"give epochs from 0 to {epochs}")
    return kept if isinstance(kept, range) else [int(epoch) for epoch in kept]


def as_measurements(given: Mapping[str, Any], sets: Iterable[str], epochs: int) -> dict[str, Measurement]:
    """Insist on measurements that can be made and told apart from what is recorded anyway.

    Args:
        given: Functions or measurements by name.
        sets: Names of the sets that losses and accuracies are recorded of.
        epochs: The last epoch.

    Returns:
        The measurements.

    Raises:
        InputError: If one is no function, has a name that is taken, or an epoch that never comes.
    """
    taken = {*_RECORDED, *(f"{name}_{quantity}" for name in sets for quantity in ("loss", "accuracy"))}
    made = {}
    for name, one in given.items():
        field = f"measurements[{name}]"
        measurement = one if isinstance(one, Measurement) else Measurement(one)
        if not callable(measurement.function):
            raise InputError(field, measurement.function, "give a function of the moment")
        if name in taken:
            raise InputError(field, name, "give it another name: this one is recorded anyway")
        if measurement.epochs is not None:
            as_epochs(f"{field}.epochs", measurement.epochs, epochs)
        made[name] = measurement
    return made


def as_set(name: str, one: Any) -> EvaluationSet:
    """Insist on a set to judge by.

    Args:
        name: Its name.
        one: Examples, or a set with targets of each member's own.

    Returns:
        The set.

    Raises:
        InputError: If it is neither.
    """
    if isinstance(one, EvaluationSet):
        return one
    if not isinstance(one, Examples):
        remedy = "give examples: data.test, or bm.Examples(inputs, targets)"
        raise InputError(f"evaluate_on[{name}]", f"a {type(one).__name__}", remedy)
    return EvaluationSet(one)


def check_own_targets(name: str, one: EvaluationSet, members: int) -> None:
    """Insist that targets of each member's own have a row for each member and example.

    Args:
        name: What the targets are called.
        one: The set.
        members: How many members there are.

    Raises:
        InputError: If they have not.
    """
    own, wanted = one.own_targets, (members, len(one.examples))
    if own is not None and tuple(own.shape[:2]) != wanted:
        remedy = f"give ({members}, {wanted[1]}, …): a row for each member"
        raise InputError(name, f"shape {tuple(own.shape)}", remedy)
