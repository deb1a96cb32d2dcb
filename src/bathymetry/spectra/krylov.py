"""Lanczos runs with full reorthogonalisation, several of them in step.

From a start v₁, each step multiplies the newest vector and makes the product orthogonal to all before it, so that the
operator becomes a small matrix T = B A Bᵀ on an orthonormal basis B. Rounding spoils the three-term recurrence (ghost
eigenvalues), hence every vector is orthogonalised against all others, twice: Parlett 1998, The Symmetric Eigenvalue
Problem, chapter 13. Keeping some Ritz vectors and going on is a thick restart: Wu and Simon 2000, SIAM J. Matrix Anal.
Appl. 22(2).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from bathymetry.spectra.operator import NotFiniteError, SymmetricOperator


class Krylov:
    """Growing bases, one a run, and what the operator is on each.

    Args:
        operator: The matrix.
        starts: The first vector of each run, of any length but zero.
        most: The largest size a basis may grow to.
        generator: Draws a new direction where a run has exhausted its own.
    """

    def __init__(
        self,
        operator: SymmetricOperator,
        starts: Float[Tensor, "run dimension"],
        most: int,
        generator: torch.Generator,
    ) -> None:
        self._operator, self._generator = operator, generator
        runs = len(starts)
        self.dimension = operator.dimension
        self.most = min(most, operator.dimension)
        self._basis = starts.new_empty(runs, self.most, operator.dimension)  # touched as it is filled
        self._basis[:, 0] = starts / starts.norm(dim=1, keepdim=True)
        self._small = torch.zeros(runs, self.most, self.most, dtype=torch.float64)
        self.size = 0  # how many vectors have been multiplied
        self.products = 0
        self.last = torch.zeros(runs, dtype=torch.float64)  # what is left of the newest product: its coupling

    @property
    def full(self) -> bool:
        """Whether the basis can't grow."""
        return self.size == self.most

    @property
    def small(self) -> Float[Tensor, "run size size"]:
        """T."""
        return self._small[:, : self.size, : self.size]

    def grow(self) -> None:
        """Multiply the newest vector of each run and make the next.

        Raises:
            NotFiniteError: If a product is not finite.
        """
        place = self.size
        product = self._operator(self._basis[:, place])
        self.products += len(product)
        size = product.norm(dim=1).double().cpu()
        if not bool(size.isfinite().all()):
            raise NotFiniteError
        so_far = self._basis[:, : place + 1]
        product, coefficients = _orthogonal(product, so_far)
        self._small[:, place, : place + 1] = self._small[:, : place + 1, place] = coefficients.double().cpu()
        self.size += 1
        self.last = product.norm(dim=1).double().cpu()
        exhausted = self.last <= 100 * torch.finfo(product.dtype).eps * size
        self.last = torch.where(exhausted, 0.0, self.last)
        if not self.full:
            if bool(exhausted.any()):
                for run in exhausted.nonzero().ravel().tolist():
                    product[run] = self._fresh(self._basis[run : run + 1, : self.size])
            self._basis[:, self.size] = product / product.norm(dim=1, keepdim=True)

    def ritz(self) -> tuple[Float[Tensor, "run size"], Float[Tensor, "run size size"]]:
        """Diagonalise T.

        Returns:
            Ritz values, ascending, and their coordinates on the basis, a column each.
        """
        values, coordinates = torch.linalg.eigh(self.small)
        return values, coordinates

    def vectors(self, coordinates: Float[Tensor, "size chosen"]) -> Float[Tensor, "chosen dimension"]:
        """Give Ritz vectors of the first run.

        Args:
            coordinates: On the basis, a column each.

        Returns:
            Unit vectors.
        """
        basis = self._basis[0, : self.size]
        found = coordinates.T.to(basis) @ basis
        unit: Tensor = found / found.norm(dim=1, keepdim=True)
        return unit

    def restart(self, chosen: Tensor, *, afresh: bool) -> None:
        """Shrink the first run's basis to some Ritz vectors and go on from there.

        Args:
            chosen: Which Ritz vectors.
            afresh: Go on in a random direction, to find what the run can't see; else where it was.
        """
        values, coordinates = self.ritz()
        kept = self.vectors(coordinates[0][:, chosen])
        following = self._fresh(kept[None]) if afresh or self.full else self._basis[0, self.size]
        if not afresh and self.full:
            following = self._residual(coordinates[0], chosen, kept)
        self.size = len(kept)
        self._basis[0, : self.size] = kept
        self._basis[0, self.size] = following / following.norm()
        self._small.zero_()
        self._small[0, : self.size, : self.size] = torch.diag(values[0, chosen])

    def _residual(self, coordinates: Tensor, chosen: Tensor, kept: Tensor) -> Tensor:
        # one more product gives the direction that a full basis had no room for
        worst = int(coordinates[-1, chosen].abs().argmax())
        product = self._operator(kept[worst][None])
        self.products += 1
        residual, _ = _orthogonal(product, self._basis[:1, : self.size])
        return residual[0] if float(residual.norm()) > 0 else self._fresh(kept[None])

    def _fresh(self, basis: Float[Tensor, "1 size dimension"]) -> Float[Tensor, " dimension"]:
        drawn = torch.randn(1, basis.shape[2], generator=self._generator, dtype=torch.float64).to(basis)
        return _orthogonal(drawn, basis)[0][0]


def _orthogonal(vectors: Float[Tensor, "run dimension"], basis: Tensor) -> tuple[Tensor, Float[Tensor, "run size"]]:
    # Take out of each vector what lies in its basis; give the rest and what was taken out. The newest two directions,
    # in which nearly all of it lies, go first. A second pass over all of them is made only where the first took out so
    # much that rounding shows: Kahan and Parlett's "twice is enough".
    total = torch.zeros(basis.shape[:2], dtype=vectors.dtype, device=vectors.device)
    newest = slice(max(0, basis.shape[1] - 2), None)
    rest = _less(vectors.unsqueeze(2), basis[:, newest], total[:, newest])
    for _ in range(2):
        before = rest.norm(dim=1)
        rest = _less(rest, basis, total)
        if bool((rest.norm(dim=1) > 0.7 * before).all()):
            break
    return rest.squeeze(2), total


def _less(rest: Tensor, basis: Tensor, total: Tensor) -> Tensor:
    parts = torch.bmm(basis, rest)
    total += parts.squeeze(2)
    return torch.baddbmm(rest, basis.transpose(1, 2), parts, alpha=-1)
