"""Stop rules: when a member has learned enough, decided for each by itself."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bathymetry.core.errors import InputError


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
