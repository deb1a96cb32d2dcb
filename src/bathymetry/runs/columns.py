"""Tables with a column for each metric, in which an empty cell is not NaN: the metric was not logged in that row."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float64

from bathymetry.core import system
from bathymetry.core.errors import DamagedError, first_line
from bathymetry.runs.run import History, history


def read_columns(path: Path, step: str, tool: str) -> tuple[dict[str, History], set[str], list[str]]:
    """Read the histories, the names of columns that hold text, and notes."""
    notes = []
    content = system.get(path)
    if not content:
        return {}, set(), []
    try:
        table = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False, na_filter=False)
    except ValueError as error:  # also what pandas raises for a wrong number of cells, and for bytes that are no text
        raise DamagedError(f"{path} is no table of {tool}: {first_line(error)}.") from error
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes what is left of a longer row for its name
        raise DamagedError(f"{path} is damaged: its first row has more cells than its header.")
    if step not in table:
        raise DamagedError(f"{path} is no table of {tool}: it has no column {step}.")
    if not content.endswith(b"\n") and len(table):
        table = table.iloc[:-1]
        notes.append(f"{path.name} ends within a row, which is left out")
    steps = _numbers(table[step].to_numpy())
    if steps is None:
        raise DamagedError(f"{path} is damaged: its column {step} has what is no number.")
    metrics, texts = dict[str, History](), set[str]()
    for name in table.columns:
        cells = table[name].to_numpy()
        logged = cells != ""
        values = _numbers(cells[logged])
        if name == step or not logged.any():
            continue
        if values is None:
            texts.add(name)
        else:
            metrics[name] = history(steps[logged], values)
    return metrics, texts, notes


def _numbers(cells: np.ndarray) -> Float64[np.ndarray, " row"] | None:
    try:
        return cells.astype(np.float64)
    except ValueError:
        return None
