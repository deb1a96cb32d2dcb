"""The rows that a chart's data consist of."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import numpy as np

_DIGITS = 5


def rows(columns: Mapping[str, Any]) -> alt.InlineData:
    """Make a chart's data from columns.

    Args:
        columns: Columns by name, all of one shape (or that broadcast to it); numbers keep five digits, and NaN
            becomes a gap.

    Returns:
        Data that travel inside the chart; unlike a data frame they may have any number of rows.

    Example:
        >>> rows({"x": np.array([1.0, np.nan]), "who": "a"}).to_dict()["values"]
        [{'x': 1.0, 'who': 'a'}, {'x': None, 'who': 'a'}]
    """
    arrays = np.broadcast_arrays(*(np.asarray(column) for column in columns.values()))
    written = [_written(array.ravel()) for array in arrays]
    return alt.InlineData(values=[dict(zip(columns, row, strict=True)) for row in zip(*written, strict=True)])


def _written(column: "np.ndarray[Any, Any]") -> list[Any]:
    if column.dtype.kind == "f":
        return [float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None for value in column.tolist()]
    return list(column.tolist())
