"""Gradient noise scale: how much the examples disagree about the way down.

    tr(Σ) / ‖G‖²

G is the mean gradient over the data, Σ the covariance of the per-example gradients. Batches much smaller than the noise
scale follow mostly noise; much larger ones spend examples for little. McCandlish et al. 2018, arXiv:1812.06162.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bathymetry.core.errors import InputError
from bathymetry.probes.places import filled, places
from bathymetry.statistics import from_left_out
from bathymetry.surface import LossSurface


@dataclass(frozen=True)
class NoiseScale:
    """How much the examples disagree about the way down."""

    value: Float[Tensor, "*member"]  # tr(Σ) / ‖G‖², in examples
    standard_error: Float[Tensor, "*member"]  # of value, by the jackknife over examples
    gradient_norm: Float[Tensor, "*member"]  # ‖G‖
    examples: int


def noise_scale(surface: LossSurface, theta: Float[Tensor, "*member parameter"] | None = None) -> NoiseScale:
    """Measure the gradient noise scale.

    Args:
        surface: The loss surface. Its loss must be a mean over examples, which do not depend on one another.
        theta: One point or one a member; the network's own parameters if None.

    Returns:
        The noise scale with its standard error; NaN for a member that diverged.

    Raises:
        InputError: If the data hold fewer than three examples.

    Example:
        One weight, loss (w·x − y)² at w = 0: gradients −2y of −2, −4 and −6, so G = −4 and Σ = 4.

        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> _ = torch.nn.init.zeros_(model.weight)
        >>> data = torch.ones(3, 1), torch.tensor([[1.0], [2.0], [3.0]])
        >>> noise_scale(LossSurface(model, "mse", data)).value
        tensor(0.2500, dtype=torch.float64)
    """
    if surface.examples < 3:
        raise InputError("data", f"{surface.examples} examples", "give at least 3, of which a spread can be known")
    where = places(surface, theta)
    table = filled(where.each(lambda point: _measured(surface, point)), torch.empty(3, dtype=torch.float64))
    value, error, norm = (where.given(column) for column in table.T)
    return NoiseScale(value, error, norm, surface.examples)


def _measured(surface: LossSurface, point: Tensor) -> Float[Tensor, " quantity"]:
    """From each example's squared norm and its product with the mean follow all that leaves one example out."""
    count = surface.examples
    mean = surface.gradient(point).double()
    squares = surface.example_gradient_norms(point).square().cpu().numpy()
    along = surface.example_slopes(mean.to(surface.dtype), point).cpu().numpy()  # G·gᵢ
    whole = float(mean.square().sum())

    value = float(_ratio(squares.sum(), np.float64(whole), count))
    left_mean = (count**2 * whole - 2 * count * along + squares) / (count - 1) ** 2
    left_out = _ratio(squares.sum() - squares, left_mean, count - 1)
    error = from_left_out(value, left_out).standard_error
    return torch.tensor([value, float(error), whole**0.5], dtype=torch.float64)


def _ratio(total_squares: Any, mean_square: Any, members: int) -> Any:
    return (total_squares - members * mean_square) / (members - 1) / mean_square
