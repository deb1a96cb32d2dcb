"""The loss surface of a study's network, in float64."""

import torch

from bathymetry.data import Data
from bathymetry.models import MLPConfig
from bathymetry.surface import LossSurface


def surface_of(network: MLPConfig, examples: Data) -> LossSurface:
    """The mean squared error on the training examples; the weights that the network is built with play no part."""
    with torch.random.fork_rng(devices=[]):
        module = network()
    return LossSurface(module, "mse", examples, dtype=torch.float64)
