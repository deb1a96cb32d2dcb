"""Charts of lines: members along one dimension with their mean, and predictions over the true function."""

from collections.abc import Sequence
from typing import Literal

import altair as alt
import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from bathymetry.charts.axes import (
    X_SCALES,
    Y_SCALES,
    Reference,
    XScale,
    YScale,
    drawable,
    leaves,
    natural,
    reference_layers,
    rows,
    thin,
    x_axis,
    y_axis,
)
from bathymetry.charts.checks import check_array, check_axis, check_ends, check_height, check_references, series_names
from bathymetry.charts.figure import Panel, panels, view
from bathymetry.charts.key import Entry, Shape, colour, dash, entries, in_words, shown
from bathymetry.charts.labels import along, labelled, num_examples, scale_of
from bathymetry.charts.labels import title as words_of
from bathymetry.charts.marks import centre, columns_around, hover_layer
from bathymetry.charts.theme import DASHES, INK, MUTED, SERIES, SHADE
from bathymetry.core.errors import InputError

_MEMBER: dict[str, Shape] = {"lines": "line", "dots": "dot"}  # what a key shows for one member


def curves(
    values: xr.DataArray,
    *,
    x: str,
    x_title: str,
    y_title: str,
    series: str | None = None,
    x_scale: XScale = "epoch",
    y_scale: YScale = "log",
    y_domain: tuple[float, float] | None = None,
    references: Sequence[Reference] = (),
    behind: xr.DataArray | None = None,
    behind_label: str = "",
    members: Literal["lines", "dots"] = "lines",
    examples: int | None = None,
    height: int = 340,
) -> alt.LayerChart:
    """Draw members and their centre along one dimension.

    Args:
        values: Dims (member, x) or (series, member, x) in any order, with coordinates for x and for the series. NaN
            where a member has diverged.
        x: The dimension along the axis.
        x_title: What is on it, with its unit.
        y_title: What the values are, with their unit.
        series: The dimension whose entries are told apart by colour and dash; None if there is only `member`.
        x_scale: "epoch" for a logarithmic axis that has a place for 0, "log" or "linear".
        y_scale: "log", "linear", or "accuracy" for shares on a logit axis.
        y_domain: From where to where, in natural values, so that panels can share it.
        references: Labelled lines to read the curves against.
        behind: Something noisier to stand behind, without members: dims (x) or (series, x).
        behind_label: What that is.
        members: How members are drawn; "dots" where a line from one x to the next would mean nothing.
        examples: Of how many examples an accuracy is a share: c of n correct is drawn at ln((c+½)/(n−c+½)).
        height: In pixels.

    Returns:
        A single view as wide as its container; its `description` says in words what a screen reader should.

    Raises:
        InputError: If an argument is not what it should be.
    """
    check_array("values", values, {"x": x} if series is None else {"series": series, "x": x}, axis=x)
    check_axis("x_", x_scale, X_SCALES)
    check_axis("y_", y_scale, Y_SCALES, y_domain)
    check_references(references)
    check_height(height)
    if not isinstance(members, str) or members not in _MEMBER:
        raise InputError("members", members, "expected lines or dots")
    dims = ((series,) if series is not None else ()) + ("member", x)
    whole = values.transpose(*dims)
    names = series_names(values, series) if series is not None else [y_title]
    along = np.asarray(whole[x].values, dtype=float)
    rising = _rising(x, along, x_scale)
    members = members if len(rising) > 1 else "dots"  # a line of one point cannot be seen
    kept = rising[thin(len(rising), spacing="linear" if x_scale == "linear" else "log")]
    places = along[kept]
    drawn = drawable(np.asarray(whole.values)[..., kept], y_scale, examples).reshape(len(names), -1, len(kept))

    centres = [centre(lines, y_scale) for lines in drawn]
    key = entries(names)
    several = len(names) > 1
    x_channel = alt.X("x:Q", **x_axis(x_scale, x_title, places))
    bands = [end for line in centres for end in (line.low, line.high)]
    noise = None if behind is None else _behind(behind, series, x, len(along), kept, y_scale, examples)
    # Most of what stands behind has to fit in, not its rarest peaks.
    reach = [] if noise is None or np.isnan(noise).all() else np.nanquantile(noise, [0.02, 0.98])
    every = np.concatenate([drawn.ravel(), *bands, reach])
    y_description = y_axis(y_scale, y_title, every, y_domain, examples)
    y_channel, low_channel = alt.Y("y:Q", **y_description), alt.Y("low:Q", **y_description)
    name_column = np.array(names)[:, None]

    layers: list[alt.Chart] = []
    if noise is not None:
        labels = np.array(names if len(noise) == len(names) else [behind_label])[:, None]
        thin_lines = alt.Chart(rows({"x": places, "y": noise, "series": labels}), name="behind").encode(
            x=x_channel, y=y_channel, color=colour(key, legend=several), strokeOpacity=shown(0.35)
        )
        layers.append(thin_lines.mark_line(strokeWidth=0.8, clip=True))
    member_data = rows(
        {
            "x": places,
            "y": drawn,
            "series": name_column[:, :, None],
            "member": np.arange(drawn.shape[1])[None, :, None],
        }
    )
    faint = alt.Chart(member_data, name="members").encode(
        x=x_channel, y=y_channel, detail="member:O", color=colour(key, legend=several)
    )
    if members == "lines":
        # Faint enough that ten lie under the centre without becoming its rival.
        layers.append(faint.mark_line(strokeWidth=1, clip=True).encode(strokeOpacity=shown(0.3)))
    else:
        layers.append(faint.mark_circle(size=22, clip=True).encode(fillOpacity=shown(0.4)))

    start, end = columns_around(places, x_scale)
    centre_data = rows(
        {
            "x": places,
            "start": start,
            "end": end,
            "y": np.stack([line.middle for line in centres]),
            "low": np.stack([line.low for line in centres]),
            "high": np.stack([line.high for line in centres]),
            "series": name_column,
        }
    )
    base = alt.Chart(centre_data).encode(x=x_channel, color=colour(key, legend=several))
    band = base.transform_filter("isValid(datum.low)").mark_area(clip=True)
    layers.append(band.encode(y=low_channel, y2="high:Q", color=colour(key, legend=several), fillOpacity=shown(0.2)))
    strong = base.mark_line(strokeWidth=2.5, clip=True, point={"size": 36} if members == "dots" else False)
    layers.append(strong.encode(y=y_channel, strokeDash=dash(key, legend=several), strokeOpacity=shown(1)))
    layers.extend(reference_layers(references, x_channel, y_channel, y_scale, examples))
    layers.append(hover_layer(centre_data, names, x_channel, x_title, y_scale, examples))

    shown_key = list(key) if several else []
    if behind is not None and behind_label:
        shown_key.append(Entry(behind_label, MUTED, (1, 0), series=False, width=1, opacity=0.6))
    tint = MUTED if several else key[0].colour
    count, shape = drawn.shape[1], _MEMBER[members]
    marks = [Entry(f"one of {count} members", tint, (), series=False, width=1, opacity=0.6, shape=shape)]
    if np.isfinite([line.low for line in centres]).any():
        marks.append(Entry("mean with 95 % interval", tint, (), series=False, shape="band"))
    return view(
        layers,
        key=shown_key,
        marks=marks if count > 1 else [],
        height=height,
        clipped=noise is not None or leaves(every, y_scale, y_domain, examples),
        description=in_words(
            y_title,
            x_title,
            names if several else [],
            [natural(line.middle, y_scale, examples) for line in centres],
            [line.diverged for line in centres],
            places,
            y_scale,
        ),
    )


def _behind(
    values: xr.DataArray,
    series: str | None,
    x: str,
    points: int,
    kept: Int[np.ndarray, " kept"],
    y_scale: YScale,
    examples: int | None,
) -> Float[np.ndarray, "series kept"]:
    several = series is not None and series in getattr(values, "dims", ())
    check_array("behind", values, {"x": x} if not several else {"series": series, "x": x}, fixed=())
    if values.sizes[x] != points:
        raise InputError("behind", f"{values.sizes[x]} points along {x}", f"expected {points}, as the values have")
    whole = np.asarray(values.transpose(..., x).values)
    return drawable(whole[..., kept], y_scale, examples).reshape(-1, len(kept))


def _rising(x: str, along: Float[np.ndarray, " point"], scale: XScale) -> Int[np.ndarray, " shown"]:
    """Order the points by where they lie, and leave out those without a place on a logarithmic axis."""
    if scale == "epoch" and along.min() < 0:
        raise InputError(x, along.min(), "expected at least 0; a linear axis has room for it")
    order = np.argsort(along, kind="stable")
    if scale != "log":
        return order
    if not (along > 0).any():
        raise InputError(x, along.max(), "expected a number above 0 on a logarithmic axis")
    return order[along[order] > 0]


_MEAN = "mean of members"
_TRUTH = (5.0, 3.0)  # the truth's dash


def prediction_chart(
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
        description=_distances(
            y_title, x_title, truth_label, places, middle.middle, wanted, middle.diverged, trained_on
        ),
    )


def _distances(
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


def lines(
    values: xr.DataArray,
    x: str,
    series: str | None = None,
    *,
    facet: str | None = None,
    scale: YScale | None = None,
    x_scale: XScale | None = None,
    domain: tuple[float, float] | None = None,
    references: Sequence[Reference] = (),
    behind: xr.DataArray | None = None,
    behind_label: str = "",
    members: Literal["lines", "dots"] = "lines",
    title: str | None = None,
    height: int = 340,
) -> list[Panel]:
    """Draw members faintly and their mean with its 95 % interval, along one dimension.

    Titles and scales come from the attributes `long_name`, `units` and `scale` of the values and of x (see `attrs`);
    of how many examples an accuracy is a share comes from the coordinate `examples`. The mean is taken on the scale of
    the axis. A member that diverged is drawn as far as it goes and left out of the mean.

    Args:
        values: Dims member, x and, where given, series and facet; NaN where a member has diverged.
        x: What is on the horizontal axis: a dimension, or a coordinate along one.
        series: What differs in colour and dash.
        facet: What gets a panel for each of its values.
        scale: "log", "linear" or "accuracy"; by default that of the attributes, or else linear.
        x_scale: "epoch" (logarithmic, with a place for 0), "log" or "linear"; by default that of the attributes.
        domain: Ends of the vertical axis.
        references: Labelled lines across the chart.
        behind: Something noisier to draw behind, without members: dims x and, if it has it, series.
        behind_label: What that is.
        members: "dots" where a line from one x to the next would mean nothing.
        title: Title of the panel; by default what the values are.
        height: Height in pixels.

    Returns:
        One panel, or one for each value of `facet`.
    """

    def draw(one: xr.DataArray, _: int) -> alt.LayerChart:
        whole = labelled(along(along(one, "x", x), "series", series), series)
        y_scale = scale or scale_of(whole)
        noisy = None if behind is None else labelled(along(behind, "x", x), series if series in behind.dims else None)
        return curves(
            whole, x=x, series=series, x_title=words_of(whole[x]), x_scale=x_scale or scale_of(whole[x]),
            y_title=words_of(one), y_scale=y_scale, y_domain=domain,
            examples=num_examples(one) if y_scale == "accuracy" else None,
            references=references, behind=noisy, behind_label=behind_label, members=members, height=height,
        )  # fmt: skip

    return panels(values, facet, draw, title)


def predictions(
    values: xr.DataArray,
    truth: xr.DataArray,
    *,
    facet: str | None = None,
    x: str = "x",
    truth_label: str = "true function",
    trained_on: tuple[float, float] | None = None,
    domain: tuple[float, float] | None = None,
    title: str | None = None,
    height: int = 260,
) -> list[Panel]:
    """Draw what networks learned of a function: members, their mean with its interval, and the function dashed.

    Args:
        values: Dims member, x and facet; NaN where a member has diverged.
        truth: Dims (x), on the same grid.
        facet: What gets a panel and a colour for each of its values, usually the network.
        x: What is on the horizontal axis.
        truth_label: Name of the function, for example "cos(x)".
        trained_on: Interval of the training inputs; what lies outside is shaded.
        domain: Ends of the vertical axis; lines that leave it are clipped.
        title: Title of the panel; by default what the values are.
        height: Height in pixels.

    Returns:
        One panel, or one for each value of `facet`.
    """

    def draw(one: xr.DataArray, place: int) -> alt.LayerChart:
        return prediction_chart(
            one, truth, x=x, x_title=words_of(one[x]), y_title=words_of(one), truth_label=truth_label,
            trained_on=trained_on, y_domain=domain, series_index=place, height=height,
        )  # fmt: skip

    return panels(values, facet, draw, title)
