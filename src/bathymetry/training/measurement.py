"""Measurements while training: any function of the moment that gives one result a member."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from bathymetry.core.showing import readable
from bathymetry.core.streams import Purpose, stream
from bathymetry.training.stacked import StackedTensors
from bathymetry.training.stacking import Stack


@readable
class Moment:
    """What a measurement receives: one moment of an ensemble's training. It may read all and must change nothing."""

    epoch: int
    step: int
    members: range
    seed: int
    parameters: StackedTensors
    gradients: StackedTensors  # of the last batch; with full batches, at these very parameters
    moments: Mapping[str, StackedTensors]  # the optimiser's state, by PyTorch's names
    batch_loss: Float[Tensor, " member"]  # of the last batch; NaN before the first
    stack: Stack

    def outputs(self, inputs: Shaped[Tensor, "example *feature"]) -> Float[Tensor, "member example *output"]:
        """Ask every member the same inputs.

        Args:
            inputs: One row an example.

        Returns:
            Their outputs.
        """
        return self.stack.outputs(inputs)

    def stream(self, member: int, purpose: Purpose = "probe vectors") -> torch.Generator:
        """Open a member's own stream of random numbers at this moment.

        Args:
            member: The member's number.
            purpose: What the numbers are for.

        Returns:
            A fresh generator.
        """
        return stream(self.seed, member, purpose, self.step)


Measure = Callable[[Moment], Tensor]


@dataclass(frozen=True)
class Measurement:
    """A function to call at chosen epochs.

    Args:
        function: Gives a tensor whose first axis is the member.
        epochs: When; None for every epoch that is recorded.
        dimension: The name of the axis over `epochs`.
        axes: Names of the result's axes after the first.
    """

    function: Measure
    epochs: Sequence[int] | None = None
    dimension: str = "epoch"
    axes: tuple[str, ...] = ()
