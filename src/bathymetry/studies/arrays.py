"""Small functions of labelled arrays, and their numbers in words, that several studies need."""

from typing import Any

import numpy as np
import xarray as xr

from bathymetry import stats
from bathymetry.charts import attrs
from bathymetry.core.showing import joined
from bathymetry.stats import intervals
from bathymetry.stats.wording import number


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
    rows, name = values.transpose(dim, "member").values[chosen], str(values.attrs.get("long_name", values.name))
    meaning = {"log": "factor", "logit": "odds"}.get(name.partition(" ")[0], "change")
    named = attrs(f"median slope of {name}") | {"meaning": f"{meaning} per doubling"}
    return xr.DataArray(centred @ rows / (centred @ centred), {"member": values["member"]}, attrs=named)


def each(values: xr.DataArray, dim: str) -> list[tuple[Any, xr.DataArray]]:
    """The pieces along a dimension, with their names."""
    return [(name, values.sel({dim: name})) for name in values[dim].values.tolist()]


def in_percent(shares: xr.DataArray) -> xr.DataArray:
    """The same in per cent, for a linear axis."""
    return (100 * shares).assign_attrs(shares.attrs | {"scale": "linear", "units": "%"})


def leaders(values: xr.DataArray, dim: str, *, lowest: bool = False) -> tuple[int, str]:
    """Where the mean is highest, and in words all places whose 95 % intervals reach its: "125 to 1,500"."""
    rows = on_scale(values).transpose(dim, "member").values
    band = stats.mean_interval(-rows if lowest else rows, axis=1)
    best = int(np.where(np.isfinite(band.centre), band.centre, -np.inf).argmax())
    near = [place for place in range(len(rows)) if place == best or band.high[place] >= band.low[best]]
    names = [f"{values[dim].values[place]:,}" for place in near]
    unbroken = len(near) > 2 and near[-1] - near[0] == len(near) - 1
    return best, f"{names[0]} to {names[-1]}" if unbroken else joined(names, "or")


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
