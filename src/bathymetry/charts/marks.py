"""The strong line of a chart: the mean of the members that did not diverge, with its pointwise 95 % interval."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt
import numpy as np
from jaxtyping import Bool, Float

from bathymetry.charts.axes import XScale, YScale, text
from bathymetry.charts.theme import MUTED
from bathymetry.stats import IDENTITY, LOG, mean_interval


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


HOVER = "hover"  # the layer's name, by which a printed figure leaves it out


def columns_around(
    places: Float[np.ndarray, " point"], scale: XScale
) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, " point"]]:
    """Share an axis out among its points, each up to half way to its neighbours.

    Args:
        places: The x of every point, rising.
        scale: How the axis is spaced; half way is meant on it.

    Returns:
        Where each point's column starts, and where it ends.

    Example:
        >>> [ends.tolist() for ends in columns_around(np.array([0.0, 10.0, 30.0]), "linear")]
        [[0.0, 5.0, 20.0], [5.0, 20.0, 30.0]]
    """
    spaced = np.log(places) if scale == "log" else np.log1p(places) if scale == "epoch" else places
    halves = (spaced[1:] + spaced[:-1]) / 2
    halves = np.exp(halves) if scale == "log" else np.expm1(halves) if scale == "epoch" else halves
    return np.concatenate([places[:1], halves]), np.concatenate([halves, places[-1:]])


def hover_layer(
    data: alt.InlineData,
    names: Sequence[str],
    x_channel: alt.X,
    x_title: str,
    y_scale: YScale,
    examples: int | None = None,
) -> alt.Chart:
    """Shade the column under the pointer, and tell the centre and interval of every series there.

    Args:
        data: The centres, with columns x, start, end, y, low, high and series.
        names: The series in order.
        x_channel: The chart's horizontal axis.
        x_title: What is on it.
        y_scale: How the vertical axis is spaced.
        examples: Of how many examples an accuracy is a share.

    Returns:
        A layer that lies on top; it also holds the chart's zoom.
    """
    under = alt.selection_point(name="under", on="pointerover", clear="pointerout", fields=["x"], empty=False)
    zoom = alt.selection_interval(
        name="zoom",
        bind="scales",
        encodings=["x"],
        zoom="wheel![event.ctrlKey || event.metaKey]",
        translate="[pointerdown[event.pointerType === 'mouse'], window:pointerup] > window:pointermove!",
    )
    middle, low, high = (text(field, y_scale, examples) for field in ("y", "low", "high"))
    interval = f"isValid(datum.low) ? ' (' + {low} + ' to ' + {high} + ')' : ''"
    # A series may have any name; a field may not, so fields are numbered.
    place = f"indexof({json.dumps(list(names))}, datum.series)"
    start = x_channel.copy()
    start.shorthand = "start:Q"
    layer: alt.Chart = (
        alt.Chart(data, name=HOVER)
        .transform_calculate(told=f"isValid(datum.y) ? {middle} + ({interval}) : 'no value'", slot=f"'slot' + {place}")
        .transform_pivot("slot", value="told", groupby=["x", "start", "end"], op="max")
        .mark_rect(color=MUTED, clip=True)
        .encode(
            x=start,
            x2="end:Q",
            fillOpacity=alt.condition(under, alt.value(0.14), alt.value(0)),
            tooltip=[
                alt.Tooltip("x:Q", title=x_title, format=",~r"),
                *(alt.Tooltip(f"slot{number}:N", title=name) for number, name in enumerate(names)),
            ],
        )
        .add_params(under, zoom)
    )
    return layer
