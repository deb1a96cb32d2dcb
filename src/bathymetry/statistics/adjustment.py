"""Many claims judged at once: p values adjusted so that one false verdict among all of them stays rare."""

from collections.abc import Sequence

import numpy as np

from bathymetry.core.errors import InputError
from bathymetry.statistics.arguments import number


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Adjust p values for their number by Holm's step-down rule.

        p̃₍ᵢ₎ = min(1, max over j ≤ i of (n − j + 1) p₍ⱼ₎), p₍₁₎ ≤ … ≤ p₍ₙ₎

    Holm 1979, Scandinavian Journal of Statistics 6:65. The chance of any false rejection stays below the level, however
    the tests depend on each other.

    Args:
        p: One p value a claim; None for a claim without one, which is not counted.

    Returns:
        The adjusted values in the same order; None where there was none.

    Raises:
        InputError: If a value is neither a number from 0 to 1 nor None.

    Example:
        >>> holm([0.01, None, 0.04, 0.25])
        [0.03, None, 0.08, 0.25]
    """
    if isinstance(p, str) or not isinstance(p, Sequence | np.ndarray) or getattr(p, "ndim", 1) == 0:
        raise InputError("p", p, "expected a list of p values")
    for value in p:
        if value is not None:
            number("p", value, low=0, high=1)
    tested = sorted((float(value), place) for place, value in enumerate(p) if value is not None)
    adjusted: list[float | None] = [None] * len(p)
    running = 0.0
    for rank, (value, place) in enumerate(tested):
        running = max(running, min(1.0, (len(tested) - rank) * value))
        adjusted[place] = running
    return adjusted
