"""Labelled arrays as charts read them: titles, scales and names from CF attributes, dimensions by name."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, cast, get_args

import numpy as np
import xarray as xr

from bathymetry.charts.axes import Axis, Horizontal, XScale, YScale
from bathymetry.charts.references import Reference
from bathymetry.core.errors import InputError
from bathymetry.core.showing import label
from bathymetry.stats.validation import one_of

_OPTIONAL = ("facet", "series")  # arguments that may be None


def attrs(long_name: str, scale: str = "linear", units: str = "1") -> dict[str, str]:
    """Make the attributes by which charts name and space an axis.

    Args:
        long_name: What the values are, for example "loss (cross-entropy)".
        scale: "linear", "log", "accuracy" (a logit axis for shares) or, for the horizontal axis, "epoch".
        units: Unit of the values; "1" if they have none.

    Returns:
        `long_name` and `units` as the CF conventions have them, and `scale`.

    Example:
        >>> attrs("batch size", "log", "examples")
        {'long_name': 'batch size', 'units': 'examples', 'scale': 'log'}
    """
    return {"long_name": long_name, "units": units, "scale": scale}


def long_name(values: xr.DataArray) -> str:
    """Read what an array's values are."""
    name = "value" if values.name is None else str(values.name).replace("_", " ")
    return str(values.attrs.get("long_name", name))


def title(values: xr.DataArray) -> str:
    """Make an axis title: "Test loss (cross-entropy)"."""
    split = values.coords.get("split") if values.name not in values.coords else None
    words = f"{label(split.item())} " if split is not None and split.ndim == 0 else ""
    unit = values.attrs.get("units", "1")
    words += long_name(values) + (f" ({unit})" if unit != "1" else "")
    # x and α stay as they are, and so do names such as val/loss
    if values.attrs.get("spelled"):  # as its user spells it
        return words
    is_symbol = words[1:2] in ("", ",", " ") or not {"/", "_"}.isdisjoint(words.partition(" ")[0])
    return words if is_symbol else words[:1].upper() + words[1:]


def arranged(field: str, values: object, dims: Mapping[str, object]) -> xr.DataArray:
    """Check an array and put its dimensions in order; a coordinate may stand for the one that it lies along."""
    if not isinstance(values, xr.DataArray):
        raise InputError(field, type(values).__name__, "expected an xarray.DataArray")
    named = {argument: name for argument, name in dims.items() if name is not None or argument not in _OPTIONAL}
    for argument, name in named.items():
        lines = [str(one) for one, coordinate in values.coords.items() if coordinate.ndim == 1]
        known = dict.fromkeys([*map(str, values.dims), *lines])
        if not isinstance(name, str) or (name not in known and name != argument):
            expected = f"expected a dimension or a coordinate along one: {', '.join(known)}"
            raise InputError(argument, name, expected)
        if name in lines and name not in values.dims:
            values = values.swap_dims({values[name].dims[0]: name})
    order = [str(name) for name in named.values()]
    if len(set(order)) < len(order) or set(values.dims) != set(order):
        there = ", ".join(map(str, values.dims)) or "none"
        raise InputError(field, f"an array with dimensions {there}", f"expected {', '.join(order)}")
    if values.dtype.kind not in "biuf" or values.size == 0:
        kind = f"{values.dtype} of shape {values.shape}"
        raise InputError(field, kind, "expected an array of real numbers, at least one")
    return values.transpose(*order)


def facets(values: xr.DataArray, facet: str | None, heading: str | None) -> Iterator[tuple[str, xr.DataArray]]:
    """Give the panels' titles and arrays: one, or one for each value of a dimension."""
    pieces = [values] if facet is None else [values.isel({facet: k}) for k in range(values.sizes[facet])]
    for piece in pieces:
        if facet in (None, "split"):
            yield heading or title(piece).partition(" (")[0], piece
        else:
            yield label(piece[facet].values), piece


def piece_of(values: xr.DataArray, facet: str | None, place: int) -> xr.DataArray:
    """Give the part of another array that belongs to a panel."""
    return values.isel({facet: place}) if facet in values.dims else values


def series_names(values: xr.DataArray, dim: str) -> list[str]:
    """Read the names along a dimension; repeated ones are numbered, because a chart knows its series by name."""
    names: list[str] = []
    for name in map(label, values[dim].values):
        one, number = name, 2
        while one in names:
            one, number = f"{name} ({number})", number + 1
        names.append(one)
    return names


def axis_of(values: xr.DataArray, scale: object = None, domain: object = None, prefix: str = "") -> Axis:
    """Make the axis of an array's values; `prefix` is the beginning of the arguments' names."""
    scale = values.attrs.get("scale", "linear") if scale is None else scale
    one_of(f"{prefix}scale", scale, get_args(YScale))
    ends = check_ends(f"{prefix}domain", domain, above=0 if scale == "log" else -math.inf)
    examples = values.coords.get("examples") if scale == "accuracy" else None
    count = None if examples is None or examples.dtype.kind not in "iuf" else float(examples.min())
    if count is not None and not count >= 1:
        raise InputError("examples", count, "expected at least 1")
    return Axis(title(values), cast(YScale, scale), ends, None if count is None else int(count))


def horizontal_of(values: xr.DataArray, x: str, scale: object = None) -> Horizontal:
    """Make the horizontal axis of a dimension, along which the points lie in order."""
    along = values[x]
    if along.dtype.kind not in "iufb":
        remedy = "such as days" if along.dtype.kind in "mM" else "or use dots, which draws one row per name"
        raise InputError("values", f"coordinates {x} of {along.dtype}", f"expected numbers along the axis, {remedy}")
    positions = along.values.astype(float)
    if not np.isfinite(positions).all():
        raise InputError("values", f"coordinates {x} that are not finite", "expected finite numbers along the axis")
    scale = along.attrs.get("scale", "linear") if scale is None else scale
    one_of("x_scale", scale, get_args(XScale))
    if scale == "epoch" and positions.min() < 0:
        raise InputError(x, positions.min(), "expected at least 0; a linear axis has room for it")
    if scale == "log" and not (positions > 0).any():
        raise InputError(x, positions.max(), "expected a number above 0 on a logarithmic axis")
    return Horizontal.over(positions, title(along), cast(XScale, scale))


def check_ends(field: str, ends: Any, above: float = -math.inf) -> tuple[float, float] | None:
    """Check that these are None or two finite numbers, the lower first."""
    if ends is None:
        return None
    pair = list(ends) if isinstance(ends, tuple | list) else []
    if len(pair) != 2 or not all(map(_is_finite, pair)) or not above < pair[0] < pair[1]:
        both = f", both above {above:g}" if math.isfinite(above) else ""
        raise InputError(field, ends, f"expected two finite numbers, the lower first{both}")
    return pair[0], pair[1]


def check_references(references: object) -> None:
    """Check that this is a list of reference lines."""
    if not isinstance(references, list | tuple) or not all(isinstance(one, Reference) for one in references):
        raise InputError("references", type(references).__name__, "expected a list of charts.Reference")


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and bool(-1e308 < value < 1e308)
