"""Sharpness: how far the loss can rise within a small neighbourhood.

    keskar  100 · max over |zᵢ| ≤ ε(|θᵢ| + 1) of (L(θ + z) − L(θ)) / (1 + L(θ))     Keskar et al. 2017, arXiv:1609.04836
    ball    max over ‖z‖ ≤ ε of L(θ + z) − L(θ)
    sam     L(θ + ε g/‖g‖) − L(θ)                                                    Foret et al. 2021, arXiv:2010.01412

The maxima are climbed to, from several starts, so they are lower bounds; random sampling does not find them in many
dimensions. In the box the climb ends at its corners, of which neighbours are tried; in the ball also what lies inside,
along the directions that were climbed. With `scale="filter"` a unit's weights move in proportion to their norm and
biases stay, so that rescaling whole layers of a ReLU network changes nothing (Li et al. 2018, arXiv:1712.09913).
"""

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from bathymetry.core.errors import InputError, positive_number, whole_number
from bathymetry.core.networks import norms
from bathymetry.core.showing import readable
from bathymetry.linalg import NotFiniteError, ScaledOperator, eigenpairs
from bathymetry.probes.points import check_surface, filled, places
from bathymetry.surface import LossSurface

_MOST_STEPS = 10**6  # of a climb: more than anybody can wait for
_CORNERS = 7  # random ones to climb from, beside the gradient's
_NEIGHBOURS, _FLIPS = 16, 8  # of each corner that was climbed to: how many to try, how often to move
_ON_A_LINE, _CLOSER = 9, 6  # points on a way from the centre of a ball, and how often to look closer

Kind = Literal["keskar", "sam", "ball"]
Scale = Literal["absolute", "filter"]


@readable
class Sharpness:
    """How far the loss can rise nearby."""

    value: Float[Tensor, "*member"]
    rise: Float[Tensor, "*member"]  # of the loss itself, the largest that was found
    loss: Float[Tensor, "*member"]  # at the point
    kind: Kind
    epsilon: float


def sharpness(
    surface: LossSurface,
    theta: Float[Tensor, "*member parameter"] | None = None,
    *,
    kind: Kind = "keskar",
    epsilon: float = 1e-3,
    scale: Scale = "absolute",
    steps: int = 30,
    seed: int = 0,
) -> Sharpness:
    """Measure how far the loss can rise nearby.

    Args:
        surface: The loss surface.
        theta: One point or one a member; the network's own parameters if None.
        kind: "keskar", "sam" or "ball".
        epsilon: The size of the neighbourhood.
        scale: "absolute", or "filter" for neighbourhoods in proportion to each unit's weights.
        steps: Of each climb, at most a million.
        seed: Of the starts.

    Returns:
        The sharpness; NaN for a member that diverged.

    Raises:
        InputError: If there is no such kind or scale, the neighbourhood is empty, or the loss is −1 or less, of which
            "keskar" is no share.

    Example:
        A parabola 4w² at its bottom rises by 4ε² within ε.

        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> _ = torch.nn.init.zeros_(model.weight)
        >>> surface = LossSurface(model, "mse", (torch.tensor([[2.0]]), torch.zeros(1, 1)), dtype=torch.float64)
        >>> round(sharpness(surface, kind="ball", epsilon=0.1).value.item(), 9)
        0.04
    """
    for field, given, known in (("kind", kind, get_args(Kind)), ("scale", scale, get_args(Scale))):
        if not isinstance(given, str) or given not in known:
            shown = given if isinstance(given, str) else type(given).__name__
            raise InputError(field, shown, f"give one of {', '.join(known)}")
    epsilon, steps = positive_number("epsilon", epsilon), whole_number("steps", steps, 1, _MOST_STEPS)
    seed = whole_number("seed", seed, 0, 2**63 - 1)
    check_surface(surface)
    surface = surface.at_least_float32()
    where = places(surface, theta)

    def measure(point: Tensor) -> Tensor:
        loss = surface.loss(point)
        lengths = _lengths(surface, point, kind, scale)
        _check_gradient(surface, point)
        if kind == "keskar":
            if not bool(loss > -1):
                raise InputError(
                    "loss", float(loss), "Keskar's sharpness is a share of 1 + loss: give kind ball or sam"
                )
            highest = _box(surface, point, epsilon * lengths, steps, seed)
        elif kind == "ball":
            highest = _ball(surface, point, epsilon * lengths, steps, seed)
        else:
            highest = surface.loss(point + epsilon * lengths * _unit(surface.gradient(point) * lengths))
        rise = highest - loss
        return torch.stack([100 * rise / (1 + loss) if kind == "keskar" else rise, rise, loss]).cpu()

    table = filled(where.each(measure), torch.empty(3, dtype=torch.float64))
    value, rise, loss = (where.given(column) for column in table.T)
    return Sharpness(value, rise, loss, kind, epsilon)


def _check_gradient(surface: LossSurface, point: Tensor) -> None:
    if not bool(surface.gradient(point).isfinite().all()):
        raise NotFiniteError("gradient")


def _lengths(surface: LossSurface, point: Tensor, kind: Kind, scale: Scale) -> Float[Tensor, " parameter"]:
    """Give how far each coordinate may go for an ε of 1."""
    if scale == "absolute":
        return point.abs() + 1 if kind == "keskar" else torch.ones_like(point)
    lengths = unit_norms(surface, point)
    if not bool((lengths > 0).any()):
        remedy = "no unit has weights other than 0, so the neighbourhood is empty: give scale absolute"
        raise InputError("scale", scale, remedy)
    return lengths


def unit_norms(surface: LossSurface, point: Float[Tensor, " parameter"]) -> Float[Tensor, " parameter"]:
    """Give, for every weight, the norm of its unit's weights; 0 for biases and other vectors.

    Args:
        surface: The loss surface.
        point: Parameters.

    Returns:
        A length for each coordinate.
    """
    lengths = torch.zeros_like(point)
    for name, place in surface.selection.slices.items():
        shape = surface.selection.shapes[name]
        if len(shape) > 1:
            own = point[place].view(shape[0], -1)
            lengths[place] = norms(own)[:, None].expand_as(own).reshape(-1)
    return lengths


def _ball(surface: LossSurface, point: Tensor, reach: Tensor, steps: int, seed: int) -> Tensor:
    """Climb on z = reach · u, ‖u‖ = 1, from the gradient and from both ends of the sharpest direction; then inwards."""
    chance = torch.Generator().manual_seed(seed)
    sharpest = eigenpairs(ScaledOperator(surface.product(point), reach), 1, tolerance=1e-4, generator=chance).vectors[0]
    moves = []
    for start in (surface.gradient(point) * reach, sharpest, -sharpest):
        direction = _unit(start)
        moves.append(reach * direction)
        best = surface.loss(point + moves[-1])
        for _ in range(steps):
            # adding the direction itself keeps the climb from swinging to and fro along a direction that bends down
            direction = _unit(_unit(surface.gradient(point + moves[-1]) * reach) + direction)
            value = surface.loss(point + reach * direction)
            if not bool(value > best):
                break
            moves[-1], best = reach * direction, value
    return _highest_along(surface, point, torch.stack(moves))


def _highest_along(surface: LossSurface, point: Tensor, moves: Float[Tensor, "move parameter"]) -> Tensor:
    """Look along straight lines, from no way at all to the whole of it, ever closer around the highest point."""
    low = torch.zeros(len(moves), 1, dtype=moves.dtype, device=moves.device)
    high, best = torch.ones_like(low), surface.loss(point)
    for _ in range(_CLOSER):
        shares = low + (high - low) * torch.linspace(0, 1, _ON_A_LINE, dtype=low.dtype, device=low.device)
        values = surface.loss((point + shares[..., None] * moves[:, None]).flatten(0, 1)).view(shares.shape)
        best = torch.fmax(best, _largest(values))
        at = values.nan_to_num(-torch.inf, posinf=-torch.inf).argmax(1, keepdim=True)
        if bool((shares.gather(1, at) == 1).all()):
            break
        low, high = (shares.gather(1, (at + side).clamp(0, _ON_A_LINE - 1)) for side in (-1, 1))
    return best


def _box(surface: LossSurface, point: Tensor, reach: Tensor, steps: int, seed: int) -> Tensor:
    """Climb within |zᵢ| ≤ reachᵢ from the gradient's corner and from random ones, then from corner to corner."""
    chance = torch.Generator().manual_seed(seed)
    corners = [surface.gradient(point).sign()]
    corners += [torch.randint(0, 2, point.shape, generator=chance).to(point) * 2 - 1 for _ in range(_CORNERS)]
    away = torch.stack(corners) * reach  # all of them climb at once
    best = surface.loss(point + away)
    for step in range(steps):
        rate = 0.5 * (1 - step / steps)
        away = (away + rate * reach * surface.gradient(point + away).sign()).clamp(-reach, reach)
        best = torch.fmax(best, surface.loss(point + away))
    best = torch.fmax(best, _over_corners(surface, point, torch.where(away < 0, -reach, reach)))
    return torch.fmax(surface.loss(point), _largest(best))


def _over_corners(surface: LossSurface, point: Tensor, corners: Float[Tensor, "corner parameter"]) -> Tensor:
    """Step to the highest of those neighbouring corners to which the gradient objects least, while one is higher."""
    each = torch.arange(len(corners), device=corners.device)
    best = surface.loss(point + corners)
    for _ in range(_FLIPS):
        held = surface.gradient(point + corners) * corners
        flips = held.topk(min(_NEIGHBOURS, len(point)), dim=1, largest=False).indices
        tried = corners[:, None].repeat(1, flips.shape[1], 1)
        tried.scatter_(2, flips[..., None], -tried.gather(2, flips[..., None]))
        values = surface.loss((point + tried).flatten(0, 1)).view(flips.shape)
        highest, which = values.nan_to_num(-torch.inf, posinf=-torch.inf).max(1)
        higher = highest > best
        if not bool(higher.any()):
            break
        corners = torch.where(higher[:, None], tried[each, which], corners)
        best = torch.where(higher, highest, best)
    return best


def _largest(values: Tensor) -> Tensor:
    finite = values[values.isfinite()]
    return finite.max() if len(finite) else values.flatten()[0]


def _unit(vector: Tensor) -> Tensor:
    unit: Tensor = vector / norms(vector[None]).clamp_min(torch.finfo(vector.dtype).tiny)
    return unit
