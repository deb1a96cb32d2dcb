"""The trace and the diagonal of a large matrix, each with a standard error.

    tr(H) = tr(Qᵀ H Q) + tr(R H R),   R = I − QQᵀ

A third of the products finds the directions Q in which the matrix is large, a third takes their part of the trace
exactly, and the rest samples what is left, (Rv)ᵀ H (Rv) with random signs v: independent samples, so that their spread
says how sure the sum is. Hutch++: Meyer, Musco, Musco and Woodruff 2021, arXiv:2010.09649.

The diagonal is the mean of v ⊙ Hv.
"""

import math

import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor

from bathymetry.core.errors import whole_number
from bathymetry.core.showing import readable
from bathymetry.linalg.operator import SymmetricOperator, check_operator, multiply, whole_matrix

_BLOCK = 16  # vectors multiplied at once


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
