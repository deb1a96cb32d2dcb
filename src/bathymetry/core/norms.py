"""Lengths of vectors whose squares are too small or too large for their dtype.

Scaling by a power of two changes no digit, so a length is the same to the last bit wherever squaring is harmless.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def norms(vectors: Float[Tensor, "row dimension"]) -> Float[Tensor, " row"]:
    """Give the length of each vector.

    Args:
        vectors: A row each.

    Returns:
        ‖v‖₂, in the dtype of the vectors.

    Example:
        >>> norms(torch.tensor([[3e-25, 4e-25], [3e30, 4e30]]))
        tensor([5.0000e-25, 5.0000e+30])
    """
    lengths: Tensor = vectors.norm(dim=1)
    odd = (lengths < torch.finfo(vectors.dtype).smallest_normal ** 0.25) | lengths.isinf()
    if bool(odd.any()):
        scale = power_of_two(torch.linalg.vector_norm(vectors[odd], torch.inf, dim=1))
        lengths = lengths.masked_scatter(odd, (vectors[odd] / scale[:, None]).norm(dim=1) * scale)
    return lengths


def power_of_two(size: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Give powers of two near sizes, to divide by before squaring.

    Args:
        size: Numbers from 0.

    Returns:
        Powers between 2⁻¹²⁰ and 2¹²⁰; 1 for 0.

    Example:
        >>> power_of_two(torch.tensor([0.0, 3.0, 1e-3]))
        tensor([1.0000e+00, 4.0000e+00, 1.9531e-03])
    """
    exponent = torch.frexp(size.nan_to_num(0.0)).exponent.clamp(-120, 120)
    return torch.ldexp(torch.ones_like(size), exponent)
