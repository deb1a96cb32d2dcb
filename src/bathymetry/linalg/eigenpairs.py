"""Some eigenvalues of a large matrix, each with the residual that says how right it is.

    residual = ‖Hv − λv‖ for a unit vector v: an eigenvalue of H lies within that of λ

Small matrices are diagonalised. For large ones a Lanczos run grows until the residuals are below the tolerance. As it
finds one vector of each eigenspace, it would miss the second 5 of diag(5, 5, 1); so it continues in random orthogonal
directions until such a search finds nothing new. A search ends when the next eigenvalue has converged too, or when a
larger one would have been found with a probability of 99.9 %: after m steps in n dimensions, one that is ε of the
spectrum's width away stays hidden with a probability of at most 1.648 √n exp(−√ε (2m − 1)).
Kuczyński and Woźniakowski 1992, SIAM J. Matrix Anal. Appl. 13(4).
"""

import math
import time
import warnings
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bathymetry.core.errors import InputError, check_dense, positive_number, whole_number
from bathymetry.core.showing import readable
from bathymetry.core.system import check_memory
from bathymetry.core.tensors import norms
from bathymetry.linalg.lanczos import Krylov
from bathymetry.linalg.operator import SymmetricOperator, check_operator, whole_matrix

Which = Literal["largest", "smallest", "both", "magnitude"]

_WHOLE = 300  # dimensions up to which a matrix is diagonalised whole
_HIDDEN = 1e-3  # the probability with which a search in a new direction may miss an eigenvalue
_EVERY = 2  # steps between two checks of the residuals
_BASIS = 5.5e9  # bytes of a basis: eleven vectors for 124 million parameters


class NotConverged(UserWarning):
    """An iteration ended before its residuals were small enough."""


@readable
class Eigenpairs:
    """Eigenvalues with their vectors and residuals."""

    values: Float[Tensor, " pair"]  # descending, float64; for "magnitude" by magnitude
    vectors: Float[Tensor, "pair dimension"]  # unit vectors
    residuals: Float[Tensor, " pair"]  # ‖Hv − λv‖, from a product made for it
    converged: Bool[Tensor, " pair"]  # residual within tolerance · largest |λ|, and none missed if certified
    tolerance: float
    num_matvecs: int  # how many vectors were multiplied


def eigenpairs(
    operator: SymmetricOperator,
    k: int,
    which: Which = "largest",
    *,
    tolerance: float = 1e-3,  # of the residuals, relative to the largest |λ|
    max_matvecs: int = 2000,
    max_vectors: int = 120,  # less where a basis would take more than 5.5 GB
    start: Float[Tensor, "*vector dimension"] | None = None,
    seconds: float | None = None,
    certify: bool = True,
    generator: torch.Generator | None = None,
) -> Eigenpairs:
    """Find some eigenvalues at the ends of the spectrum, k at each end for "both".

    A start may be several vectors, such as the eigenvectors of a similar matrix, whose sum is taken. With a limit in
    seconds, at least as many products are made as eigenvalues are wanted, and one more for the residual of each.
    `certify` searches for eigenvalues that the run has missed, in random orthogonal directions.
    """
    check_operator(operator)
    wanted = _wanted(operator, k, which, tolerance)
    max_matvecs = max(whole_number("max_matvecs", max_matvecs, 1), wanted + 1)
    generator = generator or torch.Generator().manual_seed(0)
    first = None if start is None else _start(operator, start)
    limit = _Limit(max_matvecs, time.monotonic(), None if seconds is None else positive_number("seconds", seconds))
    if operator.dimension <= max(_WHOLE, 3 * wanted) and limit.allows_whole(operator):
        return _of_whole(operator, k, which, tolerance)
    if first is None:
        first = torch.randn(1, operator.dimension, generator=generator).to(operator.device, operator.dtype)
    affordable = int(_BASIS // (operator.dimension * torch.finfo(operator.dtype).bits // 8))
    room = max(affordable, 2 * wanted + 6)  # in any case enough to restart with
    run = Krylov(operator, first, min(max(max_vectors, 3 * wanted + 10), room), generator)
    complete = _converges(run, k, which, tolerance, limit, certifying=False)
    while certify and complete and run.size < operator.dimension:
        before = _chosen_values(run, k, which)
        run.restart(_chosen(run.ritz()[0][0], k, which), new_direction=True)
        complete = _converges(run, k, which, tolerance, limit, certifying=True)
        after = _chosen_values(run, k, which)
        closeness = tolerance * float(run.ritz()[0].abs().max())
        if complete and after.shape == before.shape and bool(((before - after).abs() <= closeness).all()):
            break
    values, coordinates = run.ritz()
    chosen = _ordered(values[0], k, which)
    return _checked(operator, values[0, chosen], run.vectors(coordinates[0][:, chosen]), tolerance, run, complete)


@dataclass(frozen=True)
class _Limit:
    """When a search ends without having converged."""

    max_matvecs: int
    begun: float  # on the clock of `time.monotonic`
    seconds: float | None

    def reached(self, num_matvecs: int, wanted: int) -> bool:
        """Whether another product, and those for the residuals of the eigenvalues wanted, would go beyond it."""
        if num_matvecs >= self.max_matvecs:
            return True
        if self.seconds is None:
            return False
        passed = time.monotonic() - self.begun
        return passed + (1 + wanted) * passed / max(1, num_matvecs) > self.seconds

    def allows_whole(self, operator: SymmetricOperator) -> bool:
        """Whether there is time for as many products as dimensions."""
        if self.seconds is None:
            return True
        before = time.monotonic()
        operator(torch.ones(1, operator.dimension, dtype=operator.dtype, device=operator.device))
        now = time.monotonic()
        return now - self.begun + operator.dimension * (now - before) < self.seconds


def _wanted(operator: SymmetricOperator, k: int, which: Which, tolerance: float) -> int:
    dimension = operator.dimension
    if not isinstance(which, str) or which not in get_args(Which):
        raise InputError("which", which, f"expected one of {', '.join(get_args(Which))}")
    positive_number("tolerance", tolerance)
    wanted = 2 * whole_number("k", k, 1) if which == "both" else whole_number("k", k, 1)
    if wanted > dimension:
        most = dimension // 2 if which == "both" else dimension
        remedy = f"expected from 1 to {most}, as there are {dimension} eigenvalues"
        raise InputError("k", k, remedy if most else 'this surface has one parameter, so which="both" is not available')
    vectors = 4 * dimension if dimension <= 3 * wanted else wanted  # of a whole matrix, and of those wanted
    check_memory("k", k, 8 * dimension * vectors, "the eigenvectors take", "expected a smaller number")
    return wanted


def _start(operator: SymmetricOperator, start: Tensor) -> Float[Tensor, "1 dimension"]:
    remedy = f"expected real numbers of shape ({operator.dimension},) or (vector, {operator.dimension})"
    if not isinstance(start, Tensor):
        raise InputError("start", type(start).__name__, remedy)
    check_dense("start", start)
    fits = start.ndim in (1, 2) and start.shape[-1] == operator.dimension and len(start) > 0
    if not fits or not start.is_floating_point():
        raise InputError("start", f"{start.dtype} of shape {tuple(start.shape)}", remedy)
    rows = start.detach().reshape(-1, operator.dimension).to(operator.device, operator.dtype)
    total = (rows / norms(rows)[:, None]).sum(0, keepdim=True)
    if not bool(total.isfinite().all()) or not bool((norms(total) > 0).all()):
        raise InputError("start", "without a direction", "expected finite vectors that are not zero")
    return total


def _converges(run: Krylov, k: int, which: Which, tolerance: float, limit: _Limit, *, certifying: bool) -> bool:
    """Grow a run; in a new direction the next eigenvalue at each end has to converge as well."""
    found = run.size
    more = k + 1 if certifying else k
    wanted = 2 * more if which == "both" else more
    least = k if certifying else wanted  # without as many vectors there are no values to give
    while run.size < least or not limit.reached(run.num_matvecs, wanted):
        run.grow()
        if run.size >= min(wanted, run.max_size) and (run.size % _EVERY == 0 or run.full):
            values, coordinates = run.ritz()
            chosen = _chosen(values[0], more, which)
            bounds = run.last[0] * coordinates[0][-1, chosen].abs()
            if bool((bounds <= 0.5 * tolerance * values.abs().max()).all()):
                return True
            if certifying and _nothing_hides(values[0], k, which, run.size - found, run.dimension):
                return True
            if run.full:
                kept = _chosen(values[0], min(more + (run.size - wanted) // 4, run.size // 3), which)
                run.restart(kept, new_direction=False)
                found = min(found, run.size)
    return False


def _nothing_hides(values: Float[Tensor, " size"], k: int, which: Which, steps: int, dimension: int) -> bool:
    """Whether an eigenvalue beyond those chosen would have been found in so many steps of a new direction."""
    if len(values) <= 2 * k:
        return False
    ends = {"largest": [values], "smallest": [-values], "both": [values, -values], "magnitude": [values.abs()]}
    ordered = [keys.sort().values for keys in ends[which]]
    gap = torch.stack([keys[-k] - keys[-k - 1] for keys in ordered]).min()
    share = float(gap / (values[-1] - values[0]).clamp_min(1e-300))
    return 1.648 * math.sqrt(dimension) * math.exp(-math.sqrt(share) * (2 * steps - 1)) <= _HIDDEN


def _chosen(values: Float[Tensor, " size"], k: int, which: Which) -> Tensor:
    order = torch.arange(len(values))  # values ascend
    match which:
        case "largest":
            return order[-k:]
        case "smallest":
            return order[:k]
        case "both":
            return torch.cat([order[:k], order[-k:]]) if len(values) >= 2 * k else order
    return values.abs().argsort()[-k:]


def _chosen_values(run: Krylov, k: int, which: Which) -> Tensor:
    values = run.ritz()[0][0]
    return values[_chosen(values, k, which)].sort().values


def _ordered(values: Tensor, k: int, which: Which) -> Tensor:
    """Choose eigenvalues in the order in which they are returned."""
    chosen = _chosen(values, k, which)
    keys = values[chosen].abs() if which == "magnitude" else values[chosen]
    return chosen[keys.argsort(descending=True)]


def _of_whole(operator: SymmetricOperator, k: int, which: Which, tolerance: float) -> Eigenpairs:
    values, vectors = torch.linalg.eigh(whole_matrix(operator))
    chosen = _ordered(values.cpu(), k, which)
    found = vectors.T[chosen.to(vectors.device)].to(operator.dtype)
    return _checked(operator, values.cpu()[chosen], found, tolerance, None, complete=True)


def _checked(
    operator: SymmetricOperator, values: Tensor, vectors: Tensor, tolerance: float, run: Krylov | None, complete: bool
) -> Eigenpairs:
    missed = operator(vectors) - values.to(vectors)[:, None] * vectors
    residuals = torch.linalg.vector_norm(missed, dim=1, dtype=torch.float64).cpu()
    largest = float(values.abs().max()) if run is None else float(run.ritz()[0].abs().max())
    converged = residuals <= max(tolerance, 100 * torch.finfo(operator.dtype).eps) * largest + 1e-300
    fault = None
    if not bool(converged.all()):
        number = int((~converged).sum())
        fault = f"{number} of {len(values)} eigenvalues have residuals above {tolerance:g} of the largest"
    elif not complete:
        fault = f"the search ended after {run.num_matvecs if run else 0} products and may have missed eigenvalues"
    if fault:
        warnings.warn(f"{fault}; allow more products or seconds", NotConverged, stacklevel=3)
    made = operator.dimension if run is None else run.num_matvecs
    return Eigenpairs(values, vectors, residuals, converged & complete, tolerance, made + len(values))
