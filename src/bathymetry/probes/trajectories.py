"""Where the weights go: a path through parameter space, seen in the plane in which it moves most.

Principal components of the path through its T × T Gram matrix, never a P × P one. The share of variance that a plane
explains proves little, as a random walk's does the same; so the ratios of a simulated walk of the same length and
dimension stand beside, with their spread. Antognini and Sohl-Dickstein 2018, arXiv:1806.08805; Lorch 2016.
"""

import math
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from bathymetry.core.errors import InputError, check_dense, whole_number
from bathymetry.core.showing import readable


@readable
class RandomWalk:
    """Explained variance ratios of simulated random walks."""

    ratio: Float[Tensor, " component"]  # mean over walks
    spread: Float[Tensor, "end component"]  # from the 2.5 % to the 97.5 % quantile
    ratios: Float[Tensor, "walk component"]  # of each walk


def random_walk(
    snapshots: int, dimension: int, components: int = 2, *, members: int = 1, walks: int = 200, seed: int = 0
) -> RandomWalk:
    """Simulate random walks and analyse each as a path would be.

    Args:
        snapshots: Points on a walk.
        dimension: Of the space.
        components: How many to report.
        members: Walks that share one plane, each about its own mean.
        walks: How many to simulate.
        seed: Of the walks.

    Returns:
        The ratios, with their spread over walks.
    """
    for field, value, least in (
        ("snapshots", snapshots, 2), ("dimension", dimension, 1), ("components", components, 1),
        ("members", members, 1), ("walks", walks, 1),
    ):  # fmt: skip
        whole_number(field, value, least)
    generator = torch.Generator().manual_seed(seed)
    ratios = torch.stack([_ratios(snapshots, dimension, members, components, generator) for _ in range(walks)])
    ends = torch.quantile(ratios, torch.tensor([0.025, 0.975], dtype=torch.float64), dim=0)
    return RandomWalk(ratios.mean(0), ends, ratios)


def random_walk_limit(snapshots: int, component: int) -> float:
    """Give the ratio that a component of a random walk tends to in many dimensions.

    Args:
        snapshots: Points on the walk, n.
        component: Which, k, from 1.

    Returns:
        3 / (2 (n² − 1) sin²(πk / 2n)).

    Raises:
        InputError: If the walk has no such component.

    Example:
        >>> [round(random_walk_limit(10**6, k), 3) for k in (1, 2, 3)]
        [0.608, 0.152, 0.068]
    """
    if whole_number("component", component, 1) >= whole_number("snapshots", snapshots, 2):
        raise InputError("component", component, f"give from 1 to {snapshots - 1}, as a walk of {snapshots} points has")
    return 3 / (2 * (snapshots**2 - 1) * math.sin(math.pi * component / (2 * snapshots)) ** 2)


def _ratios(snapshots: int, dimension: int, members: int, components: int, generator: torch.Generator) -> Tensor:
    rows = members * snapshots
    # the Gram matrix of Gaussian steps has the law of Wishart's, so as many coordinates as steps are enough to draw it
    steps = _steps(members * (snapshots - 1), dimension, generator).reshape(members, snapshots - 1, -1)
    walk = torch.cat([torch.zeros(members, 1, steps.shape[2], dtype=torch.float64), steps.cumsum(1)], dim=1)
    centred = (walk - walk.mean(1, keepdim=True)).reshape(rows, -1)
    gram = centred @ centred.T if rows <= centred.shape[1] else centred.T @ centred  # the same values but for zeros
    values = torch.linalg.eigvalsh(gram).flip(0)[:components].clamp_min(0)
    kept = torch.zeros(components, dtype=torch.float64)
    kept[: len(values)] = values
    return kept / centred.square().sum()


def _steps(count: int, dimension: int, generator: torch.Generator) -> Tensor:
    if dimension <= count:
        return torch.randn(count, dimension, generator=generator, dtype=torch.float64)
    # Bartlett 1933: the triangular factor of a Wishart matrix has normal entries below and chi ones on the diagonal
    lower = torch.randn(count, count, generator=generator, dtype=torch.float64).tril(-1)
    shape = (dimension - torch.arange(count, dtype=torch.float64)) / 2
    return lower + torch.diag((2 * torch._standard_gamma(shape, generator=generator)).sqrt())


_MOST = 100_000  # components, and walks to simulate


@runtime_checkable
class HasLoss(Protocol):
    """What is needed of a loss surface here."""

    def loss(self, theta: Tensor) -> Tensor: ...


@readable
class Trajectory:
    """A path, or the paths of an ensemble, in one plane."""

    projection: Float[Tensor, "*member snapshot component"]
    explained_variance_ratio: Float[Tensor, " component"]
    random_walk_ratio: Float[Tensor, " component"]  # the same of random walks about their own means
    random_walk_spread: Float[Tensor, "end component"]  # 2.5 % and 97.5 % quantiles over walks
    random_walk_ratios: Float[Tensor, "walk component"]  # of each walk
    within_share: float  # of the plane's variance, how much is within members; 1 for a single path
    components: Float[Tensor, "component parameter"]
    mean: Float[Tensor, " parameter"]
    distance: Float[Tensor, "*member"]  # along the path
    displacement: Float[Tensor, "*member"]  # from its first point to its last
    turning: Float[Tensor, "*member"]  # mean cosine between one step and the next: 1 straight on, 0 as at random
    loss: Float[Tensor, "*member snapshot"] | None  # at the points
    plane_loss: Float[Tensor, "*member snapshot"] | None  # at their projections


def trajectory(
    weights: Float[Tensor, "*member snapshot parameter"],
    surface: HasLoss | None = None,
    *,
    components: int = 2,
    walks: int = 200,
    seed: int = 0,
) -> Trajectory:
    """Project a path onto the plane in which it moves most.

    Args:
        weights: Points on a path, or on each member's; all members share one plane about their common mean.
        surface: Where to take the loss at the points and at their projections; None for no loss.
        components: How many.
        walks: Random walks to simulate for comparison.
        seed: Of the walks.

    Returns:
        The path in its plane, and what to compare it with.

    Raises:
        InputError: If there are fewer than two points, or a single path is not finite.

    Example:
        A straight line lies in one dimension and turns nowhere.

        >>> line = torch.linspace(0, 1, 5)[:, None] * torch.tensor([3.0, 4.0])
        >>> path = trajectory(line)
        >>> round(path.explained_variance_ratio[0].item(), 6), path.distance.item(), round(path.turning.item(), 6)
        (1.0, 5.0, 1.0)
    """
    try:
        weights = torch.as_tensor(weights)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError("weights", type(weights).__name__, "expected a tensor (snapshot, parameter)") from error
    check_dense("weights", weights)
    if not (surface is None or isinstance(surface, HasLoss)):
        raise InputError("surface", type(surface).__name__, "expected a bm.LossSurface, or None for no loss")
    whole_number("components", components, 1, _MOST)
    whole_number("walks", walks, 1, _MOST)
    whole_number("seed", seed, 0, 2**63 - 1)
    if weights.ndim not in (2, 3) or weights.shape[-2] < 2 or weights.shape[-1] < 1:
        raise InputError(
            "weights", f"shape {tuple(weights.shape)}", "give (snapshot, parameter) with two points or more"
        )
    single = weights.ndim == 2
    paths = (weights[None] if single else weights).detach().double().cpu()
    good = paths.isfinite().flatten(1).all(1)
    if not bool(good.any()):
        raise InputError("weights", "not finite", "give a path of finite numbers")
    _, snapshots, dimension = paths.shape
    members = int(good.sum())
    components = min(components, dimension)
    mean, basis, ratio = _plane(paths[good].flatten(0, 1), components)
    projection = (paths - mean) @ basis.T
    walk = random_walk(snapshots, dimension, components, members=members, walks=walks, seed=seed)
    steps = paths.diff(dim=1)
    loss, plane_loss = None, None
    if surface is not None:
        loss = _losses(surface, paths)
        plane_loss = _losses(surface, mean + projection @ basis)
    return Trajectory(
        projection=_given(projection, single),
        explained_variance_ratio=ratio,
        random_walk_ratio=walk.ratio,
        random_walk_spread=walk.spread,
        random_walk_ratios=walk.ratios,
        within_share=within_share(projection[good]),
        components=basis,
        mean=mean,
        distance=_given(steps.norm(dim=2).sum(1), single),
        displacement=_given((paths[:, -1] - paths[:, 0]).norm(dim=1), single),
        turning=_given(_turning(steps), single),
        loss=None if loss is None else _given(loss, single),
        plane_loss=None if plane_loss is None else _given(plane_loss, single),
    )


def within_share(projection: Float[Tensor, "member snapshot component"]) -> float:
    """Tell how much of a plane's variance is motion, and not the distance between members.

    Args:
        projection: Every member's path in the plane.

    Returns:
        Squares about each member's own mean over squares about the common mean; NaN if nothing varies.
    """
    own = (projection - projection.mean(1, keepdim=True)).square().sum()
    common = (projection - projection.mean((0, 1))).square().sum()
    return float(own / common)


def _plane(points: Float[Tensor, "point parameter"], components: int) -> tuple[Tensor, Tensor, Tensor]:
    mean = points.mean(0)
    centred = points - mean
    values, vectors = torch.linalg.eigh(centred @ centred.T)
    kept = min(components, len(values))
    largest = values.flip(0)[:kept].clamp_min(0)
    directions = vectors.flip(1)[:, :kept].T @ centred
    sizes = directions.norm(dim=1, keepdim=True)
    moving = sizes > 1e-12 * sizes.max()
    directions = torch.where(moving, directions / sizes.clamp_min(torch.finfo(sizes.dtype).tiny), 0.0)
    peak = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    basis = torch.zeros(components, points.shape[1], dtype=points.dtype)
    basis[:kept] = directions * torch.where(peak < 0, -1.0, 1.0)
    ratio = torch.zeros(components, dtype=points.dtype)
    ratio[:kept] = largest
    return mean, basis, ratio / centred.square().sum()


def _turning(steps: Float[Tensor, "member step parameter"]) -> Float[Tensor, " member"]:
    if steps.shape[1] < 2:
        return torch.full((len(steps),), torch.nan, dtype=torch.float64)
    return torch.nn.functional.cosine_similarity(steps[:, :-1], steps[:, 1:], dim=2, eps=1e-300).mean(1)


def _losses(surface: HasLoss, paths: Float[Tensor, "member snapshot parameter"]) -> Tensor:
    return surface.loss(paths.flatten(0, 1)).cpu().view(paths.shape[:2])


def _given(measured: Tensor, single: bool) -> Tensor:
    return measured[0] if single else measured
