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
        """Estimate the share of eigenvalues in an interval.

        Args:
            low: Its lower end, which belongs to it.
            high: Its upper end, which belongs to it.

        Returns:
            The share and its standard error, NaN for a single probe: that over probes, together with how far the last
            half of the steps moved the share, for a run that is too short cuts an interval's ends in the wrong places
            with every probe alike.
        """
        found, error = self.share((self.nodes >= low) & (self.nodes <= high))
        moves = [(found - one.mass(low, high)[0]).abs() for one in self.earlier]
        return found, torch.hypot(error, torch.stack(moves).amax(0)) if moves else error

    def share(self, inside: Bool[Tensor, "*member probe step"]) -> Estimate:
        """Estimate the share of eigenvalues that some of the nodes stand for.

        Args:
            inside: Which nodes.

        Returns:
            The share and its standard error over probes: 0 for a whole spectrum, NaN for a single probe of another.
        """
        return self._mean_and_error((self.weights * inside).sum(-1))

    def moment(self, order: int) -> Estimate:
        """Estimate the mean of a power of the eigenvalues; P times the first is the trace.

        Args:
            order: The power.

        Returns:
            The mean and its standard error over probes.
        """
        return self._mean_and_error((self.weights * self.nodes**order).sum(-1))

    def density(self, grid: Float[Tensor, " point"], width: float) -> Float[Tensor, "*member point"]:
        """Smooth the distribution with Gaussians.

        Args:
            grid: Where to evaluate it.
            width: The Gaussians' standard deviation.

        Returns:
            A density that integrates to 1 over all numbers.

        Raises:
            InputError: If the width is not positive.
        """
        if not width > 0:
            raise InputError("width", width, "expected a positive standard deviation")
        distance = (grid.double()[:, None, None] - self.nodes.unsqueeze(-3)) / width
        bumps = torch.exp(-distance.square() / 2) / (width * math.sqrt(2 * math.pi))
        return (bumps * self.weights.unsqueeze(-3)).sum(-1).mean(-1)

    def _mean_and_error(self, each: Float[Tensor, "*member probe"]) -> Estimate:
        probes = each.shape[-1]
        if self.exact:
            return each.mean(-1), torch.zeros_like(each[..., 0])
        if probes == 1:
            return each.mean(-1), torch.full_like(each[..., 0], math.nan)
        return each.mean(-1), few_samples(probes) * each.std(-1) / math.sqrt(probes)


def spectral_density(
    operator: SymmetricOperator, probes: int = 10, steps: int = 80, generator: torch.Generator | None = None
) -> SpectralDensity:
    """Estimate the distribution of all eigenvalues.

    Args:
        operator: The matrix.
        probes: Random starts; from the dimension on, each unit vector once, which is exact with as many steps.
        steps: Steps of each run, at most the dimension.
        generator: Draws the starts; a fixed one if None.

    Returns:
        The distribution.

    Example:
        >>> from bathymetry.linalg import MatrixOperator
        >>> exact = spectral_density(MatrixOperator(torch.diag(torch.tensor([1.0, 1.0, 1.0, 5.0]))), probes=4, steps=4)
        >>> exact.mass(4, 6)[0].item()
        0.25
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
    for place in range(len(sizes)):
        nodes, weights, residuals = (torch.cat([run[place][part] for run in runs]) for part in range(3))
        exact = probes >= dimension and sizes[place] == dimension
        densities.append(SpectralDensity(nodes, weights, residuals, dimension, exact))
    *earlier, whole = densities
    return dataclasses.replace(whole, earlier=tuple(earlier))


def _quadrature(run: Krylov, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Compute nodes, weights and residuals after some of the steps."""
    values, coordinates = torch.linalg.eigh(run.small[:, :size, :size])
    coupling = run.last if size == run.size else run.small[:, size, size - 1]
    return values, coordinates[:, 0].square(), coupling.abs()[:, None] * coordinates[:, -1].abs()
