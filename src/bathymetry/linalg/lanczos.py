"""Lanczos runs with full reorthogonalisation, several of them in step.

Each step multiplies the newest vector and makes the product orthogonal to all before it, so that the operator becomes a
small matrix T = B A Bᵀ on an orthonormal basis B. Rounding spoils the three-term recurrence (ghost eigenvalues), hence
every vector is orthogonalised against all others, twice: Parlett 1998, The Symmetric Eigenvalue Problem, chapter 13.
Thick restarts keep some Ritz vectors: Wu and Simon 2000, SIAM J. Matrix Anal. Appl. 22(2).
"""

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from bathymetry.core.tensors import norms
from bathymetry.linalg.operator import NotFiniteError, SymmetricOperator

_BLOCK = 2**27  # bytes of a basis that are allocated at once, unless _FEW vectors are more
_FEW = 4


class Krylov:
    """Growing bases, one for each start (of any length but zero), and what the operator is on each."""

    def __init__(
        self, operator: SymmetricOperator, starts: Float[Tensor, "run dimension"], max_size: int, generator: Generator
    ) -> None:
        self._operator, self._generator = operator, generator
        runs = len(starts)
        self.dimension = operator.dimension
        self.max_size = min(max_size, operator.dimension)
        # one block where it is small, else blocks of a few vectors each, made as the basis grows
        self._rows = min(self.max_size, max(_FEW, _BLOCK // (runs * operator.dimension * starts.element_size())))
        self._blocks: list[Tensor] = []
        self._set(0, starts / norms(starts)[:, None])
        self._small = torch.zeros(runs, self.max_size, self.max_size, dtype=torch.float64)
        self.size = 0  # how many vectors have been multiplied
        self.num_matvecs = 0
        self.last = torch.zeros(runs, dtype=torch.float64)  # what is left of the newest product: its coupling
        self._following: Tensor | None = None  # the next vectors, while the basis has no room for them

    @property
    def full(self) -> bool:
        return self.size == self.max_size

    @property
    def small(self) -> Float[Tensor, "run size size"]:
        """T of each run."""
        return self._small[:, : self.size, : self.size]

    def grow(self) -> None:
        """Multiply the newest vector of each run and make the next."""
        place = self.size
        product = self._operator(self._vector(place))
        self.num_matvecs += len(product)
        size = norms(product).double().cpu()
        if not bool(size.isfinite().all()):
            raise NotFiniteError
        product, coefficients = _orthogonal(product, self._basis(place + 1))
        self._small[:, place, : place + 1] = self._small[:, : place + 1, place] = coefficients.double().cpu()
        self.size += 1
        self.last = norms(product).double().cpu()
        exhausted = self.last <= 100 * torch.finfo(product.dtype).eps * size
        self.last = torch.where(exhausted, 0.0, self.last)
        if self.size == self.dimension:
            return
        for run in exhausted.nonzero().ravel().tolist():
            product[run] = self._fresh([block[run : run + 1] for block in self._basis(self.size)])
        following = product / norms(product)[:, None]
        if self.full:
            self._following = following
        else:
            self._set(self.size, following)

    def ritz(self) -> tuple[Float[Tensor, "run size"], Float[Tensor, "run size size"]]:
        """Compute Ritz values, ascending, and their coordinates on the basis, a column each."""
        values, coordinates = torch.linalg.eigh(self.small)
        return values, coordinates

    def vectors(self, coordinates: Float[Tensor, "size chosen"]) -> Float[Tensor, "chosen dimension"]:
        """Compute unit Ritz vectors of the first run from their coordinates."""
        blocks = self._basis(self.size)
        places = torch.split(coordinates.T.to(blocks[0]), [block.shape[1] for block in blocks], dim=1)
        found: Tensor = places[0] @ blocks[0][0]
        for place, block in zip(places[1:], blocks[1:], strict=True):
            found.addmm_(place, block[0])
        return found.div_(norms(found)[:, None])

    def restart(self, chosen: Tensor, *, new_direction: bool) -> None:
        """Shrink the first run's basis to some Ritz vectors; continue from there or in a random direction."""
        values, coordinates = self.ritz()
        self._turn(coordinates[0][:, chosen])
        following = None if new_direction else self._following if self.full else self._vector(self.size)
        self.size, self._following = len(chosen), None
        following = self._fresh(self._basis(self.size))[None] if following is None else following
        self._set(self.size, following / norms(following)[:, None])
        self._small.zero_()
        self._small[0, : self.size, : self.size] = torch.diag(values[0, chosen])

    def _turn(self, coordinates: Float[Tensor, "size chosen"]) -> None:
        """Replace the first vectors of the basis by Ritz vectors, a slice of all of them at a time."""
        blocks, count = self._basis(self.size), coordinates.shape[1]
        turn = coordinates.T.to(blocks[0])
        columns = max(1, _BLOCK // (self.size * blocks[0].element_size()))
        for start in range(0, self.dimension, columns):
            piece = torch.cat([block[0, :, start : start + columns] for block in blocks])
            for place, row in enumerate(turn @ piece):
                self._vector(place)[0, start : start + columns] = row
        for block in self._basis(count):
            block[0].div_(norms(block[0])[:, None])

    def _vector(self, place: int) -> Float[Tensor, "run dimension"]:
        return self._blocks[place // self._rows][:, place % self._rows]

    def _set(self, place: int, vectors: Float[Tensor, "run dimension"]) -> None:
        if place // self._rows == len(self._blocks):
            rows = min(self._rows, self.max_size - place)
            self._blocks.append(vectors.new_empty(len(vectors), rows, self.dimension))
        self._vector(place).copy_(vectors)

    def _basis(self, size: int) -> list[Float[Tensor, "run _ dimension"]]:
        starts = range(0, size, self._rows)
        return [block[:, : size - start] for start, block in zip(starts, self._blocks, strict=False)]

    def _fresh(self, basis: list[Float[Tensor, "1 _ dimension"]]) -> Float[Tensor, " dimension"]:
        drawn = torch.randn(1, self.dimension, generator=self._generator, dtype=torch.float64).to(basis[0])
        return _orthogonal(drawn, basis)[0][0]


def _orthogonal(
    vectors: Float[Tensor, "run dimension"], basis: list[Float[Tensor, "run _ dimension"]]
) -> tuple[Tensor, Float[Tensor, "run size"]]:
    """Subtract from each vector its projection on its basis; return the rest and the coefficients.

    The newest two directions, in which nearly all of it lies, go first. A second pass over all of them is made only
    where the first subtracted so much that rounding shows: Kahan and Parlett's "twice is enough".
    """
    total = [torch.zeros(block.shape[:2], dtype=vectors.dtype, device=vectors.device) for block in basis]
    rest = vectors.unsqueeze(2).clone()
    newest = slice(max(0, basis[-1].shape[1] - 2), None)
    if len(basis) > 1 and basis[-1].shape[1] == 1:
        rest = _less(rest, basis[-2][:, -1:], total[-2][:, -1:])
    rest = _less(rest, basis[-1][:, newest], total[-1][:, newest])
    for _ in range(2):
        before = norms(rest.squeeze(2))
        for block, part in zip(basis, total, strict=True):
            rest = _less(rest, block, part)
        if bool((norms(rest.squeeze(2)) > 0.7 * before).all()):
            break
    return rest.squeeze(2), torch.cat(total, dim=1)


def _less(rest: Tensor, basis: Tensor, total: Tensor) -> Tensor:
    parts = torch.bmm(basis, rest)
    total += parts.squeeze(2)
    return rest.baddbmm_(basis.transpose(1, 2), parts, alpha=-1)
