"""W&B's exports as CSV: lines of a chart, and the table of runs, which has their settings.

A chart's columns are "Step" and, for each run, "NAME - METRIC", "NAME - METRIC__MIN" and "NAME - METRIC__MAX". The
table's are "Name", "State" and others of W&B, then settings and final values. Exports in one folder are of the same
runs. W&B exports at most as many points of a line as it draws.
"""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bathymetry.core.errors import BathymetryError, DamagedError, InputError
from bathymetry.runs.columns import read_columns
from bathymetry.runs.readers.csv import frame_of
from bathymetry.runs.run import Format, History, Layout, Run, Unit, note_of
from bathymetry.runs.settings import from_name
from bathymetry.runs.table import runs_of

_NAME, _STATE, _BETWEEN = "Name", "State", " - "
_OF_RUNS = ("User", "Tags", "Created", "Runtime", "Sweep", "Notes", "Agent", "Description", "ID", "Updated", "End Time")
_MOST = 4_000_000  # characters of a header


def _units(root: Path, files: Sequence[Path]) -> list[Unit]:
    folders: dict[Path, list[Path]] = {}
    for path in sorted(files):
        if path.suffix == ".csv":
            header = _header(path)
            if _is_chart(header) or _is_table(header):
                folders.setdefault(path.parent, []).append(path)
    return [Unit(folder.relative_to(root).as_posix(), tuple(paths)) for folder, paths in folders.items()]


def _header(path: Path) -> list[str]:
    """The names of the columns; none where the file can't be read."""
    if not path.is_file():  # a pipe would be waited for
        return []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return next(csv.reader([file.readline(_MOST)]), [])
    except (OSError, ValueError, csv.Error):
        return []


def _is_chart(header: Sequence[str]) -> bool:
    """Whether each line has its smallest and largest values as well."""
    known = set(header)
    lines = [one for one in header[1:] if not one.endswith(("__MIN", "__MAX"))]
    return bool(lines) and all(_BETWEEN in one and {f"{one}__MIN", f"{one}__MAX"} <= known for one in lines)


def _is_table(header: Sequence[str]) -> bool:
    return {_NAME, _STATE} <= set(header) and len(set(_OF_RUNS) & set(header)) >= 2


def _read(unit: Unit, layout: Layout) -> list[Run]:
    """Join the lines of charts with the rows of tables that have their names."""
    runs: dict[str, Run] = {}
    charts = [path for path in unit.files if not _is_table(_header(path))]
    for path in unit.files:
        if path not in charts:
            runs |= {run.id: run for run in _of_table(path, layout)}
    lines: dict[str, dict[str, History]] = {}
    notes: list[str] = []
    refused: list[BathymetryError] = []
    for path in charts:
        try:
            _add_chart(path, sorted(runs, key=len, reverse=True), lines, notes)
        except DamagedError as error:
            refused.append(error)
    if refused and not lines and not runs:
        raise refused[0]
    for name, metrics in lines.items():
        known = runs.get(name, Run(name, from_name(name), {}))
        runs[name] = replace(known, metrics={**known.metrics, **metrics})
    said = (*notes, *map(note_of, refused))
    return [replace(run, notes=(*run.notes, *said)) if place == 0 else run for place, run in enumerate(runs.values())]


def _of_table(path: Path, layout: Layout) -> list[Run]:
    """Read the settings, states and final values of runs; of runs with one name the later are numbered."""
    frame, spelled = frame_of(path)
    names = frame[_NAME].astype(str)
    again = names.groupby(names).cumcount()
    frame[_NAME] = [name if not place else f"{name} ({place + 1})" for name, place in zip(names, again, strict=True)]
    stated = (*layout.keys, *layout.metrics)
    frame = frame.drop(columns=[one for one in _OF_RUNS if one in frame and one not in stated])
    alike = [
        one for one in frame if len(frame) > 1 and one not in (_NAME, _STATE, *stated) and frame[one].nunique() == 1
    ]
    config = {str(one): frame[one].dropna().tolist()[0] for one in alike}  # what all runs share is hardly a result
    frame = frame.drop(columns=alike).rename(columns={_STATE: "state"})
    return runs_of(frame, path.name, replace(layout, run=_NAME, step=None), config, spelled)


def _add_chart(path: Path, names: Sequence[str], lines: dict[str, dict[str, History]], notes: list[str]) -> None:
    """Add the lines of a chart to those of their runs."""
    header = _header(path)
    if twice := next((one for one, count in Counter(header).items() if count > 1), None):
        raise InputError("line", twice, f"{path.name} has two runs of this name; export the chart with their ids")
    metrics, _, said = read_columns(path, header[0], "W&B")
    notes += said
    for column, logged in metrics.items():
        if column.endswith(("__MIN", "__MAX")):
            continue
        name = next((one for one in names if column.startswith(f"{one}{_BETWEEN}")), column.rsplit(_BETWEEN, 1)[0])
        if ": " in name and name not in names:
            raise InputError("line", name, f"{path.name} has groups of runs; export the chart without grouping")
        lines.setdefault(name, {})[column[len(name) + len(_BETWEEN) :]] = logged


FORMAT = Format("W&B export", _units, _read, "exported charts (Step, NAME - METRIC, …)", depends_on_layout=True)
