"""Newton steps towards a point where the gradient vanishes, whatever kind of point that is.

    step = −Σᵢ λᵢ / (λᵢ² + μ²) (vᵢ·g) vᵢ

With μ = 0 this is Newton's step, which goes to saddles as willingly as to minima; μ shortens it along flat directions
(Levenberg and Marquardt's damping of the least-squares problem ‖g‖² → min). A step is taken if ‖g‖ does not exceed the
largest of the last few (Grippo, Lampariello and Lucidi 1986, SIAM J. Numer. Anal. 23(4)): at the kinks of a ReLU
network the gradient jumps, and a search that only ever descends gets stuck on them.
"""

import time
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bathymetry.surface import LossSurface

_MEMORY = 10  # norms that a step is compared with
_LONGEST = 1.0  # of a step
_GENTLER, _BOLDER = 6.0, 4.0  # what μ is multiplied and divided by


@dataclass(frozen=True)
class Limit:
    """When a search gives up."""

    iterations: int  # the most steps of an attempt
    until: float  # on the clock of `time.monotonic`, infinite for never

    @property
    def over(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self.until


@dataclass
class Search:
    """Searches under way, one a row; each keeps the best point that it has seen."""

    theta: Float[Tensor, "member parameter"]
    gradient: Float[Tensor, "member parameter"]
    hessian: Float[Tensor, "member parameter parameter"]
    stale: Bool[Tensor, " member"]  # whose Hessian is still that of an earlier point: it is taken when it is needed
    damping: Float[Tensor, " member"]
    recent: Float[Tensor, "member memory"]  # the last norms
    best: Float[Tensor, "member parameter"]
    best_norm: Float[Tensor, " member"]
    steps: Int[Tensor, " member"]


def search(
    surface: LossSurface,
    start: Float[Tensor, "member parameter"],
    target: Float[Tensor, " member"],
    limit: Limit,
) -> Search:
    """Step towards critical points.

    Args:
        surface: A surface in float64.
        start: Where to begin.
        target: The gradient norm at which a member is done.
        limit: When to give up.

    Returns:
        Where each search came to.
    """
    gradient = surface.gradient(start)
    norm = gradient.norm(dim=1)
    state = Search(
        theta=start.clone(),
        gradient=gradient,
        hessian=start.new_zeros(*start.shape, start.shape[1]),
        stale=torch.ones(len(start), dtype=torch.bool, device=start.device),
        damping=torch.full_like(norm, 1e-2),
        recent=norm[:, None].repeat(1, _MEMORY),
        best=start.clone(),
        best_norm=norm.clone(),
        steps=torch.zeros(len(start), dtype=torch.int64, device=start.device),
    )
    for iteration in range(limit.iterations):
        active = (state.best_norm > target).nonzero().ravel()
        if len(active) == 0 or limit.over:
            break
        _step(surface, state, active, iteration % _MEMORY)
    return state


def _step(surface: LossSurface, state: Search, active: Tensor, slot: int) -> None:
    stale = active[state.stale[active]]
    if len(stale) > 0:
        state.hessian[stale], state.stale[stale] = surface.hessian(state.theta[stale]), False
    values, vectors = torch.linalg.eigh(state.hessian[active])
    scale = values.abs().amax(1).clamp_min(torch.finfo(values.dtype).tiny)
    along = torch.einsum("mpq,mp->mq", vectors, state.gradient[active])
    damped = values.square() + (state.damping[active] * scale)[:, None].square()
    step = -torch.einsum("mpq,mq->mp", vectors, values / damped.clamp_min(torch.finfo(values.dtype).tiny) * along)
    step = step * (_LONGEST / step.norm(dim=1, keepdim=True)).clamp_max(1.0)
    reached = state.theta[active] + step
    gradient = surface.gradient(reached)
    norm = gradient.norm(dim=1)
    taken = norm < state.recent[active].amax(1)  # never where it is NaN
    moved = active[taken]
    state.damping[active] = torch.where(taken, state.damping[active] / _BOLDER, state.damping[active] * _GENTLER)
    state.damping.clamp_(1e-20, 1e6)
    state.steps[active] += 1
    state.recent[active, slot] = torch.where(taken, norm, state.gradient[active].norm(dim=1))
    if len(moved) == 0:
        return
    state.theta[moved], state.gradient[moved] = reached[taken], gradient[taken]
    state.stale[moved] = True
    better = taken & (norm < state.best_norm[active])
    state.best[active[better]], state.best_norm[active[better]] = reached[better], norm[better]
