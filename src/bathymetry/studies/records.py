"""What ensembles recorded while they were trained."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr


def at_the_end(values: "xr.DataArray", epoch: str) -> "xr.DataArray":
    """Take the last records that there are.

    Args:
        values: Records by epoch; NaN behind the last epoch of ensembles that ended before others.
        epoch: The name of that dimension.

    Returns:
        The same without it.
    """
    numbered = values.notnull() * (1 + values[epoch])
    return values.isel({epoch: numbered.argmax(epoch)}).drop_vars(epoch)


def group_of(results: "xr.DataTree", name: str) -> "xr.Dataset":
    """Take a group by itself.

    Args:
        results: A study's results.
        name: Of the group.

    Returns:
        Its own variables, without the coordinates that it shares with the results proper.
    """
    return results.children[name].to_dataset(inherit=False)
