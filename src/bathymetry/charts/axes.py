"""The axes of charts: which values have a place on them, where their ticks are, and how numbers read there.

Losses are averaged and drawn as logarithms and accuracies as logits, because there their spread is about constant and
an interval is as wide above its centre as below.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, TypeAlias

import altair as alt
import numpy as np
from jaxtyping import Bool, Float, Int

from bathymetry.core.errors import InputError
from bathymetry.stats.intervals import IDENTITY, LOG, accuracy, logit, mean_interval, median_interval

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"
XScale = Literal["epoch", "linear", "log"]
YScale = Literal["linear", "log", "accuracy"]
CentreKind = Literal["mean", "median"]

# Where an accuracy axis may have a tick, the roundest first: whole per cents only where it covers few of the others.
_ACCURACIES: tuple[Sequence[float], ...] = (
    (0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999, 0.9999, 0.99999),
    (0.05, 0.2, 0.8, 0.95, 0.98, 0.995, 0.998),
    (0.15, 0.25, 0.4, 0.6, 0.75, 0.85, 0.97),
    tuple(np.arange(0.02, 0.99, 0.02).round(2)),
    tuple(np.arange(0.01, 0.995, 0.01).round(2)),
    tuple(np.arange(0.002, 0.9995, 0.002).round(3)),
)
_DIGITS = ((1,), (1, 3), (1, 2, 5), (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8))  # of logarithmic ticks, the sparsest first
_HANDFUL = 6  # points that each get a tick
_ENOUGH = 4  # ticks
_FEW = 20  # points of a line that each get a mark
_CLEAR = 0.08  # of an axis's length, between two ticks whose labels don't touch
_APART = 1.3  # the least ratio between the last two ticks of epochs on a logarithmic axis
_EPOCH_TICKS = 8  # at most, on a linear axis
_LEAST = 1e-300  # what is smaller counts as 0, for Vega has no ticks there
_MANY = 500_000  # stands in for the number of examples where that isn't known
_MOST_POINTS = 200  # of a line
_SQUEEZED = 0.2  # of an axis that panels share; one with less has an axis of its own
# Neither 1e+1 for ten nor 0.0000001.
_FAR = "datum.value != 0 && (abs(datum.value) < 1e-4 || abs(datum.value) >= 1e10)"
_PLAIN = f"{_FAR} ? format(datum.value, '~e') : format(datum.value, ',.6~r')"


@dataclass(frozen=True)
class Centre:
    """A mean or median over members with its pointwise 95 % interval, as it is drawn."""

    middle: Float[np.ndarray, " point"]
    low: Float[np.ndarray, " point"]  # NaN with fewer than two members, or six for a median
    high: Float[np.ndarray, " point"]
    diverged: Bool[np.ndarray, " member"]  # which members were left out


@dataclass(frozen=True)
class Axis:
    """An axis of values, and the way from values to what a chart's data hold: logits for accuracies."""

    title: str
    scale: XScale | YScale = "linear"
    domain: tuple[float, float] | None = None  # as far as the data if None
    num_examples: int | None = None  # of which an accuracy is a share: c of n correct is drawn at ln((c+½)/(n−c+½))
    edge: tuple[float, str, float] | None = None  # a place beyond every value, its name, and where values end

    def drawn(self, values: Any) -> Float[np.ndarray, "*shape"]:
        """Turn values into what is drawn; what has no place on the axis is NaN."""
        values = np.asarray(values, dtype=float)
        finite = np.isfinite(values)
        if self.scale == "accuracy":
            outside = values[finite & ~((values >= 0) & (values <= 1))]
            if outside.size:
                raise InputError("values", outside.flat[0], "expected shares from 0 to 1 on an accuracy axis")
            total = self.num_examples or _MANY
            return logit(np.where(finite, values, np.nan) * total, total)
        if self.scale == "log":
            return np.where(finite & (values >= _LEAST), values, np.nan)
        return np.where(finite, np.where(np.abs(values) < _LEAST, 0.0, values), np.nan)

    def spaced(self, drawn: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """Turn what is drawn into distances along the axis."""
        return np.asarray({"log": np.log}.get(self.scale, np.asarray)(drawn))

    def natural(self, drawn: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """Turn what is drawn back into values."""
        return accuracy(drawn, self.num_examples or _MANY) if self.scale == "accuracy" else np.asarray(drawn)

    def centre(
        self, drawn: Float[np.ndarray, "member point"], kind: CentreKind = "mean", *, ends: bool = False
    ) -> Centre:
        """Average members point by point on the axis's own scale; one with a gap anywhere is left out everywhere.

        With `ends` that is, anywhere where at least half of the members with any value have one.
        """
        if ends:
            there = np.isfinite(drawn)
            reached = 2 * there.sum(axis=0) >= max(int(there.any(axis=1).sum()), 1)
            part = self.centre(drawn[:, reached], kind)
            middle, low, high = np.full((3, drawn.shape[1]), np.nan)
            middle[reached], low[reached], high[reached] = part.middle, part.low, part.high
            return Centre(middle, low, high, part.diverged & there.any(axis=1))
        diverged = ~np.isfinite(drawn).all(axis=1)
        if diverged.all():
            nothing = np.full(drawn.shape[1], np.nan)
            return Centre(nothing, nothing, nothing, diverged)
        if kind == "median":
            # of the values themselves: between the middle two of an even number there is no logit of either
            middle = self.drawn(np.median(self.natural(drawn[~diverged]), axis=0))
            return Centre(middle, *median_interval(drawn[~diverged])[1:], diverged)
        # An accuracy is drawn as its logit, so its mean is taken as it stands.
        with np.errstate(over="ignore", invalid="ignore"):  # of huge values the spread may have no number
            band = mean_interval(drawn[~diverged], axis=0, transform=LOG if self.scale == "log" else IDENTITY)
        return Centre(band.centre, band.low, band.high, diverged)

    def channel(self, drawn: Float[np.ndarray, "*shape"]) -> dict[str, Any]:
        """Make the title, scale and axis of an Altair channel that has room for all that is drawn."""
        if self.scale == "accuracy":
            ends = None if self.domain is None else self.drawn(self.domain).tolist()
            low, high = ends or ends_of(drawn) or (0.0, 1.0)
            scale = alt.Scale(zero=False, nice=False, domain=[low, high])
            words = self.expression("value", digits=5)
            axis = alt.Axis(values=self._accuracy_ticks(low, high), labelExpr=words, labelOverlap="greedy")
        elif self.scale == "log":
            low, high = self.domain or _around(drawn)
            scale = alt.Scale(type="log", domain=[low, high], nice=False)
            axis = alt.Axis(values=_logarithmic_ticks(low, high), labelExpr=_PLAIN, labelOverlap="greedy")
        else:
            ends = self.domain or ends_of(drawn)
            scale = alt.Scale(zero=False, nice=self.domain is None, domain=list(ends) if ends else alt.Undefined)
            axis = alt.Axis(labelExpr=_PLAIN, tickCount=6)
        if self.edge is not None:
            place, words, last = self.edge
            axis = axis.copy()
            axis.labelExpr = f"datum.value == {place} ? {json.dumps(words)} : datum.value > {last} ? '' : {_PLAIN}"
            if isinstance(axis.values, list):
                axis.values = [*(one for one in axis.values if one <= last), place]
        return {"title": self.title, "scale": scale, "axis": axis}

    def with_edge(self, drawn: Float[np.ndarray, "*shape"], words: str) -> Self:
        """Make room at the end for what lies beyond every value, under a tick with these words."""
        log = self.scale == "log"
        low, high = self.domain or (_around(drawn) if log else ends_of(drawn) or (0.0, 1.0))
        back, (low, high) = (np.exp, np.log([low, high])) if log else (np.asarray, (low, high))
        room = 0.03 * ((high - low) or 1.0)
        low, high, edge, end = (float(back(one)) for one in (low, high, high + 3 * room, high + 4 * room))
        return replace(self, domain=(low, end), edge=(float(f"{edge:.5g}"), words, high))

    def clips(self, drawn: Float[np.ndarray, "*shape"]) -> bool:
        """Whether something drawn lies outside the axis."""
        if self.domain is None:
            return False
        low, high = self.drawn(self.domain)
        return bool(((drawn < low) | (drawn > high)).any())

    def expression(self, field: str, digits: int = 4) -> str:
        """Write the Vega expression that puts a field of `datum` into words."""
        if self.scale == "accuracy":
            total = self.num_examples or _MANY
            share = f"clamp(({total + 1} / (1 + exp(-datum.{field})) - 0.5) / {total}, 0, 1)"
            return f"format(100 * {share}, '.{digits}~g') + ' %'"
        return f"format(datum.{field}, abs(datum.{field}) >= 1 ? ',.4~r' : '.3~g')"

    def words(self, drawn: float) -> str:
        """Write what is drawn as a reader would."""
        value = float(self.natural(np.array(drawn)))
        return f"{100 * value:.4g} %" if self.scale == "accuracy" else f"{value:.3g}"

    def _accuracy_ticks(self, low: float, high: float) -> list[float]:
        """Take the roundest first, and others until there are enough, each where it has room."""
        taken: list[float] = []
        for tier in _ACCURACIES:
            for tick in self.drawn(tier).tolist():
                if low <= tick <= high and all(abs(tick - other) >= _CLEAR * (high - low) for other in taken):
                    taken.append(tick)
            if len(taken) >= _ENOUGH:
                break
        return sorted(taken)


def ends_of(drawn: Float[np.ndarray, "*shape"]) -> tuple[float, float] | None:
    """The least and the greatest finite number, if there is one."""
    finite = drawn[np.isfinite(drawn)]
    return (float(finite.min()), float(finite.max())) if finite.size else None


def _around(drawn: Float[np.ndarray, "*shape"]) -> tuple[float, float]:
    """Leave a little air around all that is drawn on a logarithmic axis."""
    ends = ends_of(drawn[drawn >= _LEAST])
    if ends is None:
        return 0.1, 1.0
    low, high = np.log10(ends)
    air = max(0.04 * (high - low), np.log10(1.05))
    return float(f"{10.0 ** max(low - air, -307):.4g}"), float(f"{10.0 ** min(high + air, 308):.4g}")


def _logarithmic_ticks(low: float, high: float, sparse: float = 3.5) -> list[float]:
    """Choose ticks that a reader knows: powers of ten, with 2 and 5 between them where there is room."""
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    decades = np.log10(high) - np.log10(low)
    step = max(1, int(np.ceil(decades / 7)))
    fit = (decades > sparse, decades > 2, decades > 1, True)
    for digits in _DIGITS[fit.index(True) :]:
        ticks = [float(f"{digit}e{power}") for power in range(first, last + 1, step) for digit in digits]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) > 2:
            return inside
    # Where an axis covers less than a factor of two or so, even steps serve as well as on a linear one.
    exponent = int(np.floor(np.log10((high - low) / 3)))
    step = max(one for one in (1, 2, 5) if one * 10.0**exponent <= (high - low) / 3)
    unit = step * 10.0**exponent
    return [float(f"{k * step}e{exponent}") for k in range(int(np.ceil(low / unit)), int(np.floor(high / unit)) + 1)]


@dataclass(frozen=True)
class Horizontal:
    """The horizontal axis of lines: which of their points are drawn, and where."""

    title: str
    scale: XScale
    indices: Int[np.ndarray, " point"]  # of the points that are drawn, in the order of their positions
    positions: Float[np.ndarray, " point"]  # rising

    @classmethod
    def over(cls, x: Float[np.ndarray, " all"], title: str, scale: XScale) -> "Horizontal":
        """Order points by where they lie, leave out those without a place, and thin them out."""
        rising = np.argsort(x, kind="stable")
        rising = rising[x[rising] > 0] if scale == "log" else rising
        kept = spread_out(len(rising)) if scale == "epoch" else thin(len(rising), logarithmic=scale == "log")
        indices = rising[kept]
        return cls(title, scale, indices, x[indices])

    @property
    def has_marks(self) -> bool:
        """Whether its points are few enough for a mark at each."""
        return self.scale != "epoch" and len(self.positions) <= _FEW

    @property
    def axis(self) -> Axis:
        """The same axis for single values, such as those of references."""
        return Axis(self.title, self.scale)

    @property
    def epochs(self) -> dict[str, Any] | None:
        """The scale and ticks that an axis of epochs, which is linear, has if a reader switches it to logarithmic."""
        if self.scale != "epoch":
            return None
        last = float(self.positions[-1])
        known = (digit * 10**power for power in range(9) for digit in (1, 2, 5))
        values = [0, *(tick for tick in known if tick * _APART < last), last]
        # It counts from 0, so it is logarithmic from about 1 on.
        return {"scale": {"type": "symlog", "constant": 1, "domain": [0, last], "nice": False}, "values": values}

    def channel(self, field: str = "x") -> alt.X:
        """Make the channel of a field."""
        ticks: dict[str, Any] = {"labelExpr": _PLAIN}
        if self.scale == "epoch":
            last = float(self.positions[-1])
            ticks = {"values": _epoch_ticks(last), "format": "~s" if last >= 1e5 else ",d", "labelFlush": False}
            scale = alt.Scale(domain=[0, last], nice=False)
        elif self.scale == "log":
            few = len(self.positions) <= _HANDFUL and bool((self.positions == np.round(self.positions)).all())
            ends = float(self.positions[0]) / 1.3, float(self.positions[-1]) * 1.3
            ticks["values"] = self.positions.tolist() if few else _logarithmic_ticks(*ends, sparse=2.2)
            scale = alt.Scale(type="log", nice=False, padding=12)
        else:
            ticks["tickCount"] = 5
            scale = alt.Scale(zero=False, nice=False, padding=12 if self.has_marks else 0)  # else the last is cut
        if self.scale != "linear":
            ticks["labelOverlap"] = "greedy"
        return alt.X(f"{field}:Q", title=self.title, scale=scale, axis=alt.Axis(**ticks))

    def columns(self) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, " point"]]:
        """Share the axis out among its points, each up to half way to its neighbours."""
        forward, backward = (np.log, np.exp) if self.scale == "log" else (np.asarray, np.asarray)
        spaced = forward(self.positions)
        halves = backward((spaced[1:] + spaced[:-1]) / 2)
        return np.concatenate([self.positions[:1], halves]), np.concatenate([halves, self.positions[-1:]])


def are_unlike(parts: Sequence[Float[np.ndarray, "*shape"]]) -> bool:
    """Whether some of these, which lie on one axis, would have less than a fifth of it."""
    known = [ends for ends in map(ends_of, parts) if ends is not None]
    whole = max((high for _, high in known), default=0.0) - min((low for low, _ in known), default=0.0)
    return any(high - low < _SQUEEZED * whole for low, high in known)


def thin(length: int, most: int = _MOST_POINTS, logarithmic: bool = True) -> Int[np.ndarray, " kept"]:
    """Choose which points of a line to draw: at most so many, evenly or with more of the early ones."""
    if length <= most:
        return np.arange(length)
    if not logarithmic:
        return np.unique(np.rint(np.linspace(0, length - 1, most)).astype(int))
    # Rounding makes early points coincide, so space more of them until just so many differ.
    spaced = kept = most
    indices = _log_spaced(length, spaced)
    while True:
        spaced += max(1, (most - kept) // 2)
        denser = _log_spaced(length, spaced)
        if len(denser) > most:
            return indices
        indices, kept = denser, len(denser)


def spread_out(length: int, most: int = _MOST_POINTS) -> Int[np.ndarray, " kept"]:
    """Choose which epochs to draw: half evenly and half with more of the early ones, to suit both kinds of axis."""
    if length <= most:
        return np.arange(length)
    return np.union1d(thin(length, most // 2, logarithmic=False), thin(length, most - most // 2))


def _epoch_ticks(last: float) -> list[float]:
    """Choose even ticks from 0 to the last epoch, where findings are read: the most that divide it, if any do."""
    if last <= 0:
        return [0]
    known = [digit * 10.0**power for power in range(12) for digit in (1, 2, 5)]
    fits = [step for step in known if last / step < _EPOCH_TICKS]
    step = next((one for one in fits if last % one == 0 and last / one >= 3), fits[0])
    return [*np.arange(0, last - step / 2, step).tolist(), last]


def _log_spaced(length: int, count: int) -> Int[np.ndarray, " kept"]:
    return np.unique(np.rint(np.geomspace(1, length, count)).astype(int)) - 1


def fixed(channel: Any, value: float | str) -> Any:
    """Make a channel that has one value for all, of a class that Altair gives no types."""
    return channel(value)


def inline(**columns: Any) -> alt.InlineData:
    """Make a chart's data from columns that broadcast to one shape; all but counts keep five digits, NaN is a gap."""
    arrays = np.broadcast_arrays(*(np.asarray(column) for column in columns.values()))
    written = [_written(array.ravel()) for array in arrays]
    return _Rows(values=[dict(zip(columns, row, strict=True)) for row in zip(*written, strict=True)])


class _Rows(alt.InlineData):
    """Data that a copy of a chart shares: Altair copies a chart at every step, with all its rows."""

    def __deepcopy__(self, memo: object = None) -> Self:
        return self


def _written(column: "np.ndarray[Any, Any]") -> list[Any]:
    if column.dtype.kind == "f":
        return [_short(value) if np.isfinite(value) else None for value in column.tolist()]
    return list(column.tolist())


def _short(value: float) -> float:
    return value if value.is_integer() and abs(value) < 1e9 else float(f"{value:.5g}")
