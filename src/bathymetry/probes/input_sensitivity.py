"""Sensitivity: how much a network's answer changes with its input.

    mean over examples of ‖∂f/∂x‖_F,   f the example's loss, the outputs (logits) or their softmax (probabilities)

A derivative with respect to the input, not to the parameters: a linear model that fits every example has no gradient
left and is as sensitive as ever. Novak et al. 2018, arXiv:1802.08760.

An example's loss is its own term as the loss weighs it, so that batches play no part:

    f = Σₜ wₜ ℓₜ / T

over its T terms: its outputs for a squared error, its labels for a cross-entropy. wₜ is the weight of the label's
class, 1 if classes have none, 0 for a label that is ignored. Of a loss that is a sum it is the example's sum.
"""

from typing import get_args

import torch
from jaxtyping import Float
from torch import Tensor

from bathymetry.core.errors import InputError
from bathymetry.core.showing import readable
from bathymetry.probes.points import filled, places
from bathymetry.surface import LossSurface, input_derivative_norms
from bathymetry.surface.automatic import InputDerivative
from bathymetry.surface.outputs import Output, Wrt


@readable
class Sensitivity:
    """How much a network's answer changes with its input."""

    value: Float[Tensor, "*member"]  # mean over examples
    per_example: Float[Tensor, "*member example"]
    of: str


def sensitivity(
    surface: LossSurface,
    theta: Float[Tensor, "*member parameter"] | None = None,
    *,
    of: InputDerivative = "loss",
    output: Output = None,
    wrt: Wrt = None,
) -> Sensitivity:
    """Measure the sensitivity to the input.

    Args:
        surface: The loss surface; its data are the examples that are asked, its batches play no part.
        theta: One point or one a member; the network's own parameters if None.
        of: "loss", "logits" (the outputs as they are) or "probabilities" (their softmax over the classes).
        output: Which output, of a network with several: a name, a position, or a function of what it answers.
        wrt: Which input, of a network with several: its name in a mapping or its position in a tuple.

    Returns:
        The mean norm, and that of each example; NaN for a member that diverged.

    Raises:
        InputError: If there is no such derivative, as where the forward pass detaches its input, or examples depend on
            one another.

    Example:
        Softmax regression's logits are Wx + b, so everywhere as sensitive as ‖W‖_F = 5.

        >>> model = torch.nn.Linear(2, 1)
        >>> model.weight.data = torch.tensor([[3.0, 4.0]])
        >>> data = torch.randn(6, 2), torch.zeros(6, 1)
        >>> sensitivity(LossSurface(model, "mse", data), of="logits").value
        tensor(5., dtype=torch.float64)
    """
    if not isinstance(of, str) or of not in get_args(InputDerivative):
        raise InputError(
            "of",
            of if isinstance(of, str) else type(of).__name__,
            f"give one of {', '.join(get_args(InputDerivative))}",
        )
    where = places(surface, theta)
    each = where.each(lambda point: input_derivative_norms(surface, of, point, output=output, wrt=wrt).cpu())
    norms = filled(each, torch.empty(surface.num_examples, dtype=torch.float64))
    return Sensitivity(where.given(norms.mean(1)), where.given(norms), of)
