"""Curvature index: how many eigenvalues of the Hessian are positive, zero and negative.

    minimal ratio = #{λ > tolerance} / P,    tolerance = 10 P ε max|λ|

It is 1 at a minimum and below 1 at a saddle, and has a meaning at critical points only: read it with the gradient norm.
Dauphin et al. 2014, arXiv:1406.2572; Pennington and Bahri 2017, Proceedings of Machine Learning Research 70.
"""

import math
import warnings

import torch
from jaxtyping import Float
from scipy import stats
from torch import Generator, Tensor

from bathymetry.core.errors import whole_number
from bathymetry.core.showing import readable
from bathymetry.linalg.eigenpairs import NotConverged
from bathymetry.linalg.estimates import spectral_density
from bathymetry.probes.points import Theta, as_points, check_seed
from bathymetry.probes.spectra import dense_eigenvalues
from bathymetry.surface import LossSurface

_DENSE = 3000  # parameters up to which the Hessian is diagonalised
_UNRESOLVED = 0.05  # share of the spectrum too close to zero to have a sign, above which there is a warning


@readable
class CurvatureIndex:
    """How many eigenvalues are positive, zero and negative; whole numbers where the Hessian was diagonalised."""

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
    surface: LossSurface, theta: Theta = None, *, probes: int = 20, steps: int = 100, seed: int = 0
) -> CurvatureIndex:
    """Count positive, zero and negative eigenvalues of the Hessian, in float64.

    The Hessian is diagonalised up to 3,000 parameters; beyond, the counts are estimated from the spectral density.

    Args:
        surface: Loss surface.
        theta: One point or one per member. Defaults to the model's current parameters.
        probes: Number of random first vectors of the estimate.
        steps: Lanczos steps from each.
        seed: Seed of the first vectors.

    Returns:
        The counts; NaN for a member that diverged.

    Example:
        ½(w₁w₂ − 1)² at the origin is a saddle with eigenvalues ±1.

        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> _ = torch.nn.init.zeros_(model.weight)
        >>> saddle = lambda model, batch: (model.weight.prod() - 1) ** 2 / 2
        >>> index = curvature_index(LossSurface(model, saddle, (torch.ones(1, 2), torch.ones(1, 1))))
        >>> index.minimal_ratio.item(), index.eigenvalues.tolist()
        (0.5, [-1.0, 1.0])
    """
    probes, steps, seed = whole_number("probes", probes, 2), whole_number("steps", steps, 1), check_seed(seed)
    surface, points = as_points(surface, theta, "float64")
    gradient = surface.gradient(points.theta).norm(dim=1).cpu()
    gradient[~points.finite] = torch.nan
    values = None
    if surface.dimension <= _DENSE:
        values = dense_eigenvalues(surface, points)
        table = points.squeeze(_count(values))
    else:
        table = points.table(lambda point: _estimate(surface, point, probes, steps, seed), 7)
    positive, zero, negative, low, high, tolerance, unresolved = table.unbind(-1)
    if bool((unresolved > _UNRESOLVED).any()):
        share = float(unresolved.nan_to_num(0.0).max())
        message = f"{share:.0%} of the spectrum is not resolved from zero after {steps} Lanczos steps"
        warnings.warn(f"{message}; use more steps", NotConverged, stacklevel=2)
    return CurvatureIndex(
        positive=positive,
        zero=zero,
        negative=negative,
        minimal_ratio=positive / surface.dimension,
        interval=torch.stack([low, high], dim=-1),
        tolerance=tolerance,
        gradient_norm=points.squeeze(gradient),
        eigenvalues=None if values is None else points.squeeze(values),
        exact=values is not None,
    )


def _count(eigenvalues: Float[Tensor, "member parameter"]) -> Float[Tensor, "member quantity"]:
    tolerance = _zero_tolerance(eigenvalues.shape[1], eigenvalues)
    signs = eigenvalues > tolerance, eigenvalues.abs() <= tolerance, eigenvalues < -tolerance
    counts = torch.stack([sign.sum(1) for sign in signs], dim=1).double()
    ratio = counts[:, :1] / eigenvalues.shape[1]
    table = torch.cat([counts, ratio, ratio, tolerance, torch.zeros_like(tolerance)], dim=1)
    return torch.where(tolerance.isfinite(), table, torch.nan)


def _estimate(surface: LossSurface, point: Tensor, probes: int, steps: int, seed: int) -> Float[Tensor, " quantity"]:
    density = spectral_density(surface.product(point), probes, steps, Generator().manual_seed(seed))
    tolerance = float(_zero_tolerance(surface.dimension, density.nodes.reshape(1, -1)))
    least, most = density.nodes - density.residuals, density.nodes + density.residuals
    # what Lanczos has not resolved from zero may be positive or not
    classes = least > tolerance, most < -tolerance, (most > tolerance) & (least <= tolerance)
    (up, up_error), (down, _), (unresolved, error) = (map(float, density.share(nodes)) for nodes in classes)
    quantile = float(stats.t.ppf(0.975, probes - 1))
    low = max(0.0, up - quantile * up_error)
    high = min(1.0, up + unresolved + quantile * math.hypot(up_error, error))
    counts = [share * surface.dimension for share in (up, 1 - up - down, down)]
    return torch.tensor([*counts, low, high, tolerance, unresolved], dtype=torch.float64)


def _zero_tolerance(dimension: int, eigenvalues: Float[Tensor, "row value"]) -> Float[Tensor, "row 1"]:
    """The magnitude below which an eigenvalue is rounding."""
    return 10 * dimension * torch.finfo(torch.float64).eps * eigenvalues.abs().amax(1, keepdim=True)
