"""Trackio: a SQLite database for each project, PROJECT.db, with metrics and settings as JSON; or its Parquet files.

Where there is no database, as in the data set of a Space, PROJECT.parquet has the metrics and PROJECT_configs.parquet
the settings; in a static Space these are metrics.parquet and aux/configs.parquet. Trackio does not record whether a run
ended. Logs that wait in its folder `inbox` are in neither.
"""

import json
from array import array
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bathymetry.core.errors import DamagedError, first_line
from bathymetry.runs import sqlite
from bathymetry.runs.readers import parquet
from bathymetry.runs.run import Format, Layout, Run, Unit, flat, history

_NUMBERS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}  # which JSON can't say
_Row = tuple[Any, Any, Any, Mapping[str, Any]]  # id and name of the run, step, and what was logged
_PARQUET = ".parquet"
_OWN = {"id", "run_id", "run_name", "timestamp", "step", "log_id", "space_id", "created_at"}  # columns of Trackio's
_GROUP = "_Group"  # the only setting of Trackio's own that its user chose


def _units(root: Path, files: Sequence[Path]) -> list[Unit]:
    known = set(files)
    projects = sqlite.units_with(root, files, {"metrics": ("run_name", "step", "metrics")})
    databases = {unit.files[0] for unit in projects}
    units = [Unit(unit.name, (*unit.files, *_tables(unit.files[0], known))) for unit in projects]
    for file in files:
        tables = _tables(file, known) if file.suffix == _PARQUET and file.with_suffix(".db") not in databases else []
        if len(tables) > 1 and tables[0] == file and tables[1].stem.endswith("configs"):
            units.append(Unit(str(file.relative_to(root)), tuple(tables)))
    return units


def _tables(project: Path, known: Collection[Path]) -> list[Path]:
    """The Parquet files of a project: metrics, settings, and what is not read."""
    beside = [project.with_name(f"{project.stem}{end}{_PARQUET}") for end in ("", "_configs", "_system", "_traces")]
    aux = [project.with_name("aux") / f"{name}{_PARQUET}" for name in ("configs", "system_metrics", "traces")]
    return [one for one in [*beside, *(aux if project.name == f"metrics{_PARQUET}" else [])] if one in known]


def _read(unit: Unit, _: Layout) -> list[Run]:
    if unit.files[0].suffix == _PARQUET:
        metrics, settings = (parquet.read(path, lambda table: table.to_pylist()) for path in unit.files[:2])
        try:
            return _runs(unit, map(_columns, settings), map(_columns, metrics))
        except (ValueError, TypeError, OverflowError) as error:
            raise DamagedError(f"{unit.name} can't be read as Trackio ({first_line(error)}).") from error
    with sqlite.opened(unit) as database:
        configs = database.rows("configs", "run_id", "run_name", "id", "config")
        logged = database.rows("metrics", "run_id", "run_name", "step", "metrics")
        return _runs(unit, map(_decoded, configs), map(_decoded, logged))


def _decoded(row: tuple[Any, ...]) -> _Row:
    *columns, text = row
    value = json.loads(text) if isinstance(text, str | bytes) else None
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, found {str(value)[:20]!r}")
    return (*columns, value)


def _columns(row: dict[str, Any]) -> _Row:
    """A row of a Parquet file, which has a column for each name; where a run has none of it the cell is empty."""
    own = {name: value for name, value in row.items() if name not in _OWN and value is not None}
    return row.get("run_id"), row.get("run_name"), row.get("step"), own


def _runs(unit: Unit, configs: Iterable[_Row], logs: Iterable[_Row]) -> list[Run]:
    """Collect the rows of each run by its id, and from before Trackio had ids by its name."""
    names: dict[str, str] = {}
    logged: dict[str, dict[str, tuple[array[float], array[float]]]] = {}
    texts: defaultdict[str, set[str]] = defaultdict(set)
    settings: dict[str, Mapping[str, Any]] = {}
    for run_id, name, _, config in configs:
        key = str(name if run_id is None else run_id)
        names[key], settings[key] = str(name), config
    for run_id, name, step, metrics in logs:
        key = str(name if run_id is None else run_id)
        names.setdefault(key, str(name))
        own = logged.setdefault(key, {})
        for metric, value in _values(metrics):
            if isinstance(value, int | float):
                steps, values = own.setdefault(metric, (array("d"), array("d")))
                steps.append(step)
                values.append(value)
            elif value is not None:
                texts[key].add(metric)
    count = Counter(names.values())
    return [
        Run(
            id=name if count[name] == 1 else f"{name} ({key})",
            config={"project": Path(unit.name).stem} | _config(settings.get(key, {})),
            metrics={metric: history(*rows) for metric, rows in logged.get(key, {}).items()},
            texts=frozenset(texts[key] - set(logged.get(key, {}))),
        )
        for key, name in names.items()
    ]


def _config(config: Mapping[str, Any]) -> dict[str, Any]:
    own = {name: value for name, value in config.items() if not name.startswith("_")}
    return flat({"group": config[_GROUP]} | own if config.get(_GROUP) is not None else own)


def _values(logged: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what was logged; nested names are joined by dots, except those of tables, images and the like."""
    for name, value in logged.items():
        if isinstance(value, dict) and "_type" not in value:
            yield from _values(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _NUMBERS.get(value, value) if isinstance(value, str) else value


FORMAT = Format("Trackio", _units, _read, wanted="Trackio's PROJECT.db or PROJECT_configs.parquet")
