"""As many points as an eye can use: at most two hundred a line."""

import numpy as np
from jaxtyping import Int

from bathymetry.core.checks import whole_number
from bathymetry.core.errors import InputError

MOST = 200


def thin(length: int, most: int = MOST, spacing: str = "log") -> Int[np.ndarray, " kept"]:
    """Choose which points of a line to draw.

    Args:
        length: How many points there are.
        most: How many may stay.
        spacing: "log" keeps more of the early ones, as a logarithmic axis shows them; "linear" keeps every so many.

    Returns:
        The indices that stay, rising; the first and the last are among them.

    Raises:
        InputError: If these are no counts, or it is another spacing.

    Example:
        >>> thin(1_000_000, most=7).tolist()
        [0, 9, 99, 999, 9999, 99999, 999999]
        >>> thin(4).tolist()
        [0, 1, 2, 3]
    """
    length, most = whole_number("length", length, 0, 2**53), whole_number("most", most, 1)
    if not isinstance(spacing, str) or spacing not in ("log", "linear"):
        raise InputError("spacing", spacing, "expected log or linear")
    if length <= most:
        return np.arange(length)
    if spacing == "linear":
        return np.unique(np.rint(np.linspace(0, length - 1, most)).astype(int))
    # Rounding makes early points coincide, so ask for more until just so many differ.
    asked = kept = most
    indices = _log_spaced(length, asked)
    while True:
        asked += max(1, (most - kept) // 2)
        denser = _log_spaced(length, asked)
        if len(denser) > most:
            return indices
        indices, kept = denser, len(denser)


def _log_spaced(length: int, count: int) -> Int[np.ndarray, " kept"]:
    return np.unique(np.rint(np.geomspace(1, length, count)).astype(int)) - 1
