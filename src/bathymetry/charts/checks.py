"""Checks of what the charts are given."""

import math
from collections.abc import Mapping, Sequence
from numbers import Real

import numpy as np
import xarray as xr

from bathymetry.charts.axes import Reference
from bathymetry.core.errors import InputError


def check_array(
    field: str, values: object, named: Mapping[str, object], fixed: Sequence[str] = ("member",), axis: str | None = None
) -> None:
    """Insist on a labelled array with certain dimensions.

    Args:
        field: What it is called.
        values: What was given.
        named: Arguments that name a dimension, with what they were given.
        fixed: Other dimensions that it must have.
        axis: Which of its coordinates must be numbers; none if None.

    Raises:
        InputError: If it is no array of real numbers with just these dimensions.
    """
    if not isinstance(values, xr.DataArray):
        raise InputError(field, type(values).__name__, "expected an xarray.DataArray")
    dims = ", ".join(map(str, values.dims)) or "none"
    for name, dimension in named.items():
        if not isinstance(dimension, str) or dimension not in values.dims:
            raise InputError(name, dimension, f"expected a dimension of {field}: {dims}")
    wanted = [*map(str, named.values()), *fixed]
    if len(set(wanted)) < len(wanted) or set(values.dims) != set(wanted):
        raise InputError(field, f"an array with dimensions {dims}", f"expected {', '.join(wanted)}")
    if values.dtype.kind not in "biuf" or values.size == 0:
        kind = f"{values.dtype} of shape {values.shape}"
        raise InputError(field, kind, "expected an array of real numbers, at least one")
    if axis is not None and values[axis].dtype.kind not in "iufb":
        dates = values[axis].dtype.kind in "mM"
        remedy = "expected numbers along the axis" + (", such as days" if dates else "; dots draws one row a name")
        raise InputError(field, f"coordinates {axis} of {values[axis].dtype}", remedy)
    if axis is not None and not np.isfinite(values[axis].values).all():
        raise InputError(field, f"coordinates {axis} that are not finite", "expected finite numbers along the axis")


def check_axis(field: str, scale: object, scales: Sequence[str], domain: object = None) -> None:
    """Insist on a scale, and on two ends of an axis.

    Args:
        field: Which axis, as the beginning of its arguments' names: "x_", "y_" or nothing.
        scale: Its scale.
        scales: Those there are.
        domain: From where to where; None leaves it open.

    Raises:
        InputError: If it is another scale, or these are no ends.
    """
    if not isinstance(scale, str) or scale not in scales:
        raise InputError(f"{field}scale", scale, f"expected {', '.join(scales[:-1])} or {scales[-1]}")
    if domain is not None:
        check_ends(f"{field}domain", domain, above=0 if scale == "log" else -math.inf)


def check_ends(field: str, ends: object, above: float = -math.inf) -> None:
    """Insist on two finite numbers, the lower first.

    Args:
        field: What they are called.
        ends: What was given.
        above: What both must be above.

    Raises:
        InputError: If they are anything else.
    """
    pair = tuple(ends) if isinstance(ends, tuple | list) else ()
    low, high = (_finite(one) for one in pair) if len(pair) == 2 else (math.nan, math.nan)
    if not above < low < high:
        both = f", both above {above:g}" if math.isfinite(above) else ""
        raise InputError(field, ends, f"expected two finite numbers, the lower first{both}")


def _finite(value: object) -> float:
    """Give a finite number, or NaN for anything else."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return math.nan
    try:
        return float(value) if math.isfinite(value) else math.nan
    except OverflowError:
        return math.nan


def check_references(references: object) -> None:
    """Insist on reference lines.

    Args:
        references: What was given.

    Raises:
        InputError: If they are anything else.
    """
    if not isinstance(references, Sequence) or not all(isinstance(one, Reference) for one in references):
        raise InputError("references", type(references).__name__, "expected a list of charts.Reference")
    for one in references:
        if isinstance(one.value, bool) or not isinstance(one.value, Real):
            raise InputError("references", one.value, "expected a number for a value")
        if one.axis not in ("x", "y"):
            raise InputError("references", one.axis, "expected x or y for an axis")


def check_height(value: object) -> None:
    """Insist on a height.

    Args:
        value: What was given.

    Raises:
        InputError: If it is no number above 0.
    """
    if not 0 < _finite(value) < 100_000:
        raise InputError("height", value, "expected a number of pixels above 0")


def series_names(values: xr.DataArray, dim: str) -> list[str]:
    """Read the names along a dimension.

    Args:
        values: The array.
        dim: The dimension.

    Returns:
        The names; repeated names are numbered, because a chart identifies its series by name.

    Example:
        >>> series_names(xr.DataArray([1, 2, 3], {"network": ["deep", "deep", "wide"]}, ("network",)), "network")
        ['deep', 'deep (2)', 'wide']
    """
    names: list[str] = []
    for name in map(str, values[dim].values):
        one, number = name, 2
        while one in names:
            one, number = f"{name} ({number})", number + 1
        names.append(one)
    return names
