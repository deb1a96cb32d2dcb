"""Linear regions and dead units of ReLU networks.

A network of one variable is piecewise linear. Within a region every unit is an affine function; the roots of these,
where units switch on or off, bound the regions of the next layer. Neighbours with the same slope of the output are one
region. There are at most Π (hₗ + 1) for hidden layers of hₗ units: Montúfar et al. 2014, arXiv:1402.1869; Raghu et al.
2017, arXiv:1606.05336. A dead unit is zero for every input.
"""

from collections.abc import Mapping
from itertools import pairwise
from math import prod

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bathymetry.core.errors import InputError, check_dense
from bathymetry.core.showing import readable
from bathymetry.training.result import StackedParameters

_TOLERANCE = 2.0**-40  # of the size of their terms: slopes and roots that are closer are equal
_INPUTS_AT_ONCE = 4096

Perceptrons = nn.Module | Mapping[str, Tensor]
Layer = tuple[Float[Tensor, "member output input"], Float[Tensor, "member output"]]
Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def mlp_layers(networks: Perceptrons) -> list[Layer]:
    """Read weights and biases in the order of the layers.

    Args:
        networks: An `nn.Sequential` of linear layers with ReLU between them, or the stacked parameters of an ensemble
            of such networks, name → (member, *shape). Of a plain mapping only the shapes are checked.

    Returns:
        Weight and bias of each layer in float64, with a leading member axis of length 1 for a single network.

    Example:
        >>> [(tuple(w.shape), tuple(b.shape)) for w, b in mlp_layers(torch.nn.Sequential(torch.nn.Linear(2, 3)))]
        [((1, 3, 2), (1, 3))]
    """
    if not isinstance(networks, nn.Module | Mapping):
        raise InputError("networks", type(networks).__name__, "expected an nn.Sequential, or trained.parameters")
    if isinstance(networks, StackedParameters) and networks.network is not None:
        _linear_layers(networks.network)
    if isinstance(networks, nn.Module):
        tensors = [one.unsqueeze(0) for layer in _linear_layers(networks) for one in layer.parameters()]
    else:
        tensors = list(networks.values())
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise InputError("networks", f"a mapping to {type(tensor).__name__}", "expected a mapping to tensors")
        check_dense("networks", tensor)
    tensors = [tensor.detach().cpu().double() for tensor in tensors]
    layers = list(zip(tensors[0::2], tensors[1::2], strict=False))
    fits = len(tensors) == 2 * len(layers) > 0 and all(w.ndim == 3 and b.shape == w.shape[:2] for w, b in layers)
    if not fits or any(below.shape[1] != above.shape[2] for (below, _), (above, _) in pairwise(layers)):
        remedy = "expected multilayer perceptrons: successive linear layers with biases"
        raise InputError("networks", type(networks).__name__, remedy)
    return layers


def _linear_layers(module: nn.Module) -> list[nn.Module]:
    layers = list(module) if isinstance(module, nn.Sequential) else []
    linear = all(isinstance(one, nn.Linear) and one.bias is not None for one in layers[0::2])
    if len(layers) % 2 == 0 or not linear or not all(isinstance(one, nn.ReLU) for one in layers[1::2]):
        remedy = "expected an nn.Sequential of linear layers with ReLU between them"
        raise InputError("networks", type(module).__name__, remedy)
    return layers[0::2]


@readable
class LinearRegions:
    """The linear regions of each member's function, over the real line or in an interval."""

    count: Float[Tensor, " member"]  # NaN for a member whose parameters are not finite
    bound: int  # Π (hₗ + 1)
    breakpoints: tuple[Array, ...]  # of each member, ascending


def linear_regions(networks: Perceptrons, interval: tuple[float, float] | None = None) -> LinearRegions:
    """Count the linear regions exactly, in float64.

    Args:
        networks: ReLU networks of one input and one output: an `nn.Sequential`, or an ensemble's stacked parameters.
        interval: Open interval of inputs. Defaults to the real line, where many breakpoints lie far from the data.

    Returns:
        The counts and the breakpoints.

    Example:
        |x| = relu(x) + relu(−x) has one breakpoint, at 0.

        >>> parameters = {
        ...     "0.weight": torch.tensor([[[1.0], [-1.0]]]),
        ...     "0.bias": torch.zeros(1, 2),
        ...     "2.weight": torch.ones(1, 1, 2),
        ...     "2.bias": torch.zeros(1, 1),
        ... }
        >>> linear_regions(parameters).count, linear_regions(parameters, interval=(1.0, 2.0)).count
        (tensor([2.], dtype=torch.float64), tensor([1.], dtype=torch.float64))
    """
    layers = [(weight.numpy(), bias.numpy()) for weight, bias in mlp_layers(networks)]
    inputs, outputs = layers[0][0].shape[2], layers[-1][0].shape[1]
    if inputs != 1 or outputs != 1:
        raise InputError("networks", f"{inputs} inputs and {outputs} outputs", "expected one input and one output")
    try:
        low, high = (-np.inf, np.inf) if interval is None else (float(end) for end in interval)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise InputError("interval", interval, "expected two numbers, for example (-10, 10)") from error
    if not low < high:
        raise InputError("interval", interval, "expected the lower end first, below the upper")
    counts, breakpoints = [], []
    for member in range(len(layers[0][0])):
        network = [(weight[member], bias[member]) for weight, bias in layers]
        finite = all(np.isfinite(block).all() for layer in network for block in layer)
        found = _breakpoints(network) if finite else np.empty(0)
        breakpoints.append(found[(found > low) & (found < high)])
        counts.append(len(breakpoints[-1]) + 1.0 if finite else np.nan)
    bound = prod(weight.shape[1] + 1 for weight, _ in layers[:-1])
    return LinearRegions(torch.tensor(counts, dtype=torch.float64), bound, tuple(breakpoints))


def _breakpoints(layers: list[tuple[Array, Array]]) -> Array:
    boundaries: Array = np.empty(0)
    # of each unit (column) in each region (row), with the size of the terms, to which rounding is relative
    slopes, intercepts, size = np.ones((1, 1)), np.zeros((1, 1)), np.ones((1, 1))
    for position, (weight, bias) in enumerate(layers):
        slopes, intercepts, size = slopes @ weight.T, intercepts @ weight.T + bias, size @ np.abs(weight.T)
        if position == len(layers) - 1:
            break
        roots = _roots(boundaries, slopes, intercepts, size)
        refined = _distinct(np.concatenate([boundaries, roots]))
        inside = _inside(refined)
        parent = np.searchsorted(boundaries, inside)
        slopes, intercepts, size = slopes[parent], intercepts[parent], size[parent]
        active = slopes * inside[:, None] + intercepts > 0
        slopes, intercepts, size = slopes * active, intercepts * active, size * active
        boundaries = refined
    change = np.abs(np.diff(slopes[:, 0]))
    return boundaries[change > _TOLERANCE * np.maximum(size[:-1, 0], size[1:, 0])]


def _roots(boundaries: Array, slopes: Array, intercepts: Array, size: Array) -> Array:
    """Where units cross zero within the region in which they are that affine function."""
    low = np.concatenate([[-np.inf], boundaries])[:, None]
    high = np.concatenate([boundaries, [np.inf]])[:, None]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        root = np.where(np.abs(slopes) > _TOLERANCE * size, -intercepts / slopes, np.nan)
    inside: Array = root[np.isfinite(root) & (root > low) & (root < high)]
    return inside


def _distinct(points: Array) -> Array:
    """Sorted points without those that are equal up to rounding."""
    ordered = np.sort(points)
    apart = np.diff(ordered) > _TOLERANCE * np.maximum(np.abs(ordered[1:]), np.abs(ordered[:-1]))
    distinct: Array = ordered[np.concatenate([[True], apart])[: len(ordered)]]
    return distinct


def _inside(boundaries: Array) -> Array:
    """A point inside each region."""
    if len(boundaries) == 0:
        return np.zeros(1)
    first, last = boundaries[0], boundaries[-1]
    between = (boundaries[1:] + boundaries[:-1]) / 2
    return np.concatenate([[first - (1 + np.abs(first))], between, [last + (1 + np.abs(last))]])


@readable
class DeadUnits:
    """How many hidden units are dead."""

    share: Float[Tensor, " member"]  # of all hidden units; NaN for a member whose parameters are not finite
    count: Int[Tensor, "member layer"]  # dead units in each hidden layer
    units: tuple[int, ...]  # hidden units in each layer


def dead_units(networks: Perceptrons, inputs: Float[Tensor, "example feature"]) -> DeadUnits:
    """Count hidden units that are zero for every input.

    Args:
        networks: ReLU networks: an `nn.Sequential`, or an ensemble's stacked parameters.
        inputs: The inputs.

    Returns:
        Counts and shares of each member.

    Example:
        Of the units relu(x), relu(−x − 5) and relu(−1), inputs above −5 leave the first alive.

        >>> parameters = {
        ...     "0.weight": torch.tensor([[[1.0], [-1.0], [0.0]]]),
        ...     "0.bias": torch.tensor([[0.0, -5.0, -1.0]]),
        ...     "2.weight": torch.ones(1, 1, 3),
        ...     "2.bias": torch.zeros(1, 1),
        ... }
        >>> dead_units(parameters, torch.tensor([[-2.0], [3.0]])).count
        tensor([[2]])
    """
    *hidden, _ = layers = mlp_layers(networks)
    if not hidden:
        raise InputError("networks", "no hidden layer", "expected networks with hidden units")
    alive = [torch.zeros(bias.shape, dtype=torch.bool) for _, bias in hidden]
    width = layers[0][0].shape[2]
    if not isinstance(inputs, Tensor):
        raise InputError("inputs", type(inputs).__name__, "expected a tensor")
    check_dense("inputs", inputs)
    if inputs.ndim != 2 or len(inputs) == 0 or inputs.shape[1] != width:
        raise InputError("inputs", f"shape {tuple(inputs.shape)}", f"expected shape (example, {width})")
    if not bool(inputs.isfinite().all()):
        raise InputError("inputs", "not finite", "expected finite numbers")
    for some in torch.split(inputs.detach().cpu().double(), _INPUTS_AT_ONCE):
        outputs = some.expand(len(layers[0][0]), *some.shape)
        for layer, (weight, bias) in enumerate(hidden):
            outputs = torch.baddbmm(bias[:, None], outputs, weight.transpose(1, 2)).relu()
            alive[layer] |= (outputs > 0).any(1)
    finite = torch.stack([torch.isfinite(block.flatten(1)).all(1) for layer in layers for block in layer]).all(0)
    count = torch.stack([(~one).sum(1) for one in alive], dim=1)
    units = tuple(bias.shape[1] for _, bias in hidden)
    share = torch.where(finite, count.sum(1).double() / sum(units), torch.nan)
    return DeadUnits(share=share, count=count, units=units)
