"""Reading the layers of ReLU perceptrons, of one network or of a whole ensemble."""

from collections.abc import Mapping
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from bathymetry.core.checks import check_dense
from bathymetry.core.errors import InputError
from bathymetry.training.trained import StackedParameters

Perceptrons = nn.Module | Mapping[str, Tensor]
Layer = tuple[Float[Tensor, "member output input"], Float[Tensor, "member output"]]


def perceptron_layers(networks: Perceptrons) -> list[Layer]:
    """Read weights and biases in the order of the layers.

    Args:
        networks: An `nn.Sequential` of linear layers with ReLU between them, or the stacked parameters of an ensemble
            of such networks, name → (member, *shape). Those of a training know its network, and are refused if that is
            something else; of a plain mapping it is assumed.

    Returns:
        Weight and bias of each layer in float64, with a leading member axis of length 1 for a single network.

    Raises:
        InputError: If it is another kind of network.
    """
    if isinstance(networks, StackedParameters):
        _blocks(networks.network)
    elif not isinstance(networks, nn.Module | Mapping):
        raise InputError("networks", _kind(networks), "expected an nn.Sequential, or a training's parameters")
    blocks = _blocks(networks) if isinstance(networks, nn.Module) else list(networks.values())
    for block in blocks:
        if not isinstance(block, Tensor):
            raise InputError("networks", f"a mapping to {_kind(block)}", "expected a mapping to tensors")
        check_dense("networks", block)
    weights, biases = blocks[0::2], blocks[1::2]
    fits = len(blocks) > 0 and len(weights) == len(biases)
    fits = fits and all(w.ndim == 3 and b.shape == w.shape[:2] for w, b in zip(weights, biases, strict=True))
    if not fits or any(a.shape[1] != b.shape[2] for a, b in pairwise(weights)):
        raise InputError("networks", _kind(networks), "give perceptrons: linear layers with biases, one after another")
    return [(w.detach().cpu().double(), b.detach().cpu().double()) for w, b in zip(weights, biases, strict=True)]


def _blocks(module: nn.Module) -> list[Tensor]:
    layers = list(module) if isinstance(module, nn.Sequential) else []
    linear, between = layers[0::2], layers[1::2]
    plain = len(layers) % 2 == 1 and all(isinstance(one, nn.Linear) and one.bias is not None for one in linear)
    if not plain or not all(isinstance(one, nn.ReLU) for one in between):
        raise InputError("networks", _kind(module), "give an nn.Sequential of linear layers with ReLU between them")
    return [parameter.unsqueeze(0) for layer in linear for parameter in layer.parameters()]


def _kind(networks: object) -> str:
    return type(networks).__name__
