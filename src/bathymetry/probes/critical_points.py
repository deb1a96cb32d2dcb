"""Critical points: where the gradient vanishes, found from near a given point.

    converged   ‖g‖ ≤ tolerance · ‖g at the start‖, and neither of these:
    flat        ‖Hg‖ ≤ 10⁻⁶ ‖H‖ ‖g‖, or a tenth of g in H's null space: the gradient lies where the Hessian has
                nothing, and no step helps
    runaway     ‖H⁺g‖ > 10⁻² (1 + ‖θ‖): Newton's step is still a long one, as on exp(−w), whose slope vanishes only at
                infinity; so does the cross-entropy of examples that can all be told apart

A gradient that is nothing but rounding, ‖g‖ ≤ 100 P ε ‖H‖ (1 + ‖θ‖), is neither. Where the loss has a kink, as |w| at
0, there may be a minimum without any critical point, and the search says that it has not converged; so it does where it
begins on the kink, where automatic differentiation gives a gradient of 0: a step aside, however short, finds another.

Newton-type steps in float64 that keep saddles as saddles; where they stall they begin anew from a little beside the
start. Flat points look critical to a search that minimises ‖g‖² and are not: Frye et al. 2021, arXiv:2003.10397.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bathymetry.core.errors import InputError, check_dense, positive_number, whole_number
from bathymetry.core.resources import free_bytes, gigabytes
from bathymetry.core.showing import readable
from bathymetry.core.streams import stream
from bathymetry.linalg import NotFiniteError
from bathymetry.probes.points import Places, check_surface, places
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


_FLAT = 1e-6
_OUTSIDE = 0.1  # of the gradient, in the null space of the Hessian
_RUNAWAY = 1e-2
_ASIDE = 1e-9  # of 1 + ‖θ‖: the way of the steps that look for a kink
_MATRICES = 6  # P × P numbers that a dense step holds at once
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
    kink: Bool[Tensor, "*member"]  # a small gradient, and another one right beside it
    status: str | tuple[str, ...]  # one a member: converged, flat, runaway, kink, stalled, or undefined
    attempts: Int[Tensor, "*member"]  # starts that were tried
    iterations: Int[Tensor, "*member"]  # steps in all
    tolerance: float
    ended_early: str = ""  # which limit kept the search from another step, and what it was expected to take


def critical_point(
    surface: LossSurface,
    theta: Float[Tensor, "*member parameter"] | None = None,
    *,
    tolerance: float = 1e-8,
    iterations: int = 200,
    restarts: int = 0,
    radius: float = 0.02,
    seed: int = 0,
    start_norm: Float[Tensor, "*member"] | None = None,
    seconds: float | None = 60.0,
    progress: Callable[[float], None] | None = None,
) -> CriticalPoint:
    """Search for a critical point.

    Args:
        surface: The loss surface; measured in float64 whatever its own precision.
        theta: The start, one point or one a member; the network's own parameters if None.
        tolerance: How small the gradient must get, relative to its norm at the start.
        iterations: The most steps of an attempt.
        restarts: How many more attempts a search that stalled gets.
        radius: Standard deviation of the first restart's distance from the start, in each coordinate; the n-th has n
            times that.
        seed: Of the restarts.
        start_norm: The gradient norm to compare with, where the search begins elsewhere.
        seconds: When to stop, with the best that was found by then; None for whenever it is done. Each step takes a
            Hessian with its eigenvectors, and the look at what was found one more; none is begun that would not end in
            time.
        progress: Hears now and then which share of the steps or of the time is over, from 0 to 1.

    Returns:
        The best points, and whether they are critical. A search that ended before it could tell is "stalled", and
        `ended_early` says so where it was for lack of time; a point
        at which the loss or its second derivatives are not finite is "undefined".

    Raises:
        InputError: If the tolerance is 1 or more, a Hessian does not fit into memory, or `progress` can't be called.
        NotFiniteError: If the second derivatives at the only start are not finite.

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
    check_surface(surface)
    if positive_number("tolerance", tolerance) >= 1:
        raise InputError("tolerance", tolerance, "give a number below 1, or the start is critical whatever it is")
    positive_number("radius", radius)
    if progress is not None and not callable(progress):
        raise InputError("progress", type(progress).__name__, "expected a function of the share that is done")
    iterations, restarts = whole_number("iterations", iterations, 1), whole_number("restarts", restarts, 0)
    seed = whole_number("seed", seed, 0, 2**63 - 1)
    seconds = None if seconds is None else positive_number("seconds", seconds)
    limit = Limit(iterations, 1 + restarts, seconds, progress)
    points, _ = surface.points(theta)
    _check_memory(surface.dimension, len(points))
    surface = surface.double()
    where = places(surface, theta)
    best, norm, attempts, steps, begun = _attempts(surface, where, tolerance, limit, restarts, radius, seed, start_norm)
    look = _look(surface, best, where, limit)
    if where.single and not bool(look.defined) and torch.equal(best, where.theta):
        raise NotFiniteError
    for further in _FURTHER:  # in a valley that is nearly flat the norm is small long before Newton's steps are
        open_ = ((norm <= tolerance * begun) & look.runaway).nonzero().ravel()
        if len(open_) == 0 or not limit.allows(surface, best[open_]):
            break
        ended = search(surface, best[open_], further * tolerance * begun[open_], limit)
        steps[open_] += ended.steps.cpu()
        best[open_], norm[open_] = ended.best, ended.best_norm
        look = _look(surface, best, where, limit)
    relative = torch.where(begun == 0, 0.0, norm / begun)
    small = relative <= tolerance
    critical = small & look.defined & look.seen & ~look.flat & ~look.runaway
    kink = torch.zeros_like(critical)
    kink[critical] = _on_a_kink(surface, best[critical.to(best.device)]).cpu()
    limit.tell(1.0)
    found = CriticalPoint(
        theta=where.given(best),
        loss=where.given(surface.loss(best)),
        gradient_norm=where.given(norm),
        relative_norm=where.given(relative),
        flatness=where.given(look.flatness),
        newton_step=where.given(look.newton_step),
        converged=where.given(critical & ~kink),
        flat=where.given(look.flat),
        runaway=where.given(small & look.runaway),
        kink=where.given(kink),
        status="",
        attempts=where.given(attempts),
        iterations=where.given(steps),
        tolerance=tolerance,
    )
    undefined = where.given(~(where.finite & look.defined))
    status = _status(found, undefined)
    return replace(found, status=status, ended_early=limit.refusal if "stalled" in status else "")


def _status(found: CriticalPoint, undefined: Bool[Tensor, "*member"]) -> str | tuple[str, ...]:
    """Say of each member in one word how its search ended."""
    words = {
        "undefined": undefined, "converged": found.converged, "kink": found.kink, "flat": found.flat,
        "runaway": found.runaway,
    }  # fmt: skip
    columns = {word: is_so.reshape(-1).tolist() for word, is_so in words.items()}
    each = [next((word for word in columns if columns[word][member]), "stalled") for member in range(undefined.numel())]
    return each[0] if undefined.ndim == 0 else tuple(each)


def _check_memory(dimension: int, members: int) -> None:
    """Refuse Hessians that do not fit before any of them is allocated."""
    needed = 8 * members * _MATRICES * dimension**2
    if needed > free_bytes():
        remedy = (
            f"a step takes the Hessian of each with its eigenvectors, {gigabytes(needed)} in all, and "
            f"{gigabytes(free_bytes())} are free: expected fewer, such as LossSurface(..., params=) leaves"
        )
        members_of = f"{members} members of " if members > 1 else ""
        raise InputError("parameters", f"{members_of}{dimension:,}", remedy)


def _on_a_kink(surface: LossSurface, points: Float[Tensor, "member parameter"]) -> Bool[Tensor, " member"]:
    """Tell where the gradient jumps."""
    # A quarter of a way aside changes a differentiable gradient by a quarter of what the whole way does, and a jump by
    # all of it. Rounding changes it as a jump does, but by much less than a long way.
    kinks = torch.zeros(len(points), dtype=torch.bool, device=points.device)
    for member, point in enumerate(points):
        generator = torch.Generator().manual_seed(0)
        drawn = torch.randn(2, len(point), generator=generator, dtype=torch.float64).to(point)
        aside = torch.cat([drawn, -drawn]) / drawn.norm(dim=1).repeat(2)[:, None] * (1 + point.norm())
        here, loss = surface.gradient(point), surface.loss(point).abs()
        quarter, whole, far = (
            (surface.gradient(point + way * aside) - here).norm(dim=1) for way in (_ASIDE / 4, _ASIDE, 1e-3)
        )
        noise = torch.maximum(1e-6 * far, 1e-10 * loss / (1 + point.norm()))
        kinks[member] = ((quarter > 0.5 * whole) & (quarter > noise)).any()
    return kinks


def _attempts(
    surface: LossSurface,
    where: Places,
    tolerance: float,
    limit: Limit,
    restarts: int,
    radius: float,
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
        if len(open_) == 0 or not limit.allows(surface, where.theta[open_]):
            break
        start = where.theta[open_]
        if attempt:
            beside = [
                torch.randn(best.shape[1], generator=stream(seed, int(m), "probe vectors", attempt)) for m in open_
            ]
            start = start + attempt * radius * torch.stack(beside).to(start)
        ended = search(surface, start, tolerance * begun[open_], limit)
        attempts[open_] += 1
        steps[open_] += ended.steps.cpu()
        better = ended.best_norm < norm[open_]
        best[open_[better]], norm[open_[better]] = ended.best[better], ended.best_norm[better]
    return best, norm, attempts, steps, begun


def _given_norms(start_norm: Tensor, like: Tensor) -> Tensor:
    try:
        given = torch.as_tensor(start_norm)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError("start_norm", type(start_norm).__name__, "expected a tensor of real numbers") from error
    check_dense("start_norm", given)
    given = given.reshape(-1).to(like)
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
    defined: Bool[Tensor, " member"]  # whether the Hessian is finite, as far as was seen
    seen: Bool[Tensor, " member"]  # whether there was time to look


def _look(surface: LossSurface, points: Tensor, where: Places, limit: Limit) -> _Look:
    flatness, newton_step = (torch.full((len(points),), torch.nan, dtype=torch.float64) for _ in range(2))
    flat, runaway, seen = (torch.zeros(len(points), dtype=torch.bool) for _ in range(3))
    good, defined = where.finite.clone(), torch.ones(len(points), dtype=torch.bool)
    if bool(good.any()) and limit.allows(surface, points[good], last=True):
        hessian = surface.hessian(points[good])
        finite = hessian.isfinite().flatten(1).all(1).cpu()
        defined[good], seen[good], good[good.clone()] = finite, True, finite
        hessian = hessian[finite]
    else:
        good[:] = False
    if bool(good.any()):
        gradient = surface.gradient(points[good])
        values, vectors = torch.linalg.eigh(hessian)
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
    return _Look(flatness, newton_step, flat, runaway, defined, seen)
