"""What lies between two networks: loss and accuracy along the straight line through their parameters.

    θ(α) = (1 − α) a + α b

The barrier is how far the worst point between the ends rises, above the mean of the ends (Frankle et al. 2020,
arXiv:1912.05671) or above the straight line between them (Entezari et al. 2022, arXiv:2110.06296).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bathymetry.core.errors import InputError
from bathymetry.surface import LossSurface

_TOGETHER = 16  # points of each member in one pass


@dataclass(frozen=True)
class Interpolation:
    """Loss and accuracy along a line."""

    alpha: Float[Tensor, " point"]
    loss: Float[Tensor, "*member point"]
    accuracy: Float[Tensor, "*member point"] | None  # None where the targets are no classes
    barrier: Float[Tensor, "*member"]  # of the loss in [0, 1], above the mean of the ends
    barrier_above_line: Float[Tensor, "*member"]  # of the loss in [0, 1], above the straight line between the ends
    error_barrier: Float[Tensor, "*member"] | None  # of 1 − accuracy, above the mean of the ends
    error_barrier_above_line: Float[Tensor, "*member"] | None
    monotone: Bool[Tensor, "*member"]  # whether the loss never rises from 0 to 1


def interpolate(
    surface: LossSurface,
    a: Float[Tensor, "*member parameter"],
    b: Float[Tensor, "*member parameter"],
    alphas: Sequence[float] | Float[Tensor, " point"] | int = 21,
) -> Interpolation:
    """Walk from one network to another and on.

    Args:
        surface: The loss surface.
        a: Parameters at α = 0, one point or one a member.
        b: Parameters at α = 1, of the same shape.
        alphas: Where to look, rising, with 0 and 1 among them; or how many points from 0 to 1.

    Returns:
        Loss and accuracy at every point, and the barriers; NaN where the surface is.

    Raises:
        InputError: If the ends have different shapes, or 0 or 1 is not among the points.

    Example:
        Between the two minima of (w² − 1)² the barrier is 1, at w = 0.

        >>> class Square(torch.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.weight = torch.nn.Parameter(torch.tensor(1.0))
        ...
        ...     def forward(self, x):
        ...         return x * self.weight**2
        >>> surface = LossSurface(Square(), "mse", (torch.ones(1, 1), torch.ones(1, 1)))
        >>> interpolate(surface, torch.tensor([-1.0]), torch.tensor([1.0])).barrier.item()
        1.0
    """
    if a.shape != b.shape:
        raise InputError("b", f"shape {tuple(b.shape)}", f"give the shape of a, {tuple(a.shape)}")
    points = torch.linspace(0, 1, alphas, dtype=torch.float64) if isinstance(alphas, int) else _given(alphas)
    if not bool((points == 0).any() and (points == 1).any()):
        raise InputError("alphas", "without 0 or 1", "have both ends on the grid, exactly")
    single = a.ndim == 1
    starts, ends = (one.detach().reshape(-1, surface.dimension).to(surface.device, surface.dtype) for one in (a, b))
    classes = surface.has_classes
    losses, accuracies = [], []
    for some in torch.split(points, _TOGETHER):
        # the ends themselves, not what rounding makes of them, and one point all along if they are the same
        share = some.to(starts)[:, None]
        rows = torch.stack([
            torch.where(share == 1, end, start + share * (end - start))
            for start, end in zip(starts, ends, strict=True)
        ])  # fmt: skip
        flat = rows.flatten(0, 1)
        losses.append(surface.loss(flat).view(len(starts), -1))
        if classes:
            accuracies.append(surface.accuracy(flat).view(len(starts), -1))
    loss = torch.cat(losses, dim=1).cpu()
    accuracy = torch.cat(accuracies, dim=1).cpu() if classes else None
    between = (points >= 0) & (points <= 1)
    rise = _barriers(loss[:, between], points[between])
    errors = None if accuracy is None else _barriers(1 - accuracy[:, between], points[between])

    def given(measured: Tensor) -> Tensor:
        return measured[0] if single else measured

    return Interpolation(
        alpha=points,
        loss=given(loss),
        accuracy=None if accuracy is None else given(accuracy),
        barrier=given(rise[0]),
        barrier_above_line=given(rise[1]),
        error_barrier=None if errors is None else given(errors[0]),
        error_barrier_above_line=None if errors is None else given(errors[1]),
        monotone=given((loss[:, between].diff(dim=1) <= 0).all(1)),
    )


def _given(alphas: Sequence[float] | Tensor) -> Tensor:
    points = torch.as_tensor(alphas, dtype=torch.float64)
    if points.ndim != 1 or len(points) < 2 or not bool((points.diff() > 0).all()):
        raise InputError("alphas", "not rising", "give numbers in rising order")
    return points


def _barriers(values: Float[Tensor, "member point"], points: Float[Tensor, " point"]) -> tuple[Tensor, Tensor]:
    first, last = values[:, :1], values[:, -1:]
    mean, straight = (first + last) / 2, first + points * (last - first)
    return (values - mean).amax(1), (values - straight).amax(1)
