"""What networks learned of a function: every member faint, their mean strong, the truth dashed.

One chart a network: overlaid, thirty lines that nearly agree say nothing.
"""

import altair as alt
import numpy as np
import xarray as xr

from bathymetry.charts.axes import drawable, leaves, rows, thin, x_axis, y_axis
from bathymetry.charts.checks import check_array, check_ends, check_height
from bathymetry.charts.figure import view
from bathymetry.charts.key import Entry, shown
from bathymetry.charts.marks import centre, columns_around, hover_layer
from bathymetry.charts.theme import DASHES, INK, SERIES, SHADE
from bathymetry.core.errors import InputError

_MEAN = "mean of members"
_TRUTH = (5.0, 3.0)  # the truth's dash


def predictions(
    prediction: xr.DataArray,
    truth: xr.DataArray,
    *,
    x: str = "x",
    x_title: str,
    y_title: str,
    truth_label: str = "true function",
    trained_on: tuple[float, float] | None = None,
    y_domain: tuple[float, float] | None = None,
    series_index: int = 0,
    height: int = 260,
) -> alt.LayerChart:
    """Draw one network's predictions over the function it was to learn.

    Args:
        prediction: Dims (member, x), with a coordinate for x. NaN where a member has diverged.
        truth: Dims (x), on the same grid.
        x: The dimension along the axis.
        x_title: What is on it, with its unit.
        y_title: What is predicted, with its unit.
        truth_label: What the truth is called, for example "cos(x)".
        trained_on: The interval that training inputs came from; what lies outside is shaded.
        y_domain: From where to where, so that the panels of a figure can share it. Lines that leave it are clipped.
        series_index: Which of the palette's colours to take: the network's place among those of the figure.
        height: In pixels.

    Returns:
        A single view as wide as its container.

    Raises:
        InputError: If the arrays do not fit each other.
    """
    check_array("prediction", prediction, {"x": x}, axis=x)
    check_array("truth", truth, {"x": x}, fixed=())
    if truth.sizes[x] != prediction.sizes[x]:
        raise InputError("truth", f"{truth.sizes[x]} values", f"expected one for each of {prediction.sizes[x]} places")
    for field, ends in (("trained_on", trained_on), ("y_domain", y_domain)):
        if ends is not None:
            check_ends(field, ends)
    check_height(height)
    if truth_label == _MEAN:
        raise InputError("truth_label", truth_label, "expected another name than that of the mean")
    whole = prediction.transpose("member", x)
    along = np.asarray(whole[x].values, dtype=float)
    kept = np.argsort(along, kind="stable")[thin(len(along), spacing="linear")]
    places = along[kept]
    drawn = drawable(np.asarray(whole.values)[:, kept], "linear")
    wanted = drawable(truth.values[kept], "linear")
    middle = centre(drawn, "linear")
    colour = SERIES[series_index % len(SERIES)]

    x_channel = alt.X("x:Q", **x_axis("linear", x_title, places))
    y_description = y_axis("linear", y_title, drawn, y_domain)
    y_channel, low_channel = alt.Y("y:Q", **y_description), alt.Y("low:Q", **y_description)
    names = (_MEAN, truth_label)

    layers: list[alt.Chart] = []
    low, high = trained_on if trained_on is not None else (places[0], places[-1])
    outside = [(from_, to) for from_, to in ((places[0], low), (high, places[-1])) if to > from_]
    if outside:
        starts, ends = np.array(outside).T
        shade = alt.Chart(rows({"x": starts, "end": ends}), name="outside").mark_rect(color=SHADE, clip=True)
        layers.append(shade.encode(x=x_channel, x2="end:Q"))
    members = alt.Chart(rows({"x": places, "y": drawn, "member": np.arange(len(drawn))[:, None]}), name="members")
    faint = members.mark_line(strokeWidth=1, color=colour, strokeOpacity=0.3, clip=True)
    layers.append(faint.encode(x=x_channel, y=y_channel, detail="member:O"))
    start, end = columns_around(places, "linear")
    both = rows(
        {
            "x": places,
            "start": start,
            "end": end,
            "y": np.stack([middle.middle, wanted]),
            "low": np.stack([middle.low, np.full(len(places), np.nan)]),
            "high": np.stack([middle.high, np.full(len(places), np.nan)]),
            "series": np.array(names)[:, None],
        }
    )
    base = alt.Chart(both).encode(x=x_channel)
    band = base.transform_filter("isValid(datum.low)").mark_area(color=colour, fillOpacity=0.2, clip=True)
    layers.append(band.encode(y=low_channel, y2="high:Q"))
    colours = alt.Scale(domain=list(names), range=[colour, INK])
    dashes = alt.Scale(domain=list(names), range=[list(DASHES[0]), list(_TRUTH)])
    legend = alt.Legend(title=None, symbolType="stroke", symbolOpacity=1)
    lines = base.mark_line(clip=True).encode(
        y=y_channel,
        color=alt.Color("series:N", scale=colours, legend=legend),
        strokeDash=alt.StrokeDash("series:N", scale=dashes, legend=legend),
        strokeWidth=alt.condition(alt.datum.series == truth_label, alt.value(1.6), alt.value(2.5)),
        strokeOpacity=shown(1),
    )
    layers.append(lines)
    layers.append(hover_layer(both, names, x_channel, x_title, "linear"))
    key = [Entry(names[0], colour, DASHES[0]), Entry(names[1], INK, _TRUTH, width=1.6)]
    marks = [Entry(f"one of {len(drawn)} members", colour, (), series=False, width=1, opacity=0.6)]
    if np.isfinite(middle.low).any():
        marks.append(Entry("95 % interval of the mean", colour, (), series=False, shape="band"))
    if len(drawn) == 1:
        marks = []
    if outside:
        marks.append(Entry("outside the training inputs", SHADE, (), series=False, shape="shade"))
    return view(
        layers,
        key=key,
        marks=marks,
        height=height,
        clipped=leaves(drawn, "linear", y_domain),
        description=_words(y_title, x_title, truth_label, places, middle.middle, wanted, middle.diverged, trained_on),
    )


def _words(
    y_title: str,
    x_title: str,
    truth_label: str,
    places: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    middle: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    wanted: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    diverged: "np.ndarray[tuple[int], np.dtype[np.bool_]]",
    trained_on: tuple[float, float] | None,
) -> str:
    # Say how far the mean of members lies from the truth, inside and outside the training interval.
    low, high = trained_on if trained_on is not None else (places[0], places[-1])
    inside = (places >= low) & (places <= high)
    distance = np.abs(middle - wanted)
    sentences = [f"{y_title} against {x_title}: {len(diverged)} members with their mean, and {truth_label}."]
    if np.isfinite(distance).any() and inside.any():
        sentences.append(
            f"The mean is at most {distance[inside].max():.2g} away from it where there was training data"
            + (f", and at most {distance[~inside].max():.2g} outside." if (~inside).any() else ".")
        )
    if diverged.any():
        sentences.append(f"{diverged.sum()} of {len(diverged)} members diverged and are left out of the mean.")
    return " ".join(sentences)
