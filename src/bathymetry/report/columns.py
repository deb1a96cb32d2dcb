"""Chart data written small: by column, with everything that repeats written once.

A chart's data are a grid (each x of each member of each network) written out as rows. By column, x is two hundred
numbers that come round again and the network is three names, each held for two thousand rows, so only the values
themselves take room. `page.js` writes the rows out again.
"""

from collections.abc import Mapping, Sequence
from typing import Any


def columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Write rows by column.

    Args:
        rows: Rows that all have the same names.

    Returns:
        `rows`, how many there are, and `columns`: by name either the values; or `levels` of which each is held for
        `each` rows, round and round; or `levels` with the `place` of each row's among them.

    Example:
        >>> columns([{"x": x, "of": of} for of in ("a", "b") for x in (0.0, 1.0)])["columns"]
        {'x': {'levels': [0, 1], 'each': 1}, 'of': {'levels': ['a', 'b'], 'each': 2}}
    """
    names = list(rows[0]) if rows else []
    return {"rows": len(rows), "columns": {name: _small([_short(row[name]) for row in rows]) for name in names}}


def _small(column: list[Any]) -> Any:
    levels = list(dict.fromkeys(column))
    if len(levels) * 2 > len(column) and len(column) > 2:
        return column
    each = next((place for place, value in enumerate(column) if value != column[0]), len(column))
    if all(value == levels[place // each % len(levels)] for place, value in enumerate(column)):
        return {"levels": levels, "each": each}
    if len(levels) * 4 > len(column):
        return column
    places = {value: place for place, value in enumerate(levels)}
    return {"levels": levels, "place": [places[value] for value in column]}


def _short(value: Any) -> Any:
    # Write 3.0 as 3.
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else value
