"""A forest plot: estimates with their intervals, row by row, around the value that means no difference."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import altair as alt
import numpy as np

from bathymetry.charts.axes import Axis, XScale, ends_of, fixed, inline
from bathymetry.charts.figure import Panel, unchecked, view
from bathymetry.charts.theme import INK, MUTED, PAPER, Entry

_ROW = 40  # pixels a row
_NAME, _DOT = -0.28, 0.14  # where on its row a name stands, and the dot
_AIR = 0.04  # of the axis, beyond all that is drawn
_FAR = 3.0  # an interval that reaches farther than so many times all estimates is drawn to the edge


@dataclass(frozen=True)
class Estimate:
    """One row."""

    name: str
    value: float
    low: float  # infinite where the interval has no end, NaN without an interval
    high: float
    note: str  # at the end of the row
    is_decided: bool


@unchecked
def forest(panels: Mapping[str, Sequence[Estimate]], title: str, scale: XScale, neutral: float) -> list[Panel]:
    """Draw estimates with intervals; all panels share their axis.

    Args:
        panels: The rows of each panel, by its title.
        title: What the estimates are.
        scale: "linear" or "log".
        neutral: The value that means no difference.
    """
    axis = _with_room(Axis(title, scale), [one for rows in panels.values() for one in rows], neutral)
    return [_panel(head, rows, axis, neutral) for head, rows in panels.items()]


def _with_room(axis: Axis, rows: Sequence[Estimate], neutral: float) -> Axis:
    """End the axis where intervals end, but for those that reach far beyond all estimates."""
    ends = np.array([[one.low, one.high] for one in rows], dtype=float).reshape(-1, 2)
    known = axis.drawn([neutral, *(one.value for one in rows)])
    low, high = ends_of(axis.spaced(known)) or (0.0, 1.0)
    reach = (high - low) or 1.0
    spaced = axis.spaced(axis.drawn(ends))
    inside = spaced[np.isfinite(spaced) & (spaced > low - _FAR * reach) & (spaced < high + _FAR * reach)]
    low, high = ends_of(np.append(inside, [low, high])) or (low, high)
    air = _AIR * ((high - low) or 1.0)
    back = math.exp if axis.scale == "log" else float
    return replace(axis, domain=(back(low - air), back(high + air)))


def _panel(head: str, rows: Sequence[Estimate], axis: Axis, neutral: float) -> Panel:
    assert axis.domain is not None
    first, last = axis.domain
    names = np.array([one.name for one in rows])
    values, lows, highs = (np.array([getattr(one, name) for one in rows]) for name in ("value", "low", "high"))
    x = alt.X("x:Q", **axis.channel(np.array([neutral])))
    y = alt.Y("y:Q", scale=alt.Scale(domain=[len(rows) - 0.6, -0.6], nice=False, zero=False), axis=None)
    row = np.arange(len(rows))
    shown = [_words(axis, one) for one in rows]
    drawn = np.where(np.isnan(lows), np.nan, np.clip(lows, first, last)), np.clip(highs, first, last)
    data = inline(
        x=axis.drawn(values), low=drawn[0], high=drawn[1], y=row + _DOT, label=names, shown=np.array(shown),
        decided=np.array([one.is_decided for one in rows]),
    )  # fmt: skip
    tooltip = [alt.Tooltip("label:N", title="pair"), alt.Tooltip("shown:N", title=axis.title)]
    tone = alt.condition("datum.decided", alt.value(INK), alt.value(MUTED))
    base = alt.Chart(data).encode(y=y, color=tone, tooltip=tooltip)
    line = alt.Chart(inline(x=np.array([neutral]))).mark_rule(color=MUTED, strokeWidth=1, strokeDash=[4, 4])
    whisker = base.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=2, clip=True)
    dot = base.transform_filter("isValid(datum.x)").mark_point(size=70, strokeWidth=1.8, opacity=1)
    dot = dot.encode(x=x, fill=alt.condition("datum.decided", alt.value(INK), alt.value(PAPER)))
    words = alt.Chart(inline(y=row + _NAME, label=names, note=np.array([one.note for one in rows]))).encode(y=y)
    name = words.encode(x=fixed(alt.XValue, 0), text=alt.Text("label:N"))
    note = words.encode(x=fixed(alt.XValue, "width"), text=alt.Text("note:N"))
    left: dict[str, Any] = {"align": "left", "baseline": "middle", "fontSize": 12}
    right: dict[str, Any] = left | {"align": "right"}
    halo: dict[str, Any] = {"stroke": PAPER, "strokeWidth": 5}
    layers = [
        line.encode(x=x),
        whisker.encode(x=alt.X("low:Q", **axis.channel(np.array([neutral]))), x2=alt.X2("high:Q")),
        dot,
        name.mark_text(**left, **halo),
        note.mark_text(**right, **halo),
        name.mark_text(**left, color=INK),
        note.mark_text(**right, color=MUTED),
    ]
    key = [
        Entry("decided, with 95 % interval", INK, "dot"),
        Entry("undecided", MUTED, "ring"),
        Entry("no difference", MUTED, dash=(4, 4), width=1),
    ]
    said = "; ".join(f"{one.name}: {text}, {one.note}" for one, text in zip(rows, shown, strict=True))
    return view(head, layers, f"{axis.title}. {said}.", round(_ROW * (len(rows) + 0.2)), key, clipped=True)


def _words(axis: Axis, one: Estimate) -> str:
    """The estimate with its interval: "0.07 (0.05 to 0.09)"."""
    if not math.isfinite(one.value):
        return "no number"
    ends = "no interval" if math.isnan(one.low) else f"{_number(one.low)} to {_number(one.high)}"
    return f"{axis.words(one.value)} ({ends})"


def _number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "no limit"
