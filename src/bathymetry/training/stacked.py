"""Stacked tensors: the same tensor of every member, side by side, all in one buffer.

The buffer holds one block a name, and a block holds that tensor of all members, contiguous. So a layer of the whole
ensemble is one operand of a batched product, and an optimiser's step over the ensemble is one pass over the buffer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import field
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor

from bathymetry.core.showing import readable


@readable
class StackedTensors:
    """One named tensor or more, for every member of an ensemble."""

    flat: Float[Tensor, " entry"]  # members × parameters entries, one block a name
    views: Mapping[str, Tensor] = field(repr=False)  # name → (member, *shape), views into `flat`
    members: int

    def zeros_like(self) -> "StackedTensors":
        """Give zeros of the same layout.

        Returns:
            New stacked tensors in a buffer of their own.
        """
        return _lay_out(torch.zeros_like(self.flat), self.shapes, self.members)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor of one member, by name."""
        return {name: tuple(view.shape[1:]) for name, view in self.views.items()}

    def pieces(self, chosen: Sequence[int] | None) -> list[Tensor]:
        """Cut the buffer for an optimiser.

        Args:
            chosen: Positions of the members wanted; None for all of them.

        Returns:
            Contiguous views that together hold those members' entries: the whole buffer if all are wanted.
        """
        if chosen is None:
            return [self.flat]
        return [view[member] for member in chosen for view in self.views.values()]

    def member(self, position: int) -> dict[str, Tensor]:
        """Give one member's tensors.

        Args:
            position: Its place in the stack.

        Returns:
            Views by name.
        """
        return {name: view[position] for name, view in self.views.items()}

    def vectors(self) -> Float[Tensor, "member parameter"]:
        """Give each member's tensors as one row, in the order of `nn.Module.parameters()`.

        Returns:
            A copy of shape (member, parameter).
        """
        return torch.cat([view.reshape(self.members, -1) for view in self.views.values()], dim=1)


def stack(tensors: Sequence[Mapping[str, Tensor]], dtype: torch.dtype, device: torch.device) -> StackedTensors:
    """Stack every member's tensors.

    Args:
        tensors: One mapping a member, with the same names and shapes.
        dtype: The dtype of the stack.
        device: Where it lies.

    Returns:
        A copy of them all in one buffer.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors[0].items()}
    entries = len(tensors) * sum(prod(shape) for shape in shapes.values())
    stacked = _lay_out(torch.empty(entries, dtype=dtype, device=device), shapes, len(tensors))
    for position, member in enumerate(tensors):
        for name, tensor in member.items():
            stacked.views[name][position].copy_(tensor.detach())
    return stacked


def _lay_out(flat: Tensor, shapes: Mapping[str, tuple[int, ...]], members: int) -> StackedTensors:
    views, start = {}, 0
    for name, shape in shapes.items():
        end = start + members * prod(shape)
        views[name] = flat[start:end].view(members, *shape)
        start = end
    return StackedTensors(flat, views, members)
