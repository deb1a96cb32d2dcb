"""The gradient's norm: how steep the surface is, in all, layer by layer, and for each example.

    ‖∂L/∂θ‖₂      and for one example of a linear layer z = Wa + b:  ‖∂ℓ/∂W, ∂ℓ/∂b‖² = ‖δ‖² (‖a‖² + 1)

with δ = ∂ℓ/∂z, so that an example's norm needs no gradient of its own: Goodfellow 2015, arXiv:1510.01799.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from bathymetry.core.showing import readable
from bathymetry.probes.places import check_surface, one_place, places
from bathymetry.surface import LossSurface


@readable
class GradientNorm:
    """How steep a loss surface is."""

    value: Float[Tensor, "*member"]  # ‖∂L/∂θ‖₂, float64
    by_layer: Float[Tensor, "*member layer"]  # the same for each layer's parameters
    layers: tuple[str, ...]  # their names
    loss: Float[Tensor, "*member"]  # where it was measured


@readable
class ExampleGradientNorms:
    """How steep the loss of each example is."""

    value: Float[Tensor, " example"]  # ‖∂ℓᵢ/∂θ‖₂, float64, in the order of the data
    path: str  # how they were computed, in words


def gradient_norm(surface: LossSurface, theta: Float[Tensor, "*member parameter"] | None = None) -> GradientNorm:
    """Measure the gradient's norm.

    Args:
        surface: The loss surface.
        theta: One point or one a member; the network's own parameters if None.

    Returns:
        The norm, in all and layer by layer; NaN for a member whose loss is not finite.

    Example:
        L = (3w)² at w = 2 has the gradient 18w.

        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> _ = torch.nn.init.constant_(model.weight, 2.0)
        >>> gradient_norm(LossSurface(model, "mse", (torch.tensor([[3.0]]), torch.tensor([[0.0]])))).value
        tensor(36., dtype=torch.float64)
    """
    where = places(surface, theta)
    gradient = surface.gradient(where.theta).double()
    gradient[~where.finite] = torch.nan
    layers = surface.selection.layers
    by_layer = torch.stack([gradient[:, place].norm(dim=1) for place in layers.values()], dim=1)
    loss = surface.loss(where.theta)
    return GradientNorm(where.given(gradient.norm(dim=1)), where.given(by_layer), tuple(layers), where.given(loss))


def example_gradient_norms(
    surface: LossSurface, theta: Float[Tensor, " parameter"] | None = None
) -> ExampleGradientNorms:
    """Measure the norm of each example's own gradient.

    Args:
        surface: The loss surface; its examples must not depend on one another.
        theta: One point; the network's own parameters if None.

    Returns:
        A norm for each example, of the gradient of a batch of that example alone.

    Example:
        Loss (w·x − y)² at w = 0: gradients −2xy, so −2 and −6.

        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> _ = torch.nn.init.zeros_(model.weight)
        >>> data = torch.ones(2, 1), torch.tensor([[1.0], [3.0]])
        >>> example_gradient_norms(LossSurface(model, "mse", data)).value
        tensor([2., 6.], dtype=torch.float64)
    """
    check_surface(surface)
    return ExampleGradientNorms(surface.example_gradient_norms(one_place(surface, theta)), surface.path)
