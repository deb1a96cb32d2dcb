"""Symmetric matrices, known through their products with vectors."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Real
from torch import Tensor

from bathymetry.core.errors import InputError


class NotFiniteError(InputError):
    """A derivative that is NaN or infinite."""

    def __init__(self, what: str = "product") -> None:
        super().__init__(what, "not finite", "expected a point where the loss and its second derivatives are finite")


@runtime_checkable
class SymmetricOperator(Protocol):
    """A symmetric matrix, known through its products."""

    dimension: int
    dtype: torch.dtype
    device: torch.device

    def __call__(self, vectors: Float[Tensor, "vector dimension"]) -> Float[Tensor, "vector dimension"]: ...


def check_operator(operator: SymmetricOperator) -> None:
    if not isinstance(operator, SymmetricOperator):
        remedy = "expected one with dimension, dtype and device, as surface.product() or MatrixOperator(matrix) gives"
        raise InputError("operator", type(operator).__name__, remedy)


class MatrixOperator:
    """A matrix in memory as an operator.

    Args:
        matrix: Symmetric.

    Raises:
        InputError: If it is not square, symmetric and finite.

    Example:
        >>> MatrixOperator(torch.diag(torch.tensor([2.0, 3.0])))(torch.ones(1, 2))
        tensor([[2., 3.]])
    """

    def __init__(self, matrix: Float[Tensor, "dimension dimension"]) -> None:
        shape = tuple(matrix.shape)
        if len(shape) != 2 or shape[0] != shape[1] or shape[0] == 0:
            raise InputError("matrix", f"shape {shape}", "expected a square one")
        if not bool(matrix.isfinite().all()):
            raise InputError("matrix", "with NaN or infinite entries", "expected finite entries")
        if not torch.allclose(matrix, matrix.T, rtol=1e-5, atol=1e-6 * float(matrix.abs().max())):
            raise InputError("matrix", "not symmetric", "expected a matrix that equals its transpose")
        self.matrix = matrix
        self.dimension, self.dtype, self.device = len(matrix), matrix.dtype, matrix.device

    def __call__(self, vectors: Float[Tensor, "vector dimension"]) -> Float[Tensor, "vector dimension"]:
        return vectors @ self.matrix


class ScaledOperator:
    """SAS, for a symmetric A and a diagonal S."""

    def __init__(self, operator: SymmetricOperator, scale: Float[Tensor, " dimension"]) -> None:
        self._operator, self._scale = operator, scale
        self.dimension, self.dtype, self.device = operator.dimension, operator.dtype, operator.device

    def __call__(self, vectors: Float[Tensor, "vector dimension"]) -> Float[Tensor, "vector dimension"]:
        return self._scale * self._operator(self._scale * vectors)


def multiply(
    operator: SymmetricOperator, vectors: Real[Tensor, "vector dimension"]
) -> Float[Tensor, "vector dimension"]:
    """Multiply vectors in the operator's dtype; the products are finite, in float64."""
    products = operator(vectors.to(operator.device, operator.dtype)).double()
    if not bool(products.isfinite().all()):
        raise NotFiniteError
    return products


def whole_matrix(operator: SymmetricOperator) -> Float[Tensor, "dimension dimension"]:
    """Multiply every unit vector, which gives the matrix itself, symmetric to the last bit."""
    rows = multiply(operator, torch.eye(operator.dimension))
    return (rows + rows.T) / 2
