"""A forest plot: estimates with their intervals, row by row, around the value that means no difference."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import altair as alt
import numpy as np
from altair.utils.schemapi import debug_mode

from bathymetry.charts.axes import Axis, XScale, are_unlike, ends_of, fixed, inline
from bathymetry.charts.figure import Panel, view
from bathymetry.charts.theme import INK, MUTED, PAPER, Entry

_ROW = 40  # pixels a row
_NAME, _DOT = -0.28, 0.14  # where on its row a name stands, and the dot
_AIR = 0.04  # of the axis, beyond all that is drawn
_FAR = 30.0  # an end so many times farther from no difference than half of all ends is beyond the axis
_BAR = (-0.08, 0.5)  # where on its row the line of no difference is: between the names, which it would cross


@dataclass(frozen=True)
class Estimate:
    """One row."""

    name: str
    value: float
    low: float  # infinite where the interval has no end, NaN without an interval
    high: float
    note: str  # at the end of the row
    is_decided: bool


def forest(
    panels: Mapping[str, Sequence[Estimate]], title: str, scale: XScale, neutral: float
) -> tuple[list[Panel], bool]:
    """Draw estimates with intervals, and say whether the panels share their axis: not where one would be squeezed.

    Args:
        panels: The rows of each panel, by its title.
        title: What the estimates are.
        scale: "linear" or "log".
        neutral: The value that means no difference.
    """
    plain = Axis(title, scale)
    own = [_with_room(plain, rows, neutral) for rows in panels.values()]
    is_shared = not are_unlike([plain.spaced(np.array(one.domain)) for one in own])
    if is_shared:
        own = [_with_room(plain, [one for rows in panels.values() for one in rows], neutral)] * len(panels)
    with debug_mode(False):  # as `unchecked` makes a chart
        drawn = [_panel(head, rows, axis, neutral) for (head, rows), axis in zip(panels.items(), own, strict=True)]
    return drawn, is_shared


def _with_room(axis: Axis, rows: Sequence[Estimate], neutral: float) -> Axis:
    """End the axis where intervals end, but for those that reach far beyond the others."""
    ends = np.array([[one.low, one.high] for one in rows], dtype=float).reshape(-1, 2)
    known = axis.spaced(axis.drawn([neutral, *(one.value for one in rows)]))
    low, high = ends_of(known) or (0.0, 1.0)
    spaced = axis.spaced(axis.drawn(ends)) - known[0]
    away = np.abs(spaced[np.isfinite(spaced)])
    reach = max(_FAR * float(np.median(away)) if away.size else 0.0, high - low)
    inside = spaced[np.isfinite(spaced) & (np.abs(spaced) <= reach)] + known[0]
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
    shown, decided = [_words(axis, one) for one in rows], np.array([one.is_decided for one in rows])
    drawn = np.where(np.isnan(lows), np.nan, np.clip(lows, first, last)), np.clip(highs, first, last)
    data = inline(
        x=axis.drawn(values), low=drawn[0], high=drawn[1], y=row + _DOT, label=names, shown=np.array(shown),
        decided=decided,
    )  # fmt: skip
    tooltip = [alt.Tooltip("label:N", title="pair"), alt.Tooltip("shown:N", title=axis.title)]
    tone = alt.condition("datum.decided", alt.value(INK), alt.value(MUTED))
    base = alt.Chart(data).encode(y=y, color=tone, tooltip=tooltip)
    line = alt.Chart(inline(x=neutral, y=row + _BAR[0], y2=row + _BAR[1]))
    line = line.mark_rule(color=MUTED, strokeWidth=1, strokeDash=[4, 4])
    whisker = base.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=2, clip=True)
    arrows = []
    for side, end, beyond in (("left", first, lows < first), ("right", last, highs > last)):
        if beyond.any():
            tips = alt.Chart(inline(x=end, y=row[beyond] + _DOT, decided=decided[beyond])).encode(x=x, y=y, color=tone)
            arrows.append(tips.mark_point(shape=f"triangle-{side}", size=60, filled=True, opacity=1))
    dot = base.transform_filter("isValid(datum.x)").mark_point(size=70, strokeWidth=1.8, opacity=1)
    dot = dot.encode(x=x, fill=alt.condition("datum.decided", alt.value(INK), alt.value(PAPER)))
    words = alt.Chart(inline(y=row + _NAME, label=names, note=np.array([one.note for one in rows]))).encode(y=y)
    name = words.encode(x=fixed(alt.XValue, 0), text=alt.Text("label:N"))
    note = words.encode(x=fixed(alt.XValue, "width"), text=alt.Text("note:N"))
    left: dict[str, Any] = {"align": "left", "baseline": "middle", "fontSize": 12}
    right: dict[str, Any] = left | {"align": "right"}
    halo: dict[str, Any] = {"stroke": PAPER, "strokeWidth": 5}
    layers = [
        line.encode(x=x, y=y, y2=alt.Y2("y2:Q")),
        whisker.encode(x=alt.X("low:Q", **axis.channel(np.array([neutral]))), x2=alt.X2("high:Q")),
        *arrows,
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
    if (lows < first).any() or (highs > last).any():
        key.append(Entry("goes on beyond the axis", MUTED, "arrow"))
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
