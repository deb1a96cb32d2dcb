"""The strong line of a chart: the mean of the members that did not diverge, with its pointwise 95 % interval."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from bathymetry.charts.scale import YScale
from bathymetry.statistics import IDENTITY, LOG, mean_interval


@dataclass(frozen=True)
class Centre:
    """A mean over members, in the units in which it is drawn."""

    middle: Float[np.ndarray, " point"]
    low: Float[np.ndarray, " point"]  # NaN with fewer than two members
    high: Float[np.ndarray, " point"]
    diverged: Bool[np.ndarray, " member"]  # which members were left out


def centre(drawn: Float[np.ndarray, "member point"], scale: YScale) -> Centre:
    """Average members point by point on the scale of the axis.

    The mean is that of logarithms on a logarithmic axis and of logits on an accuracy axis (which is what is drawn
    there); the interval is Student's t, 95 %.

    Args:
        drawn: What is drawn of each member. One with a gap anywhere diverged, and is left out everywhere.
        scale: The axis.

    Returns:
        The mean with its interval, on the axis's own units.

    Example:
        >>> centre(np.array([[1.0], [100.0], [np.nan]]), "log").middle.round(6).tolist()
        [10.0]
    """
    diverged = ~np.isfinite(drawn).all(axis=1)
    kept = drawn[~diverged]
    if not len(kept):
        nothing = np.full(drawn.shape[1], np.nan)
        return Centre(nothing, nothing, nothing, diverged)
    # An accuracy is drawn as its logit, so its mean is taken as it stands.
    with np.errstate(over="ignore", invalid="ignore"):  # of huge values the spread may have no number
        band = mean_interval(kept, axis=0, transform=LOG if scale == "log" else IDENTITY)
    return Centre(band.centre, band.low, band.high, diverged)
