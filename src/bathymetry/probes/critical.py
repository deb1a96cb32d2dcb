"""Critical points: where the gradient vanishes, found from near a given point.

    converged   ‖g‖ ≤ tolerance · ‖g at the start‖, and neither of these:
    flat        ‖Hg‖ ≤ 10⁻⁶ ‖H‖ ‖g‖, or a tenth of g in H's null space: the gradient lies where the Hessian has
                nothing, and no step helps
    runaway     ‖H⁺g‖ > 10⁻² (1 + ‖θ‖): Newton's step is still a long one, as on exp(−w), whose slope vanishes only at
                infinity; so does the cross-entropy of examples that can all be told apart

A gradient that is nothing but rounding, ‖g‖ ≤ 100 P ε ‖H‖ (1 + ‖θ‖), is neither. Where the loss has a kink, as |w| at
0, there may be a minimum without any critical point, and the search says that it has not converged.

Newton-type steps in float64 that keep saddles as saddles; where they stall they begin anew from a little beside the
start. Flat points look critical to a search that minimises ‖g‖² and are not: Frye et al. 2021, arXiv:2003.10397.
"""

import time
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bathymetry.core.checks import positive_number, whole_number
from bathymetry.core.errors import InputError
from bathymetry.core.showing import readable
from bathymetry.core.streams import stream
from bathymetry.probes.critical_search import Limit, search
from bathymetry.probes.places import Places, places
from bathymetry.surface import LossSurface

_FLAT = 1e-6
_OUTSIDE = 0.1  # of the gradient, in the null space of the Hessian
_RUNAWAY = 1e-2
_FURTHER = (1e-3, 1e-6)  # of the tolerance, for points whose norm is small and Newton's step is not


@readable
class CriticalPoint:
    """Where a search for a vanishing gradient ended."""

    theta: Float[Tensor, "*member parameter"]  # the best point seen, float64
    loss: Float[Tensor, "*member"]
    gradient_norm: Float[Tensor, "*member"]  # ‖g‖ there
    relative_norm: Float[Tensor, "*member"]  # ‖g‖ over that at the start
    flatness: Float[Tensor, "*member"]  # ‖Hg‖ / (‖H‖ ‖g‖): how much of g the Hessian can act upon; 0 where g is 0
    newton_step: Float[Tensor, "*member"]  # ‖H⁺g‖ / (1 + ‖θ‖): how far away Newton's step believes the point to be
    converged: Bool[Tensor, "*member"]
    flat: Bool[Tensor, "*member"]  # where the Hessian has nothing to say about the gradient
    runaway: Bool[Tensor, "*member"]  # a small gradient, and yet far from any critical point
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
    seconds: float | None = None,
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
        seconds: About when to stop, with the best that was found by then; None for whenever it is done. Each step takes
            a Hessian with its eigenvectors, and the look at what was found one more.

    Returns:
        The best points, and whether they are critical.

    Raises:
        InputError: If the tolerance, the time or a norm at the start is not positive, or there is no attempt.

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
    positive_number("tolerance", tolerance)
    if tolerance >= 1:
        raise InputError("tolerance", tolerance, "give a number below 1, or the start is critical whatever it is")
    positive_number("reach", reach)
    until = torch.inf if seconds is None else time.monotonic() + positive_number("seconds", seconds)
    limit = Limit(whole_number("iterations", iterations, 1), until)
    whole_number("restarts", restarts, 0)
    surface = surface.double()
    where = places(surface, theta)
    best, norm, attempts, steps, begun = _attempts(surface, where, tolerance, limit, restarts, reach, seed, start_norm)
    look = _look(surface, best, where)
    for further in _FURTHER:  # in a valley that is nearly flat the norm is small long before Newton's steps are
        open_ = ((norm <= tolerance * begun) & look.runaway).nonzero().ravel()
        if len(open_) == 0 or limit.over:
            break
        ended = search(surface, best[open_], further * tolerance * begun[open_], limit)
        steps[open_] += ended.steps.cpu()
        best[open_], norm[open_] = ended.best, ended.best_norm
        look = _look(surface, best, where)
    relative = torch.where(begun == 0, 0.0, norm / begun)
    small = relative <= tolerance
    return CriticalPoint(
        theta=where.given(best),
        loss=where.given(surface.loss(best)),
        gradient_norm=where.given(norm),
        relative_norm=where.given(relative),
        flatness=where.given(look.flatness),
        newton_step=where.given(look.newton_step),
        converged=where.given(small & ~look.flat & ~look.runaway),
        flat=where.given(look.flat),
        runaway=where.given(small & look.runaway),
        attempts=where.given(attempts),
        iterations=where.given(steps),
        tolerance=tolerance,
    )


def _attempts(
    surface: LossSurface,
    where: Places,
    tolerance: float,
    limit: Limit,
    restarts: int,
    reach: float,
    seed: int,
    start_norm: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    best = where.theta.clone()
    norm = surface.gradient(best).norm(dim=1)
    norm[~where.finite] = torch.nan
    begun = norm.clone() if start_norm is None else _given_norms(start_norm, norm)
    attempts, steps = torch.zeros(len(best), dtype=torch.int64), torch.zeros(len(best), dtype=torch.int64)
    for attempt in range(1 + restarts):
        open_ = (norm > tolerance * begun).nonzero().ravel()
        if len(open_) == 0 or limit.over:
            break
        start = where.theta[open_]
        if attempt:
            beside = [
                torch.randn(best.shape[1], generator=stream(seed, int(m), "probe vectors", attempt)) for m in open_
            ]
            start = start + attempt * reach * torch.stack(beside).to(start)
        ended = search(surface, start, tolerance * begun[open_], limit)
        attempts[open_] += 1
        steps[open_] += ended.steps.cpu()
        better = ended.best_norm < norm[open_]
        best[open_[better]], norm[open_[better]] = ended.best[better], ended.best_norm[better]
    return best, norm, attempts, steps, begun


def _given_norms(start_norm: Tensor, like: Tensor) -> Tensor:
    given = torch.as_tensor(start_norm).reshape(-1).to(like)
    if len(given) != len(like) or not bool(((given > 0) & given.isfinite())[like.isfinite()].all()):
        raise InputError("start_norm", given.tolist(), f"give {len(like)} positive norms, one a member")
    return given


@dataclass(frozen=True)
class _Look:
    """How the gradient lies to the Hessian."""

    flatness: Float[Tensor, " member"]
    newton_step: Float[Tensor, " member"]
    flat: Bool[Tensor, " member"]
    runaway: Bool[Tensor, " member"]


def _look(surface: LossSurface, points: Tensor, where: Places) -> _Look:
    flatness, newton_step = (torch.full((len(points),), torch.nan, dtype=torch.float64) for _ in range(2))
    flat, runaway = (torch.zeros(len(points), dtype=torch.bool) for _ in range(2))
    good = where.finite
    if bool(good.any()):
        gradient = surface.gradient(points[good])
        values, vectors = torch.linalg.eigh(surface.hessian(points[good]))
        along = torch.einsum("mpq,mp->mq", vectors, gradient)
        norm, most, size = gradient.norm(dim=1), values.abs().amax(1), 1 + points[good].norm(dim=1)
        floor = 10 * surface.dimension * torch.finfo(torch.float64).eps * most
        bends = values.abs() > floor[:, None]
        step = torch.where(bends, along / torch.where(bends, values, 1.0), 0.0).norm(dim=1) / size
        acted = torch.where(most * norm > 0, (values * along).norm(dim=1) / (most * norm), 0.0)
        outside = torch.where(bends, 0.0, along).norm(dim=1)
        above_rounding = norm > 10 * floor * size
        flatness[good], newton_step[good] = acted.cpu(), step.cpu()
        flat[good] = (above_rounding & ((acted <= _FLAT) | (outside > _OUTSIDE * norm))).cpu()
        runaway[good] = (above_rounding & (step > _RUNAWAY)).cpu()
    return _Look(flatness, newton_step, flat, runaway)
