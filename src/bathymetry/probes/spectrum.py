"""The Hessian as a whole, through products alone: how its eigenvalues are spread, their sum, and its diagonal.

    density   (1/P) Σⱼ δ(λ − λⱼ)       by stochastic Lanczos quadrature, arXiv:1901.10159
    trace     Σⱼ λⱼ                    by Hutch++, arXiv:2010.09649
    diagonal  ∂²L/∂θᵢ²                 by random signs, Bekas et al. 2007

Each comes with a standard error over its random vectors; with as many of them as parameters all three are exact.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from bathymetry import spectra
from bathymetry.core.checks import whole_number
from bathymetry.core.showing import readable
from bathymetry.probes.places import Places, check_surface, filled, places
from bathymetry.surface import LossSurface


@readable
class Trace:
    """The trace of the Hessian, and how sure it is."""

    value: Float[Tensor, "*member"]
    standard_error: Float[Tensor, "*member"]  # 0 where it was computed whole
    products: int  # for each member


@readable
class Diagonal:
    """The diagonal of the Hessian, and how sure each entry is."""

    value: Float[Tensor, "*member parameter"]
    standard_error: Float[Tensor, "*member parameter"]  # 0 where it was computed whole
    products: int  # for each member


def spectral_density(
    surface: LossSurface,
    theta: Float[Tensor, "*member parameter"] | None = None,
    *,
    probes: int = 10,
    steps: int = 80,
    seed: int = 0,
) -> spectra.SpectralDensity:
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
        found = spectra.spectral_density(surface.product(point), starts, size, Generator().manual_seed(seed))
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
) -> spectra.SpectralDensity:
    nodes, weights, residuals = (where.given(three[:, one]) for one in range(3))
    return spectra.SpectralDensity(nodes, weights, residuals, dimension, exact)


def trace(
    surface: LossSurface,
    theta: Float[Tensor, "*member parameter"] | None = None,
    *,
    products: int = 60,
    seed: int = 0,
) -> Trace:
    """Estimate the trace of the Hessian.

    Args:
        surface: The loss surface.
        theta: One point or one a member; the network's own parameters if None.
        products: How many Hessian-vector products to make for each.
        seed: Of the random vectors.

    Returns:
        The trace with its standard error; NaN for a member that diverged.
    """
    check_surface(surface)
    surface = surface.at_least_float32()
    where = places(surface, theta)
    products, seed = whole_number("products", products, 6), whole_number("seed", seed, 0, 2**63 - 1)

    def measure(point: Tensor) -> Tensor:
        found = spectra.trace(surface.product(point), products, Generator().manual_seed(seed))
        return torch.tensor([found.value, found.standard_error], dtype=torch.float64)

    both = filled(where.each(measure), torch.empty(2, dtype=torch.float64))
    return Trace(where.given(both[:, 0]), where.given(both[:, 1]), min(products, surface.dimension))


def diagonal(
    surface: LossSurface,
    theta: Float[Tensor, "*member parameter"] | None = None,
    *,
    products: int = 100,
    seed: int = 0,
) -> Diagonal:
    """Estimate the diagonal of the Hessian.

    Args:
        surface: The loss surface.
        theta: One point or one a member; the network's own parameters if None.
        products: How many Hessian-vector products to make for each.
        seed: Of the random vectors.

    Returns:
        The diagonal with standard errors; NaN for a member that diverged.
    """
    check_surface(surface)
    surface = surface.at_least_float32()
    where = places(surface, theta)
    products, seed = whole_number("products", products, 2), whole_number("seed", seed, 0, 2**63 - 1)

    def measure(point: Tensor) -> Tensor:
        found = spectra.diagonal(surface.product(point), products, Generator().manual_seed(seed))
        return torch.stack([found.value, found.standard_error]).cpu()

    both = filled(where.each(measure), torch.empty(2, surface.dimension, dtype=torch.float64))
    return Diagonal(where.given(both[:, 0]), where.given(both[:, 1]), min(products, surface.dimension))
