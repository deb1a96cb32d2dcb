"""A chart in words, for those who hear it."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from bathymetry.charts.scale import YScale


def in_words(
    y_title: str,
    x_title: str,
    names: Sequence[str],
    middles: Sequence[Float[np.ndarray, " point"]],
    diverged: Sequence[Bool[np.ndarray, " member"]],
    places: Float[np.ndarray, " point"],
    scale: YScale,
) -> str:
    """Say what a chart of lines shows.

    Args:
        y_title: What the values are.
        x_title: What they are drawn against.
        names: The series; none if there is only one.
        middles: Each series' centre, in natural values.
        diverged: Which members of each series diverged.
        places: The x of every point.
        scale: The vertical axis.

    Returns:
        A few sentences: what is drawn, where each centre starts and ends, who diverged.
    """
    count = len(diverged[0])
    subject = f" for {', '.join(names)}" if names else ""
    sentences = [f"{y_title} against {x_title}{subject}, {count} member{'s' * (count != 1)} each with their mean."]
    for place, middle in enumerate(middles):
        if np.isfinite(middle).any():
            who = f"{names[place]}: " if names else ""
            ends = (
                f"from {value(middle[0], scale)} at {places[0]:,.6g} to {value(middle[-1], scale)} at {places[-1]:,.6g}"
            )
            sentences.append(f"{who}{ends}.")
    for place, gone in enumerate(diverged):
        if gone.any():
            who = f" of {names[place]}" if names else ""
            sentences.append(f"{gone.sum()} of {count} members{who} diverged and are left out of the mean.")
    return " ".join(sentences)


def value(number: float, scale: YScale) -> str:
    """Write one number as a reader would.

    Args:
        number: In natural values.
        scale: The axis it is on.

    Returns:
        Three digits, or a percentage.

    Example:
        >>> value(0.98765, "accuracy"), value(0.00012345, "log")
        ('98.77 %', '0.000123')
    """
    return f"{100 * number:.4g} %" if scale == "accuracy" else f"{number:.3g}"
