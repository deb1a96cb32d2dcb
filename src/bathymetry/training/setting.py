"""A training setting: all that decides an ensemble's numbers, so that stored members can be known again."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import ClassVar

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from bathymetry.core.errors import InputError
from bathymetry.core.identity import Description, describe
from bathymetry.data.examples import Data, Examples
from bathymetry.training.evaluation import EvaluationSet
from bathymetry.training.losses import Loss
from bathymetry.training.measurement import Measure, Measurement
from bathymetry.training.optimisers import Adam, Optimizer
from bathymetry.training.schedules import Schedule
from bathymetry.training.stop import StopWhen

OwnTargets = Callable[[range], Shaped[Tensor, "member example *target"]]
OwnSet = Callable[[range], EvaluationSet]


@dataclass(frozen=True)
class Setting:
    """What `train` is given, but for the members: those come by range, and each range is a unit of its own.

    Whatever is computed for each member, such as labels of its own, is a function of the members' numbers.
    """

    network: Callable[[], nn.Module]  # a frozen dataclass such as `Perceptron`, or a function; makes one network
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
