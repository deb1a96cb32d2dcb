"""Linear pieces: of how many straight pieces a ReLU network's function of one variable is made.

The network is followed exactly, layer by layer: on each piece of the line every unit is an affine function, so the
points where units switch on or off are roots of affine functions, and they cut the line into the pieces of the next
layer. Neighbours in which the output has the same slope are one piece, so a switch that nothing downstream feels does
not count. Simple bounds: h + 1 for one hidden layer of h units, Π (hₗ + 1) for several. How the number grows with
depth: Montúfar et al. 2014, arXiv:1402.1869; Raghu et al. 2017, arXiv:1606.05336.
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
from bathymetry.training.trained import StackedParameters

Perceptrons = nn.Module | Mapping[str, Tensor]
Layer = tuple[Float[Tensor, "member output input"], Float[Tensor, "member output"]]


def mlp_layers(networks: Perceptrons) -> list[Layer]:
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


_TOLERANCE = 2.0**-40  # of the size of the terms: slopes this near are equal, and roots this near are one

Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@readable
class LinearRegions:
    """The straight pieces of each member's function, over the whole real line or on an interval."""

    count: Float[Tensor, " member"]  # NaN for a member whose parameters are not finite
    bound: int  # Π (hₗ + 1), over the whole line and so on any interval
    breakpoints: tuple[Array, ...]  # where each member's function bends, in ascending order


def linear_regions(networks: Perceptrons, interval: tuple[float, float] | None = None) -> LinearRegions:
    """Count the straight pieces exactly.

    Args:
        networks: ReLU perceptrons of one input and one output: an `nn.Sequential`, or an ensemble's stacked
            parameters. Computed in float64.
        interval: Between which inputs to count, the ends left out. Defaults to the whole real line, where a network
            usually bends in many places that no input of its training comes near.

    Returns:
        The counts and the places of the bends.

    Raises:
        InputError: If a network has several inputs or outputs, or the interval is empty.

    Example:
        |x| = relu(x) + relu(−x) bends once, at 0.

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
        raise InputError("networks", f"{inputs} inputs and {outputs} outputs", "give networks of one input and output")
    low, high = _ends(interval)
    bends = []
    counts = []
    for member in range(len(layers[0][0])):
        own = [(weight[member], bias[member]) for weight, bias in layers]
        finite = all(np.isfinite(block).all() for layer in own for block in layer)
        found = _bends(own) if finite else np.empty(0)
        bends.append(found[(found > low) & (found < high)])
        counts.append(len(bends[-1]) + 1.0 if finite else np.nan)
    bound = prod(weight.shape[1] + 1 for weight, _ in layers[:-1])
    return LinearRegions(torch.tensor(counts, dtype=torch.float64), bound, tuple(bends))


def _ends(interval: tuple[float, float] | None) -> tuple[float, float]:
    if interval is None:
        return -np.inf, np.inf
    try:
        low, high = (float(end) for end in interval)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise InputError("interval", interval, "expected two numbers, for example (-10, 10)") from error
    if not low < high:
        raise InputError("interval", interval, "expected the lower end first, below the upper")
    return low, high


def _bends(layers: list[tuple[Array, Array]]) -> Array:
    """Find where one network's function bends."""
    cuts: Array = np.empty(0)
    slopes, intercepts, size = np.ones((1, 1)), np.zeros((1, 1)), np.ones((1, 1))
    for place, (weight, bias) in enumerate(layers):
        slopes, intercepts, size = slopes @ weight.T, intercepts @ weight.T + bias, size @ np.abs(weight.T)
        if place == len(layers) - 1:
            break
        roots = _roots(cuts, slopes, intercepts, size)
        joined = _distinct(np.concatenate([cuts, roots]))
        inside = _inside(joined)
        parent = np.searchsorted(cuts, inside)
        slopes, intercepts, size = slopes[parent], intercepts[parent], size[parent]
        active = slopes * inside[:, None] + intercepts > 0
        slopes, intercepts, size = slopes * active, intercepts * active, size * active
        cuts = joined
    change = np.abs(np.diff(slopes[:, 0]))
    scale = np.maximum(size[:-1, 0], size[1:, 0])
    return cuts[change > _TOLERANCE * scale]


def _roots(cuts: Array, slopes: Array, intercepts: Array, size: Array) -> Array:
    """Find where units cross zero, each within the piece on which it is that affine function."""
    low = np.concatenate([[-np.inf], cuts])[:, None]
    high = np.concatenate([cuts, [np.inf]])[:, None]
    sloping = np.abs(slopes) > _TOLERANCE * size
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        root = np.where(sloping, -intercepts / slopes, np.nan)
    inside: Array = root[np.isfinite(root) & (root > low) & (root < high)]
    return inside


def _distinct(points: Array) -> Array:
    """Sort points, and let those that rounding alone tells apart be one."""
    ordered = np.sort(points)
    if len(ordered) == 0:
        return ordered
    apart = np.diff(ordered) > _TOLERANCE * np.maximum(np.abs(ordered[1:]), np.abs(ordered[:-1]))
    distinct: Array = ordered[np.concatenate([[True], apart])]
    return distinct


def _inside(cuts: Array) -> Array:
    """Take a point inside each piece."""
    if len(cuts) == 0:
        return np.zeros(1)
    reach = 1 + np.abs(cuts[[0, -1]])
    return np.concatenate([[cuts[0] - reach[0]], (cuts[1:] + cuts[:-1]) / 2, [cuts[-1] + reach[1]]])


_PASS = 4096  # inputs at a time


@readable
class DeadUnits:
    """How many hidden units are dead."""

    share: Float[Tensor, " member"]  # of all hidden units; NaN for a member whose parameters are not finite
    count: Int[Tensor, "member layer"]  # dead units in each hidden layer
    units: tuple[int, ...]  # hidden units in each layer


def dead_units(networks: Perceptrons, inputs: Float[Tensor, "example feature"]) -> DeadUnits:
    """Count hidden units that are zero for every input.

    Args:
        networks: ReLU perceptrons: an `nn.Sequential`, or an ensemble's stacked parameters.
        inputs: The inputs that are asked.

    Returns:
        Counts and shares, a row a member.

    Raises:
        InputError: If there is no input, no hidden layer, or inputs of another width.

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
        raise InputError("networks", "no hidden layer", "give networks that have hidden units")
    if not isinstance(inputs, Tensor):
        raise InputError("inputs", type(inputs).__name__, "expected a tensor")
    check_dense("inputs", inputs)
    if inputs.ndim != 2 or len(inputs) == 0 or inputs.shape[1] != layers[0][0].shape[2]:
        raise InputError("inputs", f"shape {tuple(inputs.shape)}", f"give rows of {layers[0][0].shape[2]} numbers")
    if not bool(inputs.isfinite().all()):
        raise InputError("inputs", "not finite", "give inputs that are numbers")
    alive = [torch.zeros(bias.shape, dtype=torch.bool) for _, bias in hidden]
    for some in torch.split(inputs.detach().cpu().double(), _PASS):
        below = some.expand(len(hidden[0][0]), *some.shape)
        for layer, (weight, bias) in enumerate(hidden):
            below = torch.baddbmm(bias[:, None], below, weight.transpose(1, 2)).relu()
            alive[layer] |= (below > 0).any(1)
    finite = torch.stack([torch.isfinite(block.flatten(1)).all(1) for layer in layers for block in layer]).all(0)
    count = torch.stack([(~one).sum(1) for one in alive], dim=1)
    units = tuple(bias.shape[1] for _, bias in hidden)
    share = torch.where(finite, count.sum(1).double() / sum(units), torch.nan)
    return DeadUnits(share=share, count=count, units=units)
