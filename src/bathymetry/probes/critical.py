"""Critical points: where the gradient vanishes, found from near a given point.

    converged   ‖g‖ ≤ tolerance · ‖g at the start‖
    flat        ‖Hg‖ ≤ 10⁻⁶ ‖H‖ ‖g‖ without that: the gradient lies where the Hessian has nothing, and no step helps

Newton-type steps in float64 that keep saddles as saddles; where they stall they begin anew from a little beside the
start. Flat points look critical to a search that minimises ‖g‖² and are not: Frye et al. 2021, arXiv:2003.10397.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bathymetry.core.errors import InputError
from bathymetry.core.streams import stream
from bathymetry.probes.critical_search import search
from bathymetry.probes.places import Places, places
from bathymetry.surface import LossSurface

_FLAT = 1e-6


@dataclass(frozen=True)
class CriticalPoint:
    """Where a search for a vanishing gradient ended."""

    theta: Float[Tensor, "*member parameter"]  # the best point seen, float64
    loss: Float[Tensor, "*member"]
    gradient_norm: Float[Tensor, "*member"]  # ‖g‖ there
    relative_norm: Float[Tensor, "*member"]  # ‖g‖ over that at the start
    flatness: Float[Tensor, "*member"]  # ‖Hg‖ / (‖H‖ ‖g‖): how much of g the Hessian can act upon; 0 where g is 0
    converged: Bool[Tensor, "*member"]
    flat: Bool[Tensor, "*member"]  # stalled where the Hessian has nothing to say
    attempts: Int[Tensor, "*member"]  # starts that were tried
    iterations: Int[Tensor, "*member"]  # steps in all
    tolerance: float


def critical_point(
    surface: LossSurface,
    theta: Float[Tensor, "*member parameter"] | None = None,
    *,
    tolerance: float = 1e-8,
    iterations: int = 200,
    restarts: int = 0,
    reach: float = 0.02,
    seed: int = 0,
    start_norm: Float[Tensor, "*member"] | None = None,
) -> CriticalPoint:
    """Search for a critical point.

    Args:
        surface: The loss surface; measured in float64 whatever its own precision.
        theta: The start, one point or one a member; the network's own parameters if None.
        tolerance: How small the gradient must get, relative to its norm at the start.
        iterations: The most steps of an attempt.
        restarts: How many more attempts a search that stalled gets.
        reach: Standard deviation of the first restart's distance from the start, in each coordinate; the n-th has n
            times that.
        seed: Of the restarts.
        start_norm: The gradient norm to compare with, where the search begins elsewhere.

    Returns:
        The best points, and whether they are critical.

    Raises:
        InputError: If the tolerance is not positive, or there is no attempt.

    Example:
        L = (w² − 1)² from w = 0.2 has the nearest critical point at its maximum, w = 0.

        >>> class Square(torch.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.weight = torch.nn.Parameter(torch.tensor(0.2))
        ...
        ...     def forward(self, x):
        ...         return x * self.weight**2
        >>> found = critical_point(LossSurface(Square(), "mse", (torch.ones(1, 1), torch.ones(1, 1))))
        >>> found.converged.item(), round(found.theta.item(), 9), round(found.loss.item(), 9)
        (True, 0.0, 1.0)
    """
    if not tolerance > 0:
        raise InputError("tolerance", tolerance, "give a positive number")
    if iterations < 1 or restarts < 0:
        raise InputError("iterations", iterations, "give at least 1, and no negative number of restarts")
    surface = surface.double()
    where = places(surface, theta)
    best, norm, attempts, steps, begun = _attempts(
        surface, where, tolerance, iterations, restarts, reach, seed, start_norm
    )
    relative = torch.where(begun == 0, 0.0, norm / begun)
    flatness = _flatness(surface, best, where)
    converged = relative <= tolerance
    return CriticalPoint(
        theta=where.given(best),
        loss=where.given(surface.loss(best)),
        gradient_norm=where.given(norm),
        relative_norm=where.given(relative),
        flatness=where.given(flatness),
        converged=where.given(converged),
        flat=where.given(~converged & (flatness <= _FLAT)),
        attempts=where.given(attempts),
        iterations=where.given(steps),
        tolerance=tolerance,
    )


def _attempts(
    surface: LossSurface,
    where: Places,
    tolerance: float,
    iterations: int,
    restarts: int,
    reach: float,
    seed: int,
    start_norm: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    best = where.theta.clone()
    norm = surface.gradient(best).norm(dim=1)
    norm[~where.finite] = torch.nan
    begun = norm.clone() if start_norm is None else start_norm.reshape(-1).to(norm)
    attempts, steps = torch.zeros(len(best), dtype=torch.int64), torch.zeros(len(best), dtype=torch.int64)
    for attempt in range(1 + restarts):
        open_ = (norm > tolerance * begun).nonzero().ravel()
        if len(open_) == 0:
            break
        start = where.theta[open_]
        if attempt:
            beside = [
                torch.randn(best.shape[1], generator=stream(seed, int(m), "probe vectors", attempt)) for m in open_
            ]
            start = start + attempt * reach * torch.stack(beside).to(start)
        ended = search(surface, start, tolerance * begun[open_], iterations)
        attempts[open_] += 1
        steps[open_] += ended.steps.cpu()
        better = ended.best_norm < norm[open_]
        best[open_[better]], norm[open_[better]] = ended.best[better], ended.best_norm[better]
    return best, norm, attempts, steps, begun


def _beside(seed: int, members: Tensor, attempt: int, dimension: int) -> Tensor:
    streams = [stream(seed, int(member), "probe vectors", attempt) for member in members]
    return torch.stack([torch.randn(dimension, generator=one) for one in streams])


def _flatness(surface: LossSurface, best: Tensor, where: Places) -> Tensor:
    flatness = torch.full((len(best),), torch.nan, dtype=torch.float64)
    good = where.finite
    if bool(good.any()):
        gradient, hessian = surface.gradient(best[good]), surface.hessian(best[good])
        acted = torch.einsum("mpq,mq->mp", hessian, gradient).norm(dim=1)
        most = torch.linalg.eigvalsh(hessian).abs().amax(1) * gradient.norm(dim=1)
        flatness[good] = torch.where(most > 0, acted / most, 0.0).cpu()
    return flatness
