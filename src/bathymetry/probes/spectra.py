"""The ends of the Hessian's spectrum: how sharply the surface bends, and whether it bends down anywhere.

    H v = λ v,    residual = ‖Hv − λv‖

The largest eigenvalue bounds the learning rate at which gradient descent is stable (2/η); a negative one is a way down.
By Lanczos with full reorthogonalisation, whole for few parameters; a value never comes without its residual.
Lehoucq, Sorensen and Yang 1998, ARPACK Users' Guide; Cohen et al. 2021, arXiv:2103.00065.
"""

import math
import time
import warnings
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from scipy import stats
from torch import Generator, Tensor

from bathymetry import linalg
from bathymetry.core.errors import InputError, positive_number, whole_number
from bathymetry.core.showing import readable
from bathymetry.linalg import NotConverged as NotConverged
from bathymetry.linalg import ScaledOperator, SymmetricOperator, Which, eigenpairs
from bathymetry.probes.points import Places, check_surface, filled, places
from bathymetry.surface import LossSurface


@readable
class Eigenvalues:
    """Eigenvalues at an end of the spectrum, and how right they are."""

    values: Float[Tensor, "*member pair"]  # descending, float64; by magnitude for "magnitude"
    vectors: Float[Tensor, "*member pair parameter"]  # unit vectors
    residuals: Float[Tensor, "*member pair"]  # ‖Hv − λv‖
    converged: Bool[Tensor, "*member pair"]  # residual within the tolerance times the largest |λ|, none missed
    tolerance: float
    num_matvecs: int  # how many Hessian-vector products were made in all
    backend: str  # how, in words


def eigenvalues(
    surface: LossSurface,
    theta: Float[Tensor, "*member parameter"] | None = None,
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
        surface: The loss surface.
        theta: One point or one a member; the network's own parameters if None.
        k: How many; for "both", how many at each end.
        which: "largest", "smallest", "both" or "magnitude".
        tolerance: Of the residuals, relative to the largest |λ|.
        max_matvecs: When to stop for each member, with a warning.
        seed: Of the start, where none is given.
        start: Where to begin, for example `vectors` of an earlier result: (P,) or (vector, P), whose sum is taken; for
            an ensemble (M, P) or (M, vector, P). Up to 300 parameters need none.
        seconds: About when to stop all the same, with a warning and with what was found by then; each member gets its
            part. At least k products are made for each.
        certify: Whether to look for eigenvalues that were missed. Without, `converged` speaks of the residual alone.
        preconditioner: D > 0 of the shape of θ, for the eigenvalues of D^(−½) H D^(−½) instead of those of H.

    Returns:
        Eigenvalues with vectors and residuals; NaN and not converged for a member that diverged.

    Raises:
        InputError: If `certify` is neither True nor False.

    Example:
        Linear regression on the unit vectors, each once: H = 2XᵀX/n = I.

        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> surface = LossSurface(model, "mse", (torch.eye(2), torch.zeros(2, 1)), dtype=torch.float64)
        >>> eigenvalues(surface, k=2).values
        tensor([1., 1.], dtype=torch.float64)
    """
    begun = time.monotonic()
    k, seed = whole_number("k", k, 1), whole_number("seed", seed, 0, 2**63 - 1)
    end = None if seconds is None else begun + positive_number("seconds", seconds)
    if not isinstance(certify, bool):
        raise InputError("certify", certify, "expected True or False")
    check_surface(surface)
    surface = surface.at_least_float32()
    where = places(surface, theta)
    starts = [None] * len(where.theta) if start is None else _starts(where, start)
    scales: list[Tensor | None] = [None] * len(where.theta)
    if preconditioner is not None:
        divisor, where = checked_preconditioner(surface, where, preconditioner)
        scales = list(divisor.rsqrt())
    given = [pair for pair, good in zip(zip(starts, scales, strict=True), where.finite.tolist(), strict=True) if good]

    def search(point: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, int]:
        share = None if end is None else (end - time.monotonic()) / len(given)
        until = None if share is None else time.monotonic() + share
        start, scale = given.pop(0)
        operator: SymmetricOperator = surface.product(point)
        operator = operator if scale is None else ScaledOperator(operator, scale)
        found = eigenpairs(
            operator, k, which, tolerance=tolerance, max_matvecs=max_matvecs, start=start, certify=certify,
            seconds=None if until is None else max(until - time.monotonic(), 1e-9),
            generator=torch.Generator().manual_seed(seed),
        )  # fmt: skip
        return found.values, found.vectors, found.residuals, found.converged, found.num_matvecs

    each = where.each(search)
    pairs = 2 * k if which == "both" else k
    row = torch.empty(pairs, dtype=torch.float64)
    vectors = torch.empty(pairs, surface.dimension, dtype=surface.dtype, device=surface.device)
    never = torch.zeros(pairs, dtype=torch.bool)
    return Eigenvalues(
        values=where.given(filled([one and one[0] for one in each], row)),
        vectors=where.given(filled([one and one[1] for one in each], vectors)),
        residuals=where.given(filled([one and one[2] for one in each], row)),
        converged=where.given(torch.stack([one[3] if one else never for one in each])),
        tolerance=tolerance,
        num_matvecs=sum(one[4] for one in each if one),
        backend=surface.path,
    )


def _starts(where: Places, start: Tensor) -> list[Tensor | None]:
    """Give each member its own start."""
    if where.single:
        return [start]
    members = len(where.theta)
    if not isinstance(start, Tensor) or start.ndim not in (2, 3) or len(start) != members:
        shown = f"shape {tuple(start.shape)}" if isinstance(start, Tensor) else type(start).__name__
        raise InputError("start", shown, f"expected ({members}, parameter) or ({members}, vector, parameter)")
    return list(start)


def checked_preconditioner(
    surface: LossSurface, where: Places, preconditioner: Float[Tensor, "*member parameter"]
) -> tuple[Float[Tensor, "member parameter"], Places]:
    """Insist on what a gradient can be divided by.

    Args:
        surface: The loss surface.
        where: Its points.
        preconditioner: D.

    Returns:
        D, a row a point, and the points, of which a member whose D is not finite counts as diverged.

    Raises:
        InputError: If it has another shape than θ, or is not positive.
    """
    divisor, single = surface.points(preconditioner, "preconditioner")
    if (divisor.shape, single) != (where.theta.shape, where.single):
        shapes = [tuple(one.shape) for one in (preconditioner, where.given(where.theta))]
        raise InputError("preconditioner", f"shape {shapes[0]}", f"expected the shape of θ, {shapes[1]}")
    finite = divisor.isfinite().all(1)
    if single and not bool(finite):
        raise InputError("preconditioner", "not finite", "expected finite numbers above 0")
    if not bool((divisor[finite] > 0).all()):
        raise InputError(
            "preconditioner", "not positive", "expected what each coordinate of the gradient is divided by, above 0"
        )
    return divisor, replace(where, finite=where.finite & finite.cpu())


@readable
class Trace:
    """The trace of the Hessian, and how sure it is."""

    value: Float[Tensor, "*member"]
    standard_error: Float[Tensor, "*member"]  # 0 where it was computed whole
    num_matvecs: int  # for each member


@readable
class Diagonal:
    """The diagonal of the Hessian, and how sure each entry is."""

    value: Float[Tensor, "*member parameter"]
    standard_error: Float[Tensor, "*member parameter"]  # 0 where it was computed whole
    num_matvecs: int  # for each member


def spectral_density(
    surface: LossSurface,
    theta: Float[Tensor, "*member parameter"] | None = None,
    *,
    probes: int = 10,
    steps: int = 80,
    seed: int = 0,
) -> linalg.SpectralDensity:
    """Estimate the distribution of the Hessian's eigenvalues.

    Args:
        surface: The loss surface.
        theta: One point or one a member; the network's own parameters if None.
        probes: Random starts.
        steps: Lanczos steps from each; eigenvalues closer than about the spectrum's width over this run together.
        seed: Of the starts.

    Returns:
        The distribution, with `mass(low, high)` and `density(grid, width)`; NaN for a member that diverged.
    """
    check_surface(surface)
    surface = surface.at_least_float32()
    where = places(surface, theta)
    seed = whole_number("seed", seed, 0, 2**63 - 1)
    starts = min(whole_number("probes", probes, 1), surface.dimension)
    size = min(whole_number("steps", steps, 1), surface.dimension)
    exact = starts == size == surface.dimension

    def measure(point: Tensor) -> list[Tensor]:
        found = linalg.spectral_density(surface.product(point), starts, size, Generator().manual_seed(seed))
        return [torch.stack([one.nodes, one.weights, one.residuals]) for one in (*found.earlier, found)]

    each = where.each(measure)
    gap = [torch.empty(3, starts, size, dtype=torch.float64)]  # of members that have none
    like = next((one for one in each if one is not None), gap)
    *earlier, whole = (
        _given(where, filled([None if one is None else one[place] for one in each], shape), surface.dimension, exact)
        for place, shape in enumerate(like)
    )
    return replace(whole, earlier=tuple(earlier))


def _given(
    where: Places, three: Float[Tensor, "member 3 probe step"], dimension: int, exact: bool
) -> linalg.SpectralDensity:
    nodes, weights, residuals = (where.given(three[:, one]) for one in range(3))
    return linalg.SpectralDensity(nodes, weights, residuals, dimension, exact)


def trace(
    surface: LossSurface,
    theta: Float[Tensor, "*member parameter"] | None = None,
    *,
    num_matvecs: int = 60,
    seed: int = 0,
) -> Trace:
    """Estimate the trace of the Hessian.

    Args:
        surface: The loss surface.
        theta: One point or one a member; the network's own parameters if None.
        num_matvecs: How many Hessian-vector products to make for each.
        seed: Of the random vectors.

    Returns:
        The trace with its standard error; NaN for a member that diverged.
    """
    check_surface(surface)
    surface = surface.at_least_float32()
    where = places(surface, theta)
    num_matvecs, seed = whole_number("num_matvecs", num_matvecs, 6), whole_number("seed", seed, 0, 2**63 - 1)

    def measure(point: Tensor) -> Tensor:
        found = linalg.trace(surface.product(point), num_matvecs, Generator().manual_seed(seed))
        return torch.tensor([found.value, found.standard_error], dtype=torch.float64)

    both = filled(where.each(measure), torch.empty(2, dtype=torch.float64))
    return Trace(where.given(both[:, 0]), where.given(both[:, 1]), min(num_matvecs, surface.dimension))


def diagonal(
    surface: LossSurface,
    theta: Float[Tensor, "*member parameter"] | None = None,
    *,
    num_matvecs: int = 100,
    seed: int = 0,
) -> Diagonal:
    """Estimate the diagonal of the Hessian.

    Args:
        surface: The loss surface.
        theta: One point or one a member; the network's own parameters if None.
        num_matvecs: How many Hessian-vector products to make for each.
        seed: Of the random vectors.

    Returns:
        The diagonal with standard errors; NaN for a member that diverged.
    """
    check_surface(surface)
    surface = surface.at_least_float32()
    where = places(surface, theta)
    num_matvecs, seed = whole_number("num_matvecs", num_matvecs, 2), whole_number("seed", seed, 0, 2**63 - 1)

    def measure(point: Tensor) -> Tensor:
        found = linalg.diagonal(surface.product(point), num_matvecs, Generator().manual_seed(seed))
        return torch.stack([found.value, found.standard_error]).cpu()

    both = filled(where.each(measure), torch.empty(2, surface.dimension, dtype=torch.float64))
    return Diagonal(where.given(both[:, 0]), where.given(both[:, 1]), min(num_matvecs, surface.dimension))


_WHOLE = 3000  # parameters up to which the Hessian is diagonalised whole
_UNRESOLVED = 0.05  # share of the spectrum that may lie too close to zero to tell before that is said


@readable
class CurvatureIndex:
    """How many directions bend which way; whole numbers where the Hessian was diagonalised whole."""

    positive: Float[Tensor, "*member"]  # eigenvalues above the tolerance
    zero: Float[Tensor, "*member"]
    negative: Float[Tensor, "*member"]  # below minus the tolerance
    minimal_ratio: Float[Tensor, "*member"]  # positive / P
    interval: Float[Tensor, "*member end"]  # 95 % of the minimal ratio; both ends the ratio itself where it is exact
    tolerance: Float[Tensor, "*member"]
    gradient_norm: Float[Tensor, "*member"]
    eigenvalues: Float[Tensor, "*member parameter"] | None  # ascending; None where they were not all computed
    exact: bool


def curvature_index(
    surface: LossSurface,
    theta: Float[Tensor, "*member parameter"] | None = None,
    *,
    probes: int = 20,
    steps: int = 100,
    seed: int = 0,
) -> CurvatureIndex:
    """Count the directions in which a surface bends up, lies flat and bends down.

    Args:
        surface: The loss surface.
        theta: One point or one a member; the network's own parameters if None.
        probes: Random starts, where there are too many parameters to diagonalise the Hessian whole.
        steps: Lanczos steps from each.
        seed: Of the starts.

    Returns:
        The counts; NaN for a member that diverged.

    Example:
        ½(w₁w₂ − 1)² at the origin is a saddle with eigenvalues ±1.

        >>> class Product(torch.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.weights = torch.nn.Parameter(torch.zeros(2))
        ...
        ...     def forward(self, x):
        ...         return x * self.weights.prod()
        >>> half = lambda output, target: (output - target).square().mean() / 2
        >>> index = curvature_index(LossSurface(Product(), half, (torch.ones(1, 1), torch.ones(1, 1))))
        >>> index.minimal_ratio.item(), index.eigenvalues.tolist()
        (0.5, [-1.0, 1.0])
    """
    check_surface(surface)
    surface = surface.double()
    probes, steps = whole_number("probes", probes, 2), whole_number("steps", steps, 1)
    seed = whole_number("seed", seed, 0, 2**63 - 1)
    where = places(surface, theta)
    gradient = surface.gradient(where.theta).norm(dim=1)
    gradient[~where.finite] = torch.nan
    values: Tensor | None = None
    if surface.dimension <= _WHOLE:
        values = _spectra(surface, where)
        where = replace(where, finite=where.finite & values.isfinite().all(1))
        tolerance = 10 * surface.dimension * torch.finfo(torch.float64).eps * values.abs().amax(1)
        counts = [
            torch.where(where.finite, some.sum(1).double(), torch.nan)
            for some in (values > tolerance[:, None], values.abs() <= tolerance[:, None], values < -tolerance[:, None])
        ]
        ratio = counts[0] / surface.dimension
        interval = torch.stack([ratio, ratio], dim=1)
    else:
        rows = where.each(lambda point: _estimated(surface, point, probes, steps, seed))
        table = filled(rows, torch.empty(6, dtype=torch.float64))
        counts, interval, tolerance = list(table[:, :3].T), table[:, 3:5], table[:, 5]
        ratio = counts[0] / surface.dimension
    return CurvatureIndex(
        positive=where.given(counts[0]),
        zero=where.given(counts[1]),
        negative=where.given(counts[2]),
        minimal_ratio=where.given(ratio),
        interval=where.given(interval),
        tolerance=where.given(tolerance),
        gradient_norm=where.given(gradient.cpu()),
        eigenvalues=None if values is None else where.given(values),
        exact=values is not None,
    )


def _spectra(surface: LossSurface, where: Places) -> Tensor:
    theta, finite = where.theta, where.finite
    values = torch.full(theta.shape, torch.nan, dtype=torch.float64)
    if bool(finite.any()):
        hessian = surface.hessian(theta[finite])
        good = hessian.isfinite().flatten(1).all(1)
        if where.single and not bool(good):
            raise linalg.NotFiniteError
        own = torch.full((len(hessian), surface.dimension), torch.nan, dtype=torch.float64)
        own[good.cpu()] = torch.linalg.eigvalsh(hessian[good]).cpu()
        values[finite] = own
    return values


def _estimated(surface: LossSurface, point: Tensor, probes: int, steps: int, seed: int) -> Tensor:
    found = linalg.spectral_density(surface.product(point), probes, steps, Generator().manual_seed(seed))
    tolerance = 10 * surface.dimension * torch.finfo(torch.float64).eps * float(found.nodes.abs().max())
    least, most = found.nodes - found.residuals, found.nodes + found.residuals
    up, up_error = (float(one) for one in found.share(least > tolerance))
    down, _ = (float(one) for one in found.share(most < -tolerance))
    # what Lanczos has not resolved from zero may be positive as well as not
    unresolved, unresolved_error = (float(one) for one in found.share((most > tolerance) & (least <= tolerance)))
    reach = float(stats.t.ppf(0.975, probes - 1))
    low = max(0.0, up - reach * up_error)
    high = min(1.0, up + unresolved + reach * math.hypot(up_error, unresolved_error))
    if unresolved > _UNRESOLVED:
        message = f"{unresolved:.0%} of the spectrum is not resolved from zero after {steps} Lanczos steps"
        warnings.warn(f"{message}; give more steps", linalg.NotConverged, stacklevel=4)
    counts = [share * surface.dimension for share in (up, 1 - up - down, down)]
    return torch.tensor([*counts, low, high, tolerance], dtype=torch.float64)
