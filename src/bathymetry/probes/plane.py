"""A landscape: the loss on a line or a plane through a point, along directions that mean something.

    L(θ + x d₁ + y d₂)

Random directions are Gaussian and filter-normalised: scaled, unit by unit, to the norm of that unit's weights, biases
left out, which removes the freedom to rescale whole layers (Li et al. 2018, arXiv:1712.09913). The axes are the true
distances moved in parameter space along each direction; random directions, and your own, need not be orthogonal, and
then distances across the plane are others. NaN stays NaN.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from bathymetry.core.checks import positive_number, whole_number
from bathymetry.core.errors import InputError
from bathymetry.core.norms import norms
from bathymetry.core.showing import readable
from bathymetry.probes.places import check_surface, one_place
from bathymetry.probes.sharp import unit_norms
from bathymetry.spectra import eigenpairs
from bathymetry.surface import LossSurface

_TOGETHER = 16  # points in one pass
_MOST = {1: 10**6, 2: 10**4}  # points on an axis of a line or a plane: more than anybody can wait for

Directions = Literal["filter", "eigenvectors"] | Float[Tensor, "direction parameter"]


@readable
class Landscape:
    """The loss around a point."""

    loss: Float[Tensor, "*grid"]  # (x,) for a line, (x, y) for a plane
    axes: tuple[Float[Tensor, " point"], ...]  # distance moved along each direction, signed
    directions: Float[Tensor, "direction parameter"]  # unit vectors


def landscape(
    surface: LossSurface,
    theta: Float[Tensor, " parameter"] | None = None,
    *,
    directions: Directions = "filter",
    dimensions: Literal[1, 2] = 2,
    reach: float = 1.0,
    points: int = 21,
    seed: int = 0,
) -> Landscape:
    """Measure the loss around a point.

    Args:
        surface: The loss surface.
        theta: The centre; the network's own parameters if None.
        directions: "filter" for random filter-normalised ones, "eigenvectors" for those of the largest eigenvalues, or
            one or two of your own.
        dimensions: 1 for a line, 2 for a plane; of directions of your own, as many as there are.
        reach: How far to go both ways: a multiple of the direction's own length; for eigenvectors a distance.
        points: On each axis, at most a million of a line and 10,000 of a plane; an odd number has the
            centre itself on the grid.
        seed: Of random directions.

    Returns:
        The loss on the grid, with true distances.

    Raises:
        InputError: If the directions can't be, or the grid is empty.
    """
    points, reach = whole_number("points", points, 2, _MOST[1]), positive_number("reach", reach)
    seed = whole_number("seed", seed, 0, 2**63 - 1)
    check_surface(surface)
    surface = surface.at_least_float32()
    centre = one_place(surface, theta)
    along = _directions(surface, centre, directions, dimensions, seed)
    whole_number("points", points, 2, _MOST[len(along)])
    lengths = norms(along)
    if bool((lengths == 0).any()):
        raise InputError("directions", "of no length", "give directions that lead somewhere")
    steps = torch.linspace(-reach, reach, points, dtype=along.dtype, device=along.device)
    grid = torch.cartesian_prod(*[steps] * len(along)).reshape(-1, len(along))
    losses = [surface.loss(centre + some @ along) for some in torch.split(grid, _TOGETHER)]
    return Landscape(
        loss=torch.cat(losses).view([points] * len(along)).cpu(),
        axes=tuple((steps * length).cpu() for length in lengths),
        directions=along / lengths[:, None],
    )


def _directions(
    surface: LossSurface, centre: Tensor, directions: Directions, dimensions: int, seed: int
) -> Float[Tensor, "direction parameter"]:
    chance = torch.Generator().manual_seed(seed)
    if directions is None:
        raise InputError("directions", None, 'expected "filter", "eigenvectors" or tensors')
    if not isinstance(directions, str):
        return _given(surface, directions)
    if isinstance(dimensions, bool) or not isinstance(dimensions, int) or dimensions not in (1, 2):
        raise InputError("dimensions", dimensions, "give 1 for a line or 2 for a plane")
    if directions == "eigenvectors":
        return eigenpairs(surface.product(centre), dimensions, generator=chance).vectors
    if directions != "filter":
        raise InputError("directions", directions, 'give "filter", "eigenvectors" or tensors')
    lengths = unit_norms(surface, centre)
    drawn = torch.randn(dimensions, surface.dimension, generator=chance, dtype=torch.float64).to(centre)
    norms = torch.stack([unit_norms(surface, one) for one in drawn])
    return torch.where(norms > 0, drawn * lengths / norms.clamp_min(torch.finfo(centre.dtype).tiny), 0.0)


def _given(surface: LossSurface, directions: Tensor) -> Float[Tensor, "direction parameter"]:
    given, _ = surface.points(directions, "directions")
    if len(given) > 2:
        raise InputError("directions", f"{len(given)} of them", "give one for a line or two for a plane")
    if not bool(given.isfinite().all()):
        raise InputError("directions", "not finite", "give finite numbers")
    lengths = given.double().norm(dim=1)
    if len(given) == 2:
        overlap = (given[0].double() @ given[1].double()).abs() / lengths.prod()
        if bool(overlap > 1 - 8 * torch.finfo(given.dtype).eps):
            raise InputError("directions", "parallel", "give two that span a plane")
    return given
