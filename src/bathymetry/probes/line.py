"""What lies between two networks: loss and accuracy along the straight line through their parameters.

    θ(α) = (1 − α) a + α b

The barrier is how far the worst point between the ends rises, above the mean of the ends (Frankle et al. 2020,
arXiv:1912.05671) or above the straight line between them (Entezari et al. 2022, arXiv:2110.06296).
"""

from collections.abc import Callable, Sequence
from numbers import Integral

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bathymetry.core.checks import whole_number
from bathymetry.core.errors import InputError
from bathymetry.core.showing import readable
from bathymetry.surface import LossSurface
from bathymetry.surface.along import along

_TOGETHER = 16  # points of each member in one pass
_ROUNDING = 1e-9


@readable
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
        Loss and accuracy at every point, and the barriers; NaN where the surface is. At α = 0 and 1 they are those of
        a and b alone, whatever the other is.

    Raises:
        InputError: If the ends are no points of the surface or have different shapes, or 0 or 1 is not among the
            points.

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
    if a is None or b is None:
        raise InputError("a" if a is None else "b", None, "give a tensor of real numbers")
    starts, single = surface.points(a, "a")
    ends, alone = surface.points(b, "b")
    if (starts.shape, single) != (ends.shape, alone):
        shapes = [tuple(one.shape[1:] if lone else one.shape) for one, lone in ((starts, single), (ends, alone))]
        raise InputError("b", f"shape {shapes[1]}", f"give the shape of a, {shapes[0]}")
    points = _given(alphas)
    loss, accuracy = along(surface, starts, ends, points) or (
        _walked(surface.loss, starts, ends, points),
        _walked(surface.accuracy, starts, ends, points) if surface.has_classes else None,
    )
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


def _given(alphas: Sequence[float] | Tensor | int) -> Tensor:
    if isinstance(alphas, Integral):
        return torch.linspace(0, 1, whole_number("alphas", alphas, 2), dtype=torch.float64)
    try:
        points = torch.as_tensor(alphas, dtype=torch.float64).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError("alphas", type(alphas).__name__, "give numbers in rising order, or how many") from error
    rising = points.ndim == 1 and len(points) > 1 and bool((points.diff() > 0).all() and points.isfinite().all())
    if not rising:
        raise InputError("alphas", "not rising", "give finite numbers in rising order")
    for end in (0.0, 1.0):  # which steps such as those of `linspace` miss by their rounding
        points = torch.where((points - end).abs() < _ROUNDING, end, points)
    if not bool((points == 0).any() and (points == 1).any()):
        raise InputError("alphas", "without 0 or 1", "have both ends on the grid, exactly")
    return points


def _walked(
    measure: Callable[[Tensor], Tensor],
    starts: Float[Tensor, "member parameter"],
    ends: Float[Tensor, "member parameter"],
    points: Float[Tensor, " point"],
) -> Float[Tensor, "member point"]:
    """Measure at every point; at the ends the networks themselves, and all along where they are the same."""
    first, last = measure(starts).cpu(), measure(ends).cpu()
    measured = torch.where(points == 1, last[:, None], first[:, None])
    beside = ((points != 0) & (points != 1)).nonzero().squeeze(1)
    for some in torch.split(beside, _TOGETHER) if len(beside) else ():
        share = points[some].to(starts)[:, None]
        rows = starts[:, None] + share * (ends - starts)[:, None]
        measured[:, some] = measure(rows.flatten(0, 1)).view(len(starts), -1).cpu()
    same = (starts == ends).all(1, keepdim=True).cpu()
    return torch.where(same, first[:, None], measured)


def _barriers(values: Float[Tensor, "member point"], points: Float[Tensor, " point"]) -> tuple[Tensor, Tensor]:
    first, last = values[:, :1], values[:, -1:]
    mean, straight = (first + last) / 2, first + points * (last - first)
    return (values - mean).amax(1), (values - straight).amax(1)
