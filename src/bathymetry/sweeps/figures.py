"""The charts of a sweep: every variable over the axes, which are chosen by what they hold.

On a grid the longest axis of numbers runs across, a second axis has colours, a third one panels; along further axes
the first value is shown. Points that lie anywhere are drawn against each axis of numbers in turn.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr

from bathymetry.charts import Figure, dots, lines
from bathymetry.charts.figure import Panel
from bathymetry.core.showing import joined
from bathymetry.studies.arrays import number, percent
from bathymetry.sweeps.axes import Axis

_MOST_COLOURS, _MOST_PANELS = 8, 12
_READING = (
    "Each faint line or dot is one member; the strong line is their mean on the axis's scale, the band its pointwise "
    "95 % interval."
)
_NO_AXES = ("point", "split", "examples", "parameters")


def over_axes(results: xr.Dataset, axes: Sequence[Axis], *, is_grid: bool) -> Iterator[Figure]:
    """Draw every variable that has any number over the axes."""
    names = [str(name) for name, one in results.data_vars.items() if one.dtype.kind == "f"]
    for name in names:
        values = results[name]
        if name.endswith("_history") or not np.isfinite(values.values).any():
            continue
        if is_grid:
            yield _on_grid(values, [axis.name for axis in axes])
        else:
            yield from _against_each(values, [axis.name for axis in axes])


def _on_grid(values: xr.DataArray, dims: Sequence[str]) -> Figure:
    numeric = [dim for dim in dims if values[dim].dtype.kind in "iuf" and values.sizes[dim] > 1]
    across = max(numeric, key=lambda dim: values.sizes[dim], default=None)
    others = sorted((dim for dim in dims if dim != across), key=lambda dim: values.sizes[dim])
    others = [dim for dim in others if values.sizes[dim] > 1] or others[:1] * (across is None)
    notes, shown = [], values.drop_vars([name for name in values.coords if values[name].ndim > 1])
    shown = shown.squeeze([dim for dim in dims if dim != across and dim not in others], drop=True)
    has_split = "split" in shown.dims
    if has_split and len(others) > 1:  # colours and panels are taken
        shown = shown.sel(split="test" if "test" in shown["split"].values else shown["split"].values[-1])
        has_split = False
    for dim in others[2:]:
        notes.append(f"{_words(dim)} {shown[dim].values[0]}")
        shown = shown.isel({dim: 0}, drop=True)
    others = others[:2]
    if has_split:
        others = [*others, "split"] if others else ["split"]
    shown, few = _thinned(shown, others)
    notes += few
    panels = _panels(shown, across, others)
    by = [_words(dim) for dim in (across, *others) if dim not in (None, "split")]
    title = f"{_title(values)} by {joined(by)}"
    reading = _READING + (f" Shown at {joined(notes)}." if notes else "")
    return Figure(str(values.name).replace("_", "-"), title, tuple(panels), _best(values), reading)


def _panels(shown: xr.DataArray, across: str | None, others: Sequence[str]) -> list[Panel]:
    series, facet = (*others, None, None)[:2]
    if across is not None:
        return lines(shown, across, series, facet=facet)
    if series is None:
        return dots(shown.expand_dims(all=["all"]), "all")
    return dots(shown, series, facet=facet)


def _thinned(shown: xr.DataArray, others: Sequence[str]) -> tuple[xr.DataArray, list[str]]:
    """Keep at most so many colours and panels, evenly spaced."""
    notes = []
    for dim, most in zip(others, (_MOST_COLOURS, _MOST_PANELS), strict=False):
        if shown.sizes[dim] > most:
            notes.append(f"{most} of {shown.sizes[dim]} values of {_words(dim)}")
            shown = shown.isel({dim: np.linspace(0, shown.sizes[dim] - 1, most).round().astype(int)})
    return shown, notes


def _against_each(values: xr.DataArray, names: Sequence[str]) -> Iterator[Figure]:
    """Draw a variable at all points against each axis of numbers."""
    for name in names:
        along = values[name]
        if along.dtype.kind not in "iuf" or len(np.unique(along.values)) < 2:
            continue
        order = np.argsort(along.values, kind="stable")
        shown = values.isel(point=order).drop_vars(
            [one for one in values.coords if one not in (name, "split", "member", "examples")]
        )
        x = shown[name].values.astype(float)
        shown = shown.drop_vars(name).assign_coords({name: ("point", _apart(x), along.attrs)})
        panels = lines(shown, name, "split" if "split" in shown.dims else None, members="dots")
        title = f"{_title(values)} by {_words(name)}"
        yield Figure(f"{values.name}-{name}".replace("_", "-"), title, tuple(panels), _best(values), _READING)


def _apart(x: np.ndarray[Any, np.dtype[Any]]) -> np.ndarray[Any, np.dtype[Any]]:
    """Move equal positions apart by rounding, so that each point has one of its own."""
    for place in range(1, len(x)):
        if x[place] <= x[place - 1]:
            x[place] = np.nextafter(x[place - 1], np.inf)
    return x


def _best(values: xr.DataArray) -> str:
    """The point with the lowest loss, or the highest accuracy, by the median over members."""
    if "split" in values.dims:
        split = "test" if "test" in values["split"].values else values["split"].values[-1]
        values = values.sel(split=split)
        name = f"{split} {values.name}"
    else:
        name = str(values.attrs.get("long_name", values.name))
    middle = values.median("member", skipna=False)
    if not np.isfinite(middle.values).any():
        return f"No point has a {name} of every member."
    is_high = values.name == "accuracy"
    place = middle.argmax(...) if is_high else middle.argmin(...)
    best = middle.isel(place)
    shown = percent(best, 2) if is_high else number(best)
    axes = [dim for dim in middle.dims if dim != "point"] or [dim for dim in best.coords if dim not in _NO_AXES]
    where = joined([f"{_words(dim)} {_shown(best[dim].item())}" for dim in map(str, axes)])
    return f"{'Highest' if is_high else 'Lowest'} median {name}: {shown}, at {where}."


def _title(values: xr.DataArray) -> str:
    words = str(values.attrs.get("long_name", values.name))
    return f"{words[:1].upper()}{words[1:]}"


def _words(name: object) -> str:
    return str(name).replace("_", " ")


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
