"""What training gives: records of every member, and the members themselves."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor, nn

from bathymetry.core.errors import InputError
from bathymetry.core.networks import fixed_tensors, running_statistics
from bathymetry.core.showing import short


class StackedParameters(dict[str, Tensor]):
    """Parameters of all members by name, with a network that says what is done with them.

    Args:
        tensors: Name → (member, *shape).
        network: One of the members.
    """

    def __init__(self, tensors: Mapping[str, Tensor], network: nn.Module) -> None:
        super().__init__(tensors)
        self.network = network


@dataclass(frozen=True, repr=False)
class Trained:
    """An ensemble after training.

    Args:
        record: What was recorded, over (member, epoch): `train_loss`, `test_loss`, accuracies where there are classes,
            and every measurement by its name; NaN from where a member diverged. `diverged` and `stopped_at` (an epoch,
            −1 for never) tell what became of each member.
        parameters: The trained parameters at the end, name → (member, *shape).
        snapshots: The same at the epochs asked for and at the end: epoch → name → (member, *shape).
        members: The members' numbers.
        path: How they were trained, in words: stacked perceptrons, batched by torch.func, or one by one.

    Example:
        >>> from bathymetry.data import function
        >>> from bathymetry.models import mlp
        >>> from bathymetry.training import train
        >>> trained = train(lambda: mlp([1, 8, 1]), function("cos"), members=3, epochs=20, snapshots=[0, 10])
        >>> trained.theta.shape, trained.trajectory.shape  # every member's θ at the end, and on its way
        (torch.Size([3, 25]), torch.Size([3, 3, 25]))
        >>> trained.model(2)(torch.zeros(1, 1)).shape  # member 2 as an ordinary network
        torch.Size([1, 1])
    """

    record: xr.Dataset
    parameters: Mapping[str, Tensor]
    snapshots: Mapping[int, Mapping[str, Tensor]]
    members: range
    path: str
    _modules: tuple[nn.Module, ...]

    def __post_init__(self) -> None:
        network = self._modules[0]
        object.__setattr__(self, "parameters", StackedParameters(self.parameters, network))
        taken = {epoch: StackedParameters(one, network) for epoch, one in self.snapshots.items()}
        object.__setattr__(self, "snapshots", taken)

    def __repr__(self) -> str:
        first, count = self.members.start, len(self.members)
        who = f"{count} members" if count > 1 else f"member {first}"
        numbers = f" ({first} to {first + count - 1})" if first > 0 and count > 1 else ""
        size = sum(stacked[0].numel() for stacked in self.parameters.values())
        what = f"{type(self._modules[0]).__name__}, {size:,} parameters"
        return f"Trained({who}{numbers} of {what}, {int(self.record.epoch[-1]):,} epochs{self._ended()})"

    def _repr_html_(self) -> str:
        """Show the ensemble in a notebook, with what was recorded."""
        return f"<p>{escape(repr(self))}</p>{self.record._repr_html_()}"

    @property
    def theta(self) -> Float[Tensor, "member parameter"]:
        """Every member's trained parameters as one vector, as `LossSurface` lays them out.

        Members that differ in anything else, such as the running statistics of BatchNorm, have none: a surface would
        measure all with those of one.
        """
        self._check_beside()
        return _flat(self.parameters, tuple(self.parameters))

    @property
    def trajectory(self) -> Float[Tensor, "member snapshot parameter"]:
        """Every member's θ at each snapshot, in the order of `snapshots`."""
        if not self.snapshots:
            raise InputError("snapshots", "none", "train with snapshots=range(0, epochs + 1, 10) or the like")
        self._check_beside()
        return torch.stack([_flat(one, tuple(self.parameters)) for one in self.snapshots.values()], dim=1)

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
        with torch.no_grad():
            for name, stacked in self.parameters.items():
                own[name].copy_(stacked[position])
        return module.eval()

    def _check_beside(self) -> None:
        """Refuse a θ that does not hold all that is a member's own."""
        own = [fixed_tensors(module, self.parameters) for module in self._modules]
        layers = running_statistics(self._modules[0])
        names = [f"{name}.running_mean" if name else "running_mean" for name in layers]
        names += [name for name, one in own[0].items() if any(not _same(one, other.get(name)) for other in own[1:])]
        if names:
            remedy = (
                "a surface would measure all members with those of one network: expected a surface for each, "
                "bm.LossSurface(trained.model(0), …), or, where they play no part, surface.flatten(trained.model(0)); "
                "weights alone are in trained.parameters and trained.snapshots"
            )
            raise InputError("theta", f"parameters without {names[0]}, which members have beside them", remedy)

    def _ended(self) -> str:
        """Say in a few words how training ended."""
        losses = [name for name in ("train_loss", *map(str, self.record)) if name.endswith("_loss")]
        diverged = int(self.record.diverged.sum())
        said = [f"{diverged} diverged"] if diverged else []
        for name in losses[:2]:
            if name in self.record and diverged < len(self.members):
                last = short(float(np.nanmedian(self.record[name].isel(epoch=-1))))
                said.insert(0, f"last {name} {'median ' if len(self.members) > 1 else ''}{last}")
                break
        return f"; {', '.join(said)}" if said else ""


def _same(one: Tensor, other: Tensor | None) -> bool:
    # where nothing is a number, there is nothing to compare
    return other is not None and one.shape == other.shape and torch.equal(one.nan_to_num(), other.nan_to_num())


def _flat(tensors: Mapping[str, Tensor], names: tuple[str, ...]) -> Tensor:
    # by name: a checkpoint lists the tensors of a snapshot alphabetically, not in the order of the layers
    return torch.cat([tensors[name].reshape(len(tensors[name]), -1) for name in names], dim=1)
