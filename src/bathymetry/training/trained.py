"""What training gives: records of every member, and the members themselves."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import xarray as xr
from torch import Tensor, nn, no_grad

from bathymetry.core.errors import InputError


@dataclass(frozen=True)
class Trained:
    """An ensemble after training."""

    record: xr.Dataset  # dims (member, epoch); NaN from where a member diverged
    parameters: Mapping[str, Tensor]  # name → (member, *shape), at the end
    snapshots: Mapping[int, Mapping[str, Tensor]]  # epoch → parameters then
    members: range
    path: str  # which way of stacking ran
    _modules: tuple[nn.Module, ...]

    def model(self, member: int) -> nn.Module:
        """Give a member as an ordinary network.

        Args:
            member: Its number.

        Returns:
            A copy with the parameters it ended with, in evaluation mode.

        Raises:
            InputError: If there is no such member.
        """
        if member not in self.members:
            raise InputError("member", member, f"give one from {self.members.start} to {self.members.stop - 1}")
        position = self.members.index(member)
        module = copy.deepcopy(self._modules[position])
        own = dict(module.named_parameters())
        with no_grad():
            for name, stacked in self.parameters.items():
                own[name].copy_(stacked[position])
        return module.eval()
