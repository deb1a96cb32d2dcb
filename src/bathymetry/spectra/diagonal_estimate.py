"""The diagonal of a large matrix, each entry with a standard error.

    diag(H) ≈ mean over v of v ⊙ Hv,   v of random signs

Bekas, Kokiopoulou and Saad 2007, Applied Numerical Mathematics 57(11-12).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from bathymetry.core.checks import whole_number
from bathymetry.core.showing import readable
from bathymetry.spectra.operator import NotFiniteError, SymmetricOperator, check_operator, whole_matrix
from bathymetry.spectra.trace_estimate import few_samples

_BLOCK = 16  # vectors multiplied at once


@readable
class Diagonal:
    """A diagonal, and how sure each entry is."""

    value: Float[Tensor, " dimension"]
    standard_error: Float[Tensor, " dimension"]  # widened for few samples; 0 where it was computed whole
    products: int


def diagonal(operator: SymmetricOperator, products: int = 100, generator: torch.Generator | None = None) -> Diagonal:
    """Estimate a diagonal.

    Args:
        operator: The matrix.
        products: How many vectors to multiply, at least 2; from the dimension on, the diagonal is exact.
        generator: Draws the signs; a fixed one if None.

    Returns:
        The diagonal with standard errors.

    Raises:
        NotFiniteError: If a product is not finite.

    Example:
        >>> from bathymetry.spectra import MatrixOperator
        >>> diagonal(MatrixOperator(torch.tensor([[2.0, 1.0], [1.0, 3.0]]))).value
        tensor([2., 3.], dtype=torch.float64)
    """
    check_operator(operator)
    products = whole_number("products", products, 2)  # one has no spread
    if products >= operator.dimension:
        exact = whole_matrix(operator).diagonal().clone()
        return Diagonal(exact, torch.zeros_like(exact), operator.dimension)
    generator = generator or torch.Generator().manual_seed(0)
    total = torch.zeros(operator.dimension, dtype=torch.float64, device=operator.device)
    squares = torch.zeros_like(total)
    for start in range(0, products, _BLOCK):
        count = min(_BLOCK, products - start)
        signs = torch.randint(0, 2, (count, operator.dimension), generator=generator) * 2 - 1
        vectors = signs.to(operator.device, operator.dtype)
        each = (vectors * operator(vectors)).double()
        if not bool(each.isfinite().all()):
            raise NotFiniteError
        total += each.sum(0)
        squares += each.square().sum(0)
    mean = total / products
    variance = (squares / products - mean.square()).clamp_min(0) * products / (products - 1)
    return Diagonal(mean, (variance / products).sqrt() * few_samples(products), products)
