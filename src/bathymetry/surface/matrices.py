"""Curvature matrices of a loss surface as operators: the Hessian, the Gauss-Newton matrix and the empirical Fisher."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator
from torch import Tensor

from bathymetry.core.errors import InputError, check_dense
from bathymetry.surface.batches import Batch
from bathymetry.surface.derivatives import Product
from bathymetry.surface.selection import Points, Vectors

if TYPE_CHECKING:
    from bathymetry.surface.loss_surface import LossSurface

Prepared = tuple[float, Product, int]  # the share of a part of the data, its products, and how many vectors at once


class Curvature:
    """A symmetric matrix at one θ, or one for each member, known through its products."""

    _product: ClassVar[str]  # the method of `Derivatives` that prepares products with it

    def __init__(self, surface: "LossSurface", theta: Float[Tensor, "*member parameter"] | None = None) -> None:
        if not hasattr(surface, "points"):
            raise InputError("surface", type(surface).__name__, "expected a bm.LossSurface(model, loss, data)")
        self._network, self._parts, self._derivatives = surface._network, surface._parts, surface._derivatives
        self._theta, self._single = surface.points(theta)
        self.dimension, self.dtype, self.device = self._theta.shape[1], self._theta.dtype, self._theta.device
        with self._network.measuring():
            fit_together, parts = self._parts.for_products(self._theta)
            self._kept = list(self._prepared(parts)) if fit_together else None

    def _prepared(self, parts: Iterable[tuple[float, Batch, int]]) -> Iterable[Prepared]:
        prepare = getattr(self._derivatives, self._product)
        return ((share, prepare(self._theta, batch), vectors) for share, batch, vectors in parts)

    @property
    def shape(self) -> tuple[int, ...]:
        """(P, P), or (M, P, P) for members."""
        square = (self.dimension, self.dimension)
        return square if self._single else (len(self._theta), *square)

    def __call__(self, vectors: Float[Tensor, "*lead parameter"]) -> Float[Tensor, "*lead parameter"]:
        """Multiply vectors along the last axis by the matrix.

        Args:
            vectors: (parameter,) or (vector, parameter) for one θ; (member, parameter) or (member, vector, parameter)
                for several.

        Returns:
            Products of the same shape.

        Raises:
            InputError: If the shape does not fit.
        """
        rows = as_rows(vectors, self._theta, single=self._single)
        total: Tensor | None = None
        with self._network.measuring():
            for share, product, together in self._kept or self._prepared(self._parts.for_products(self._theta)[1]):
                total = added(total, share, in_blocks(product, rows, together))
        assert total is not None  # the data weigh more than 0
        return total.to(self.dtype).reshape(vectors.shape)

    def __matmul__(self, vectors: Tensor) -> Tensor:
        """Multiply a vector (P,), or the columns of (P, K) or (M, P, K), by the matrix."""
        if not isinstance(vectors, Tensor) or vectors.ndim < 2:
            return self(vectors)
        return self(vectors.mT).mT

    def linear_operator(self) -> LinearOperator:
        """Make a SciPy operator, for its solvers.

        Returns:
            A symmetric operator on float64 or float32 vectors.

        Raises:
            InputError: If there are several members.
        """
        if not self._single:
            raise InputError("theta", f"{len(self._theta)} members", "SciPy takes one: ask at one member's parameters")
        dtype = torch.empty(0, dtype=self.dtype).numpy().dtype

        def columns(block: np.ndarray) -> np.ndarray:
            products: np.ndarray = self(torch.from_numpy(np.ascontiguousarray(block.T).astype(dtype))).cpu().numpy()
            return products.T

        return LinearOperator(self.shape, matvec=columns, rmatvec=columns, matmat=columns, rmatmat=columns, dtype=dtype)


class HessianProduct(Curvature):
    """The Hessian H = ∂²L/∂θ², as `surface.product(theta)` returns it."""

    _product = "product"


class GaussNewton(Curvature):
    """The generalised Gauss-Newton matrix G = Σ_b w_b Jᵀ (∂²ℓ_b/∂z²) J / Σ_b w_b, with z the outputs and J = ∂z/∂θ.

    It is the Hessian without the curvature of the network itself: equal for networks that are linear in θ, and positive
    semidefinite for losses convex in the outputs. Schraudolph 2002, Neural Computation 14(7).

    Args:
        surface: The loss surface; its loss takes (output, *targets).
        theta: One point (P,) or one for each member (M, P); the network's own parameters if None.

    Raises:
        InputError: If the loss takes the model, or is linear in the outputs.

    Example:
        Linear regression: G = H = 2XᵀX/n.

        >>> import bathymetry as bm
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> x = torch.tensor([[1.0, 0.0], [1.0, 2.0]])
        >>> bm.GaussNewton(bm.LossSurface(model, "mse", (x, torch.zeros(2, 1)))) @ torch.tensor([1.0, 0.0])
        tensor([2., 2.])
    """

    _product = "gauss_newton"


class Fisher(Curvature):
    """The empirical Fisher F = Σᵢ wᵢ gᵢgᵢᵀ / Σᵢ wᵢ, with gᵢ the gradient of example i's own loss.

    Under a loss that is a sum it is Σᵢ gᵢgᵢᵀ. wᵢ is what the mean of the example alone would be divided by: the same
    for all in a plain mean, 0 for one that the loss ignores. Kunstner et al. 2019, arXiv:1905.12558.

    Args:
        surface: The loss surface of a network that treats each example by itself.
        theta: One point (P,) or one for each member (M, P); the network's own parameters if None.

    Raises:
        InputError: If examples depend on one another, as in BatchNorm while training.

    Example:
        One weight w = 0 and ℓᵢ = (w·xᵢ − yᵢ)² with (1, 1) and (1, 3): gᵢ = −2, −6, and F = (4 + 36)/2.

        >>> import bathymetry as bm
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> _ = torch.nn.init.zeros_(model.weight)
        >>> surface = bm.LossSurface(model, "mse", (torch.ones(2, 1), torch.tensor([[1.0], [3.0]])))
        >>> bm.Fisher(surface) @ torch.ones(1)
        tensor([20.])
    """

    _product = "fisher"


def as_rows(vectors: Tensor, points: Points, *, single: bool) -> Vectors:
    """Check vectors to multiply at one point or at several; bring them to (member, vector, parameter)."""
    if not isinstance(vectors, Tensor):
        raise InputError("vectors", type(vectors).__name__, "expected a tensor of real numbers")
    check_dense("vectors", vectors)
    count, dimension = points.shape
    one = (dimension,) if single else (count, dimension)
    shape = tuple(vectors.shape)
    if shape != one and (len(shape) != len(one) + 1 or shape[:-2] + shape[-1:] != one):
        several = (*map(str, one[:-1]), "vector", str(dimension))
        raise InputError("vectors", f"shape {shape}", f"expected shape {one} or ({', '.join(several)})")
    return vectors.detach().to(points).reshape(count, 1 if shape == one else shape[-2], dimension)


def in_blocks(product: Product, rows: Vectors, together: int) -> Vectors:
    """Multiply vectors, some of them together."""
    if rows.shape[1] == 0:
        return rows
    parts = [product(some) for some in torch.split(rows, together, dim=1)]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def added(total: Tensor | None, share: float, part: Tensor) -> Tensor:
    """Add share · part in float64; a first part of share 1 stays as it is, without a copy."""
    if total is None:
        return part if share == 1 else share * part.double()
    return total.double() + share * part.double()
