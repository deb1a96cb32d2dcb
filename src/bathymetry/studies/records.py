"""What ensembles recorded while they were trained."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr


def at_the_end(values: "xr.DataArray") -> "xr.DataArray":
    """Take the last records that there are.

    Args:
        values: Records by epoch; NaN behind the last epoch of ensembles that ended before others.

    Returns:
        The same without epochs.
    """
    numbered = values.notnull() * (1 + values["epoch"])
    return values.isel(epoch=numbered.argmax("epoch")).drop_vars("epoch")
