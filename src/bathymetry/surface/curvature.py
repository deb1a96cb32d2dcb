"""Curvature matrices of a loss surface as operators: the Hessian, the Gauss-Newton matrix and the empirical Fisher."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator
from torch import Tensor

from bathymetry.core.errors import InputError, check_dense
from bathymetry.surface.derivatives import Product
from bathymetry.surface.parameters import Vectors

if TYPE_CHECKING:
    from bathymetry.surface.loss_surface import LossSurface

Matrix = Literal["hessian", "gauss_newton", "fisher"]


class Curvature:
    """A symmetric matrix at one θ, or one for each member, known through its products."""

    matrix: ClassVar[Matrix]

    def __init__(self, surface: "LossSurface", theta: Float[Tensor, "*member parameter"] | None = None) -> None:
        self._surface = surface
        self._theta, self._single = surface.points(theta)
        self._prepared = surface.prepared(self.matrix, self._theta)
        self.dimension, self.dtype, self.device = self._theta.shape[1], self._theta.dtype, self._theta.device

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
        if not isinstance(vectors, Tensor):
            raise InputError("vectors", type(vectors).__name__, "expected a tensor of real numbers")
        check_dense("vectors", vectors)
        members = () if self._single else (len(self._theta),)
        lead = vectors.shape[:-1]
        fits = vectors.ndim > 0 and vectors.shape[-1] == self.dimension and lead[: len(members)] == members
        if not fits or len(lead) - len(members) not in (0, 1):
            expected = [", ".join(map(str, (*members, *more, self.dimension))) for more in ((), ("vector",))]
            single = "," if self._single else ""
            remedy = f"give shape ({expected[0]}{single}) or ({expected[1]})"
            raise InputError("vectors", f"shape {tuple(vectors.shape)}", remedy)
        own = vectors.detach().to(self.device, self.dtype)
        if vectors.numel() == 0:
            return own
        rows = own.reshape(len(self._theta), -1, self.dimension)
        with self._surface._network.measuring():
            parts = ((share, _in_blocks(product, rows, block)) for share, product, block in self._prepared())
            return weighted_sum(parts).detach().reshape(vectors.shape)

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

    matrix = "hessian"


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

    matrix = "gauss_newton"


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

    matrix = "fisher"


def _in_blocks(product: Product, vectors: Vectors, block: int) -> Tensor:
    parts = [product(some) for some in torch.split(vectors, block, dim=1)]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def weighted_sum(parts: Iterable[tuple[float, Tensor]]) -> Tensor:
    """Sum share · part in float64, without a copy where there is one part; the result has the parts' dtype."""
    rest = iter(parts)
    share, first = next(rest)
    total: Tensor | None = None
    for other_share, other in rest:
        total = first.double() * share if total is None else total
        total += other_share * other.double()
    if total is None:
        return first if share == 1 else first * share
    return total.to(first.dtype)
