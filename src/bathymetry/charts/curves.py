"""Lines by epoch, or by anything else: every member faint, the centre strong with its interval.

The strong line is the mean over members on the scale of the axis (of log loss on a logarithmic axis, of logit accuracy
on an accuracy axis), the band its pointwise 95 % interval. A member that diverged is drawn as far as it goes and left
out of both. At most 200 points a line are drawn.
"""

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
from bathymetry.charts.checks import check_array, check_axis, check_height, check_references, series_names
from bathymetry.charts.figure import view
from bathymetry.charts.key import Entry, Shape, colour, dash, entries, in_words, shown
from bathymetry.charts.marks import centre, columns_around, hover_layer
from bathymetry.charts.theme import MUTED
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
