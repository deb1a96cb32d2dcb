"""Critical points: where the gradient vanishes, near a point.

    converged   ‖g‖ ≤ tolerance · ‖g at the start‖, and none of the following
    flat        ‖Hg‖ ≤ 10⁻⁶ ‖H‖ ‖g‖, or a tenth of g in the null space of H: no Newton step reduces such a gradient
    runaway     ‖H⁺g‖ > 10⁻² (1 + ‖θ‖): Newton's step is still long, as on exp(−w), whose slope vanishes only at
                infinity; likewise the cross-entropy of separable examples
    kink        the gradient jumps nearby, as that of |w| at 0, where automatic differentiation returns 0

A gradient within rounding, ‖g‖ ≤ 100 P ε ‖H‖ (1 + ‖θ‖), is neither flat nor runaway. The search takes damped Newton
steps in float64 to the nearest critical point of any kind, saddles included, and restarts from a perturbed point when
it stalls. Points that minimise ‖g‖² need not be critical: Frye et al. 2021, arXiv:2003.10397.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from bathymetry.core.errors import InputError, positive_number, whole_number
from bathymetry.core.randomness import stream
from bathymetry.core.showing import readable
from bathymetry.core.system import check_memory
from bathymetry.linalg.operator import NotFiniteError
from bathymetry.probes.points import Points, Theta, as_points, as_tensor, check_seed, check_surface
from bathymetry.surface import LossSurface

_RECENT = 10  # norms with which that of a step is compared
_MAX_STEP = 1.0
_INCREASE, _DECREASE = 6.0, 4.0  # factors of the damping after a rejected and an accepted step
_FLAT = 1e-6
_OUTSIDE = 0.1  # share of the gradient in the null space of the Hessian
_RUNAWAY = 1e-2
_STRICTER = (1e-3, 1e-6)  # factors of the tolerance, for points with a small gradient and a long Newton step
_KINK_STEP = 1e-9  # relative to 1 + ‖θ‖
_MATRICES = 6  # P × P numbers that a dense step holds at once


@readable
class CriticalPoint:
    """Where a search for a vanishing gradient ended."""

    theta: Float[Tensor, "*member parameter"]  # the point with the smallest gradient norm, float64
    loss: Float[Tensor, "*member"]
    gradient_norm: Float[Tensor, "*member"]  # ‖g‖ there
    relative_norm: Float[Tensor, "*member"]  # ‖g‖ relative to the start
    flatness: Float[Tensor, "*member"]  # ‖Hg‖ / (‖H‖ ‖g‖); 0 where g is 0
    newton_step: Float[Tensor, "*member"]  # ‖H⁺g‖ / (1 + ‖θ‖), the distance to the critical point of a quadratic
    converged: Bool[Tensor, "*member"]
    flat: Bool[Tensor, "*member"]
    runaway: Bool[Tensor, "*member"]
    kink: Bool[Tensor, "*member"]
    status: str | tuple[str, ...]  # for each member converged, flat, runaway, kink, stalled or undefined
    attempts: Int[Tensor, "*member"]  # number of starts
    iterations: Int[Tensor, "*member"]  # steps over all attempts
    tolerance: float
    ended_early: str = ""  # which limit prevented another step


def critical_point(
    surface: LossSurface,
    theta: Theta = None,
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
    """Search for a critical point, in float64.

    Args:
        surface: Loss surface.
        theta: The start, one point or one per member. Defaults to the model's current parameters.
        tolerance: Largest gradient norm, relative to that at the start.
        iterations: Largest number of steps of an attempt.
        restarts: Number of further attempts of a search that stalled.
        radius: Standard deviation of the first restart's distance from the start in each coordinate; the n-th has n
            times that.
        seed: Seed of the restarts.
        start_norm: Gradient norm that the tolerance is relative to, if not that at the start.
        seconds: Time limit; None for none. A step, a Hessian with its eigenvectors, is not begun unless it and the
            final check are expected to end in time.
        progress: Called with the share of the steps or of the time that is over, from 0 to 1.

    Returns:
        The best points, and whether they are critical. A search that ended undecided is "stalled", and `ended_early`
        names the limit; where the loss or its second derivatives are not finite it is "undefined".

    Raises:
        InputError: If an argument is out of range, or the Hessians do not fit into memory.
        NotFiniteError: If the second derivatives at the only start are not finite.

    Example:
        L = (w² − 1)² from w = 0.2 has the nearest critical point at its maximum, w = 0.

        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> _ = torch.nn.init.constant_(model.weight, 0.2)
        >>> quartic = lambda model, batch: (model.weight**2 - 1).square().sum()
        >>> found = critical_point(LossSurface(model, quartic, (torch.ones(1, 1), torch.ones(1, 1))))
        >>> found.converged.item(), round(found.theta.item(), 9), round(found.loss.item(), 9)
        (True, 0.0, 1.0)
    """
    check_surface(surface)
    if positive_number("tolerance", tolerance) >= 1:
        raise InputError("tolerance", tolerance, "expected a number below 1")
    radius, seed = positive_number("radius", radius), check_seed(seed)
    if seconds is not None:
        positive_number("seconds", seconds)
    if progress is not None and not callable(progress):
        raise InputError("progress", type(progress).__name__, "expected a function of the share that is done")
    iterations, restarts = whole_number("iterations", iterations, 1), whole_number("restarts", restarts, 0)
    budget = _Budget(iterations, 1 + restarts, seconds, progress)
    needed = 8 * _MATRICES * surface.dimension**2 * len(surface.points(theta)[0])
    remedy = "expected fewer, such as by LossSurface(..., params=)"
    check_memory("parameters", f"{surface.dimension:,}", needed, "a step needs Hessians and eigenvectors of", remedy)
    surface, points = as_points(surface, theta, "float64")
    best = _Best(surface, points)
    initial = best.norm.clone() if start_norm is None else _as_norms(start_norm, best.norm)
    for attempt in range(1 + restarts):
        members = (best.norm > tolerance * initial).nonzero().ravel()
        start = points.theta[members]
        if len(members) == 0 or not budget.allows(surface, start):
            break
        if attempt:
            streams = [stream(seed, member, "probe vectors", attempt) for member in members.tolist()]
            drawn = torch.stack([torch.randn(start.shape[1], generator=one) for one in streams])
            start = start + attempt * radius * drawn.to(start)
        best.attempts[members] += 1
        best.update(members, *_search(surface, start, tolerance * initial[members], budget))
    check = _Check(surface, best.theta, points, budget)
    if points.single and not bool(check.defined) and torch.equal(best.theta, points.theta):
        raise NotFiniteError
    for stricter in _STRICTER:  # in a nearly flat valley the norm is small long before Newton's steps are
        members = ((best.norm <= tolerance * initial) & check.runaway).nonzero().ravel()
        start = best.theta[members]
        if len(members) == 0 or not budget.allows(surface, start):
            break
        best.update(members, *_search(surface, start, stricter * tolerance * initial[members], budget))
        check = _Check(surface, best.theta, points, budget)
    relative = torch.where(initial == 0, 0.0, best.norm / initial)
    small = relative <= tolerance
    converged = small & check.defined & check.done & ~check.flat & ~check.runaway
    kink = torch.zeros_like(converged)
    kink[converged] = torch.tensor([_has_kink(surface, one) for one in best.theta[converged]], dtype=torch.bool)
    outcomes = {
        "undefined": ~(points.finite & check.defined),
        "converged": converged & ~kink,
        "kink": kink,
        "flat": check.flat,
        "runaway": small & check.runaway,
        "stalled": torch.ones_like(kink),
    }
    first = torch.stack(list(outcomes.values())).byte().argmax(0)
    status = tuple(list(outcomes)[position] for position in first.tolist())
    budget.report(1.0)
    return CriticalPoint(
        theta=points.squeeze(best.theta),
        loss=points.squeeze(surface.loss(best.theta)),
        gradient_norm=points.squeeze(best.norm),
        relative_norm=points.squeeze(relative),
        flatness=points.squeeze(check.flatness),
        newton_step=points.squeeze(check.newton_step),
        converged=points.squeeze(outcomes["converged"]),
        flat=points.squeeze(check.flat),
        runaway=points.squeeze(outcomes["runaway"]),
        kink=points.squeeze(kink),
        status=status[0] if points.single else status,
        attempts=points.squeeze(best.attempts),
        iterations=points.squeeze(best.steps),
        tolerance=tolerance,
        ended_early=budget.exhausted if "stalled" in status else "",
    )


def _as_norms(start_norm: Tensor, like: Float[Tensor, " member"]) -> Float[Tensor, " member"]:
    norms = as_tensor("start_norm", start_norm, "expected a tensor of real numbers").reshape(-1).to(like)
    if len(norms) != len(like) or not bool(((norms > 0) & norms.isfinite())[like.isfinite()].all()):
        raise InputError("start_norm", norms.tolist(), f"expected {len(like)} positive norms, one per member")
    return norms


class _Budget:
    """Limits of steps and of time, and progress towards them."""

    def __init__(
        self, iterations: int, attempts: int, seconds: float | None, progress: Callable[[float], None] | None
    ) -> None:
        self.iterations = iterations
        self.exhausted = ""  # why a step was not begun
        self._max_steps, self._steps = iterations * attempts, 0
        self._began, self._seconds = time.monotonic(), seconds
        self._step_seconds: float | None = None  # for one member
        self._progress, self._reported = progress, 0.0

    def allows(self, surface: LossSurface, theta: Float[Tensor, "member parameter"], *, last: bool = False) -> bool:
        """Whether a step is expected to end in time, and unless it is the final check, that check too."""
        if self._seconds is None:
            return True
        if time.monotonic() - self._began >= self._seconds:
            self.exhausted = f"the limit of {self._seconds:g} s (seconds) was over"
            return False
        if self._step_seconds is None:
            self._step_seconds = _expected_seconds(surface, theta, self._seconds)
        left = self._seconds - (time.monotonic() - self._began)
        expected = self._step_seconds * len(theta)
        if expected * (1 if last else 2) < left:
            return True
        rest = f"{max(left, 0):.2g} s of the limit of {self._seconds:g} s (seconds) were left"
        self.exhausted = f"a step was expected to take at least {expected:.2g} s, like the final check, and {rest}"
        return False

    @contextmanager
    def step(self, members: int) -> Iterator[None]:
        """Time a step."""
        before = time.monotonic()
        yield
        took = (time.monotonic() - before) / members
        # if steps differ the longer ones count: another program may be running
        earlier = self._step_seconds if self._step_seconds is not None and self._steps else took
        self._step_seconds = max(took, 0.5 * (earlier + took))
        self._steps += 1
        passed = 0.0 if self._seconds is None else (time.monotonic() - self._began) / self._seconds
        self.report(min(0.99, max(self._steps / self._max_steps, passed)))

    def report(self, share: float) -> None:
        if self._progress is not None and (share >= self._reported + 0.01 or share == 1):
            self._reported = share
            self._progress(share)


def _expected_seconds(surface: LossSurface, theta: Tensor, limit: float) -> float:
    """Time of a dense step at one point, from a few products and the eigenvectors of a smaller matrix."""
    size, began = surface.dimension, time.monotonic()
    product = surface.product(theta[0])
    prepared = time.monotonic() - began

    def seconds_per_vector(count: int) -> float:
        before = time.monotonic()
        product(torch.ones(count, size, dtype=surface.dtype, device=surface.device))
        return (time.monotonic() - before) / count

    each = seconds_per_vector(1)
    if 100 * each < limit:  # several at once are faster
        each = min(each, seconds_per_vector(min(size, 16)))
    part = torch.arange(min(size, 256), dtype=surface.dtype, device=surface.device)
    before = time.monotonic()
    torch.linalg.eigh(torch.cos(part[:, None] * part))
    return prepared + size * each + (time.monotonic() - before) * (size / len(part)) ** 3


class _Best:
    """The point with the smallest gradient norm of each member."""

    def __init__(self, surface: LossSurface, points: Points) -> None:
        self.theta = points.theta.clone()
        self.norm = surface.gradient(self.theta).norm(dim=1).cpu()
        self.norm[~points.finite] = torch.nan
        self.attempts, self.steps = (torch.zeros(len(self.theta), dtype=torch.int64) for _ in range(2))

    def update(self, members: Tensor, theta: Tensor, norm: Tensor, steps: Tensor) -> None:
        self.steps[members] += steps
        better = norm <= self.norm[members]
        self.theta[members[better]], self.norm[members[better]] = theta[better], norm[better]


def _search(
    surface: LossSurface, start: Float[Tensor, "member parameter"], target: Float[Tensor, " member"], budget: _Budget
) -> tuple[Float[Tensor, "member parameter"], Float[Tensor, " member"], Int[Tensor, " member"]]:
    """Take damped Newton steps; return the best points, their gradient norms and the numbers of steps."""
    theta, gradient = start.clone(), surface.gradient(start)
    norm = gradient.norm(dim=1)
    best, best_norm, target = start.clone(), norm.clone(), target.to(start.device)
    steps = torch.zeros_like(norm, dtype=torch.int64)
    hessian = start.new_zeros(*start.shape, start.shape[1])
    outdated, defined = (torch.ones_like(norm, dtype=torch.bool) for _ in range(2))  # of the Hessians
    damping, recent = torch.full_like(norm, 1e-2), norm[:, None].repeat(1, _RECENT)
    for iteration in range(budget.iterations):
        active = ((best_norm > target) & defined).nonzero().ravel()
        if len(active) == 0 or not budget.allows(surface, theta[active]):
            break
        with budget.step(len(active)):
            renewed = active[outdated[active]]
            if len(renewed):
                hessian[renewed], outdated[renewed] = surface.hessian(theta[renewed]), False
                defined[renewed] = hessian[renewed].isfinite().flatten(1).all(1)
                active = active[defined[active]]
            if len(active) == 0:
                continue
            reached = theta[active] + _newton_step(hessian[active], gradient[active], damping[active])
            new_gradient = surface.gradient(reached)
            norm = new_gradient.norm(dim=1)
            accepted = norm < recent[active].amax(1)  # never where it is NaN
            factor = torch.where(accepted, 1 / _DECREASE, _INCREASE)
            damping[active] = (damping[active] * factor).clamp(1e-20, 1e6)
            recent[active, iteration % _RECENT] = torch.where(accepted, norm, gradient[active].norm(dim=1))
            steps[active] += 1
            moved = active[accepted]
            theta[moved], gradient[moved], outdated[moved] = reached[accepted], new_gradient[accepted], True
            better = accepted & (norm < best_norm[active])
            best[active[better]], best_norm[active[better]] = reached[better], norm[better]
    return best, best_norm.cpu(), steps.cpu()


def _newton_step(
    hessian: Float[Tensor, "member parameter parameter"],
    gradient: Float[Tensor, "member parameter"],
    damping: Float[Tensor, " member"],
) -> Float[Tensor, "member parameter"]:
    """−H (H² + (μ‖H‖)²)⁻¹ g, shortened to a length of at most 1."""
    values, vectors = torch.linalg.eigh(hessian)
    tiny = torch.finfo(values.dtype).tiny
    scale = values.abs().amax(1).clamp_min(tiny)
    along = torch.einsum("mpq,mp->mq", vectors, gradient)
    damped = values.square() + (damping * scale)[:, None].square()
    step: Tensor = -torch.einsum("mpq,mq->mp", vectors, values / damped.clamp_min(tiny) * along)
    shortened: Tensor = step * (_MAX_STEP / step.norm(dim=1, keepdim=True)).clamp_max(1.0)
    return shortened


class _Check:
    """How the gradient lies relative to the Hessian; nothing is known of a member without time for the check."""

    def __init__(self, surface: LossSurface, theta: Tensor, points: Points, budget: _Budget) -> None:
        self.flatness, self.newton_step = (torch.full((len(theta),), torch.nan).double() for _ in range(2))
        self.flat, self.runaway, self.done, undefined = torch.zeros(4, len(theta), dtype=torch.bool)
        self.defined = ~undefined  # whether the Hessian is finite
        members = points.finite.nonzero().ravel()
        if len(members) == 0 or not budget.allows(surface, theta[members], last=True):
            return
        hessian = surface.hessian(theta[members])
        finite = hessian.isfinite().flatten(1).all(1)
        self.defined[members], self.done[members] = finite.cpu(), True
        members = members[finite.cpu()]
        if len(members) == 0:
            return
        gradient = surface.gradient(theta[members])
        values, vectors = torch.linalg.eigh(hessian[finite])
        along = torch.einsum("mpq,mp->mq", vectors, gradient)
        norm, largest, size = gradient.norm(dim=1), values.abs().amax(1), 1 + theta[members].norm(dim=1)
        floor = 10 * surface.dimension * torch.finfo(torch.float64).eps * largest
        curved = values.abs() > floor[:, None]
        step = torch.where(curved, along / torch.where(curved, values, 1.0), 0.0).norm(dim=1) / size
        acted = torch.where(largest * norm > 0, (values * along).norm(dim=1) / (largest * norm), 0.0)
        outside = torch.where(curved, 0.0, along).norm(dim=1)
        above_rounding = norm > 10 * floor * size
        self.flatness[members], self.newton_step[members] = acted.cpu(), step.cpu()
        self.flat[members] = (above_rounding & ((acted <= _FLAT) | (outside > _OUTSIDE * norm))).cpu()
        self.runaway[members] = (above_rounding & (step > _RUNAWAY)).cpu()


def _has_kink(surface: LossSurface, point: Float[Tensor, " parameter"]) -> bool:
    """Whether a quarter of a small step changes the gradient by more than half of what the whole step does."""
    # rounding does so too, by much less than a long step
    generator = Generator().manual_seed(0)
    drawn = torch.randn(2, len(point), generator=generator, dtype=torch.float64).to(point)
    directions = torch.cat([drawn, -drawn]) / drawn.norm(dim=1).repeat(2)[:, None] * (1 + point.norm())
    here = surface.gradient(point)
    quarter, whole, far = (
        (surface.gradient(point + step * directions) - here).norm(dim=1) for step in (_KINK_STEP / 4, _KINK_STEP, 1e-3)
    )
    noise = torch.maximum(1e-6 * far, 1e-10 * surface.loss(point).abs() / (1 + point.norm()))
    return bool(((quarter > 0.5 * whole) & (quarter > noise)).any())
