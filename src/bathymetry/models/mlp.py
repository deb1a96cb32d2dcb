"""Multilayer perceptrons: linear layers with an activation after each but the last."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Final

from torch import nn

from bathymetry.core.errors import InputError, is_whole, whole_number
from bathymetry.core.randomness import preserve_rng_state
from bathymetry.core.system import check_memory

_ACTIVATIONS: Final[dict[str, type[nn.Module]]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "identity": nn.Identity,
}
_MOST_LAYERS: Final = 10_000
_MOST_PARAMETERS: Final = 10**15
_MOST_HIDDEN: Final = 1000
_FARTHEST: Final = 1e9  # relative widths lie between its inverse and this
_NEAR: Final = 3  # whole widths around the exact scale that are compared in each layer
_LAYERS_COMPARED: Final = 5  # all combinations in this many layers; the others are rounded


def mlp(widths: Sequence[int], activation: str = "relu") -> nn.Sequential:
    """Build a multilayer perceptron with PyTorch's default initialisation.

    Args:
        widths: Units of every layer, from the inputs to the outputs.
        activation: "relu", "tanh", "sigmoid", "gelu" or "identity".

    Returns:
        The network.

    Raises:
        InputError: If the widths make no network or need more memory than there is, or the activation is unknown.

    Example:
        >>> mlp([1, 2, 1])
        Sequential(
          (0): Linear(in_features=1, out_features=2, bias=True)
          (1): ReLU()
          (2): Linear(in_features=2, out_features=1, bias=True)
        )
    """
    needed = 4 * parameter_count(widths)
    if not isinstance(activation, str) or activation not in _ACTIVATIONS:
        raise InputError("activation", activation, f"expected one of {', '.join(_ACTIVATIONS)}")
    check_memory("widths", tuple(widths), needed, "its parameters need", "expected smaller widths")
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), _ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


@dataclass(frozen=True)
class MLPConfig:
    """A multilayer perceptron to be built; calling it returns a new one.

    Args:
        widths: Units of every layer, from the inputs to the outputs.
        activation: As for `mlp`.
    """

    widths: tuple[int, ...]
    activation: str = "relu"

    def __call__(self) -> nn.Sequential:
        """Build a network with newly initialised weights."""
        return mlp(self.widths, self.activation)


def parameter_count(widths: Sequence[int]) -> int:
    """Count the weights and biases of a multilayer perceptron: Σ (widthₗ + 1) · widthₗ₊₁.

    Example:
        >>> parameter_count([784, 30, 10])
        23860
    """
    is_list = isinstance(widths, Sequence) and not isinstance(widths, str)
    if not is_list or not 2 <= len(widths) <= _MOST_LAYERS or not all(is_whole(one) and one >= 1 for one in widths):
        shown = tuple(widths) if is_list and len(widths) <= _MOST_LAYERS else widths
        remedy = f"expected two to {_MOST_LAYERS:,} positive whole widths, inputs first and outputs last"
        raise InputError("widths", shown, remedy)
    return int(_count(widths))


def _count(widths: Sequence[float]) -> float:
    return sum((below + 1) * here for below, here in pairwise(widths))


def fit_budget(
    parameters: int, inputs: int, outputs: int, hidden_layers: int, shape: Sequence[float] | None = None
) -> list[int]:
    """Find the widths whose network has as nearly as possible a given number of parameters.

    Args:
        parameters: The budget, weights and biases.
        inputs: Width of the input.
        outputs: Width of the output.
        hidden_layers: Number of hidden layers.
        shape: Their widths relative to each other; all equal if None.

    Returns:
        All widths, from the inputs to the outputs.

    Raises:
        InputError: If the shape has another length or a width that is not positive, or the budget is too small.

    Example:
        >>> fit_budget(23_860, inputs=784, outputs=10, hidden_layers=1)
        [784, 30, 10]
    """
    for name, value in (("parameters", parameters), ("inputs", inputs), ("outputs", outputs)):
        whole_number(name, value, 1, _MOST_PARAMETERS)
    whole_number("hidden_layers", hidden_layers, 1, _MOST_HIDDEN)
    relative = [1.0] * hidden_layers if shape is None else _relative_widths(shape, hidden_layers)
    smallest = parameter_count([inputs, *[1] * hidden_layers, outputs])
    if parameters < smallest:
        raise InputError("parameters", parameters, f"expected at least {smallest}, the count with widths of 1")
    scale = _scale(parameters, inputs, outputs, relative)
    exact = [one * scale for one in relative]
    largest = sorted(range(hidden_layers), key=lambda layer: -exact[layer])[:_LAYERS_COMPARED]
    choices = [
        [max(1, round(width) + step) for step in (range(-_NEAR, _NEAR + 1) if layer in largest else (0,))]
        for layer, width in enumerate(exact)
    ]

    def cost(hidden: tuple[int, ...]) -> tuple[float, float]:
        missed = abs(_count([inputs, *hidden, outputs]) - parameters)
        bent = sum((width / ideal - 1) ** 2 for width, ideal in zip(hidden, exact, strict=True))
        # a tenth of a per cent of the budget is near enough: then the shape decides
        return (max(0.0, missed - 0.001 * parameters), bent + missed / parameters)

    return [inputs, *min(product(*choices), key=cost), outputs]


def _relative_widths(shape: Sequence[float], hidden_layers: int) -> list[float]:
    try:
        is_list = not isinstance(shape, str) and len(shape) == hidden_layers
        widths = [float(one) for one in shape] if is_list else []
    except (TypeError, ValueError, OverflowError, RuntimeError):
        widths = []
    if not widths or not all(1 / _FARTHEST <= one <= _FARTHEST for one in widths):
        raise InputError("shape", shape, f"expected {hidden_layers} positive widths, one per hidden layer")
    return widths


def _scale(parameters: int, inputs: int, outputs: int, relative: Sequence[float]) -> float:
    """Solve for the scale at which fractional widths would meet the budget, by halving."""

    def count(scale: float) -> float:
        return _count([inputs, *(one * scale for one in relative), outputs])

    low, high = 0.0, 1.0
    while count(high) < parameters:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if count(middle) < parameters else (low, middle)
    return low


def module_of(network: Callable[[], nn.Module]) -> nn.Module:
    """Make a network whose initial weights play no part, and leave the global random states as they are."""
    with preserve_rng_state():
        return network()
