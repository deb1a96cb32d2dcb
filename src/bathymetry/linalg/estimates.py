"""Trace, diagonal and spectral density of a large matrix from random vectors, each with a standard error.

The diagonal is the mean of v ⊙ Hv. The trace is, by Hutch++ (Meyer, Musco, Musco and Woodruff 2021, arXiv:2010.09649),

    tr(H) = tr(Qᵀ H Q) + tr(R H R),   R = I − QQᵀ

A third of the products finds the directions Q in which the matrix is large, a third takes their part exactly, and the
rest samples what is left, (Rv)ᵀ H (Rv) with random signs v. The density is, by stochastic Lanczos quadrature,

    (1/P) Σⱼ f(λⱼ) ≈ mean over probes v of Σᵢ wᵢ f(θᵢ),   θ the Ritz values of a run from v, wᵢ = (first coordinate)²

A probe's weights add up to 1; any others put mass where there is none. Ghorbani, Krishnan and Xiao 2019,
arXiv:1901.10159; Ubaru, Chen and Saad 2017, SIAM J. Matrix Anal. Appl. 38(4).
"""

import dataclasses
import math

import torch
from jaxtyping import Bool, Float
from scipy import stats
from torch import Tensor

from bathymetry.core.errors import InputError, whole_number
from bathymetry.core.showing import readable, short
from bathymetry.linalg.lanczos import Krylov
from bathymetry.linalg.operator import SymmetricOperator, check_operator, multiply, whole_matrix

_BLOCK = 16  # vectors multiplied at once
_BYTES = 2**29  # of basis vectors held at once

Estimate = tuple[Float[Tensor, "*member"], Float[Tensor, "*member"]]  # a mean and its standard error


@readable
class Trace:
    """A trace, and how sure it is."""

    value: float
    standard_error: float  # widened for few samples; 0 where it was computed whole
    num_matvecs: int


def trace(operator: SymmetricOperator, num_matvecs: int = 60, generator: torch.Generator | None = None) -> Trace:
    """Estimate a trace with at least 6 products; from the dimension on, it is exact."""
    check_operator(operator)
    num_matvecs = whole_number("num_matvecs", num_matvecs, 6)  # fewer leave one sample, which has no spread
    if num_matvecs >= operator.dimension:
        return Trace(float(whole_matrix(operator).trace()), 0.0, operator.dimension)
    generator = generator or torch.Generator().manual_seed(0)
    third = num_matvecs // 3
    # of a matrix that is zero as far as can be seen there is no direction, and nothing to take exactly
    directions = _range(multiply(operator, _signs(operator, third, generator)))
    exact = float((directions * multiply(operator, directions)).sum()) if len(directions) else 0.0
    samples = num_matvecs - 2 * third
    tests = _signs(operator, samples, generator).double()
    rest = tests - (tests @ directions.T) @ directions
    each = (rest * multiply(operator, rest)).sum(1)
    error = float(each.std() / math.sqrt(samples)) * few_samples(samples)
    return Trace(exact + float(each.mean()), error, num_matvecs)


@readable
class Diagonal:
    """A diagonal, and how sure each entry is."""

    value: Float[Tensor, " dimension"]
    standard_error: Float[Tensor, " dimension"]  # widened for few samples; 0 where it was computed whole
    num_matvecs: int


def diagonal(operator: SymmetricOperator, num_matvecs: int = 100, generator: torch.Generator | None = None) -> Diagonal:
    """Estimate a diagonal with at least 2 products; from the dimension on, it is exact."""
    check_operator(operator)
    num_matvecs = whole_number("num_matvecs", num_matvecs, 2)  # one has no spread
    if num_matvecs >= operator.dimension:
        exact = whole_matrix(operator).diagonal().clone()
        return Diagonal(exact, torch.zeros_like(exact), operator.dimension)
    generator = generator or torch.Generator().manual_seed(0)
    total = torch.zeros(operator.dimension, dtype=torch.float64, device=operator.device)
    squares = torch.zeros_like(total)
    for start in range(0, num_matvecs, _BLOCK):
        count = min(_BLOCK, num_matvecs - start)
        signs = _signs(operator, count, generator)
        each = signs * multiply(operator, signs)
        total += each.sum(0)
        squares += each.square().sum(0)
    mean = total / num_matvecs
    variance = (squares / num_matvecs - mean.square()).clamp_min(0) * num_matvecs / (num_matvecs - 1)
    return Diagonal(mean, (variance / num_matvecs).sqrt() * few_samples(num_matvecs), num_matvecs)


@readable
class SpectralDensity:
    """A distribution of eigenvalues: points with weights, one set a probe."""

    nodes: Float[Tensor, "*member probe step"]
    weights: Float[Tensor, "*member probe step"]  # add up to 1 for each probe
    residuals: Float[Tensor, "*member probe step"]  # an eigenvalue lies within that of the node
    dimension: int
    exact: bool = False  # whether it is the spectrum itself, so that its shares and moments have no error
    # after half and three quarters of the steps, unless they are exact
    earlier: tuple["SpectralDensity", ...] = dataclasses.field(default=(), repr=False)

    def mass(self, low: float, high: float) -> Estimate:
        """Estimate the share of eigenvalues from low to high, both included, with its standard error.

        The error is NaN for a single probe. It is that over probes, together with how far the last half of the steps
        moved the share, because a run that is too short has the same bias for every probe.
        """
        if not low <= high:
            raise InputError("low", low, f"expected a number up to high, {high}")
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
        if not isinstance(grid, Tensor) or grid.ndim != 1:
            raise InputError("grid", short(grid), "expected a tensor with one axis")
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


def few_samples(count: int) -> float:
    """Widen a standard error of few samples: the 97.5 % point of Student's t over that of the normal distribution."""
    return float(stats.t.ppf(0.975, count - 1) / stats.norm.ppf(0.975))


def _signs(operator: SymmetricOperator, count: int, generator: torch.Generator) -> Tensor:
    signs = torch.randint(0, 2, (count, operator.dimension), generator=generator) * 2 - 1
    return signs.to(operator.device)


def _range(rows: Tensor) -> Tensor:
    """Find an orthonormal basis of the rows, of no more vectors than their numerical rank."""
    _, sizes, basis = torch.linalg.svd(rows, full_matrices=False)
    kept: Tensor = basis[sizes > 1e-10 * sizes[0]]
    return kept
