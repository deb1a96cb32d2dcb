"""The curvature that an adaptive optimiser sees: the largest eigenvalue of the preconditioned Hessian.

    λ_max(D^(−½) H D^(−½)),    D = diag(√(v/(1−β₂ᵗ)) + ε) for Adam

Adam divides the gradient by D, so this eigenvalue, not that of H, decides whether its steps are stable: up to
(2 + 2β₁)/((1 − β₁)η), which is 38/η at the usual β₁ = 0.9. Cohen et al. 2022, arXiv:2207.14484.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from bathymetry.core.errors import InputError
from bathymetry.probes.places import places
from bathymetry.surface import LossSurface


def preconditioned_eigenvalue(
    surface: LossSurface,
    theta: Float[Tensor, "*member parameter"] | None = None,
    *,
    preconditioner: Float[Tensor, "*member parameter"],
) -> Float[Tensor, "*member"]:
    """Measure the largest eigenvalue of a preconditioned Hessian, for networks small enough to have it whole.

    Args:
        surface: The loss surface; measured in float64 whatever its own precision.
        theta: One point or one a member; the network's own parameters if None.
        preconditioner: D, what each coordinate of the gradient is divided by, of the shape of θ.

    Returns:
        The largest eigenvalue; NaN for a member that diverged.

    Raises:
        InputError: If the preconditioner is not positive or has another shape.

    Example:
        Linear regression with H = diag(2, 8), divided by (1, 4), bends by 2 in both directions.

        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> inputs = torch.diag(torch.tensor([2.0, 8.0]).sqrt())
        >>> surface = LossSurface(model, "mse", (inputs, torch.zeros(2, 1)))
        >>> round(preconditioned_eigenvalue(surface, preconditioner=torch.tensor([1.0, 4.0])).item(), 6)
        2.0
    """
    surface = surface.double()
    where = places(surface, theta)
    divisor, single = surface.points(preconditioner, "preconditioner")
    if (divisor.shape, single) != (where.theta.shape, where.single):
        shapes = [tuple(preconditioner.shape), tuple(where.given(where.theta).shape)]
        raise InputError("preconditioner", f"shape {shapes[0]}", f"give the shape of θ, {shapes[1]}")
    finite = where.finite & divisor.isfinite().all(1).cpu()
    if not bool((divisor[finite] > 0).all()):
        raise InputError("preconditioner", "not positive", "give what each coordinate of the gradient is divided by")
    largest = torch.full((len(where.theta),), torch.nan, dtype=torch.float64)
    if bool(finite.any()):
        root = divisor[finite].sqrt()
        hessian = surface.hessian(where.theta[finite]) / (root[:, :, None] * root[:, None, :])
        largest[finite] = torch.linalg.eigvalsh(hessian)[:, -1].cpu()
    measured: Tensor = where.given(largest)
    return measured
