"""One dot a member: a number that each member has, category by category, with the mean and its interval."""

from collections.abc import Sequence
from dataclasses import replace

import altair as alt
import numpy as np
import xarray as xr

from bathymetry.charts.axes import (
    Y_SCALES,
    Reference,
    YScale,
    drawable,
    leaves,
    natural,
    place_of,
    reference_layers,
    rows,
    text,
    y_axis,
)
from bathymetry.charts.checks import check_array, check_axis, check_ends, check_references, series_names
from bathymetry.charts.figure import view
from bathymetry.charts.key import Entry, value
from bathymetry.charts.marks import Centre, centre
from bathymetry.charts.theme import INK, MUTED, SERIES
from bathymetry.core.errors import InputError

_ROW = 62  # pixels a category
_NAME, _DOTS, _SPREAD = -0.3, 0.12, 0.13  # where on its row a name stands, the dots lie, and how far they spread
_GOLDEN = 0.6180339887498949  # its multiples fill an interval evenly, and the same each time


def dots(
    values: xr.DataArray,
    *,
    category: str,
    title: str,
    scale: YScale = "linear",
    domain: tuple[float, float] | None = None,
    possible: tuple[float, float] | None = None,
    bounds: xr.DataArray | None = None,
    bounds_label: str = "bound",
    references: Sequence[Reference] = (),
    never: str = "never",
    each: str = "member",
    missing: str = "diverged",
    examples: int | None = None,
) -> alt.LayerChart:
    """Draw every member as a dot on its category's row.

    Args:
        values: Dims (category, member), with a coordinate for the category. NaN where a member diverged, infinite where
            it never got there.
        category: The dimension whose entries are the rows.
        title: What the values are, with their unit.
        scale: "linear", "log" or "accuracy".
        domain: From where to where, in natural values, so that panels can share it.
        possible: Between what the values can lie on a linear scale, as shares between 0 and 1: intervals end there.
        bounds: One number a category, drawn as an upright stroke on its row.
        bounds_label: What that is.
        references: Labelled upright lines; their `axis` is not looked at.
        never: The words for infinite values; they are counted at the row's end, and such a row has no mean.
        each: What a dot is, for the key.
        missing: The word for values that are NaN; they are counted at the row's end.
        examples: Of how many examples an accuracy is a share.

    Returns:
        A single view as wide as its container, a row a category.
    """
    check_array("values", values, {"category": category})
    check_axis("", scale, Y_SCALES, domain)
    check_references(references)
    if possible is not None:
        check_ends("possible", possible)
    whole = values.transpose(category, "member")
    names = series_names(whole, category)
    raw = np.asarray(whole.values, dtype=float)
    drawn = drawable(raw, scale, examples)
    endless = np.isinf(raw)
    none = np.full(len(names), np.nan)
    limits = none if bounds is None else drawable(_bounds(bounds, category, names), scale, examples)
    lines = [Reference(place_of(line, scale, examples), line.label, "x") for line in references]
    centres = [
        _nothing(members) if gone.any() else centre(members[:, None], scale)
        for members, gone in zip(drawn, endless, strict=True)
    ]
    if possible is not None:
        centres = [replace(one, low=np.clip(one.low, *possible), high=np.clip(one.high, *possible)) for one in centres]

    every = np.concatenate([drawn.ravel(), limits, [line.value for line in lines], *(c.low for c in centres)])
    every = np.concatenate([every, *(c.high for c in centres)])
    x_channel = alt.X("x:Q", **y_axis(scale, title, every, domain, examples))
    top = -0.95 if references else -0.65
    y_channel = alt.Y("y:Q", scale=alt.Scale(domain=[len(names) - 0.6, top], nice=False, zero=False), axis=None)
    row = np.arange(len(names))
    fill = [SERIES[place % len(SERIES)] for place in row]
    colour = alt.Color("series:N", scale=alt.Scale(domain=names, range=fill), legend=None)

    spread = ((np.arange(drawn.shape[1]) * _GOLDEN) % 1 - 0.5) * 2 * _SPREAD
    layers: list[alt.Chart] = reference_layers(lines, x_channel, y_channel, "linear")
    member_data = rows(
        {
            "x": drawn,
            "y": row[:, None] + _DOTS + spread,
            "series": np.array(names)[:, None],
            "member": np.arange(drawn.shape[1])[None, :],
        }
    )
    layers.append(
        alt.Chart(member_data, name="members")
        .transform_filter("isValid(datum.x)")
        .transform_calculate(told=text("x", scale, examples))
        .mark_circle(size=46, fillOpacity=0.4, opacity=1, clip=True)
        .encode(
            x=x_channel,
            y=y_channel,
            color=colour,
            tooltip=["series:N", "member:O", alt.Tooltip("told:N", title=title)],
        )
    )
    summary = rows(
        {
            "x": np.array([line.middle[0] for line in centres]),
            "low": np.array([line.low[0] for line in centres]),
            "high": np.array([line.high[0] for line in centres]),
            "bound": limits,
            "y": row + _DOTS,
            "series": np.array(names),
        }
    )
    base = alt.Chart(summary).encode(y=y_channel)
    told = base.transform_filter("isValid(datum.x)").transform_calculate(
        told=text("x", scale, examples),
        interval=f"{text('low', scale, examples)} + ' to ' + {text('high', scale, examples)}",
    )
    tooltip = [
        "series:N", alt.Tooltip("told:N", title="mean"), alt.Tooltip("interval:N", title="95 % interval")
    ]  # fmt: skip
    whisker = told.transform_filter("isValid(datum.low)").mark_rule(color=INK, strokeWidth=1.6, clip=True)
    layers.append(whisker.encode(x=alt.X("low:Q", **y_axis(scale, title, every, domain, examples)), x2="high:Q"))
    diamond = told.mark_point(shape="diamond", size=90, filled=True, color=INK, opacity=1, clip=True)
    layers.append(diamond.encode(x=x_channel, tooltip=tooltip))
    if bounds is not None:
        bounded = base.transform_filter("isValid(datum.bound)").transform_calculate(told=text("bound", scale, examples))
        stroke = bounded.mark_tick(color=MUTED, thickness=2.5, size=34, orient="vertical", clip=True)
        bound_channel = alt.X("bound:Q", **y_axis(scale, title, every, domain, examples))
        layers.append(stroke.encode(x=bound_channel, tooltip=["series:N", alt.Tooltip("told:N", title=bounds_label)]))
    notes = [_note(own, members, never, missing) for own, members in zip(raw, drawn, strict=True)]
    words = alt.Chart(rows({"y": row + _NAME, "series": np.array(names), "note": np.array(notes)})).encode(y=y_channel)
    name = words.mark_text(align="left", baseline="middle", color=INK, fontSize=12.5)
    layers.append(name.encode(x=alt.value(0), text="series:N"))
    note = words.mark_text(align="right", baseline="middle", color=MUTED, fontSize=12)
    layers.append(note.encode(x=alt.value("width"), text="note:N"))

    key = [Entry(f"one {each}", MUTED, (), series=False, shape="dot", opacity=0.6)]
    key.append(Entry("mean with 95 % interval", INK, (), series=False, shape="mean"))
    if bounds is not None:
        key.append(Entry(bounds_label, MUTED, (), series=False, shape="stroke"))
    return view(
        layers,
        key=key,
        height=round(_ROW * (len(names) - 0.6 - top)),
        clipped=leaves(every, scale, domain, examples),
        description=_words(title, each, names, centres, notes, limits, bounds_label, scale, examples),
    )


def _bounds(bounds: xr.DataArray, category: str, names: Sequence[str]) -> "np.ndarray":
    # Take each row's bound by its name.
    check_array("bounds", bounds, {"category": category}, fixed=())
    known = dict(zip(series_names(bounds, category), bounds.values.tolist(), strict=True))
    lacking = [name for name in names if name not in known]
    if lacking:
        raise InputError("bounds", f"none for {lacking[0]}", f"expected one for each {category}")
    return np.array([known[name] for name in names], dtype=float)


def _nothing(members: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> Centre:
    # Stand in for a mean that would leave out the members that never got there, and so mislead.
    gap = np.array([np.nan])
    return Centre(gap, gap, gap, ~np.isfinite(members))


def _note(
    raw: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    drawn: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    never: str,
    missing: str,
) -> str:
    # Count the members that have no dot; on a logarithmic axis zero has no place either.
    off = np.isfinite(raw) & ~np.isfinite(drawn)
    gone = ((np.isinf(raw), never), (np.isnan(raw), missing))
    counts = (*gone, (off & (raw == 0), "zero"), (off & (raw < 0), "negative"))
    return ", ".join(f"{int(one.sum())} of {len(raw)} {word}" for one, word in counts if one.any())


def _words(
    title: str,
    each: str,
    names: Sequence[str],
    centres: Sequence[Centre],
    notes: Sequence[str],
    limits: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    bounds_label: str,
    scale: YScale,
    examples: int | None,
) -> str:
    # Say what the rows show.
    sentences = [f"{title}, one dot for each of {len(centres[0].diverged)} {each}s."]
    for name, line, note, limit in zip(names, centres, notes, limits, strict=True):
        told = []
        if np.isfinite(line.middle[0]):
            told.append(f"mean {value(float(natural(line.middle, scale, examples)[0]), scale)}")
        if np.isfinite(line.low[0]):
            low, high = (value(float(natural(end, scale, examples)[0]), scale) for end in (line.low, line.high))
            told.append(f"95 % interval {low} to {high}")
        if np.isfinite(limit):
            told.append(f"{bounds_label} {value(float(natural(np.array(limit), scale, examples)), scale)}")
        sentences.append(f"{name}: {', '.join([*told, *([note] if note else [])])}.")
    return " ".join(sentences)
