"""The Hessian's spectrum: eigenvalues at its ends, the distribution of all, the trace, and the diagonal.

    H v = λ v,    residual = ‖Hv − λv‖

The largest eigenvalue bounds the learning rate η at which gradient descent is stable, λ ≤ 2/η; a negative one is a
direction of descent. Lanczos with full reorthogonalisation: Lehoucq, Sorensen and Yang 1998, ARPACK Users' Guide;
Cohen et al. 2021, arXiv:2103.00065. Adam divides the gradient by D = diag(√(v/(1−β₂ᵗ)) + ε), so that

    λ_max(D^(−½) H D^(−½)) ≤ (2 + 2β₁) / ((1 − β₁)η)

decides whether its steps are stable; 38/η at β₁ = 0.9. Cohen et al. 2022, arXiv:2207.14484.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from bathymetry.core.errors import InputError, positive_number, whole_number
from bathymetry.core.showing import readable
from bathymetry.linalg import SymmetricOperator, eigenpairs, estimates
from bathymetry.linalg.eigenpairs import NotConverged as NotConverged
from bathymetry.linalg.eigenpairs import Which
from bathymetry.linalg.estimates import SpectralDensity
from bathymetry.linalg.operator import NotFiniteError, ScaledOperator
from bathymetry.probes.points import Points, Theta, as_hessians, as_points, check_seed, check_surface
from bathymetry.surface import LossSurface

_DENSE = 1000  # parameters up to which the preconditioned eigenvalue comes from a dense Hessian


@readable
class Eigenvalues:
    """Eigenvalues at an end of the spectrum, with their residuals."""

    values: Float[Tensor, "*member pair"]  # descending, float64; by magnitude for "magnitude"
    vectors: Float[Tensor, "*member pair parameter"]  # unit vectors
    residuals: Float[Tensor, "*member pair"]  # ‖Hv − λv‖
    converged: Bool[Tensor, "*member pair"]  # residual within the tolerance times the largest |λ|, none missed
    tolerance: float
    num_matvecs: int  # Hessian-vector products, over all members
    backend: str  # how they were computed


def eigenvalues(
    surface: LossSurface | SymmetricOperator,
    theta: Theta = None,
    *,
    k: int = 5,
    which: Which = "largest",
    tolerance: float = 1e-3,
    max_matvecs: int = 2000,
    seed: int = 0,
    start: Float[Tensor, "*lead parameter"] | None = None,
    seconds: float | None = None,
    certify: bool = True,
    preconditioner: Float[Tensor, "*member parameter"] | None = None,
) -> Eigenvalues:
    """Find eigenvalues at the ends of the Hessian's spectrum.

    Args:
        surface: Loss surface, or an operator such as `bm.GaussNewton(surface)` in place of its Hessian.
        theta: One point or one per member. Defaults to the model's current parameters.
        k: Number of eigenvalues; for "both", at each end.
        which: "largest", "smallest", "both" or "magnitude".
        tolerance: Largest residual, relative to the largest |λ|.
        max_matvecs: Limit for each member; a search that reaches it ends with a warning.
        seed: Seed of the first vector.
        start: First vectors instead of random ones, for example `vectors` of an earlier result: (P,) or (vector, P),
            which are summed; for an ensemble (M, P) or (M, vector, P). Not used up to 300 parameters.
        seconds: Time limit, shared by the members; a search that reaches it ends with a warning. It is checked between
            products, and 2k of them are always made.
        certify: Search for missed eigenvalues. Without, `converged` depends on the residuals alone.
        preconditioner: D > 0 of the shape of θ, for the eigenvalues of D^(−½) H D^(−½).

    Returns:
        Eigenvalues with vectors and residuals; NaN and not converged for a member that diverged.

    Example:
        Linear regression on the unit vectors: H = 2XᵀX/n = I.

        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> surface = LossSurface(model, "mse", (torch.eye(2), torch.zeros(2, 1)), dtype=torch.float64)
        >>> eigenvalues(surface, k=2).values
        tensor([1., 1.], dtype=torch.float64)
    """
    began = time.monotonic()
    k, seed = whole_number("k", k, 1), check_seed(seed)
    if seconds is not None:
        positive_number("seconds", seconds)
    if not isinstance(certify, bool):
        raise InputError("certify", certify, "expected True or False")
    hessians, points = as_hessians(surface, theta)
    scales: Sequence[Tensor | None] = [None] * len(points.theta)
    if preconditioner is not None:
        if not isinstance(hessians, LossSurface):
            raise InputError("preconditioner", "for an operator", "expected operator.ScaledOperator(operator, D**-0.5)")
        divisor, points = _with_preconditioner(hessians, points, preconditioner)
        scales = list(divisor.rsqrt())
    remaining = points.finite.flip(0).cumsum(0).flip(0).tolist()  # members still to be measured

    def search(point: Tensor, start: Tensor | None, scale: Tensor | None, members: int) -> eigenpairs.Eigenpairs:
        before = time.monotonic()
        operator: SymmetricOperator = hessians.product(point)
        if scale is not None:
            operator = ScaledOperator(operator, scale)
        left = None
        if seconds is not None:
            left = max((began + seconds - before) / members - (time.monotonic() - before), 1e-9)
        return eigenpairs.eigenpairs(
            operator,
            k,
            which,
            tolerance=tolerance,
            max_matvecs=max_matvecs,
            start=start,
            seconds=left,
            certify=certify,
            generator=Generator().manual_seed(seed),
        )

    pairs = 2 * k if which == "both" else k
    nan = torch.tensor(torch.nan, dtype=torch.float64)
    vectors = nan.to(hessians.device, hessians.dtype).expand(pairs, hessians.dimension)
    never = torch.tensor(False).expand(pairs)
    missing = eigenpairs.Eigenpairs(nan.expand(pairs), vectors, nan.expand(pairs), never, tolerance, num_matvecs=0)
    found = points.each(search, missing, _starts(points, start), scales, remaining)
    return Eigenvalues(
        values=points.stack(one.values for one in found),
        vectors=points.stack(one.vectors for one in found),
        residuals=points.stack(one.residuals for one in found),
        converged=points.stack(one.converged for one in found),
        tolerance=tolerance,
        num_matvecs=sum(one.num_matvecs for one in found),
        backend=hessians.backend,
    )


def _starts(points: Points, start: Tensor | None) -> Sequence[Tensor | None]:
    members = len(points.theta)
    if start is None or points.single:
        return [start] * members
    if not isinstance(start, Tensor) or start.ndim not in (2, 3) or len(start) != members:
        shown = f"shape {tuple(start.shape)}" if isinstance(start, Tensor) else type(start).__name__
        raise InputError("start", shown, f"expected ({members}, parameter) or ({members}, vector, parameter)")
    return list(start)


def _with_preconditioner(
    surface: LossSurface, points: Points, preconditioner: Float[Tensor, "*member parameter"]
) -> tuple[Float[Tensor, "member parameter"], Points]:
    """D, and points of which those where it is not finite count as diverged."""
    divisor, single = surface.points(preconditioner, "preconditioner")
    if (divisor.shape, single) != (points.theta.shape, points.single):
        expected = f"expected the shape of θ, {tuple(points.squeeze(points.theta).shape)}"
        raise InputError("preconditioner", f"shape {tuple(preconditioner.shape)}", expected)
    finite = divisor.isfinite().all(1)
    if not bool((divisor[finite] > 0).all()) or (single and not bool(finite)):
        raise InputError("preconditioner", "not positive and finite", "expected finite numbers above 0")
    return divisor, replace(points, finite=points.finite & finite.cpu())


def dense_eigenvalues(
    surface: LossSurface, points: Points, divisor: Float[Tensor, "member parameter"] | None = None
) -> Float[Tensor, "member parameter"]:
    """All eigenvalues of H or D^(−½) H D^(−½), ascending; NaN for a member without a finite Hessian."""
    values = torch.full(points.theta.shape, torch.nan, dtype=torch.float64)
    members = points.finite.nonzero().ravel()
    if len(members) == 0:
        return values
    hessian = surface.hessian(points.theta[members])
    if divisor is not None:
        root = divisor[members].sqrt()
        hessian = hessian / (root[:, :, None] * root[:, None, :])
    defined = hessian.isfinite().flatten(1).all(1)
    if points.single and not bool(defined):
        raise NotFiniteError
    values[members[defined.cpu()]] = torch.linalg.eigvalsh(hessian[defined]).cpu()
    return values


def preconditioned_eigenvalue(
    surface: LossSurface, theta: Theta = None, *, preconditioner: Float[Tensor, "*member parameter"]
) -> Float[Tensor, "*member"]:
    """Measure the largest eigenvalue of D^(−½) H D^(−½).

    In float64 from the dense Hessian up to 1,000 parameters. Beyond, it is the value of
    `eigenvalues(surface, theta, k=1, preconditioner=preconditioner)`, which also gives the residual.

    Args:
        surface: Loss surface.
        theta: One point or one per member. Defaults to the model's current parameters.
        preconditioner: D, by which each coordinate of the gradient is divided, of the shape of θ.

    Returns:
        The largest eigenvalue; NaN for a member that diverged.

    Example:
        Linear regression with H = diag(2, 8), divided by (1, 4): both eigenvalues are 2.

        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> inputs = torch.diag(torch.tensor([2.0, 8.0]).sqrt())
        >>> surface = LossSurface(model, "mse", (inputs, torch.zeros(2, 1)))
        >>> round(preconditioned_eigenvalue(surface, preconditioner=torch.tensor([1.0, 4.0])).item(), 6)
        2.0
    """
    check_surface(surface)
    if surface.dimension > _DENSE:
        return eigenvalues(surface, theta, k=1, preconditioner=preconditioner).values[..., 0]
    surface, points = as_points(surface, theta, "float64")
    divisor, points = _with_preconditioner(surface, points, preconditioner)
    return points.squeeze(dense_eigenvalues(surface, points, divisor)[:, -1])


def preconditioner(surface: LossSurface, optimizer: torch.optim.Optimizer) -> Float[Tensor, " parameter"]:
    """Read from an optimiser by what it divides each coordinate of the gradient.

    Args:
        surface: Loss surface of the network that the optimiser trains.
        optimizer: `torch.optim.Adam`, `AdamW` or `RMSprop`, after at least one step.

    Returns:
        D, laid out like θ: √(v/(1 − β₂ᵗ)) + ε for Adam, with the largest v so far under amsgrad; √v + ε for RMSprop,
        with the squared mean gradient subtracted from v if it is centred.

    Raises:
        InputError: If it is another optimiser, has made no step, or does not train all of the surface's parameters.

    Example:
        After one step of Adam v/(1 − β₂) is g², so D = |g| + ε.

        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> surface = LossSurface(model, "mse", (torch.ones(1, 1), model(torch.ones(1, 1)).detach() + 1))
        >>> optimizer = torch.optim.Adam(model.parameters())
        >>> (model.weight.sum() * 3).backward()
        >>> optimizer.step()
        >>> round(preconditioner(surface, optimizer).item(), 4)
        3.0
    """
    kind = type(optimizer).__name__
    if type(optimizer) not in (torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop):
        raise InputError("optimizer", kind, "expected torch.optim.Adam, AdamW or RMSprop")
    check_surface(surface)
    groups = {id(one): group for group in optimizer.param_groups for one in group["params"]}
    divisors = {}
    for name, parameter in surface.named_parameters().items():
        if id(parameter) not in groups:
            remedy = "expected the optimizer of the surface's network, or a surface whose params leave it out"
            raise InputError("optimizer", f"{kind} that does not train {name}", remedy)
        if not (state := optimizer.state.get(parameter)):
            raise InputError("optimizer", f"{kind} without a step of {name}", "expected at least one step")
        divisors[name] = _divisor(state, groups[id(parameter)])
    return surface.selection.join(divisors)


def _divisor(state: dict[str, Tensor], group: dict[str, object]) -> Tensor:
    eps = float(group["eps"])  # type: ignore[arg-type]
    if "square_avg" in state:  # RMSprop
        square = state["square_avg"].double()
        if group["centered"]:
            square = (square - state["grad_avg"].double().square()).clamp_min(0)
        return square.sqrt() + eps
    square = state["max_exp_avg_sq" if group["amsgrad"] else "exp_avg_sq"].double()
    beta2 = float(group["betas"][1])  # type: ignore[index]
    divisor: Tensor = (square / (1 - beta2 ** float(state["step"]))).sqrt() + eps
    return divisor


def spectral_density(
    surface: LossSurface | SymmetricOperator, theta: Theta = None, *, probes: int = 10, steps: int = 80, seed: int = 0
) -> SpectralDensity:
    """Estimate the distribution of the Hessian's eigenvalues by stochastic Lanczos quadrature.

    Args:
        surface: Loss surface, or an operator such as `bm.GaussNewton(surface)` in place of its Hessian.
        theta: One point or one per member. Defaults to the model's current parameters.
        probes: Number of random first vectors.
        steps: Lanczos steps from each; eigenvalues closer than about the spectrum's width over this are one.
        seed: Seed of the first vectors.

    Returns:
        The distribution, with `mass(low, high)` and `density(grid, width)`; NaN for a member that diverged.

    Example:
        With probes and steps for every parameter it is the spectrum itself, here 1 and 1.

        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> surface = LossSurface(model, "mse", (torch.eye(2), torch.zeros(2, 1)))
        >>> round(spectral_density(surface).mass(0.5, 1.5)[0].item(), 6)
        1.0
    """
    seed, probes, steps = check_seed(seed), whole_number("probes", probes, 1), whole_number("steps", steps, 1)
    hessians, points = as_hessians(surface, theta)
    shape = min(probes, hessians.dimension), min(steps, hessians.dimension)

    def measure(point: Tensor) -> SpectralDensity | None:
        return estimates.spectral_density(hessians.product(point), *shape, Generator().manual_seed(seed))

    found = points.each(measure, None)
    nan = torch.full(shape, torch.nan, dtype=torch.float64)
    exact = shape == (hessians.dimension, hessians.dimension)
    like = next((one for one in found if one), SpectralDensity(nan, nan, nan, hessians.dimension, exact))
    return _stacked(points, [one or _undefined(like) for one in found])


def _undefined(like: SpectralDensity) -> SpectralDensity:
    nan = torch.full_like(like.nodes, torch.nan)
    return replace(like, nodes=nan, weights=nan, residuals=nan, earlier=tuple(_undefined(one) for one in like.earlier))


def _stacked(points: Points, members: Sequence[SpectralDensity]) -> SpectralDensity:
    return replace(
        members[0],
        nodes=points.stack(one.nodes for one in members),
        weights=points.stack(one.weights for one in members),
        residuals=points.stack(one.residuals for one in members),
        earlier=tuple(_stacked(points, same) for same in zip(*(one.earlier for one in members), strict=True)),
    )


@readable
class Estimate:
    """The trace or the diagonal of the Hessian, with standard errors."""

    value: Float[Tensor, "*member"] | Float[Tensor, "*member parameter"]
    standard_error: Float[Tensor, "*member"] | Float[Tensor, "*member parameter"]  # 0 where it is exact
    num_matvecs: int  # Hessian-vector products for each member


def trace(
    surface: LossSurface | SymmetricOperator, theta: Theta = None, *, num_matvecs: int = 60, seed: int = 0
) -> Estimate:
    """Estimate the trace of the Hessian by Hutch++.

    Args:
        surface: Loss surface, or an operator such as `bm.GaussNewton(surface)` in place of its Hessian.
        theta: One point or one per member. Defaults to the model's current parameters.
        num_matvecs: Hessian-vector products for each member, at least 6; exact from the number of parameters on.
        seed: Seed of the random vectors.

    Returns:
        The trace with its standard error; NaN for a member that diverged.

    Example:
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> trace(LossSurface(model, "mse", (torch.eye(2), torch.zeros(2, 1)))).value
        tensor(2., dtype=torch.float64)
    """
    return _estimate(estimates.trace, surface, theta, whole_number("num_matvecs", num_matvecs, 6), check_seed(seed))


def diagonal(
    surface: LossSurface | SymmetricOperator, theta: Theta = None, *, num_matvecs: int = 100, seed: int = 0
) -> Estimate:
    """Estimate the diagonal of the Hessian.

    Args:
        surface: Loss surface, or an operator such as `bm.GaussNewton(surface)` in place of its Hessian.
        theta: One point or one per member. Defaults to the model's current parameters.
        num_matvecs: Hessian-vector products for each member, at least 2; exact from the number of parameters on.
        seed: Seed of the random vectors.

    Returns:
        The diagonal with standard errors; NaN for a member that diverged.

    Example:
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> diagonal(LossSurface(model, "mse", (torch.eye(2), torch.zeros(2, 1)))).value
        tensor([1., 1.], dtype=torch.float64)
    """
    return _estimate(estimates.diagonal, surface, theta, whole_number("num_matvecs", num_matvecs, 2), check_seed(seed))


def _estimate(
    estimate: Callable[..., estimates.Trace | estimates.Diagonal],
    surface: LossSurface | SymmetricOperator,
    theta: Theta,
    num_matvecs: int,
    seed: int,
) -> Estimate:
    hessians, points = as_hessians(surface, theta)
    shape = [hessians.dimension] if estimate is estimates.diagonal else []

    def measure(point: Tensor) -> Tensor:
        found = estimate(hessians.product(point), num_matvecs, Generator().manual_seed(seed))
        both = found.value, found.standard_error
        return torch.stack([torch.as_tensor(one, dtype=torch.float64) for one in both]).cpu()

    value, error = points.table(measure, 2, *shape).unbind(-1 - len(shape))
    return Estimate(value, error, min(num_matvecs, hessians.dimension))
