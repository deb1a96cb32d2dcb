"""The charts of a sweep: every variable over the axes, which are chosen by what they hold.

On a grid the longest axis of numbers runs across, a second axis has colours, a third one panels; along further axes
the first value is shown. Points that lie anywhere are drawn against each axis of numbers in turn.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import xarray as xr

from bathymetry.charts import Figure, dots, lines, scatter
from bathymetry.charts.figure import Panel
from bathymetry.core.showing import joined
from bathymetry.stats.wording import as_percent, number
from bathymetry.sweeps.axes import Axis

_MOST_COLOURS, _MOST_PANELS, _MOST_DOTS = 8, 12, 4000
READING = (
    "Each faint line or dot is one member; the strong line or diamond is their median, the band or bar its pointwise "
    "95 % interval, which takes six members."
)
_NO_AXES = ("point", "split", "examples", "parameters")


def over_axes(results: xr.Dataset, axes: Sequence[Axis], *, is_grid: bool) -> Iterator[Figure]:
    """Draw every variable that has any number over the axes."""
    names = [axis.name for axis in axes]
    for name, values in results.data_vars.items():
        if values.dtype.kind != "f" or not np.isfinite(values.values).any():
            continue
        if str(name).endswith("_history"):
            if is_grid:
                yield _on_grid(values, names, "epoch")
        elif is_grid:
            yield _on_grid(values, names)
        else:
            yield from _against_each(values, names)


def _on_grid(values: xr.DataArray, dims: Sequence[str], across: str | None = None) -> Figure:
    if across is None:
        numeric = [dim for dim in dims if values[dim].dtype.kind in "iuf" and values.sizes[dim] > 1]
        across = max(numeric, key=lambda dim: values.sizes[dim], default=None)
    others = sorted((dim for dim in dims if dim != across), key=lambda dim: values.sizes[dim])
    others = [dim for dim in others if values.sizes[dim] > 1] or others[:1] * (across is None)
    notes, shown = [], values.drop_vars([name for name in values.coords if values[name].ndim > 1])
    shown = shown.squeeze([dim for dim in dims if dim != across and dim not in others], drop=True)
    if "split" in shown.dims and (len(others) > 1 or across == "epoch"):  # colours and panels are taken
        shown = shown.sel(split=_last_split(shown))
    for dim in others[2:]:
        notes.append(f"{_words(dim)} {shown[dim].values[0]}")
        shown = shown.isel({dim: 0}, drop=True)
    others = [*others[:2], *(["split"] if "split" in shown.dims else [])]
    shown, few = _thinned(shown, others)
    notes += few
    by = [_words(dim) for dim in (across, *others) if dim not in (None, "split")]
    title = f"{_title(values)} by {joined(by)}"
    reading = READING + (f" Shown at {joined(notes)}." if notes else "")
    best = _best(values.isel(epoch=-1, drop=True) if across == "epoch" else values)
    return Figure(str(values.name).replace("_", "-"), title, tuple(_panels(shown, across, others)), best, reading)


def _panels(shown: xr.DataArray, across: str | None, others: Sequence[str]) -> list[Panel]:
    series, facet = (*others, None, None)[:2]
    shown = shown.assign_coords({dim: _named(shown[dim]) for dim in others if dim != "split"})
    domain = None if facet in (None, "split") else _domain(shown)
    if across is not None:
        return lines(shown, across, series, facet=facet, domain=domain, centre="median")
    return dots(shown, series or "split", facet=facet, domain=domain, centre="median")


def _named(values: xr.DataArray) -> xr.DataArray:
    """Numbers with the name of their axis: "width 30"."""
    if values.dtype.kind not in "iuf":
        return values
    return values.copy(data=np.array([f"{_words(values.name)} {_shown(one)}" for one in values.values.tolist()]))


def _domain(shown: xr.DataArray) -> tuple[float, float] | None:
    """The same ends for all panels, so that they can be compared."""
    scale, values = shown.attrs.get("scale"), shown.values[np.isfinite(shown.values)]
    values = values[values > 0] if scale == "log" else values
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if scale == "accuracy" or not low < high:
        return None
    margin = 0.03 * (high - low)
    return (low / 1.05, high * 1.05) if scale == "log" else (low - margin, high + margin)


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
    kept = ("split", "member", "examples")
    plain = values.drop_vars([name for name in values.coords if name not in kept])
    flat = plain.stack(all=("point", "member"))
    if flat.sizes["all"] > _MOST_DOTS:
        flat = flat.isel(all=np.linspace(0, flat.sizes["all"] - 1, _MOST_DOTS).round().astype(int))
    at, members = (flat[name].values for name in ("point", "member"))
    flat = flat.drop_vars(["all", "point", "member"]).rename(all="member")
    y = flat if "split" in flat.dims else flat.expand_dims(split=["all"])
    for name in names:
        along = values[name]
        if along.dtype.kind not in "iuf" or len(np.unique(along.values)) < 2:
            continue
        whose = {"member": members, "point": ("member", at), "split": y["split"].values}
        across = np.broadcast_to(along.sel(point=at).values, (y.sizes["split"], len(at)))
        x = xr.DataArray(across, whose, ("split", "member"), name, along.attrs)
        panels = scatter(x, y, "split")
        title = f"{_title(values)} by {_words(name)}"
        reading = "Each mark is one member at one point of the sweep."
        yield Figure(f"{values.name}-{name}".replace("_", "-"), title, tuple(panels), _best(values), reading)


def _last_split(values: xr.DataArray) -> str:
    return "test" if "test" in values["split"].values else str(values["split"].values[-1])


def _best(values: xr.DataArray) -> str:
    """The point with the lowest loss, or the highest accuracy, by the median over members."""
    name = str(values.attrs.get("long_name", values.name))
    if "split" in values.dims:
        name = f"{_last_split(values)} {name}"
        values = values.sel(split=_last_split(values))
    middle = values.median("member", skipna=False)
    if not np.isfinite(middle.values).any():
        return f"No point has a {name} of every member."
    is_high = values.attrs.get("scale") == "accuracy"
    best = middle.isel(middle.argmax(...) if is_high else middle.argmin(...))
    shown = as_percent(best, 2) if is_high else number(best)
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
