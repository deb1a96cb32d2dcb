"""Dead units: hidden ReLU units that are zero for every input there is.

    unit j is dead  ⇔  max over inputs of its pre-activation ≤ 0

No gradient reaches such a unit's weights, so training can revive it only by moving the layers below. A unit that is
always active is not dead, though it is linear. Lu et al. 2020, arXiv:1903.06733.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathymetry.core.checks import check_dense
from bathymetry.core.errors import InputError
from bathymetry.core.showing import readable
from bathymetry.probes.layers import Perceptrons, perceptron_layers

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
    *hidden, _ = layers = perceptron_layers(networks)
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
