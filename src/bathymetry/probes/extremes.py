"""The ends of the Hessian's spectrum: how sharply the surface bends, and whether it bends down anywhere.

    H v = λ v,    residual = ‖Hv − λv‖

The largest eigenvalue bounds the learning rate at which gradient descent is stable (2/η); a negative one is a way down.
By Lanczos with full reorthogonalisation, whole for few parameters; a value never comes without its residual.
Lehoucq, Sorensen and Yang 1998, ARPACK Users' Guide; Cohen et al. 2021, arXiv:2103.00065.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bathymetry.core.showing import readable
from bathymetry.probes.places import filled, places
from bathymetry.spectra import NotConverged as NotConverged
from bathymetry.spectra import Which, eigenpairs
from bathymetry.surface import LossSurface


@readable
class Eigenvalues:
    """Eigenvalues at an end of the spectrum, and how right they are."""

    values: Float[Tensor, "*member pair"]  # descending, float64; by magnitude for "magnitude"
    vectors: Float[Tensor, "*member pair parameter"]  # unit vectors
    residuals: Float[Tensor, "*member pair"]  # ‖Hv − λv‖
    converged: Bool[Tensor, "*member pair"]  # residual within the tolerance times the largest |λ|
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
) -> Eigenvalues:
    """Find eigenvalues at the ends of the Hessian's spectrum.

    Args:
        surface: The loss surface.
        theta: One point or one a member; the network's own parameters if None.
        k: How many; for "both", how many at each end.
        which: "largest", "smallest", "both" or "magnitude".
        tolerance: Of the residuals, relative to the largest |λ|.
        most_products: When to stop for each member, with a warning.
        seed: Of the start.

    Returns:
        Eigenvalues with vectors and residuals; NaN and not converged for a member that diverged.

    Example:
        Linear regression on the unit vectors, each once: H = 2XᵀX/n = I.

        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> surface = LossSurface(model, "mse", (torch.eye(2), torch.zeros(2, 1)), dtype=torch.float64)
        >>> eigenvalues(surface, k=2).values
        tensor([1., 1.], dtype=torch.float64)
    """
    where = places(surface, theta)

    def search(point: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, int]:
        found = eigenpairs(
            surface.product(point), k, which, tolerance=tolerance, most_products=most_products,
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
