"""Labelled straight lines across a chart, with their words where least is drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import altair as alt
import numpy as np
from jaxtyping import Float

from bathymetry.charts.axes import Array, Axis, Horizontal, fixed, inline
from bathymetry.charts.theme import MUTED, PAPER
from bathymetry.stats.validation import numbers, one_of

_CROWD = 120  # points of a line that labels are kept clear of
_LETTER, _TALL = 0.018, 0.07  # how much of a small plot's width and height a letter of a label takes


@dataclass(frozen=True)
class Reference:
    """A labelled straight line across a chart.

    Args:
        value: Where it stands, in the units of the axis; it is left out where that has no place.
        label: Its words.
        axis: "y" for a horizontal line, "x" for an upright one.
        at: Where on a horizontal line the words stand; before or behind an upright one. "clear" is where they cover
            least of what is drawn.
    """

    value: float
    label: str
    axis: Literal["x", "y"] = "y"
    at: Literal["clear", "start", "end"] = "clear"

    def __post_init__(self) -> None:
        numbers("value", self.value, axes=0)
        one_of("axis", self.axis, ("x", "y"))
        one_of("at", self.at, ("clear", "start", "end"))

    def place(self, axis: Axis) -> float:
        """Where it is drawn; NaN where the axis has no place for it."""
        out_of_range = axis.scale == "accuracy" and not 0 <= self.value <= 1
        return np.nan if out_of_range else float(axis.drawn(self.value))


def along_lines(across: Horizontal, drawn: Array) -> Array:
    """Points along every line, also between those that it joins."""
    places = np.arange(len(across.positions))
    between = np.linspace(0, places[-1], _CROWD)
    up = np.stack([np.interp(between, places, line) for line in drawn.reshape(-1, len(places))])
    return np.stack([np.broadcast_to(np.interp(between, places, across.positions), up.shape).ravel(), up.ravel()])


def reference_layers(
    references: Sequence[Reference],
    x: alt.X,
    y: alt.Y,
    axes: Mapping[str, Axis],
    crowd: Float[np.ndarray, "2 point"] | None = None,
) -> list[alt.Chart]:
    """Draw reference lines with their labels, clear of a crowd of points (2, point) in the units of the axes."""
    layers: list[alt.Chart] = []
    taken: list[tuple[float, float, float]] = []  # where the labels before are
    for one in references:
        value = one.place(axes[one.axis])
        if not np.isfinite(value):
            continue
        begins, first = _clearest(one, value, axes, crowd, taken)
        base = alt.Chart(inline(**{one.axis: np.array([value]), "label": one.label}))
        channel: dict[str, Any] = {one.axis: x if one.axis == "x" else y}
        layers.append(base.mark_rule(color=MUTED, strokeWidth=1, strokeDash=[4, 4], clip=True).encode(**channel))
        words: dict[str, Any] = {"clip": True, "align": "left" if begins == (one.axis == "y") else "right"}
        words |= {"baseline": "bottom", "dy": -4} if first == (one.axis == "y") else {"baseline": "top", "dy": 3}
        if one.axis == "y":
            words["dx"] = 6 if begins else -6
            channel["x"] = fixed(alt.XValue, 0 if begins else "width")
        else:
            words["dx"] = -5 if begins else 5
            channel["y"] = fixed(alt.YValue, 0 if first else "height")
        # The words stand twice, first as a halo in the paper's colour, so that lines may run under them.
        halo = base.mark_text(stroke=PAPER, strokeWidth=4, strokeJoin="round", **words)
        layers += [one.encode(text=alt.Text("label:N"), **channel) for one in (halo, base.mark_text(**words))]
    return layers


def _clearest(
    one: Reference,
    value: float,
    axes: Mapping[str, Axis],
    crowd: Float[np.ndarray, "2 point"] | None,
    taken: list[tuple[float, float, float]],
) -> tuple[bool, bool]:
    """Whether words stand at the start or before a line, and whether above it or at the top: where least is drawn.

    Where that is, is added to what is `taken`: the left end, lower end and width, as shares of the plot.
    """
    starts = [one.at == "start"] if one.at != "clear" else [True, False]
    options = [(begins, first) for first in (True, False) for begins in starts]
    if crowd is None or not np.isfinite(crowd).all(axis=0).any():
        return options[0]
    points, place = dict[str, Array](), 0.0
    for name, drawn in zip(("x", "y"), crowd[:, np.isfinite(crowd).all(axis=0)], strict=True):
        axis = axes[name]
        known = np.append(drawn, [value] * (one.axis == name))
        low, high = axis.spaced(axis.drawn(axis.domain) if axis.domain else np.array([known.min(), known.max()]))
        along = (axis.spaced(known) - low) / ((high - low) or 1)
        points[name], place = (along[:-1], along[-1]) if one.axis == name else (along, place)
    wide, costs, boxes = _LETTER * len(one.label), [], []
    for begins, first in options:
        if one.axis == "y":
            left, bottom = 0 if begins else 1 - wide, place - _TALL * (not first)
        else:
            left, bottom = place - wide * begins, (1 - _TALL) * first
        across, up = points["x"] - left, points["y"] - bottom
        covered = ((across >= 0) & (across <= wide) & (up >= 0) & (up <= _TALL)).sum()
        outside = max(-left, left + wide - 1, -bottom, bottom + _TALL - 1, 0)
        on = [left < x + width and x < left + wide and abs(bottom - y) < _TALL for x, y, width in taken]
        costs.append(covered + len(across) * (outside + any(on)))
        boxes.append((left, bottom, wide))
    best = int(np.argmin(costs))
    taken.append(boxes[best])
    return options[best]
