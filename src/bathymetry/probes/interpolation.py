"""Loss along the line between two networks, and on a line or plane around one.

    θ(α) = (1 − α) a + α b

The barrier is how far the highest point between the ends rises, above the mean of the ends (Frankle et al. 2020,
arXiv:1912.05671) or above the straight line between them (Entezari et al. 2022, arXiv:2110.06296). Random directions of
a landscape are filter-normalised (Li et al. 2018, arXiv:1712.09913).
"""

from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor, nn

from bathymetry.core.errors import InputError, positive_number, whole_number
from bathymetry.core.showing import readable
from bathymetry.core.tensors import norms
from bathymetry.linalg.eigenpairs import eigenpairs
from bathymetry.probes.points import Theta, as_points, as_tensor, check_seed, check_surface, one_of
from bathymetry.probes.sharpness import unit_norms
from bathymetry.surface import LossSurface
from bathymetry.surface.fixed_tensors import FixedTensorsOnLine
from bathymetry.surface.selection import Output

_MAX_POINTS = 100_000  # of an interpolation
_MAX_ON_AXIS = {1: 10**6, 2: 10**4}  # points on an axis of a line or a plane
_AT_ONCE = 16  # points of each member in one pass
_ROUNDING = 16  # rounding units of the largest α within which a point is an end

Statistics = Literal["refuse", "estimate", "interpolate"]
Directions = Literal["filter", "eigenvectors"] | Float[Tensor, "direction parameter"]


@readable
class Interpolation:
    """Loss and accuracy along a line."""

    alpha: Float[Tensor, " point"]
    loss: Float[Tensor, "*member point"]
    accuracy: Float[Tensor, "*member point"] | None  # None without classes
    barrier: Float[Tensor, "*member"]  # of the loss in [0, 1], above the mean of the ends
    barrier_above_line: Float[Tensor, "*member"]  # of the loss in [0, 1], above the straight line between the ends
    error_barrier: Float[Tensor, "*member"] | None  # of 1 − accuracy, above the mean of the ends
    error_barrier_above_line: Float[Tensor, "*member"] | None
    monotone: Bool[Tensor, "*member"]  # whether the loss never rises from 0 to 1


def interpolate(
    surface: LossSurface,
    a: Float[Tensor, "*member parameter"] | nn.Module,
    b: Float[Tensor, "*member parameter"] | nn.Module,
    alphas: Sequence[float] | Float[Tensor, " point"] | int = 21,
    *,
    statistics: Statistics = "refuse",
    data: Any = None,
    output: Output = None,
) -> Interpolation:
    """Measure loss and accuracy on the line through two networks.

    Args:
        surface: Loss surface.
        a: The end at α = 0: a network, or parameters, one point or one per member.
        b: The end at α = 1, likewise.
        alphas: Ascending values with 0 and 1 among them, or the number of values from 0 to 1.
        statistics: Running statistics between two networks that differ in them, as with BatchNorm in evaluation mode:
            "estimate" on the data at each point (Jordan et al. 2022, arXiv:2211.08403), or "interpolate" like the
            weights. "refuse" does not accept such networks.
        data: What to estimate statistics on, in any form that a surface accepts. Defaults to the surface's own data.
        output: Which of several outputs has the accuracy: a name, a position, or a function of the network's output.

    Returns:
        Loss and accuracy at every point, and the barriers; NaN where the surface is. At α = 0 and 1 they are exactly
        those of a and b.

    Raises:
        InputError: If the ends are not points of the surface or differ in shape, 0 or 1 is missing, or running
            statistics differ under "refuse".

    Example:
        Between the two minima of (w² − 1)² the barrier is 1, at w = 0.

        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> quartic = lambda model, batch: (model.weight**2 - 1).square().sum()
        >>> surface = LossSurface(model, quartic, (torch.ones(1, 1), torch.ones(1, 1)))
        >>> interpolate(surface, torch.tensor([-1.0]), torch.tensor([1.0])).barrier.item()
        1.0
    """
    check_surface(surface)
    surface = surface.at_least_float32(stacklevel=3)  # bfloat16 may not resolve the steps of a line
    one_of("statistics", statistics, Statistics)
    (starts, single, fixed_a), (ends, single_b, fixed_b) = _end(surface, a, "a"), _end(surface, b, "b")
    shape_a, shape_b = tuple(starts.shape[single:]), tuple(ends.shape[single_b:])
    if shape_a != shape_b:
        raise InputError("b", f"shape {shape_b}", f"expected the shape of a, {shape_a}")
    points = _as_alphas(alphas)
    line = surface.on_line(fixed_a, fixed_b, statistics, data)
    quick = None if output is not None or line.varies else surface.along(starts, ends, points)
    loss, accuracy = quick or _measure(surface, line, starts, ends, points, output)
    inside = (points >= 0) & (points <= 1)
    monotone = (loss[:, inside].diff(dim=1) <= 0).all(1)
    barrier, above_line = _barriers(loss[:, inside], points[inside])
    errors = (None, None) if accuracy is None else _barriers(1 - accuracy[:, inside], points[inside])

    def squeeze(results: Any) -> Any:
        return results[0] if single and results is not None else results

    return Interpolation(
        alpha=points,
        loss=squeeze(loss),
        accuracy=squeeze(accuracy),
        barrier=squeeze(barrier),
        barrier_above_line=squeeze(above_line),
        error_barrier=squeeze(errors[0]),
        error_barrier_above_line=squeeze(errors[1]),
        monotone=squeeze(monotone),
    )


def _end(
    surface: LossSurface, end: Tensor | nn.Module, field: str
) -> tuple[Float[Tensor, "member parameter"], bool, dict[str, Tensor]]:
    """Parameters, whether they are one point, and other tensors of the network that change the loss."""
    if end is None:
        raise InputError(field, None, "expected a network, or a tensor of real numbers")
    if isinstance(end, nn.Module):
        theta, fixed = surface.place(end, field)
        return theta[None], True, fixed
    return *surface.points(end, field), {}


def _as_alphas(alphas: Sequence[float] | Tensor | int) -> Float[Tensor, " point"]:
    """Ascending values in float64, 0 and 1 exact where rounding missed them."""
    if isinstance(alphas, Integral):
        return torch.linspace(0, 1, whole_number("alphas", alphas, 2, _MAX_POINTS), dtype=torch.float64)
    original = as_tensor("alphas", alphas, "expected ascending numbers, or how many")
    points = original.to("cpu", torch.float64)
    if points.ndim != 1 or len(points) < 2 or not bool((points.diff() > 0).all() and points.isfinite().all()):
        raise InputError("alphas", "not ascending", "expected finite numbers in ascending order")
    python = isinstance(alphas, Sequence) or not original.is_floating_point()  # numbers with 53 bits
    unit = torch.finfo(torch.float64 if python else original.dtype).eps
    for end in (0.0, 1.0):
        distance = (points - end).abs()
        nearest = distance.argmin()
        if bool(distance[nearest] > _ROUNDING * unit * points.abs().max()):
            remedy = f"expected 0 and 1 among them, such as [0.0, 0.5, 1.0]; the nearest is {points[nearest]:.6g}"
            raise InputError("alphas", f"values without {end:g}", remedy)
        points[nearest] = end
    return points


def _measure(
    surface: LossSurface,
    line: FixedTensorsOnLine,
    starts: Float[Tensor, "member parameter"],
    ends: Float[Tensor, "member parameter"],
    points: Float[Tensor, " point"],
    output: Output,
) -> tuple[Float[Tensor, "member point"], Float[Tensor, "member point"] | None]:
    """Loss and accuracy; at the ends exactly the networks', and everywhere if they are equal."""
    between = ((points != 0) & (points != 1)).nonzero().squeeze(1)
    if len(between):
        line.check_between()
    equal = (starts == ends).all(1, keepdim=True).cpu() & (not line.differing)

    def accuracy(theta: Tensor) -> Tensor:
        return surface.accuracy(theta, output=output)

    def curve(quantity: Callable[[Tensor], Tensor]) -> Float[Tensor, "member point"]:
        first, last = (line.measured(quantity, end, alpha).cpu() for end, alpha in ((starts, 0.0), (ends, 1.0)))
        values = torch.where(points == 1, last[:, None], first[:, None])
        for some in torch.split(between, 1 if line.varies else _AT_ONCE) if len(between) else ():
            shares = points[some].to(starts)[:, None]
            rows = (starts[:, None] + shares * (ends - starts)[:, None]).flatten(0, 1)
            here = line.measured(quantity, rows, float(points[some[0]]) if line.varies else None)
            values[:, some] = here.view(len(starts), -1).cpu()
        return torch.where(equal, first[:, None], values)

    losses = curve(surface.loss)
    if not surface.has_classes and output is None:
        return losses, None
    try:
        line.measured(accuracy, starts[:1], 0.0)
    except InputError:  # outputs and classes do not match
        if output is not None:
            raise
        return losses, None
    return losses, curve(accuracy)


def _barriers(values: Float[Tensor, "member point"], points: Float[Tensor, " point"]) -> tuple[Tensor, Tensor]:
    first, last = values[:, :1], values[:, -1:]
    mean, straight = (first + last) / 2, first + points * (last - first)
    return (values - mean).amax(1), (values - straight).amax(1)


@readable
class Landscape:
    """The loss around a point."""

    loss: Float[Tensor, "*grid"]  # (x,) for a line, (x, y) for a plane
    axes: tuple[Float[Tensor, " point"], ...]  # signed distance along each direction
    directions: Float[Tensor, "direction parameter"]  # unit vectors


def landscape(
    surface: LossSurface,
    theta: Theta = None,
    *,
    directions: Directions = "filter",
    dimensions: Literal[1, 2] = 2,
    radius: float = 1.0,
    points: int = 21,
    seed: int = 0,
) -> Landscape:
    """Measure the loss on a line or plane around a point.

    Args:
        surface: Loss surface.
        theta: The centre. Defaults to the model's current parameters.
        directions: "filter" for random filter-normalised directions, "eigenvectors" for those of the largest
            eigenvalues, or one or two vectors.
        dimensions: 1 for a line, 2 for a plane; ignored if the directions are vectors.
        radius: Extent on both sides, in lengths of the direction; for eigenvectors a distance.
        points: Number of points on each axis, at most a million on a line and 10,000 on a plane; odd to include the
            centre.
        seed: Seed of random directions.

    Returns:
        The loss on the grid, with distances.

    Example:
        L = w² at w = 0, one and two units away.

        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> surface = LossSurface(model, "mse", (torch.ones(1, 1), torch.zeros(1, 1)))
        >>> landscape(surface, torch.zeros(1), directions=torch.ones(1, 1), radius=2.0, points=5).loss.tolist()
        [4.0, 1.0, 0.0, 1.0, 4.0]
    """
    radius, seed = positive_number("radius", radius), check_seed(seed)
    surface, where = as_points(surface, theta, "float32")
    centre = where.one()
    along = _directions(surface, centre, directions, dimensions, seed)
    points = whole_number("points", points, 2, _MAX_ON_AXIS[len(along)])
    lengths = norms(along)
    if bool((lengths == 0).any()):
        raise InputError("directions", "of length 0", "expected directions other than 0")
    steps = torch.linspace(-radius, radius, points, dtype=along.dtype, device=along.device)
    grid = torch.cartesian_prod(*[steps] * len(along)).reshape(-1, len(along))
    losses = [surface.loss(centre + some @ along) for some in torch.split(grid, _AT_ONCE)]
    return Landscape(
        loss=torch.cat(losses).view([points] * len(along)).cpu(),
        axes=tuple((steps * length).cpu() for length in lengths),
        directions=along / lengths[:, None],
    )


def _directions(
    surface: LossSurface, centre: Tensor, directions: Directions, dimensions: int, seed: int
) -> Float[Tensor, "direction parameter"]:
    if directions is None or (isinstance(directions, str) and directions not in ("filter", "eigenvectors")):
        raise InputError("directions", directions, 'expected "filter", "eigenvectors" or vectors')
    if not isinstance(directions, str):
        return _as_directions(surface, directions)
    dimensions, generator = whole_number("dimensions", dimensions, 1, 2), Generator().manual_seed(seed)
    if directions == "eigenvectors":
        return eigenpairs(surface.product(centre), dimensions, generator=generator).vectors
    drawn = torch.randn(dimensions, surface.dimension, generator=generator, dtype=torch.float64).to(centre)
    sizes = torch.stack([unit_norms(surface, one) for one in drawn])
    tiny = torch.finfo(centre.dtype).tiny
    return torch.where(sizes > 0, drawn * unit_norms(surface, centre) / sizes.clamp_min(tiny), 0.0)


def _as_directions(surface: LossSurface, directions: Tensor) -> Float[Tensor, "direction parameter"]:
    vectors, _ = surface.points(directions, "directions")
    if len(vectors) > 2:
        raise InputError("directions", f"{len(vectors)} vectors", "expected one for a line or two for a plane")
    if not bool(vectors.isfinite().all()):
        raise InputError("directions", "not finite", "expected finite numbers")
    if len(vectors) == 2:
        first, second = vectors.double()
        cosine = torch.nn.functional.cosine_similarity(first, second, dim=0, eps=1e-300).abs()
        if bool(cosine > 1 - 8 * torch.finfo(vectors.dtype).eps):
            raise InputError("directions", "parallel", "expected two that span a plane")
    return vectors
