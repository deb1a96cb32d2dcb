"""The loss surface of a study's network, in float64, to be measured while it trains and afterwards."""

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bathymetry.data import Data
    from bathymetry.models import MLPConfig
    from bathymetry.surface import LossSurface


def surface_of(network: "MLPConfig", examples: "Data", loss: str = "mse") -> "LossSurface":
    """Make the loss surface of a network on its training examples; the weights that it is built with play no part.

    Args:
        network: The network.
        examples: The data.
        loss: Which loss.

    Returns:
        The surface, to be asked at parameters of one's own.
    """
    return _surface(network, _ByDigest(examples), loss)


class _ByDigest:
    """Data that are the same when their digests are, so that a surface is made once."""

    def __init__(self, examples: "Data") -> None:
        self.examples = examples

    def __hash__(self) -> int:
        return hash(self.examples.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByDigest) and other.examples.digest == self.examples.digest


@lru_cache(maxsize=8)
def _surface(network: "MLPConfig", data: _ByDigest, loss: str) -> "LossSurface":
    import torch

    from bathymetry.surface import LossSurface

    with torch.random.fork_rng(devices=[]):
        module = network()
    return LossSurface(module, loss, data.examples, dtype=torch.float64)  # type: ignore[arg-type]
