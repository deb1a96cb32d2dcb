"""The scales that values are drawn on, each the one on which the mean of members is taken.

Losses are averaged as logarithms and accuracies as logits, because there their spread is much alike all along; the
axis shows them the same way, so that an interval is as wide above its centre as below.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import altair as alt
import numpy as np
from jaxtyping import Float, Int

from bathymetry.charts.theme import MUTED, PAPER
from bathymetry.core.errors import InputError, whole_number
from bathymetry.stats.intervals import accuracy, logit

XScale = Literal["epoch", "linear", "log"]
YScale = Literal["linear", "log", "accuracy"]
X_SCALES: Sequence[str] = get_args(XScale)
Y_SCALES: Sequence[str] = get_args(YScale)

# Where an accuracy axis may have a tick, the roundest first: whole per cents only where it covers few of the others.
_ACCURACIES: tuple[Sequence[float], ...] = (
    (0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999, 0.9999, 0.99999),
    (0.05, 0.2, 0.8, 0.95, 0.98, 0.995, 0.998),
    (0.15, 0.25, 0.4, 0.6, 0.75, 0.85, 0.97),
    tuple(np.arange(0.02, 0.99, 0.02).round(2)),
    tuple(np.arange(0.01, 0.995, 0.01).round(2)),
    tuple(np.arange(0.002, 0.9995, 0.002).round(3)),
)
_HANDFUL = 6  # points that each get a tick
_ENOUGH = 5  # ticks
_CLEAR = 0.08  # of an axis's length, between two ticks whose labels don't touch
_APART = 1.3  # the least ratio between the last two ticks of epochs
_LEAST = 1e-300  # what is smaller counts as 0, for Vega has no ticks there
_MANY = 500_000  # stands in for the number of examples where that isn't known


def drawable(
    values: Float[np.ndarray, "*shape"], scale: YScale, examples: int | None = None
) -> Float[np.ndarray, "*shape"]:
    """Turn values into what is written in a chart's data.

    Args:
        values: Losses, shares or anything else.
        scale: The axis they go on.
        examples: Of how many examples an accuracy is a share, so that c of n correct becomes ln((c+½)/(n−c+½)); if not
            known, as if of half a million.

    Returns:
        Logits for accuracies, else the values; what has no place on the axis (NaN, infinite, not positive on a
        logarithmic one) is NaN.

    Raises:
        InputError: If an accuracy is no share.

    Example:
        >>> drawable(np.array([0.5, 1.0]), "accuracy", examples=10).round(3).tolist()
        [0.0, 3.045]
        >>> drawable(np.array([1.0, 0.0, np.inf]), "log").tolist()
        [1.0, nan, nan]
    """
    values = np.asarray(values, dtype=float)
    if scale == "accuracy":
        known = values[np.isfinite(values)]
        if known.size and not (known.min() >= 0 and known.max() <= 1):
            worst = known.min() if known.min() < 0 else known.max()
            raise InputError("values", worst, "expected shares from 0 to 1 on an accuracy axis")
        total = _MANY if examples is None else whole_number("examples", examples, 1)
        return logit(np.where(np.isfinite(values), values, np.nan) * total, total)
    drawn = np.isfinite(values) & ((values >= _LEAST) | (scale != "log"))
    shown = np.where(np.abs(values) < _LEAST, 0.0, values) if scale == "linear" else values
    return np.where(drawn, shown, np.nan)


def natural(
    drawn: Float[np.ndarray, "*shape"], scale: YScale, examples: int | None = None
) -> Float[np.ndarray, "*shape"]:
    """Turn what is written in a chart's data back into values.

    Args:
        drawn: What `drawable` gave.
        scale: The axis it is on.
        examples: As it was given to `drawable`.

    Returns:
        Accuracies for logits, else the same.

    Example:
        >>> natural(drawable(np.array([0.97]), "accuracy", examples=100), "accuracy", examples=100).round(9).tolist()
        [0.97]
    """
    return accuracy(drawn, examples or _MANY) if scale == "accuracy" else np.asarray(drawn)


def y_axis(
    scale: YScale,
    title: str,
    drawn: Float[np.ndarray, "*shape"],
    domain: tuple[float, float] | None = None,
    examples: int | None = None,
) -> dict[str, Any]:
    """Describe an axis that holds values.

    Args:
        scale: How it is spaced.
        title: What it measures, with its unit.
        drawn: All that is drawn on it, as `drawable` gave it.
        domain: From where to where, in natural values; what the data need if None.
        examples: Of how many examples an accuracy is a share.

    Returns:
        The arguments `title`, `scale` and `axis` of an Altair position channel.
    """
    if scale == "accuracy":
        ends = [] if domain is None else drawable(np.array(domain), scale, examples).tolist()
        return {
            "title": title,
            "scale": alt.Scale(zero=False, nice=False, domain=ends or alt.Undefined),
            "axis": alt.Axis(
                values=_accuracy_ticks(ends or _reach(drawn), examples),
                labelExpr=text("value", scale, examples, digits=5),
                labelOverlap="greedy",
            ),
        }
    if scale == "log":
        low, high = domain if domain is not None else _around(drawn)
        return {
            "title": title,
            "scale": alt.Scale(type="log", domain=[low, high], nice=False),
            "axis": alt.Axis(values=_logarithmic_ticks(low, high), labelExpr=_PLAIN, labelOverlap="greedy"),
        }
    spacing = alt.Scale(zero=False) if domain is None else alt.Scale(zero=False, nice=False, domain=list(domain))
    return {"title": title, "scale": spacing, "axis": alt.Axis(labelExpr=_PLAIN, tickCount=6)}


def leaves(
    drawn: Float[np.ndarray, "*shape"],
    scale: YScale,
    domain: tuple[float, float] | None,
    examples: int | None = None,
) -> bool:
    """Say whether anything lies outside an axis.

    Args:
        drawn: All that is drawn on it.
        scale: How it is spaced.
        domain: From where to where it goes, in natural values; as far as the data if None.
        examples: Of how many examples an accuracy is a share.

    Returns:
        Whether it has to be clipped.
    """
    if domain is None:
        return False
    low, high = drawable(np.array(domain), scale, examples)
    return bool(((drawn < low) | (drawn > high)).any())


def _around(drawn: Float[np.ndarray, "*shape"]) -> tuple[float, float]:
    # Leave a little air around all that is drawn on a logarithmic axis.
    finite = drawn[np.isfinite(drawn) & (drawn >= _LEAST)]
    if not finite.size:
        return 0.1, 1.0
    low, high = np.log10(finite.min()), np.log10(finite.max())
    air = max(0.04 * (high - low), np.log10(1.05))
    return float(f"{10.0 ** max(low - air, -307):.4g}"), float(f"{10.0 ** min(high + air, 308):.4g}")


_DIGITS = ((1,), (1, 3), (1, 2, 5), (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8))  # of ticks, the sparsest first


def _reach(drawn: Float[np.ndarray, "*shape"]) -> list[float]:
    finite = drawn[np.isfinite(drawn)]
    return [float(finite.min()), float(finite.max())] if finite.size else [0.0, 1.0]


def _accuracy_ticks(ends: Sequence[float], examples: int | None) -> list[float]:
    # Take the roundest first, and others until there are enough, each where it has room.
    low, high = ends
    taken: list[float] = []
    for tier in _ACCURACIES:
        for tick in drawable(np.array(tier), "accuracy", examples).tolist():
            if low <= tick <= high and all(abs(tick - other) >= _CLEAR * (high - low) for other in taken):
                taken.append(tick)
        if len(taken) >= _ENOUGH:
            break
    return sorted(taken)


def _logarithmic_ticks(low: float, high: float, sparse: float = 3.5) -> list[float]:
    # Choose ticks that a reader knows: powers of ten, with 2 and 5 between them where there is room.
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    decades = np.log10(high) - np.log10(low)
    step = max(1, int(np.ceil(decades / 7)))
    fit = (decades > sparse, decades > 2, decades > 1, True)
    for digits in _DIGITS[fit.index(True) :]:
        ticks = [float(f"{digit}e{power}") for power in range(first, last + 1, step) for digit in digits]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) > 2:
            return inside
    return _even_ticks(low, high)


def _even_ticks(low: float, high: float) -> list[float]:
    # Where an axis covers less than a factor of two or so, even steps serve as well as on a linear one.
    exponent = int(np.floor(np.log10((high - low) / 3)))
    step = max(one for one in (1, 2, 5) if one * 10.0**exponent <= (high - low) / 3)
    first, last = int(np.ceil(low / (step * 10.0**exponent))), int(np.floor(high / (step * 10.0**exponent)))
    return [float(f"{place * step}e{exponent}") for place in range(first, last + 1)]


def x_axis(scale: XScale, title: str, places: Float[np.ndarray, " point"]) -> dict[str, Any]:
    """Describe a horizontal axis.

    Args:
        scale: "epoch" counts from 0 and is logarithmic from about 1 on, so the initialisation has its place.
        title: What it measures, with its unit.
        places: The x of every point, rising.

    Returns:
        The arguments `title`, `scale` and `axis` of an Altair position channel.
    """
    last = float(places[-1])
    if scale == "epoch":
        known = (digit * 10**power for power in range(9) for digit in (1, 2, 5))
        ticks = [
            0,
            *(tick for tick in known if tick * _APART < last),
            last,
        ]  # the end, where findings are read, included
        return {
            "title": title,
            "scale": alt.Scale(type="symlog", constant=1, nice=False),
            "axis": alt.Axis(
                values=ticks, format="~s" if last >= 1e5 else ",d", labelOverlap="greedy", labelFlush=False
            ),
        }
    if scale == "log":
        return {
            "title": title,
            "scale": alt.Scale(type="log", nice=False, padding=12),
            "axis": alt.Axis(values=_places_or_powers(places), labelExpr=_PLAIN, labelOverlap="greedy"),
        }
    return {"title": title, "scale": alt.Scale(zero=False, nice=False), "axis": alt.Axis(labelExpr=_PLAIN, tickCount=7)}


def _places_or_powers(places: Float[np.ndarray, " point"]) -> list[float]:
    # A handful of whole numbers, such as batch sizes, are their own best ticks.
    if len(places) <= _HANDFUL and bool((places == np.round(places)).all()):
        return [float(place) for place in places]
    return _logarithmic_ticks(float(places[0]) / 1.3, float(places[-1]) * 1.3, sparse=2.2)


def text(field: str, scale: YScale, examples: int | None = None, digits: int = 4) -> str:
    """Write the Vega expression that puts a drawn value into words.

    Args:
        field: The field of `datum` that holds it.
        scale: The axis it is on.
        examples: Of how many examples an accuracy is a share.
        digits: How many digits of a percentage.

    Returns:
        An expression: three digits, or a percentage.
    """
    if scale == "accuracy":
        total = examples or _MANY
        share = f"clamp(({total + 1} / (1 + exp(-datum.{field})) - 0.5) / {total}, 0, 1)"
        return f"format(100 * {share}, '.{digits}~g') + ' %'"
    return f"format(datum.{field}, abs(datum.{field}) >= 1 ? ',.4~r' : '.3~g')"


# Neither 1e+1 for ten nor 0.0000001.
_FAR = "datum.value != 0 && (abs(datum.value) < 1e-4 || abs(datum.value) >= 1e10)"
_PLAIN = f"{_FAR} ? format(datum.value, '~e') : format(datum.value, ',.6~r')"


_ROWS_DIGITS = 5


def rows(columns: Mapping[str, Any]) -> alt.InlineData:
    """Make a chart's data from columns.

    Args:
        columns: Columns by name, all of one shape (or that broadcast to it); numbers keep five digits, and NaN
            becomes a gap.

    Returns:
        Data that travel inside the chart; unlike a data frame they may have any number of rows.

    Example:
        >>> rows({"x": np.array([1.0, np.nan]), "who": "a"}).to_dict()["values"]
        [{'x': 1.0, 'who': 'a'}, {'x': None, 'who': 'a'}]
    """
    arrays = np.broadcast_arrays(*(np.asarray(column) for column in columns.values()))
    written = [_written(array.ravel()) for array in arrays]
    return alt.InlineData(values=[dict(zip(columns, row, strict=True)) for row in zip(*written, strict=True)])


def _written(column: "np.ndarray[Any, Any]") -> list[Any]:
    if column.dtype.kind == "f":
        return [float(f"{value:.{_ROWS_DIGITS}g}") if np.isfinite(value) else None for value in column.tolist()]
    return list(column.tolist())


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


MOST = 200


def thin(length: int, most: int = MOST, spacing: str = "log") -> Int[np.ndarray, " kept"]:
    """Choose which points of a line to draw.

    Args:
        length: How many points there are.
        most: How many may stay.
        spacing: "log" keeps more of the early ones, as a logarithmic axis shows them; "linear" keeps every so many.

    Returns:
        The indices that stay, rising; the first and the last are among them.

    Raises:
        InputError: If these are no counts, or it is another spacing.

    Example:
        >>> thin(1_000_000, most=7).tolist()
        [0, 9, 99, 999, 9999, 99999, 999999]
        >>> thin(4).tolist()
        [0, 1, 2, 3]
    """
    length, most = whole_number("length", length, 0, 2**53), whole_number("most", most, 1)
    if not isinstance(spacing, str) or spacing not in ("log", "linear"):
        raise InputError("spacing", spacing, "expected log or linear")
    if length <= most:
        return np.arange(length)
    if spacing == "linear":
        return np.unique(np.rint(np.linspace(0, length - 1, most)).astype(int))
    # Rounding makes early points coincide, so ask for more until just so many differ.
    asked = kept = most
    indices = _log_spaced(length, asked)
    while True:
        asked += max(1, (most - kept) // 2)
        denser = _log_spaced(length, asked)
        if len(denser) > most:
            return indices
        indices, kept = denser, len(denser)


def _log_spaced(length: int, count: int) -> Int[np.ndarray, " kept"]:
    return np.unique(np.rint(np.geomspace(1, length, count)).astype(int)) - 1
