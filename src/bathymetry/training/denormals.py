"""Keeping denormal numbers out of training: a processor is many times slower on them, and they move nothing.

Where a gradient stays zero, a moment of the optimiser shrinks until it is denormal, and rounding keeps it there. Where
a network has long ruled a class out, its probability makes denormal numbers further down.
"""

import torch
from torch import Tensor


def drop_nothing(values: Tensor, times: float) -> None:
    """Set to zero, in place, what is next to the smallest normal number.

    Args:
        values: Real numbers; NaN stays.
        times: How many smallest normal numbers are nothing: as many as later products need.

    Example:
        >>> values = torch.tensor([1.0, 1e-37, -1e-40])
        >>> drop_nothing(values, 1e4)
        >>> values
        tensor([1., 0., 0.])
    """
    torch.hardshrink(values, lambd=times * torch.finfo(values.dtype).tiny, out=values)
