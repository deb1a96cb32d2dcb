"""The kind of a point: how many directions bend up, lie flat, or bend down.

    minimal ratio = (number of eigenvalues > 0) / P

An eigenvalue counts as zero within a tolerance that follows from the precision, 10 P ε max|λ|: below it even the sign
is rounding. Beyond a few thousand parameters the counts are estimated by Lanczos quadrature, in which a Ritz value
counts as positive only if its residual keeps it above zero; what is not resolved counts as zero, and widens the
interval upwards. The ratio tells a minimum from a saddle only where the gradient vanishes, so the gradient's norm
stands beside it. Measured in float64 whatever the network's own precision. Dauphin et al. 2014, arXiv:1406.2572; Alain,
Le Roux and Manzagol 2019, arXiv:1907.03908.
"""

import math
import warnings
from dataclasses import replace

import torch
from jaxtyping import Float
from scipy import stats
from torch import Generator, Tensor

from bathymetry import spectra
from bathymetry.core.checks import whole_number
from bathymetry.core.showing import readable
from bathymetry.probes.places import Places, check_surface, filled, places
from bathymetry.surface import LossSurface

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
            raise spectra.NotFiniteError
        own = torch.full((len(hessian), surface.dimension), torch.nan, dtype=torch.float64)
        own[good.cpu()] = torch.linalg.eigvalsh(hessian[good]).cpu()
        values[finite] = own
    return values


def _estimated(surface: LossSurface, point: Tensor, probes: int, steps: int, seed: int) -> Tensor:
    found = spectra.spectral_density(surface.product(point), probes, steps, Generator().manual_seed(seed))
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
        warnings.warn(f"{message}; give more steps", spectra.NotConverged, stacklevel=4)
    counts = [share * surface.dimension for share in (up, 1 - up - down, down)]
    return torch.tensor([*counts, low, high, tolerance], dtype=torch.float64)
