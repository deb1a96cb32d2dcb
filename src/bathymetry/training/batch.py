"""A batch for a whole ensemble, and the order in which each member sees its examples."""

from dataclasses import dataclass

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from bathymetry.core.streams import stream
from bathymetry.data.examples import Examples


@dataclass(frozen=True)
class Batch:
    """What an ensemble learns from in one step."""

    inputs: Shaped[Tensor, "..."]  # (example, *feature) if shared, else (member, example, *feature)
    targets: Shaped[Tensor, "member example *target"]
    shared: bool  # whether all members see the same inputs


def data_order(
    examples: int, batch_size: int, members: range, seed: int, epoch: int
) -> list[Int[Tensor, "member example"]]:
    """Deal an epoch's batches to every member, each in an order of its own.

    Args:
        examples: How many examples there are.
        batch_size: Examples a batch; the last batch is what is left.
        members: The members' numbers.
        seed: The seed of the run.
        epoch: Which epoch, from 0.

    Returns:
        Positions of the examples, one tensor a batch; every example once an epoch.
    """
    orders = [torch.randperm(examples, generator=stream(seed, member, "data order", epoch)) for member in members]
    return list(torch.split(torch.stack(orders), batch_size, dim=1))


class Gatherer:
    """Gathers each member's batch from the examples, into memory that is used again.

    Args:
        examples: The examples, on the device where the ensemble is.
        targets: One set of targets for all members, or a member's own: (member, example, *target).
        own_targets: Whether `targets` has that leading member axis.
        dtype: What the network computes in.
    """

    def __init__(self, examples: Examples, targets: Tensor, own_targets: bool, dtype: torch.dtype) -> None:
        self._examples, self._targets, self._own_targets, self._dtype = examples, targets, own_targets, dtype

    def gather(self, positions: Int[Tensor, "member example"]) -> Batch:
        """Gather one batch.

        Args:
            positions: Which examples each member sees.

        Returns:
            The batch, each member's inputs its own.
        """
        members, size = positions.shape
        device = self._examples.inputs.device
        positions = positions.to(device)
        chosen = self._examples.inputs.index_select(0, positions.flatten())
        inputs = self._examples.seen(chosen, self._dtype).view(members, size, *chosen.shape[1:])
        if self._own_targets:
            rows = torch.arange(members, device=device)[:, None]
            return Batch(inputs, self._targets[rows, positions], shared=False)
        return Batch(inputs, self._targets[positions], shared=False)
