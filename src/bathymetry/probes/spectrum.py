"""The Hessian as a whole, through products alone: how its eigenvalues are spread, their sum, and its diagonal.

    density   (1/P) Σⱼ δ(λ − λⱼ)       by stochastic Lanczos quadrature, arXiv:1901.10159
    trace     Σⱼ λⱼ                    by Hutch++, arXiv:2010.09649
    diagonal  ∂²L/∂θᵢ²                 by random signs, Bekas et al. 2007

Each comes with a standard error over its random vectors; with as many of them as parameters all three are exact.
"""

from jaxtyping import Float
from torch import Generator, Tensor

from bathymetry import spectra
from bathymetry.core.errors import InputError
from bathymetry.probes.places import places
from bathymetry.surface import HessianProduct, LossSurface


def spectral_density(
    surface: LossSurface,
    theta: Float[Tensor, " parameter"] | None = None,
    *,
    probes: int = 10,
    steps: int = 80,
    seed: int = 0,
) -> spectra.SpectralDensity:
    """Estimate the distribution of the Hessian's eigenvalues.

    Args:
        surface: The loss surface.
        theta: One point; the network's own parameters if None.
        probes: Random starts.
        steps: Lanczos steps from each; eigenvalues closer than about the spectrum's width over this run together.
        seed: Of the starts.

    Returns:
        The distribution, with `mass(low, high)` and `density(grid, width)`.
    """
    return spectra.spectral_density(_hessian(surface, theta), probes, steps, Generator().manual_seed(seed))


def trace(
    surface: LossSurface, theta: Float[Tensor, " parameter"] | None = None, *, products: int = 60, seed: int = 0
) -> spectra.Trace:
    """Estimate the trace of the Hessian.

    Args:
        surface: The loss surface.
        theta: One point; the network's own parameters if None.
        products: How many Hessian-vector products to make.
        seed: Of the random vectors.

    Returns:
        The trace with its standard error.
    """
    return spectra.trace(_hessian(surface, theta), products, Generator().manual_seed(seed))


def diagonal(
    surface: LossSurface, theta: Float[Tensor, " parameter"] | None = None, *, products: int = 100, seed: int = 0
) -> spectra.Diagonal:
    """Estimate the diagonal of the Hessian.

    Args:
        surface: The loss surface.
        theta: One point; the network's own parameters if None.
        products: How many Hessian-vector products to make.
        seed: Of the random vectors.

    Returns:
        The diagonal with standard errors.
    """
    return spectra.diagonal(_hessian(surface, theta), products, Generator().manual_seed(seed))


def _hessian(surface: LossSurface, theta: Tensor | None) -> HessianProduct:
    if theta is not None and theta.ndim != 1:
        raise InputError("theta", f"shape {tuple(theta.shape)}", f"give one point, shape ({surface.dimension},)")
    return surface.product(places(surface, theta).theta[0])
