"""Products with the Hessian at one θ, prepared once and used many times."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator
from torch import Tensor

from bathymetry.core.errors import InputError, check_dense

_Call = Callable[[Tensor], Tensor]


class HessianProduct:
    """The Hessian at one θ, or at one θ for each member, as an operator.

    Algorithms that need nothing but products take it as it is; it has a `dimension`, a `dtype` and a `device`.

    Args:
        theta: Where, (member, parameter).
        pieces: For each part of the data its share of the loss, a product with its Hessian, and how many vectors it
            takes at once.
        path: How products are computed, in words.
        single: Whether θ was given without a member axis, so that vectors come without one too.
    """

    def __init__(
        self,
        theta: Float[Tensor, "member parameter"],
        pieces: Iterable[tuple[float, _Call, int]],
        path: Callable[[], str],
        *,
        single: bool,
    ) -> None:
        self._theta, self._pieces, self._path, self._single = theta, pieces, path, single
        self.dimension, self.dtype, self.device = theta.shape[1], theta.dtype, theta.device

    @property
    def path(self) -> str:
        """How products are computed."""
        return self._path()

    def __call__(self, vectors: Float[Tensor, "*lead parameter"]) -> Float[Tensor, "*lead parameter"]:
        """Multiply vectors by the Hessian.

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
        members = len(self._theta)
        axes = (1, 2) if self._single else (2, 3)
        fits = vectors.ndim in axes and vectors.shape[-1] == self.dimension
        if not fits or (not self._single and vectors.shape[0] != members):
            shape = f"({self.dimension},) or (vector, {self.dimension})"
            if not self._single:
                shape = f"({members}, {self.dimension}) or ({members}, vector, {self.dimension})"
            raise InputError("vectors", f"shape {tuple(vectors.shape)}", f"give shape {shape}")
        if vectors.numel() == 0:
            return vectors.detach().to(self.device, self.dtype)
        three = vectors.detach().to(self.device, self.dtype).reshape(members, -1, self.dimension)
        return self._sum(three).reshape(vectors.shape)

    def linear_operator(self) -> LinearOperator:
        """Give the same as an operator of SciPy, for its solvers.

        Returns:
            A symmetric operator on float64 or float32 vectors.

        Raises:
            InputError: If there are several members.
        """
        if not self._single:
            raise InputError("theta", f"{len(self._theta)} members", "SciPy takes one: ask at one member's parameters")
        kind = torch.empty(0, dtype=self.dtype).numpy().dtype

        def columns(block: "np.ndarray") -> "np.ndarray":
            products: np.ndarray = self(torch.from_numpy(np.ascontiguousarray(block.T).astype(kind))).cpu().numpy()
            return products.T

        size = (self.dimension, self.dimension)
        return LinearOperator(size, matvec=columns, rmatvec=columns, matmat=columns, rmatmat=columns, dtype=kind)

    def _sum(self, vectors: Tensor) -> Tensor:
        return weighted_sum((share, _in_blocks(product, vectors, block)) for share, product, block in self._pieces)


def weighted_sum(parts: Iterable[tuple[float, Tensor]]) -> Tensor:
    """Add up in float64, without a copy where there is nothing to add.

    Args:
        parts: At least one, each with its share.

    Returns:
        Σ share · part, in the dtype of the parts.
    """
    rest = iter(parts)
    share, first = next(rest)
    total: Tensor | None = None
    for other_share, other in rest:
        total = first.double() * share if total is None else total
        total += other_share * other.double()
    if total is None:
        return first if share == 1 else first * share
    return total.to(first.dtype)


def _in_blocks(product: _Call, vectors: Tensor, block: int) -> Tensor:
    parts = [product(some) for some in torch.split(vectors, block, dim=1)]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


class Again:
    """Products that are prepared anew for each part of the data, as they do not fit into memory together.

    Args:
        prepare: Gives for each part its share of the loss, a product, and how many vectors it takes at once.
    """

    def __init__(self, prepare: Callable[[], Iterator[tuple[float, _Call, int]]]) -> None:
        self._prepare = prepare

    def __iter__(self) -> Iterator[tuple[float, _Call, int]]:
        return self._prepare()
