"""Words from the CF attributes of labelled arrays: axis titles, names of series, and the scale of an axis."""

from typing import Any

import xarray as xr

from bathymetry.core.errors import InputError

_LABELS = {"train": "training"}


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


def label(value: Any) -> str:
    """Write a coordinate's value as keys and titles have it."""
    return _LABELS.get(str(value), str(value))


def long_name(values: xr.DataArray) -> str:
    """Read what an array's values are."""
    name = values.name if values.name is not None else "value"
    return str(values.attrs.get("long_name", str(name).replace("_", " ")))


def title(values: xr.DataArray) -> str:
    """Make an axis title: "Test loss (cross-entropy)"."""
    split = values.coords.get("split") if values.name not in values.coords else None
    words = f"{label(split.item())} " if split is not None and split.ndim == 0 else ""
    unit = values.attrs.get("units", "1")
    words += long_name(values) + (f" ({unit})" if unit != "1" else "")
    is_symbol = words[1:2] in ("", ",", " ")  # x and α stay as they are
    return words if is_symbol else words[:1].upper() + words[1:]


def heading(values: xr.DataArray) -> str:
    """Make a panel's title: the axis title without what stands in parentheses."""
    return title(values).partition(" (")[0]


def along(values: xr.DataArray, argument: str, name: str | None) -> xr.DataArray:
    """Make a coordinate the dimension that it lies along."""
    if name is None or not isinstance(values, xr.DataArray) or name in values.dims:
        return values
    if name not in values.coords or values[name].ndim != 1:
        known = [*values.dims, *(one for one in values.coords if values[one].ndim == 1 and one not in values.dims)]
        raise InputError(
            argument, name, f"expected a dimension or a coordinate along one: {', '.join(map(str, known))}"
        )
    return values.swap_dims({values[name].dims[0]: name})


def labelled(values: xr.DataArray, name: str | None) -> xr.DataArray:
    """Write the values of a dimension as a chart's key has them."""
    if name is None or not isinstance(values, xr.DataArray):
        return values
    return values.assign_coords({name: [label(one) for one in values[name].values.tolist()]})


def num_examples(values: xr.DataArray) -> int | None:
    """Read of how many examples the values are shares."""
    return int(values["examples"].min()) if "examples" in values.coords else None


def scale_of(values: xr.DataArray, default: str = "linear") -> Any:
    """Read the scale on which values are drawn."""
    return values.attrs.get("scale", default)
