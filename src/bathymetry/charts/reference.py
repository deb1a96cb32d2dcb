"""A line that a chart is read against: a bound, a chance level, the epoch at which something is judged."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import altair as alt
import numpy as np

from bathymetry.charts.rows import rows
from bathymetry.charts.scale import YScale, drawable
from bathymetry.charts.theme import MUTED, PAPER

_HALO: tuple[dict[str, Any], ...] = ({"stroke": PAPER, "strokeWidth": 4, "strokeJoin": "round"}, {})


@dataclass(frozen=True)
class Reference:
    """A labelled straight line across a chart."""

    value: float  # in natural units
    label: str
    axis: Literal["x", "y"] = "y"
    at: Literal["start", "end"] = (
        "start"  # where on a horizontal line its label stands; before or behind a vertical one
    )


def reference_layers(
    references: Sequence[Reference], x_channel: alt.X, y_channel: alt.Y, y_scale: YScale, examples: int | None = None
) -> list[alt.Chart]:
    """Draw reference lines with their labels.

    Args:
        references: The lines; those on "y" are horizontal.
        x_channel: The chart's horizontal axis, of the field x.
        y_channel: The chart's vertical axis, of the field y.
        y_scale: How that is spaced.
        examples: Of how many examples an accuracy is a share.

    Returns:
        A rule and its words for each.
    """
    layers: list[alt.Chart] = []
    for reference in references:
        value = place_of(reference, y_scale if reference.axis == "y" else "linear", examples)
        across, begins = reference.axis == "y", reference.at == "start"
        if not np.isfinite(value) or (not across and value <= 0 and _is_logarithmic(x_channel)):
            continue  # it has no place on this axis
        base = alt.Chart(rows({reference.axis: np.array([value]), "label": reference.label}))
        rule = base.mark_rule(color=MUTED, strokeWidth=1, strokeDash=[4, 4], clip=True)
        # The words stand twice, first as a halo in the paper's colour, so that lines may run under them.
        if across:
            layers.append(rule.encode(y=y_channel))
            for halo in _HALO:
                words = base.mark_text(
                    align="left" if begins else "right",
                    baseline="bottom",
                    dx=6 if begins else -6,
                    dy=-4,
                    clip=True,
                    **halo,
                )
                place = 0 if begins else "width"
                layers.append(words.encode(x=alt.value(place), y=y_channel, text="label:N"))
        else:
            layers.append(rule.encode(x=x_channel))
            for halo in _HALO:
                words = base.mark_text(
                    align="right" if begins else "left", baseline="top", dx=-5 if begins else 5, dy=2, clip=True, **halo
                )
                layers.append(words.encode(x=x_channel, y=alt.value(0), text="label:N"))
    return layers


def place_of(reference: Reference, scale: YScale, examples: int | None = None) -> float:
    """Say where a line stands on an axis.

    Args:
        reference: The line.
        scale: How the axis is spaced.
        examples: Of how many examples an accuracy is a share.

    Returns:
        The place, as `drawable` gives it; NaN where the axis has none.
    """
    if scale == "accuracy" and not 0 <= reference.value <= 1:
        return float("nan")
    return float(drawable(np.array(reference.value), scale, examples))


def _is_logarithmic(channel: alt.X) -> bool:
    described = channel.to_dict()
    return isinstance(described, dict) and described.get("scale", {}).get("type") == "log"
