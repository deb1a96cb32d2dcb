"""Tidy tables to runs: which rows are one run, which column counts its steps, and what is a setting of it.

A run is told apart by the column that names it or, without one, by the settings that the user states as keys. Other
columns are settings where they do not change along any run, and metrics where they hold numbers that do.
"""

import numbers
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from bathymetry.core.errors import InputError, did_you_mean
from bathymetry.core.showing import joined
from bathymetry.runs.run import Layout, Run, Scalar, Status, history
from bathymetry.runs.settings import unified

STEPS = (
    "step",
    "_step",
    "global_step",
    "iteration",
    "iter",
    "timestep",
    "timesteps",
    "total_steps",
    "epoch",
    "episode",
)
_RUNS = ("run", "run_id", "run_name", "_run", "trial_id", "experiment_id")
_STATES: Mapping[str, Status] = {
    "finished": "finished", "completed": "finished", "complete": "finished", "done": "finished", "success": "finished",
    "running": "running", "pending": "running",
    "crashed": "crashed", "failed": "crashed", "killed": "crashed", "error": "crashed",
}  # fmt: skip
_STATUSES = ("status", "state")
Flags = np.ndarray[Any, np.dtype[np.bool_]]  # one for each row
_SPLITTING = 30  # different values at most of a column that may tell runs apart


def runs_of(
    frame: pd.DataFrame,
    name: str,
    layout: Layout,
    config: Mapping[str, Scalar] = {},
    spelled: Mapping[str, Flags] | None = None,
    *,
    has_empty: bool = False,
) -> list[Run]:
    """Take a tidy table apart into runs.

    Args:
        frame: One row per run, or per run and step.
        name: Of the file, for ids and errors.
        layout: What the user says of the columns.
        config: Settings that hold for all its rows, such as from the path of the file.
        spelled: By column, the rows in which NaN is written out; None where that can't be told from an empty cell.
        has_empty: Whether it is noted where a metric's last cells are empty, as some programs write NaN so.
    """
    if frame.columns.nlevels > 1:
        remedy = "expected one name each, as from frame.set_axis(frame.columns.map('/'.join), axis=1)"
        raise InputError(
            "columns", frame.columns[0], f"{name} names its columns on {frame.columns.nlevels} levels; {remedy}"
        )
    if not all(isinstance(one, str) for one in frame.columns):  # of a small file, copies take most of the time
        frame = frame.rename(columns=str)
    if not isinstance(frame.index, pd.RangeIndex) or frame.index.start or frame.index.step != 1:
        frame = frame.reset_index(drop=True)
    if frame.columns.has_duplicates:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise InputError("column", twice, f"{name} has it twice; expected different names")
    for field, column in (("step", layout.step), ("run", layout.run)):
        if column is not None and column not in frame:
            known = list(frame.columns)
            raise InputError(
                field, column, f"{name} has no such column; {did_you_mean(column, known)}it has {joined(known)}"
            )
    if not len(frame):
        return []
    if index := [one for one in map(str, frame) if re.fullmatch(r"(Unnamed: \d+)?", one)]:
        frame = frame.drop(columns=index)
    if objects := [str(one) for one, kind in frame.dtypes.items() if pd.api.types.is_object_dtype(kind)]:
        frame = frame.assign(**{one: _of_one_kind(frame[one]) for one in objects})
    free = {one.lower(): one for one in map(str, frame) if one not in layout.keys}
    step = layout.step or next((free[one] for one in STEPS if one in free), None)
    run = layout.run or next((free[one] for one in _RUNS if one in free), None)
    keys = [run] if run else [one for one in layout.keys if one in frame and one != step]
    groups = _groups(frame, keys)
    copies = 0
    if run is None:
        groups, copies = _split(frame, groups, keys, step, layout, name)
    runs = _Table(frame, groups, step, run, layout, name, spelled, has_empty=has_empty).runs(config)
    if copies:
        note = f"{copies:,} of {len(frame):,} rows of {name} are copies of others and count once"
        runs[0] = replace(runs[0], notes=(*runs[0].notes, note))
    return runs


def _of_one_kind(values: pd.Series) -> pd.Series:
    """Make numbers of a column of objects, such as decimals, and text of lists; of mixed kinds as settings are."""
    kind = pd.api.types.infer_dtype(values, skipna=True)
    if kind in ("string", "boolean", "empty", "datetime", "datetime64", "date", "time"):
        return values
    there = values.notna().to_numpy()
    plain = [_plain(one) for one in values[there]]
    spelled = values.copy()
    spelled[there] = pd.Series(unified(plain), index=values.index[there], dtype=object)
    if pd.api.types.infer_dtype(spelled, skipna=True) in ("integer", "floating", "mixed-integer-float"):
        with suppress(ValueError, TypeError, OverflowError):
            return pd.to_numeric(spelled)
    return spelled


def _plain(value: object) -> Scalar:
    """Make a Scalar of a cell."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str | int | float | bool):
        return value
    return float(value) if isinstance(value, numbers.Real | Decimal) else str(value)


def _groups(frame: pd.DataFrame, keys: Sequence[str]) -> np.ndarray[Any, Any]:
    """Number the runs: one number for each row."""
    if not keys:
        return np.zeros(len(frame), dtype=np.int64)
    return np.asarray(frame.groupby(list(keys), sort=False, dropna=False).ngroup().to_numpy())


def _split(
    frame: pd.DataFrame, groups: np.ndarray[Any, Any], keys: list[str], step: str | None, layout: Layout, name: str
) -> tuple[np.ndarray[Any, Any], int]:
    """Where rows of one run and step repeat, split by the columns that tell runs apart; also count copies of rows."""
    at = frame[step] if step else pd.Series(0, index=frame.index)
    is_one = not keys and step is not None and at.is_unique
    if is_one or not pd.DataFrame({"group": groups, "at": at.to_numpy()}).duplicated().any():
        return groups, 0
    others = [one for one in frame.columns if one not in (*keys, step, *layout.metrics)]
    # what differs in every row, such as the time, is no run's name
    few = [one for one in others if _is_setting(frame[one]) and 2 * frame[one].nunique(dropna=False) <= len(frame)]
    has_rows = int(at.groupby(groups).nunique().max()) > 1 and 2 * (groups.max() + 1) <= len(frame)
    copies = frame.assign(_group=groups).duplicated().to_numpy()
    finer, pairs = groups, pd.Series(dtype=bool)
    for chosen in ([], *([one] for one in few), few):
        split = _groups(frame.assign(_group=groups)[["_group", *chosen]], ["_group", *chosen])
        repeats = pd.DataFrame({"group": split, "at": at.to_numpy()})[~copies].duplicated()
        if repeats.any():
            finer, pairs = split, repeats
        elif not (chosen and has_rows and 2 * (split.max() + 1) > len(frame)):
            return split, int(copies.sum())
    row = int(pairs[pairs].index[0])
    same = at.isna() if pd.isna(at.iloc[row]) else at == at.iloc[row]
    first = int(np.flatnonzero((finer == finer[row]) & same.to_numpy())[0])
    where = ", ".join(f"{one}={frame[one].iloc[row]}" for one in (*keys, *few)) or name
    when = f" at {step} {at.iloc[row]:g}" if step and pd.api.types.is_number(at.iloc[row]) else ""
    what = f"rows {first + 1:,} and {row + 1:,} of {name} are both of it{when} with different numbers, and no column"
    remedy = "remove one, or add a column that names the run or counts steps (--run COLUMN, --step COLUMN)"
    raise InputError("rows", where, f"{what} tells runs apart: {remedy}")


def _is_setting(values: pd.Series) -> bool:
    """Whether a column may be a setting: text, or few different numbers that repeat."""
    count = values.nunique(dropna=False)
    is_number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    return count > 1 and (not is_number or (count <= _SPLITTING and count <= len(values) / 2))


class _Table:
    """A table with the number of each row's run."""

    def __init__(
        self,
        frame: pd.DataFrame,
        groups: np.ndarray[Any, Any],
        step: str | None,
        run: str | None,
        layout: Layout,
        name: str,
        spelled: Mapping[str, Flags] | None,
        *,
        has_empty: bool,
    ) -> None:
        self._has_empty = has_empty
        order = np.argsort(groups, kind="stable")
        self._spelled = None if spelled is None else {one: rows[order] for one, rows in spelled.items()}
        self._frame, self._step, self._run, self._layout, self._name = frame.iloc[order], step, run, layout, name
        _, self._starts = np.unique(groups[order], return_index=True)
        self._ends = np.append(self._starts[1:], len(frame))
        self._has_rows = bool((self._ends - self._starts > 1).any())

    def runs(self, config: Mapping[str, Scalar]) -> list[Run]:
        """Make the runs, in the order of their first rows."""
        settings, metrics, texts = self._roles()
        steps = self._steps()
        columns = {one: pd.to_numeric(self._frame[one]).to_numpy(np.float64, na_value=np.nan) for one in metrics}
        fixed = {one: self._first(one) for one in settings}
        names = self._frame[self._run].iloc[self._starts].tolist() if self._run else None
        made = []
        for place, (start, end) in enumerate(zip(self._starts, self._ends, strict=True)):
            own = {one: _scalar(values[place]) for one, values in fixed.items()}
            status: Status = "unknown"
            for one in _STATUSES:
                status = _STATES.get(str(own.get(one, "")).lower(), status)
                if status != "unknown":
                    own.pop(one)
                    break
            found, notes = {}, []
            for one, values in columns.items():
                own_steps, own_values = steps[start:end], values[start:end]
                there = np.isfinite(own_steps)
                filled = there & ~np.isnan(own_values)
                as_nan = filled | _gaps_as_nan(there, filled)
                if self._spelled is not None:
                    if one in self._spelled:
                        filled |= there & self._spelled[one][start:end]
                    is_asked = self._has_empty and one in (self._layout.metrics or columns)
                    if is_asked and as_nan.any() and not filled[np.flatnonzero(as_nan)[-1]]:
                        notes.append(f"the last cells of {one} are empty, so not logged; a run that diverged has nan")
                    as_nan = filled
                if as_nan.any():
                    found[one] = history(own_steps[as_nan], own_values[as_nan])
            many = len(self._starts) > 1
            run = str(names[place]) if names else f"{self._name}:{place + 1}" if many else self._name
            made.append(Run(run, {**config, **own}, found, status, tuple(notes), frozenset(texts)))
        return made

    def _roles(self) -> tuple[list[str], list[str], list[str]]:
        """Sort the columns into settings, metrics, and texts that change along a run."""
        settings, metrics, texts = list[str](), list[str](), list[str]()
        for one in self._frame.columns:
            if one in (self._step, self._run):
                continue
            values = self._frame[one]
            is_number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
            if one in self._layout.keys:
                settings.append(one)
            elif one in self._layout.metrics:
                (metrics if is_number or pd.api.types.is_bool_dtype(values) else texts).append(one)
            elif self._is_constant(values) and (not is_number or self._has_rows or _is_setting(values)):
                settings.append(one)
            else:
                (metrics if is_number else texts).append(one)
        return settings, metrics, texts

    def _is_constant(self, values: pd.Series) -> bool:
        """Whether a column has one value in each run; text may be missing in further rows."""
        codes, _ = pd.factorize(values, use_na_sentinel=True)
        if not pd.api.types.is_numeric_dtype(values):
            highest = np.maximum.reduceat(codes, self._starts)
            highest = np.repeat(highest, self._ends - self._starts)
            return bool(((codes == highest) | (codes == -1)).all())
        first = np.repeat(codes[self._starts], self._ends - self._starts)
        return bool((codes == first).all())

    def _first(self, column: str) -> list[Any]:
        """Take a column's first value of each run, of text the first that is there."""
        values = self._frame[column].iloc[self._starts]
        if not pd.api.types.is_numeric_dtype(values) and values.isna().any():
            group = np.repeat(np.arange(len(self._starts)), self._ends - self._starts)
            values = self._frame[column].groupby(group, sort=True).first()
        return list(values.tolist())

    def _steps(self) -> np.ndarray[Any, Any]:
        """Number the rows of each run where no column counts them."""
        if self._step is None:
            lengths = self._ends - self._starts
            return np.arange(len(self._frame), dtype=np.float64) - np.repeat(self._starts, lengths)
        values = self._frame[self._step]
        if not pd.api.types.is_numeric_dtype(values):
            wrong = next((one for one in values if not isinstance(one, int | float)), values.iloc[0])
            raise InputError("step", wrong, f"the column {self._step} of {self._name} counts steps; expected numbers")
        return np.asarray(values.to_numpy(np.float64, na_value=np.nan))


def _gaps_as_nan(there: Flags, filled: Flags) -> Flags:
    """Choose the empty cells that count as NaN where a table can't tell.

    At the end of a run these are all where the metric would have been logged again, and otherwise none: other metrics
    were logged in those rows.
    """
    if not filled.any():
        return there
    last = np.flatnonzero(filled)[-1]
    every = np.diff(np.flatnonzero(filled), prepend=-1).max()
    tail = there & ~filled & (np.arange(len(filled)) > last)
    return tail if tail.sum() >= every else np.zeros_like(tail)


def _scalar(value: object) -> Scalar:
    """Make a plain Python value of a cell; an empty one is None."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)  # a column of whole numbers with a gap
    return value if isinstance(value, str | int | float | bool) else str(value)
