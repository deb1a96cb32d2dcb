"""Sharpness: how far the loss can rise within a small neighbourhood.

    keskar  100 · max over |zᵢ| ≤ ε(|θᵢ| + 1) of (L(θ + z) − L(θ)) / (1 + L(θ))     Keskar et al. 2017, arXiv:1609.04836
    ball    max over ‖z‖ ≤ ε of L(θ + z) − L(θ)
    sam     L(θ + ε g/‖g‖) − L(θ)                                                    Foret et al. 2021, arXiv:2010.01412

The maxima are found by ascent from several starts, so they are lower bounds. In the box, ascents continue from corner
to neighbouring corner; in the ball, the lines to their ends are searched too. With `scale="filter"` a unit's weights
move in proportion to their norm and biases stay, so that rescaling the layers of a ReLU network changes nothing (Li et
al. 2018, arXiv:1712.09913).
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from bathymetry.core.errors import InputError, positive_number, whole_number
from bathymetry.core.showing import readable
from bathymetry.core.tensors import norms
from bathymetry.linalg.eigenpairs import eigenpairs
from bathymetry.linalg.operator import NotFiniteError, ScaledOperator
from bathymetry.probes.points import Theta, as_points, check_seed, one_of
from bathymetry.surface import LossSurface

_MAX_STEPS = 10**6
_CORNERS = 7  # random corners that ascents start from, in addition to the gradient's
_NEIGHBOURS, _FLIPS = 16, 8  # of a corner: how many to try, how often to move
_GRID, _REFINEMENTS = 9, 6  # points on a line from the centre of a ball, and how often to refine around the highest

Kind = Literal["keskar", "sam", "ball"]
Scale = Literal["absolute", "filter"]


@readable
class Sharpness:
    """The largest rise of the loss nearby that was found."""

    value: Float[Tensor, "*member"]  # in the units of the kind
    rise: Float[Tensor, "*member"]  # of the loss
    loss: Float[Tensor, "*member"]  # at the point
    kind: Kind
    epsilon: float


def sharpness(
    surface: LossSurface,
    theta: Theta = None,
    *,
    kind: Kind = "keskar",
    epsilon: float = 1e-3,
    scale: Scale = "absolute",
    steps: int = 30,
    seed: int = 0,
) -> Sharpness:
    """Measure how far the loss can rise nearby.

    Args:
        surface: Loss surface.
        theta: One point or one per member. Defaults to the model's current parameters.
        kind: "keskar", "sam" or "ball".
        epsilon: Size of the neighbourhood.
        scale: "absolute", or "filter" for a neighbourhood in proportion to each unit's weights.
        steps: Largest number of steps of each ascent, at most a million.
        seed: Seed of the starts.

    Returns:
        The sharpness; NaN for a member that diverged.

    Example:
        A parabola 4w² at its minimum rises by 4ε² within ε.

        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> _ = torch.nn.init.zeros_(model.weight)
        >>> surface = LossSurface(model, "mse", (torch.tensor([[2.0]]), torch.zeros(1, 1)), dtype=torch.float64)
        >>> round(sharpness(surface, kind="ball", epsilon=0.1).value.item(), 9)
        0.04
    """
    one_of("kind", kind, Kind)
    one_of("scale", scale, Scale)
    epsilon, steps = positive_number("epsilon", epsilon), whole_number("steps", steps, 1, _MAX_STEPS)
    seed = check_seed(seed)
    surface, points = as_points(surface, theta, "float32")

    def measure(point: Tensor) -> Tensor:
        loss, lengths = surface.loss(point), _lengths(surface, point, kind, scale)
        radius = epsilon * lengths
        gradient = surface.gradient(point)
        if not bool(gradient.isfinite().all()):
            raise NotFiniteError("gradient")
        if kind == "keskar":
            if not bool(loss > -1):
                raise InputError("loss", float(loss), 'expected more than -1, or kind="ball" or "sam"')
            highest = _highest_in_box(surface, point, radius, steps, seed)
        elif kind == "ball":
            highest = _highest_in_ball(surface, point, radius, steps, seed)
        else:
            highest = surface.loss(point + radius * _unit(gradient * lengths))
        rise = highest - loss
        return torch.stack([100 * rise / (1 + loss) if kind == "keskar" else rise, rise, loss]).cpu()

    value, rise, loss = points.table(measure, 3).unbind(-1)
    return Sharpness(value, rise, loss, kind, epsilon)


def _lengths(surface: LossSurface, point: Tensor, kind: Kind, scale: Scale) -> Float[Tensor, " parameter"]:
    """How far each coordinate may go for ε = 1."""
    if scale == "absolute":
        return point.abs() + 1 if kind == "keskar" else torch.ones_like(point)
    lengths = unit_norms(surface, point)
    if not bool((lengths > 0).any()):
        raise InputError("scale", scale, 'its neighbourhood is empty without weights other than 0: expected "absolute"')
    return lengths


def unit_norms(surface: LossSurface, point: Float[Tensor, " parameter"]) -> Float[Tensor, " parameter"]:
    """For every weight the norm of its unit's weights; 0 for biases and other vectors."""
    lengths = torch.zeros_like(point)
    for name, place in surface.selection.slices.items():
        shape = surface.selection.shapes[name]
        if len(shape) > 1:
            weights = point[place].view(shape[0], -1)
            lengths[place] = norms(weights)[:, None].expand_as(weights).reshape(-1)
    return lengths


def _highest_in_ball(surface: LossSurface, point: Tensor, radius: Tensor, steps: int, seed: int) -> Tensor:
    """Ascend on z = radius · u, ‖u‖ = 1, from the gradient and both ends of the sharpest direction; then inwards."""
    operator = ScaledOperator(surface.product(point), radius)
    sharpest = eigenpairs(operator, 1, tolerance=1e-4, generator=Generator().manual_seed(seed)).vectors[0]
    moves = []
    for start in (surface.gradient(point) * radius, sharpest, -sharpest):
        direction = _unit(start)
        move = radius * direction
        best = surface.loss(point + move)
        for _ in range(steps):
            # adding the direction itself keeps the ascent from oscillating along a direction of negative curvature
            direction = _unit(_unit(surface.gradient(point + move) * radius) + direction)
            value = surface.loss(point + radius * direction)
            if not bool(value > best):
                break
            move, best = radius * direction, value
        moves.append(move)
    return _highest_on_lines(surface, point, torch.stack(moves))


def _highest_on_lines(surface: LossSurface, point: Tensor, moves: Float[Tensor, "move parameter"]) -> Tensor:
    """Search the lines from the point to the end of each move, refining around the highest loss."""
    low = torch.zeros(len(moves), 1, dtype=moves.dtype, device=moves.device)
    high, best = torch.ones_like(low), surface.loss(point)
    for _ in range(_REFINEMENTS):
        shares = low + (high - low) * torch.linspace(0, 1, _GRID, dtype=low.dtype, device=low.device)
        values = surface.loss((point + shares[..., None] * moves[:, None]).flatten(0, 1)).view(shares.shape)
        best = torch.fmax(best, _largest_finite(values))
        at = values.nan_to_num(-torch.inf, posinf=-torch.inf).argmax(1, keepdim=True)
        if bool((shares.gather(1, at) == 1).all()):
            break
        low, high = (shares.gather(1, (at + side).clamp(0, _GRID - 1)) for side in (-1, 1))
    return best


def _highest_in_box(surface: LossSurface, point: Tensor, radius: Tensor, steps: int, seed: int) -> Tensor:
    """Ascend within |zᵢ| ≤ radiusᵢ from the gradient's corner and random ones, then from corner to corner."""
    generator = Generator().manual_seed(seed)
    corners = [surface.gradient(point).sign()]
    corners += [torch.randint(0, 2, point.shape, generator=generator).to(point) * 2 - 1 for _ in range(_CORNERS)]
    moves = torch.stack(corners) * radius
    best = surface.loss(point + moves)
    for step in range(steps):
        rate = 0.5 * (1 - step / steps)
        moves = (moves + rate * radius * surface.gradient(point + moves).sign()).clamp(-radius, radius)
        best = torch.fmax(best, surface.loss(point + moves))
    best = torch.fmax(best, _highest_corners(surface, point, torch.where(moves < 0, -radius, radius)))
    return torch.fmax(surface.loss(point), _largest_finite(best))


def _highest_corners(surface: LossSurface, point: Tensor, corners: Float[Tensor, "corner parameter"]) -> Tensor:
    """Move to the highest of the neighbouring corners that the gradient favours, while one is higher."""
    each = torch.arange(len(corners), device=corners.device)
    best = surface.loss(point + corners)
    for _ in range(_FLIPS):
        support = surface.gradient(point + corners) * corners
        flips = support.topk(min(_NEIGHBOURS, len(point)), dim=1, largest=False).indices
        neighbours = corners[:, None].repeat(1, flips.shape[1], 1)
        neighbours.scatter_(2, flips[..., None], -neighbours.gather(2, flips[..., None]))
        values = surface.loss((point + neighbours).flatten(0, 1)).view(flips.shape)
        highest, which = values.nan_to_num(-torch.inf, posinf=-torch.inf).max(1)
        higher = highest > best
        if not bool(higher.any()):
            break
        corners = torch.where(higher[:, None], neighbours[each, which], corners)
        best = torch.where(higher, highest, best)
    return best


def _largest_finite(values: Tensor) -> Tensor:
    finite = values[values.isfinite()]
    return finite.max() if len(finite) else values.flatten()[0]


def _unit(vector: Tensor) -> Tensor:
    unit: Tensor = vector / norms(vector[None]).clamp_min(torch.finfo(vector.dtype).tiny)
    return unit
