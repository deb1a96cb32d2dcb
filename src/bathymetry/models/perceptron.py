"""Multilayer perceptrons: linear layers with an activation after each but the last."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral

from torch import nn

from bathymetry.core.errors import InputError
from bathymetry.core.memory import free_bytes, gigabytes

_MOST = 10_000  # layers
_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "identity": nn.Identity,
}


def mlp(widths: Sequence[int], activation: str = "relu") -> nn.Sequential:
    """Build a multilayer perceptron with PyTorch's default initialisation.

    Args:
        widths: Units of every layer, from the inputs to the outputs.
        activation: "relu", "tanh", "sigmoid", "gelu" or "identity".

    Returns:
        The network.

    Raises:
        InputError: If the widths are none or need more memory than there is, or the activation is unknown.

    Example:
        >>> mlp([1, 2, 1])
        Sequential(
          (0): Linear(in_features=1, out_features=2, bias=True)
          (1): ReLU()
          (2): Linear(in_features=2, out_features=1, bias=True)
        )
    """
    _check(widths)
    if not isinstance(activation, str) or activation not in _ACTIVATIONS:
        raise InputError("activation", activation, f"give one of {', '.join(_ACTIVATIONS)}")
    needed = 4 * parameter_count(widths)
    if needed > (free := free_bytes()):
        remedy = f"its parameters need {gigabytes(needed)} and there are {gigabytes(free)}; give smaller widths"
        raise InputError("widths", tuple(widths), remedy)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), _ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


@dataclass(frozen=True)
class Perceptron:
    """A multilayer perceptron still to be built: call it to get one."""

    widths: tuple[int, ...]
    activation: str = "relu"

    def __call__(self) -> nn.Sequential:
        """Build it.

        Returns:
            A network with weights of its own.
        """
        return mlp(self.widths, self.activation)


def parameter_count(widths: Sequence[int]) -> int:
    """Count the weights and biases of a multilayer perceptron.

    Args:
        widths: Units of every layer, from the inputs to the outputs.

    Returns:
        Σ (widthₗ + 1) · widthₗ₊₁.

    Example:
        >>> parameter_count([784, 30, 10])
        23860
    """
    _check(widths)
    return sum((inputs + 1) * outputs for inputs, outputs in pairwise(widths))


def _check(widths: Sequence[int]) -> None:
    listed = isinstance(widths, Sequence) and not isinstance(widths, str)
    if not listed or not 2 <= len(widths) <= _MOST or any(not _is_width(width) for width in widths):
        shown = tuple(widths) if listed and len(widths) <= _MOST else widths
        remedy = f"give two to {_MOST:,} positive whole widths, inputs first and outputs last"
        raise InputError("widths", shown, remedy)


def _is_width(width: object) -> bool:
    return isinstance(width, Integral) and not isinstance(width, bool) and int(width) >= 1
