"""Sharpness: how far the loss can rise within a small neighbourhood.

    keskar  100 · max over |zᵢ| ≤ ε(|θᵢ| + 1) of (L(θ + z) − L(θ)) / (1 + L(θ))     Keskar et al. 2017, arXiv:1609.04836
    ball    max over ‖z‖ ≤ ε of L(θ + z) − L(θ)
    sam     L(θ + ε g/‖g‖) − L(θ)                                                    Foret et al. 2021, arXiv:2010.01412

The maxima are climbed to, from several starts, so they are lower bounds; random sampling does not find them in many
dimensions. With `scale="filter"` a unit's weights move in proportion to their norm and biases stay, so that rescaling
whole layers of a ReLU network changes nothing (Li et al. 2018, arXiv:1712.09913).
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from bathymetry.core.errors import InputError
from bathymetry.probes.places import filled, places
from bathymetry.spectra import eigenpairs
from bathymetry.surface import LossSurface

Kind = Literal["keskar", "sam", "ball"]
Scale = Literal["absolute", "filter"]


@dataclass(frozen=True)
class Sharpness:
    """How far the loss can rise nearby."""

    value: Float[Tensor, "*member"]
    rise: Float[Tensor, "*member"]  # of the loss itself, the largest that was found
    loss: Float[Tensor, "*member"]  # at the point
    kind: Kind
    epsilon: float


def sharpness(
    surface: LossSurface,
    kind: Kind = "keskar",
    theta: Float[Tensor, "*member parameter"] | None = None,
    *,
    epsilon: float = 1e-3,
    scale: Scale = "absolute",
    steps: int = 30,
    seed: int = 0,
) -> Sharpness:
    """Measure how far the loss can rise nearby.

    Args:
        surface: The loss surface.
        kind: "keskar", "sam" or "ball".
        theta: One point or one a member; the network's own parameters if None.
        epsilon: The size of the neighbourhood.
        scale: "absolute", or "filter" for neighbourhoods in proportion to each unit's weights.
        steps: Of each climb.
        seed: Of the starts.

    Returns:
        The sharpness; NaN for a member that diverged.

    Raises:
        InputError: If there is no such kind or scale, or the neighbourhood is empty.

    Example:
        A parabola 4w² at its bottom rises by 4ε² within ε.

        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> _ = torch.nn.init.zeros_(model.weight)
        >>> surface = LossSurface(model, "mse", (torch.tensor([[2.0]]), torch.zeros(1, 1)), dtype=torch.float64)
        >>> round(sharpness(surface, "ball", epsilon=0.1).value.item(), 9)
        0.04
    """
    for field, given, known in (("kind", kind, get_args(Kind)), ("scale", scale, get_args(Scale))):
        if given not in known:
            raise InputError(field, given, f"give one of {', '.join(known)}")
    if not epsilon > 0:
        raise InputError("epsilon", epsilon, "give a positive number")
    where = places(surface, theta)

    def measure(point: Tensor) -> Tensor:
        lengths = unit_norms(surface, point) if scale == "filter" else torch.ones_like(point)
        loss = surface.loss(point)
        climbed = _box(surface, point, lengths, epsilon, steps, seed) if kind == "keskar" else None
        if climbed is None:
            climbed = _ball(surface, point, lengths, epsilon, 0 if kind == "sam" else steps, seed)
        rise = climbed - loss
        return torch.stack([100 * rise / (1 + loss) if kind == "keskar" else rise, rise, loss]).cpu()

    table = filled(where.each(measure), torch.empty(3, dtype=torch.float64))
    value, rise, loss = (where.given(column) for column in table.T)
    return Sharpness(value, rise, loss, kind, epsilon)


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
            lengths[place] = own.norm(dim=1, keepdim=True).expand_as(own).reshape(-1)
    return lengths


def _ball(surface: LossSurface, point: Tensor, lengths: Tensor, epsilon: float, steps: int, seed: int) -> Tensor:
    """Climb on ‖u‖ ≤ ε with z = lengths · u: along the gradient, and from both ends of the sharpest direction."""
    slope = surface.gradient(point) * lengths
    starts = [slope]
    if steps:
        found = eigenpairs(
            _Scaled(surface, point, lengths), 1, tolerance=1e-4, generator=torch.Generator().manual_seed(seed)
        )
        starts += [found.vectors[0], -found.vectors[0]]
    best = surface.loss(point)
    for start in starts:
        direction = _unit(start)
        for step in range(steps + 1):
            reached = point + epsilon * lengths * direction
            value = surface.loss(reached)
            if not bool(value > best) and step > 0:
                break
            best = torch.fmax(best, value)
            # adding the direction itself keeps the climb from swinging to and fro along a direction that bends down
            direction = _unit(_unit(surface.gradient(reached) * lengths) + direction)
    return best


def _box(surface: LossSurface, point: Tensor, lengths: Tensor, epsilon: float, steps: int, seed: int) -> Tensor:
    """Climb within |zᵢ| ≤ ε(|θᵢ| + 1), or ε times the unit's norm, from the gradient's corner and from random ones."""
    plain = bool((lengths == 1).all())
    reach = epsilon * (point.abs() + 1) if plain else epsilon * lengths
    chance = torch.Generator().manual_seed(seed)
    corners = [surface.gradient(point).sign()]
    corners += [torch.randint(0, 2, point.shape, generator=chance).to(point) * 2 - 1 for _ in range(3)]
    best = surface.loss(point).expand(len(corners))
    away = torch.stack(corners) * reach  # all of them climb at once
    for step in range(steps):
        best = torch.fmax(best, surface.loss(point + away))
        rate = 0.5 * (1 - step / steps)
        away = (away + rate * reach * surface.gradient(point + away).sign()).clamp(-reach, reach)
    reached: Tensor = torch.fmax(best, surface.loss(point + away))
    return reached[reached.isfinite()].max() if bool(reached.isfinite().any()) else reached[0]


class _Scaled:
    """The Hessian in the coordinates u of z = lengths · u."""

    def __init__(self, surface: LossSurface, point: Tensor, lengths: Tensor) -> None:
        self._product, self._lengths = surface.product(point), lengths
        self.dimension, self.dtype, self.device = surface.dimension, surface.dtype, surface.device

    def __call__(self, vectors: Float[Tensor, "vector dimension"]) -> Float[Tensor, "vector dimension"]:
        """Multiply.

        Args:
            vectors: A row each.

        Returns:
            Products.
        """
        return self._lengths * self._product(self._lengths * vectors)


def _unit(vector: Tensor) -> Tensor:
    unit: Tensor = vector / vector.norm().clamp_min(torch.finfo(vector.dtype).tiny)
    return unit
