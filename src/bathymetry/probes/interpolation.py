"""What lies between two networks: loss and accuracy along the straight line through their parameters.

    θ(α) = (1 − α) a + α b

The barrier is how far the worst point between the ends rises, above the mean of the ends (Frankle et al. 2020,
arXiv:1912.05671) or above the straight line between them (Entezari et al. 2022, arXiv:2110.06296).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from bathymetry.core.errors import InputError, check_dense, positive_number, whole_number
from bathymetry.core.networks import norms
from bathymetry.core.showing import readable
from bathymetry.linalg import eigenpairs
from bathymetry.probes.points import check_surface, one_place
from bathymetry.probes.sharpness import unit_norms
from bathymetry.surface import LossSurface
from bathymetry.surface.along import along
from bathymetry.surface.fixed_tensors import FixedTensorsOnLine
from bathymetry.surface.outputs import Output

Statistics = Literal["refuse", "estimate", "interpolate"]

_MOST = 100_000  # points
_TOGETHER = 16  # points of each member in one pass
_ROUNDING = 16  # rounding units of the largest α within which a point is an end


@readable
class Interpolation:
    """Loss and accuracy along a line."""

    alpha: Float[Tensor, " point"]
    loss: Float[Tensor, "*member point"]
    accuracy: Float[Tensor, "*member point"] | None  # None where targets are no classes, or outputs none for each
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
    """Walk from one network to another and on.

    Args:
        surface: The loss surface.
        a: What stands at α = 0: a network, or parameters, one point or one a member.
        b: What stands at α = 1, likewise.
        alphas: Where to look, rising, with 0 and 1 among them; or how many points from 0 to 1.
        statistics: What BatchNorm uses between two networks in evaluation mode, each of which has running statistics of
            its own: "estimate" for statistics that are estimated anew at each point (Jordan et al. 2022,
            arXiv:2211.08403), "interpolate" for what lies between theirs, as between their weights. "refuse" takes no
            networks whose statistics differ.
        data: What to estimate statistics on, in any form that a surface takes; the surface's own data if None.
        output: Which of several outputs the accuracy is of: a name, a position, or a function of the network's output.

    Returns:
        Loss and accuracy at every point, and the barriers; NaN where the surface is. At α = 0 and 1 they are those of
        a and b alone, whatever the other is.

    Raises:
        InputError: If the ends are no points of the surface or have different shapes, 0 or 1 is not among the points,
            or nothing says which statistics the networks between have.

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
    check_surface(surface)
    surface = surface.at_least_float32()  # a step of a line may be less than bfloat16 can tell
    if not isinstance(statistics, str) or statistics not in get_args(Statistics):
        raise InputError("statistics", statistics, f"expected one of {', '.join(get_args(Statistics))}")
    starts, ends = _end(surface, a, "a"), _end(surface, b, "b")
    if (starts.theta.shape, starts.single) != (ends.theta.shape, ends.single):
        shapes = [tuple(one.theta.shape[1:] if one.single else one.theta.shape) for one in (starts, ends)]
        raise InputError("b", f"shape {shapes[1]}", f"give the shape of a, {shapes[0]}")
    points, single = _given(alphas), starts.single
    line = FixedTensorsOnLine(surface, starts.beside, ends.beside, statistics, data)
    quick = None if output is not None or line.varies else along(surface, starts.theta, ends.theta, points)
    loss, accuracy = quick or _walked(surface, line, starts.theta, ends.theta, points, output)
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


@dataclass(frozen=True)
class _End:
    theta: Float[Tensor, "member parameter"]
    single: bool
    beside: dict[str, Tensor]  # what the surface needs beside θ


def _end(surface: LossSurface, given: Tensor | nn.Module, field: str) -> _End:
    if given is None:
        raise InputError(field, None, "expected a network, or a tensor of real numbers")
    if isinstance(given, nn.Module):
        theta, beside = surface.place(given, field)
        return _End(theta[None], True, beside)
    return _End(*surface.points(given, field), {})


def _given(alphas: Sequence[float] | Tensor | int) -> Tensor:
    if isinstance(alphas, Integral):
        return torch.linspace(0, 1, whole_number("alphas", alphas, 2, _MOST), dtype=torch.float64)
    try:
        given = torch.as_tensor(alphas)
        check_dense("alphas", given)
        points = given.detach().to("cpu", torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError("alphas", type(alphas).__name__, "give numbers in rising order, or how many") from error
    rising = points.ndim == 1 and len(points) > 1 and bool((points.diff() > 0).all() and points.isfinite().all())
    if not rising:
        raise InputError("alphas", "not rising", "give finite numbers in rising order")
    listed = isinstance(alphas, Sequence) or not given.is_floating_point()  # of Python's numbers, which have 53 bits
    unit = torch.finfo(torch.float64 if listed else given.dtype).eps
    for end in (0.0, 1.0):  # which steps such as those of `linspace` miss by their rounding
        away = (points - end).abs()
        if bool(away.min() <= _ROUNDING * unit * points.abs().max()):
            points[away.argmin()] = end
        else:
            remedy = "expected a grid that holds both ends, such as [0.0, 0.5, 1.0]; the nearest is {:.6g}"
            raise InputError("alphas", f"a grid without {end:g}", remedy.format(float(points[away.argmin()])))
    return points


def _walked(
    surface: LossSurface,
    line: FixedTensorsOnLine,
    starts: Float[Tensor, "member parameter"],
    ends: Float[Tensor, "member parameter"],
    points: Float[Tensor, " point"],
    output: Output,
) -> tuple[Float[Tensor, "member point"], Float[Tensor, "member point"] | None]:
    """Measure at every point; at the ends the networks themselves, and all along where they are the same."""
    between = ((points != 0) & (points != 1)).nonzero().squeeze(1)
    if len(between):
        line.check_between()
    same = (starts == ends).all(1, keepdim=True).cpu() & (not line.differing)
    accuracies = _has_accuracy(surface, line, starts, output)
    found = []
    for measure in (surface.loss, lambda theta: surface.accuracy(theta, output=output))[: 2 if accuracies else 1]:
        first, last = (line.measured(measure, one, end).cpu() for one, end in ((starts, 0.0), (ends, 1.0)))
        measured = torch.where(points == 1, last[:, None], first[:, None])
        for some in torch.split(between, 1 if line.varies else _TOGETHER) if len(between) else ():
            share = points[some].to(starts)[:, None]
            rows = (starts[:, None] + share * (ends - starts)[:, None]).flatten(0, 1)
            here = line.measured(measure, rows, float(points[some[0]]) if line.varies else None)
            measured[:, some] = here.view(len(starts), -1).cpu()
        found.append(torch.where(same, first[:, None], measured))
    return found[0], found[1] if accuracies else None


def _has_accuracy(surface: LossSurface, line: FixedTensorsOnLine, starts: Tensor, output: Output) -> bool:
    """Find out whether there is an accuracy; where an output was chosen, it has to have one."""
    if not surface.has_classes and output is None:
        return False
    try:
        line.measured(lambda theta: surface.accuracy(theta, output=output), starts[:1], 0.0)
    except InputError:
        if output is not None:
            raise
        return False
    return True


def _barriers(values: Float[Tensor, "member point"], points: Float[Tensor, " point"]) -> tuple[Tensor, Tensor]:
    first, last = values[:, :1], values[:, -1:]
    mean, straight = (first + last) / 2, first + points * (last - first)
    return (values - mean).amax(1), (values - straight).amax(1)


_PLANE_TOGETHER = 16  # points in one pass
_PLANE_MOST = {1: 10**6, 2: 10**4}  # points on an axis of a line or a plane: more than anybody can wait for

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
    radius: float = 1.0,
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
        radius: How far to go both ways: a multiple of the direction's own length; for eigenvectors a distance.
        points: On each axis, at most a million of a line and 10,000 of a plane; an odd number has the
            centre itself on the grid.
        seed: Of random directions.

    Returns:
        The loss on the grid, with true distances.

    Raises:
        InputError: If the directions can't be, or the grid is empty.
    """
    points, radius = whole_number("points", points, 2, _PLANE_MOST[1]), positive_number("radius", radius)
    seed = whole_number("seed", seed, 0, 2**63 - 1)
    check_surface(surface)
    surface = surface.at_least_float32()
    centre = one_place(surface, theta)
    along = _directions(surface, centre, directions, dimensions, seed)
    whole_number("points", points, 2, _PLANE_MOST[len(along)])
    lengths = norms(along)
    if bool((lengths == 0).any()):
        raise InputError("directions", "of no length", "give directions that lead somewhere")
    steps = torch.linspace(-radius, radius, points, dtype=along.dtype, device=along.device)
    grid = torch.cartesian_prod(*[steps] * len(along)).reshape(-1, len(along))
    losses = [surface.loss(centre + some @ along) for some in torch.split(grid, _PLANE_TOGETHER)]
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
        return _plane_given(surface, directions)
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


def _plane_given(surface: LossSurface, directions: Tensor) -> Float[Tensor, "direction parameter"]:
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
