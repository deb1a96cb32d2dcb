"""Newton steps towards a point where the gradient vanishes, whatever kind of point that is.

    step = −Σᵢ λᵢ / (λᵢ² + μ²) (vᵢ·g) vᵢ

With μ = 0 this is Newton's step, which goes to saddles as willingly as to minima; μ shortens it along flat directions
(Levenberg and Marquardt's damping of the least-squares problem ‖g‖² → min). A step is taken if ‖g‖ does not exceed the
largest of the last few (Grippo, Lampariello and Lucidi 1986, SIAM J. Numer. Anal. 23(4)): at the kinks of a ReLU
network the gradient jumps, and a search that only ever descends gets stuck on them.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bathymetry.surface import LossSurface

_MEMORY = 10  # norms that a step is compared with
_LONGEST = 1.0  # of a step
_GENTLER, _BOLDER = 6.0, 4.0  # what μ is multiplied and divided by


class Limit:
    """When a search gives up, and how much of what it may do is done.

    A dense step is a Hessian with its eigenvectors. None is begun that would not end in time, by what products or
    earlier steps took, and time is kept for the last one, which looks at what was found.

    Args:
        iterations: The most steps of an attempt.
        attempts: The most attempts.
        seconds: About when to stop; None for never.
        progress: Hears the share that is done, from 0 to 1.
    """

    def __init__(
        self,
        iterations: int,
        attempts: int = 1,
        seconds: float | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        self.iterations, self._all = iterations, iterations * attempts
        self._begun, self._seconds, self._progress = time.monotonic(), seconds, progress
        self._each: float | None = None  # what a dense step takes, a member
        self._made, self._told = 0, 0.0
        self.refusal = ""  # why a step was not begun, where one was not

    def allows(self, surface: LossSurface, theta: Float[Tensor, "member parameter"], *, last: bool = False) -> bool:
        """Tell whether there is time for a dense step.

        Args:
            surface: The surface.
            theta: Where.
            last: Whether it is the last one, after which no time need be kept.

        Returns:
            Whether it would end in time.
        """
        if self._seconds is None:
            return True
        if time.monotonic() - self._begun >= self._seconds:
            self.refusal = f"the limit of {self._seconds:g} s (seconds) was over"
            return False
        if self._each is None:
            self._each = _expected(surface, theta, self._seconds)
        left = self._seconds - (time.monotonic() - self._begun)
        steps = 1 if last else 2
        if self._each * len(theta) * steps < left:
            return True
        kept = "" if last else ", and as long for the look at what it finds,"
        self.refusal = (
            f"a step was expected to take at least {self._each * len(theta):.2g} s{kept} where {max(left, 0):.2g} s of "
            f"the limit of {self._seconds:g} s (seconds) were left"
        )
        return False

    @contextmanager
    def step(self, members: int) -> Iterator[None]:
        """Time a dense step.

        Args:
            members: How many searches make it.

        Yields:
            Nothing.
        """
        before = time.monotonic()
        yield
        took = (time.monotonic() - before) / members
        # of steps that differ, the longer ones count: another program may be at work
        self._each = took if self._each is None or self._made == 0 else max(took, 0.5 * (self._each + took))
        self._made += 1
        passed = 0.0 if self._seconds is None else (time.monotonic() - self._begun) / self._seconds
        self.tell(min(0.99, max(self._made / self._all, passed)))

    def tell(self, share: float) -> None:
        """Say how much is done.

        Args:
            share: From 0 to 1; never less than was said before.
        """
        if self._progress is not None and (share >= self._told + 0.01 or share == 1):
            self._told = share
            self._progress(share)


def _expected(surface: LossSurface, theta: Tensor, seconds: float) -> float:
    """Estimate what a dense step takes at one point, from a few products and the eigenvectors of a smaller matrix."""
    size, before = surface.dimension, time.monotonic()
    product = surface.product(theta[0])
    prepared = time.monotonic() - before
    each = _seconds_a_vector(product, surface, 1)
    if 100 * each < seconds:  # several at once are cheaper
        each = min(each, _seconds_a_vector(product, surface, min(size, 16)))
    part = torch.arange(min(size, 256), dtype=surface.dtype, device=surface.device)
    before = time.monotonic()
    torch.linalg.eigh(torch.cos(part[:, None] * part))
    return prepared + size * each + (time.monotonic() - before) * (size / len(part)) ** 3


def _seconds_a_vector(product: Callable[[Tensor], Tensor], surface: LossSurface, vectors: int) -> float:
    before = time.monotonic()
    product(torch.ones(vectors, surface.dimension, dtype=surface.dtype, device=surface.device))
    return (time.monotonic() - before) / vectors


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
    defined: Bool[Tensor, " member"]  # whether the Hessian was finite wherever it was taken


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
        defined=torch.ones(len(start), dtype=torch.bool, device=start.device),
    )
    for iteration in range(limit.iterations):
        active = ((state.best_norm > target) & state.defined).nonzero().ravel()
        if len(active) == 0 or not limit.allows(surface, state.theta[active]):
            break
        with limit.step(len(active)):
            _step(surface, state, active, iteration % _MEMORY)
    return state


def _step(surface: LossSurface, state: Search, active: Tensor, slot: int) -> None:
    stale = active[state.stale[active]]
    if len(stale) > 0:
        state.hessian[stale], state.stale[stale] = surface.hessian(state.theta[stale]), False
        state.defined[stale] = state.hessian[stale].isfinite().flatten(1).all(1)
        active = active[state.defined[active]]
        if len(active) == 0:
            return
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
