"""The parameters of trained members, from where they are stored."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

    from bathymetry.models import MLPConfig
    from bathymetry.store import Chunk


def vectors(network: "MLPConfig", unit: "Chunk", epoch: int) -> "torch.Tensor":
    """Give the members' parameters as rows.

    Args:
        network: The network, for the order of its parameters: a stored file keeps them by name.
        unit: The members.
        epoch: Of which snapshot.

    Returns:
        (member, parameter), in the order of the network's own.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        names = [name for name, _ in network().named_parameters()]
    tensors = [torch.from_numpy(np.asarray(unit.snapshots[epoch][name])) for name in names]
    return torch.cat([one.reshape(len(one), -1) for one in tensors], dim=1)
