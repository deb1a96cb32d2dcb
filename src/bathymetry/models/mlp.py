"""Multilayer perceptrons: linear layers with an activation after each but the last."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from numbers import Integral

from torch import nn

from bathymetry.core.errors import InputError, whole_number
from bathymetry.core.resources import free_bytes, gigabytes

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
class MLPConfig:
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


_MOST_PARAMETERS = 10**15
_MOST_LAYERS = 1000
_FARTHEST = 1e9  # widths relative to each other lie between its inverse and this
_NEAR = 3  # how many whole widths around the exact scale are tried in each layer
_LAYERS_TRIED = 5  # all combinations in this many layers; the others are rounded


def fit_budget(
    parameters: int, inputs: int, outputs: int, hidden_layers: int, shape: Sequence[float] | None = None
) -> list[int]:
    """Find the widths whose network has as nearly as possible a given number of parameters.

    Args:
        parameters: The budget, weights and biases.
        inputs: Width of the input.
        outputs: Width of the output.
        hidden_layers: How many hidden layers.
        shape: Their widths relative to each other; all alike if None.

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
    whole_number("hidden_layers", hidden_layers, 1, _MOST_LAYERS)
    relative = [1.0] * hidden_layers if shape is None else _relative(shape)
    if len(relative) != hidden_layers:
        raise InputError("shape", shape, f"give {hidden_layers} positive widths, one a hidden layer")
    smallest = parameter_count([inputs, *[1] * hidden_layers, outputs])
    if parameters < smallest:
        raise InputError("parameters", parameters, f"give at least {smallest}, which widths of 1 need")
    scale = _scale(parameters, inputs, outputs, relative)
    exact = [one * scale for one in relative]
    largest = sorted(range(hidden_layers), key=lambda layer: -exact[layer])[:_LAYERS_TRIED]
    choices = [
        [max(1, round(width) + step) for step in range(-_NEAR, _NEAR + 1)] if layer in largest else [_whole(width)]
        for layer, width in enumerate(exact)
    ]

    def cost(hidden: tuple[int, ...]) -> tuple[float, float]:
        missed = abs(parameter_count([inputs, *hidden, outputs]) - parameters)
        bent = sum((width / ideal - 1) ** 2 for width, ideal in zip(hidden, exact, strict=True))
        # a tenth of a per cent of the budget is near enough: then the shape decides
        return (max(0.0, missed - 0.001 * parameters), bent + missed / parameters)

    return [inputs, *min(product(*choices), key=cost), outputs]


def _relative(shape: object) -> list[float]:
    """Read widths relative to each other; none if they are no such widths."""
    try:
        few = not isinstance(shape, str) and len(shape) <= _MOST_LAYERS  # type: ignore[arg-type]
        widths = [float(one) for one in shape] if few else []  # type: ignore[attr-defined]
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return []
    return widths if all(1 / _FARTHEST <= one <= _FARTHEST for one in widths) else []


def _whole(width: float) -> int:
    return max(1, round(width))


def _scale(parameters: int, inputs: int, outputs: int, relative: Sequence[float]) -> float:
    """Solve for the scale at which fractional widths would meet the budget, by halving."""

    def count(scale: float) -> float:
        widths = [inputs, *(one * scale for one in relative), outputs]
        return sum((below + 1) * here for below, here in pairwise(widths))

    low, high = 0.0, 1.0
    while count(high) < parameters:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if count(middle) < parameters else (low, middle)
    return low
