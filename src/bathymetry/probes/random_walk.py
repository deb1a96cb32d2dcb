"""What a principal component analysis makes of a random walk, which goes nowhere.

The variance of such a path is not spread evenly: in many dimensions the components of a walk of n steps take

    ρ_k → 3 / (2 (n² − 1) sin²(πk / 2n))

which for long walks is 0.608, 0.152, 0.068. A plane that explains 76 % of a path's variance may say nothing at all.
Antognini and Sohl-Dickstein 2018, arXiv:1806.08805.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from bathymetry.core.checks import whole_number
from bathymetry.core.errors import InputError
from bathymetry.core.showing import readable


@readable
class RandomWalk:
    """Explained variance ratios of simulated random walks."""

    ratio: Float[Tensor, " component"]  # mean over walks
    spread: Float[Tensor, "end component"]  # from the 2.5 % to the 97.5 % quantile
    every: Float[Tensor, "walk component"]  # of each walk


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
