"""Small functions of labelled arrays, and their numbers in words, that several studies need."""

import math
from typing import Any, SupportsFloat

import numpy as np
import xarray as xr

from bathymetry import stats
from bathymetry.charts import attrs
from bathymetry.core.showing import joined
from bathymetry.stats import intervals

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def without_diverged(whole: xr.Dataset) -> xr.Dataset:
    """NaN for members that diverged at any time: they count as failures."""
    if "diverged" in whole:
        sound = ~whole["diverged"].fillna(False).astype(bool)
    elif "status" in whole:  # of a sweep
        sound = whole["status"] != "diverged"
    else:
        return whole
    numbers = {name: one for name, one in whole.data_vars.items() if one.dtype.kind == "f"}
    return whole.assign({name: one.where(sound) for name, one in numbers.items() if {*sound.dims} <= {*one.dims}})


def last(records: xr.Dataset) -> xr.Dataset:
    """Keep where training ended, NaN for members that diverged."""
    names = [name for name in records.data_vars if "epoch" in records[name].dims]
    ends = {name: at_the_end(records[name]).where(~records["diverged"]) for name in names}
    return records.drop_dims("epoch").assign(ends)


def at_the_end(values: xr.DataArray) -> xr.DataArray:
    """The last records there are; NaN follows the last epoch of ensembles that ended before others."""
    known = values.notnull()
    numbered = (known.any("split") if "split" in known.dims else known) * (1 + values["epoch"])
    return values.isel(epoch=numbered.argmax("epoch")).drop_vars("epoch")


def on_scale(values: xr.DataArray) -> xr.DataArray:
    """The scale on which a mean is taken: logarithms of losses, logits of accuracies (which know their `examples`)."""
    name = str(values.attrs.get("long_name", values.name)).partition(" (")[0]
    match values.attrs.get("scale"):
        case "accuracy":
            transform = intervals.logit_accuracy(int(values["examples"]))
            return values.copy(data=transform.forward(values.values)).assign_attrs(attrs(f"logit {name}"))
        case "log":
            return values.copy(data=intervals.LOG.forward(values.values)).assign_attrs(attrs(f"log {name}"))
    return values


def slopes(values: xr.DataArray, over: xr.DataArray, largest: int | None = None) -> xr.DataArray:
    """Each member's slope of a straight line over the logarithm of `over`, at its largest values."""
    (dim,) = over.dims
    chosen = np.argsort(over.values)[-(largest or over.size) :]
    logs = np.log(over.values[chosen].astype(float))
    centred = logs - logs.mean()
    rows = values.transpose(dim, "member").values[chosen]
    name = f"mean slope of {values.attrs.get('long_name', values.name)}"
    return xr.DataArray(centred @ rows / (centred @ centred), {"member": values["member"]}, attrs=attrs(name))


def number(value: SupportsFloat, digits: int = 2) -> str:
    """Write a number as prose wants it: plain decimals in the middle range, powers of ten outside it."""
    value = float(value)
    if math.isnan(value):
        return "unknown"
    if value == 0:
        return "0"
    sign, size = ("−" if value < 0 else ""), abs(value)
    if math.isinf(size):
        return f"{sign}infinite"
    exponent = math.floor(math.log10(size))
    if -4 <= exponent <= 6:
        return f"{sign}{size:,.{max(digits - 1 - exponent, 0)}f}"
    mantissa, _, power = f"{size:.{digits - 1}e}".partition("e")
    return f"{sign}{mantissa} × 10{str(int(power)).translate(_RAISED)}"


def percent(share: SupportsFloat, decimals: int = 1) -> str:
    return f"{100 * float(share):.{decimals}f} %"


def each(values: xr.DataArray, dim: str) -> list[tuple[Any, xr.DataArray]]:
    """The pieces along a dimension, with their names."""
    return [(name, values.sel({dim: name})) for name in values[dim].values.tolist()]


def in_percent(shares: xr.DataArray) -> xr.DataArray:
    """The same in per cent, for a linear axis."""
    return (100 * shares).assign_attrs(shares.attrs | {"scale": "linear", "units": "%"})


def middle(values: xr.DataArray) -> str:
    """The median over members, with the digits that the 95 % interval of their mean supports, at most three."""
    known = values.values[np.isfinite(values.values)]
    median = float(np.median(known)) if known.size else math.nan
    width = (band := stats.mean_interval(known)).high - band.low if known.size > 1 else math.nan
    if not (width > 0 and median):
        return number(median)
    size = math.floor(math.log10(abs(median)))
    decimals = min(max(-math.floor(math.log10(width)), -size), 2 - size)
    return number(round(median, decimals), size + decimals + 1)


def change(first: xr.DataArray, last: xr.DataArray) -> str:
    """How a median changes: "falls from 1.1 to 0.15", where the interval of the members' mean change leaves out 0."""
    logs = np.log((last / first).values)
    band = stats.mean_interval(logs[np.isfinite(logs)])
    if band.high < 0 or band.low > 0:
        return f"{'falls' if band.high < 0 else 'rises'} from {middle(first)} to {middle(last)}"
    return "does not clearly change"


def lowest(values: xr.DataArray) -> xr.DataArray:
    """The smallest of a row of numbers, with its coordinates."""
    return values[int(values.values.argmin())]


def highest(values: xr.DataArray) -> xr.DataArray:
    """The largest of a row of numbers, with its coordinates."""
    return values[int(values.values.argmax())]


def means(values: xr.DataArray, dim: str) -> str:
    """Geometric means over members, with the digits that their 95 % intervals support: "0.31 (shallow), 0.3 (deep)"."""
    words = []
    for name, one in each(values, dim):
        band = stats.mean_interval(one.values, transform=intervals.LOG)
        words.append(f"{number(band.centre, 2 if band.high < 2 * band.low else 1)} ({name})")
    return joined(words)


def listed(values: xr.DataArray, dim: str, form: str = "") -> str:
    """Numbers along a dimension with their names: "0.31 (shallow), 0.29 (middle) and 0.27 (deep)"."""
    show = form.format if form else number
    return joined([f"{show(float(one))} ({name})" for name, one in each(values, dim)])
