"""The ends of the Hessian's spectrum: how sharply the surface bends, and whether it bends down anywhere.

    H v = λ v,    residual = ‖Hv − λv‖

The largest eigenvalue bounds the learning rate at which gradient descent is stable (2/η); a negative one is a way down.
By Lanczos with full reorthogonalisation, whole for few parameters; a value never comes without its residual.
Lehoucq, Sorensen and Yang 1998, ARPACK Users' Guide; Cohen et al. 2021, arXiv:2103.00065.
"""

import time
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bathymetry.core.checks import positive_number, whole_number
from bathymetry.core.errors import InputError
from bathymetry.core.showing import readable
from bathymetry.probes.places import Places, check_surface, filled, places
from bathymetry.spectra import NotConverged as NotConverged
from bathymetry.spectra import ScaledOperator, SymmetricOperator, Which, eigenpairs
from bathymetry.surface import LossSurface


@readable
class Eigenvalues:
    """Eigenvalues at an end of the spectrum, and how right they are."""

    values: Float[Tensor, "*member pair"]  # descending, float64; by magnitude for "magnitude"
    vectors: Float[Tensor, "*member pair parameter"]  # unit vectors
    residuals: Float[Tensor, "*member pair"]  # ‖Hv − λv‖
    converged: Bool[Tensor, "*member pair"]  # residual within the tolerance times the largest |λ|, none missed
    tolerance: float
    products: int  # how many Hessian-vector products were made in all
    path: str  # how, in words


def eigenvalues(
    surface: LossSurface,
    theta: Float[Tensor, "*member parameter"] | None = None,
    *,
    k: int = 5,
    which: Which = "largest",
    tolerance: float = 1e-3,
    most_products: int = 2000,
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
        most_products: When to stop for each member, with a warning.
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
            operator, k, which, tolerance=tolerance, most_products=most_products, start=start, certify=certify,
            seconds=None if until is None else max(until - time.monotonic(), 1e-9),
            generator=torch.Generator().manual_seed(seed),
        )  # fmt: skip
        return found.values, found.vectors, found.residuals, found.converged, found.products

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
        products=sum(one[4] for one in each if one),
        path=surface.path,
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
