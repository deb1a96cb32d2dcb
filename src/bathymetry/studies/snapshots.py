"""Trained members as parameter vectors, and a module to measure them with."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from bathymetry.models import MLPConfig
from bathymetry.store import Chunk


def vectors(network: MLPConfig, chunk: Chunk, epoch: int) -> Float[Tensor, "member parameter"]:
    """The members' parameters at an epoch, in the order of the network's own: stored files keep them by name."""
    names = [name for name, _ in module_of(network).named_parameters()]
    tensors = [torch.from_numpy(np.asarray(chunk.snapshots[epoch][name])) for name in names]
    return torch.cat([one.reshape(len(one), -1) for one in tensors], dim=1)


def module_of(network: MLPConfig) -> nn.Module:
    """Make a network whose initial weights play no part, and leave the global random state as it is."""
    with torch.random.fork_rng(devices=[]):
        return network()
