"""Trajectories: a path through parameter space, in the plane of its largest principal components.

The components come from the T × T Gram matrix of the path's points. The explained variance alone proves little, as that
of a random walk is about the same; so it comes with the ratios of simulated walks of the same length and dimension.
The k-th of n points in many dimensions tends to 3 / (2 (n² − 1) sin²(πk / 2n)). Antognini and Sohl-Dickstein 2018,
arXiv:1806.08805; Lorch 2016.
"""

import math

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from bathymetry.core.errors import InputError, whole_number
from bathymetry.core.showing import readable
from bathymetry.probes.points import as_tensor, check_seed, check_surface
from bathymetry.surface import LossSurface

_MOST_POINTS = 1000  # of a Gram matrix that is larger than the covariance matrix, which rounds otherwise
_MOST = 100_000  # components, and walks to simulate


@readable
class RandomWalk:
    """Explained variance ratios of simulated random walks."""

    ratio: Float[Tensor, " component"]  # mean over walks
    spread: Float[Tensor, "end component"]  # 2.5 % and 97.5 % quantiles over walks
    ratios: Float[Tensor, "walk component"]


def random_walk(
    snapshots: int, dimension: int, components: int = 2, *, members: int = 1, walks: int = 200, seed: int = 0
) -> RandomWalk:
    """Simulate random walks and compute the explained variance ratios of each.

    Args:
        snapshots: Number of points of a walk.
        dimension: Dimension of the space.
        components: Number of ratios.
        members: Walks that share one plane, each about its own mean.
        walks: Number of simulations.
        seed: Seed of the walks.

    Returns:
        The ratios, with their spread over walks.

    Example:
        In one dimension one component explains everything.

        >>> random_walk(5, 1, walks=3).ratio
        tensor([1., 0.], dtype=torch.float64)
    """
    whole_number("snapshots", snapshots, 2)
    for field, value in (("dimension", dimension), ("components", components), ("members", members), ("walks", walks)):
        whole_number(field, value, 1)
    generator = Generator().manual_seed(seed)
    ratios = torch.stack([_walk_ratios(snapshots, dimension, members, components, generator) for _ in range(walks)])
    ends = torch.quantile(ratios, torch.tensor([0.025, 0.975], dtype=torch.float64), dim=0)
    return RandomWalk(ratios.mean(0), ends, ratios)


def random_walk_limit(snapshots: int, component: int) -> float:
    """Compute the ratio that a component of a random walk tends to in many dimensions.

    Args:
        snapshots: Number of points of the walk, n.
        component: Component k, from 1.

    Returns:
        3 / (2 (n² − 1) sin²(πk / 2n)).

    Example:
        >>> [round(random_walk_limit(10**6, k), 3) for k in (1, 2, 3)]
        [0.608, 0.152, 0.068]
    """
    whole_number("component", component, 1, whole_number("snapshots", snapshots, 2) - 1)
    return 3 / (2 * (snapshots**2 - 1) * math.sin(math.pi * component / (2 * snapshots)) ** 2)


def _walk_ratios(snapshots: int, dimension: int, members: int, components: int, generator: Generator) -> Tensor:
    rows = members * snapshots
    steps = _gaussian_steps(members * (snapshots - 1), dimension, generator).reshape(members, snapshots - 1, -1)
    walk = torch.cat([torch.zeros(members, 1, steps.shape[2], dtype=torch.float64), steps.cumsum(1)], dim=1)
    centred = (walk - walk.mean(1, keepdim=True)).reshape(rows, -1)
    gram = centred @ centred.T if rows <= centred.shape[1] else centred.T @ centred  # equal but for zeros
    values = torch.linalg.eigvalsh(gram).flip(0)[:components].clamp_min(0)
    return _padded(values, components) / centred.square().sum()


def _gaussian_steps(count: int, dimension: int, generator: Generator) -> Tensor:
    """Vectors with the Gram matrix of standard normal ones, in at most as many coordinates as there are vectors."""
    if dimension <= count:
        return torch.randn(count, dimension, generator=generator, dtype=torch.float64)
    # Bartlett 1933: the triangular factor of a Wishart matrix has normal entries below and chi ones on the diagonal
    lower = torch.randn(count, count, generator=generator, dtype=torch.float64).tril(-1)
    shape = (dimension - torch.arange(count, dtype=torch.float64)) / 2
    return lower + torch.diag((2 * torch._standard_gamma(shape, generator=generator)).sqrt())


def _padded(rows: Tensor, count: int) -> Tensor:
    """Append zeros up to a number of rows."""
    return torch.cat([rows, rows.new_zeros(count - len(rows), *rows.shape[1:])])


@readable
class Trajectory:
    """A path, or the paths of an ensemble, in one plane."""

    projection: Float[Tensor, "*member snapshot component"]
    explained_variance_ratio: Float[Tensor, " component"]
    random_walk_ratio: Float[Tensor, " component"]  # the same of random walks about their own means
    random_walk_spread: Float[Tensor, "end component"]  # 2.5 % and 97.5 % quantiles over walks
    random_walk_ratios: Float[Tensor, "walk component"]
    within_share: float  # of the plane's variance, the share within members; 1 for a single path
    components: Float[Tensor, "component parameter"]
    mean: Float[Tensor, " parameter"]
    distance: Float[Tensor, "*member"]  # along the path
    displacement: Float[Tensor, "*member"]  # from its first point to its last
    turning: Float[Tensor, "*member"]  # mean cosine between successive steps: 1 straight on, 0 random
    loss: Float[Tensor, "*member snapshot"] | None  # at the points
    plane_loss: Float[Tensor, "*member snapshot"] | None  # at their projections


def trajectory(
    weights: Float[Tensor, "*member snapshot parameter"],
    surface: LossSurface | None = None,
    *,
    components: int = 2,
    walks: int = 200,
    seed: int = 0,
) -> Trajectory:
    """Project a path onto the plane of its largest principal components.

    Args:
        weights: Points on a path, or on each member's; all members share one plane about their common mean.
        surface: Loss surface for the loss at the points and at their projections; None for no loss.
        components: Number of components.
        walks: Number of random walks to simulate for comparison.
        seed: Seed of the walks.

    Returns:
        The path in its plane, with the ratios of random walks.

    Example:
        A straight line lies in one dimension and does not turn.

        >>> line = torch.linspace(0, 1, 5)[:, None] * torch.tensor([3.0, 4.0])
        >>> path = trajectory(line)
        >>> round(path.explained_variance_ratio[0].item(), 6), path.distance.item(), round(path.turning.item(), 6)
        (1.0, 5.0, 1.0)
    """
    paths, single = _as_paths(weights)
    if surface is not None:
        check_surface(surface)
    whole_number("components", components, 1, _MOST)
    whole_number("walks", walks, 1, _MOST)
    seed = check_seed(seed)
    finite = paths.isfinite().flatten(1).all(1)
    if not bool(finite.any()):
        raise InputError("weights", "not finite", "expected a path of finite numbers")
    _, snapshots, dimension = paths.shape
    components = min(components, dimension)
    mean, basis, ratio = _principal_components(paths[finite].flatten(0, 1), components)
    projection = (paths - mean) @ basis.T
    walk = random_walk(snapshots, dimension, components, members=int(finite.sum()), walks=walks, seed=seed)
    steps = paths.diff(dim=1)
    cosines = torch.nn.functional.cosine_similarity(steps[:, :-1], steps[:, 1:], dim=2, eps=1e-300)

    def squeeze(results: Tensor) -> Tensor:
        return results[0] if single else results

    def losses(points: Tensor) -> Tensor | None:
        return None if surface is None else squeeze(surface.loss(points.flatten(0, 1)).cpu().view(points.shape[:2]))

    return Trajectory(
        projection=squeeze(projection),
        explained_variance_ratio=ratio,
        random_walk_ratio=walk.ratio,
        random_walk_spread=walk.spread,
        random_walk_ratios=walk.ratios,
        within_share=_within_share(projection[finite]),
        components=basis,
        mean=mean,
        distance=squeeze(steps.norm(dim=2).sum(1)),
        displacement=squeeze((paths[:, -1] - paths[:, 0]).norm(dim=1)),
        turning=squeeze(cosines.mean(1)),  # NaN for a single step
        loss=losses(paths),
        plane_loss=losses(mean + projection @ basis),
    )


def _as_paths(weights: Tensor) -> tuple[Float[Tensor, "member snapshot parameter"], bool]:
    """Paths in float64 with a member axis, and whether they came without one."""
    weights = as_tensor("weights", weights, "expected a tensor (snapshot, parameter)")
    if weights.ndim not in (2, 3) or weights.shape[-2] < 2 or weights.shape[-1] < 1:
        shape = f"shape {tuple(weights.shape)}"
        raise InputError("weights", shape, "expected (snapshot, parameter) with at least two snapshots")
    single = weights.ndim == 2
    return (weights[None] if single else weights).double().cpu(), single


def _within_share(projection: Float[Tensor, "member snapshot component"]) -> float:
    """Share of the variance that is within members, not between their means; NaN if nothing varies."""
    within = (projection - projection.mean(1, keepdim=True)).square().sum()
    total = (projection - projection.mean((0, 1))).square().sum()
    return float(within / total)


def _principal_components(points: Float[Tensor, "point parameter"], count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, unit vectors whose largest entry is positive, and explained variance ratios."""
    mean = points.mean(0)
    centred = points - mean
    if len(points) <= max(_MOST_POINTS, points.shape[1]):
        values, vectors = torch.linalg.eigh(centred @ centred.T)
        directions = vectors.flip(1)[:, :count].T @ centred
    else:
        values, vectors = torch.linalg.eigh(centred.T @ centred)
        unit = vectors.flip(1)[:, :count]
        directions = (unit * (centred @ unit).norm(dim=0)).T
    lengths = directions.norm(dim=1, keepdim=True)
    tiny = torch.finfo(lengths.dtype).tiny
    directions = torch.where(lengths > 1e-12 * lengths.max(), directions / lengths.clamp_min(tiny), 0.0)
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    basis = directions * torch.where(largest < 0, -1.0, 1.0)
    ratio = values.flip(0)[:count].clamp_min(0)
    return mean, _padded(basis, count), _padded(ratio, count) / centred.square().sum()
