"""How the eigenvalues of a large matrix are spread, by stochastic Lanczos quadrature.

    (1/P) Σⱼ f(λⱼ) ≈ mean over probes v of Σᵢ wᵢ f(θᵢ),   θ the Ritz values of a run from v, wᵢ = (first coordinate)²

A probe's weights are those squared coordinates, which add up to 1; any other weights put mass where there is none.
Ghorbani, Krishnan and Xiao 2019, arXiv:1901.10159; Ubaru, Chen and Saad 2017, SIAM J. Matrix Anal. Appl. 38(4).
"""

import dataclasses
import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bathymetry.core.errors import InputError, whole_number
from bathymetry.core.showing import readable
from bathymetry.linalg.estimates import few_samples
from bathymetry.linalg.lanczos import Krylov
from bathymetry.linalg.operator import SymmetricOperator, check_operator

Estimate = tuple[Float[Tensor, "*member"], Float[Tensor, "*member"]]  # a mean and its standard error

_BYTES = 2**29  # of basis vectors held at once


@readable
class SpectralDensity:
    """A distribution of eigenvalues: points with weights, one set a probe."""

    nodes: Float[Tensor, "*member probe step"]
    weights: Float[Tensor, "*member probe step"]  # add up to 1 for each probe
    residuals: Float[Tensor, "*member probe step"]  # an eigenvalue lies within that of the node
    dimension: int
    exact: bool = False  # whether it is the spectrum itself, so that its shares and moments have no error
    earlier: tuple["SpectralDensity", ...] = ()  # after half and three quarters of the steps, unless they are exact

    def mass(self, low: float, high: float) -> Estimate:
        """Estimate the share of eigenvalues from low to high, both included, with its standard error.

        The error is NaN for a single probe. It is that over probes, together with how far the last half of the steps
        moved the share: a run that is too short cuts an interval's ends in the wrong places with every probe alike.
        """
        found, error = self.share((self.nodes >= low) & (self.nodes <= high))
        moves = [(found - one.mass(low, high)[0]).abs() for one in self.earlier]
        return found, torch.hypot(error, torch.stack(moves).amax(0)) if moves else error

    def share(self, inside: Bool[Tensor, "*member probe step"]) -> Estimate:
        """Estimate the share of eigenvalues that the chosen nodes stand for, with its standard error over probes."""
        return self._mean_and_error((self.weights * inside).sum(-1))

    def moment(self, order: int) -> Estimate:
        """Estimate the mean of a power of the eigenvalues, with its standard error; P times the first is the trace."""
        return self._mean_and_error((self.weights * self.nodes**order).sum(-1))

    def density(self, grid: Float[Tensor, " point"], width: float) -> Float[Tensor, "*member point"]:
        """Smooth the distribution with Gaussians of a standard deviation; it integrates to 1."""
        if not width > 0:
            raise InputError("width", width, "expected a positive standard deviation")
        distance = (grid.double()[:, None, None] - self.nodes.unsqueeze(-3)) / width
        bumps = torch.exp(-distance.square() / 2) / (width * math.sqrt(2 * math.pi))
        return (bumps * self.weights.unsqueeze(-3)).sum(-1).mean(-1)

    def _mean_and_error(self, each: Float[Tensor, "*member probe"]) -> Estimate:
        probes = each.shape[-1]
        mean = each.mean(-1)
        if self.exact:
            return mean, torch.zeros_like(mean)
        if probes == 1:
            return mean, torch.full_like(mean, math.nan)
        return mean, few_samples(probes) * each.std(-1) / math.sqrt(probes)


def spectral_density(
    operator: SymmetricOperator, probes: int = 10, steps: int = 80, generator: torch.Generator | None = None
) -> SpectralDensity:
    """Estimate the distribution of all eigenvalues from random starts; exact for as many as dimensions.

    Probes beyond the dimension are each unit vector once; steps are at most the dimension.
    """
    check_operator(operator)
    probes, steps = whole_number("probes", probes, 1), whole_number("steps", steps, 1)
    generator = generator or torch.Generator().manual_seed(0)
    dimension, steps = operator.dimension, min(steps, operator.dimension)
    if probes >= dimension:
        starts = torch.eye(dimension, dtype=torch.float64)
    else:
        starts = torch.randn(probes, dimension, generator=generator, dtype=torch.float64)
    together = max(1, _BYTES // (steps * dimension * torch.finfo(operator.dtype).bits // 8))
    sizes = [steps] if steps == dimension else [max(1, steps // 2), max(1, 3 * steps // 4), steps]
    runs: list[list[tuple[Tensor, Tensor, Tensor]]] = []
    for some in torch.split(starts.to(operator.device, operator.dtype), together):
        run = Krylov(operator, some, steps, generator)
        for _ in range(steps):
            run.grow()
        runs.append([_quadrature(run, size) for size in sizes])
    densities = []
    for size, parts in zip(sizes, zip(*runs, strict=True), strict=True):
        nodes, weights, residuals = (torch.cat(each) for each in zip(*parts, strict=True))
        exact = probes >= dimension and size == dimension
        densities.append(SpectralDensity(nodes, weights, residuals, dimension, exact))
    return dataclasses.replace(densities[-1], earlier=tuple(densities[:-1]))


def _quadrature(run: Krylov, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Compute nodes, weights and residuals after some of the steps."""
    values, coordinates = torch.linalg.eigh(run.small[:, :size, :size])
    coupling = run.last if size == run.size else run.small[:, size, size - 1]
    return values, coordinates[:, 0].square(), coupling.abs()[:, None] * coordinates[:, -1].abs()
