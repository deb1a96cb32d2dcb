"""Trackio: a SQLite database for each project, PROJECT.db, with metrics and settings as JSON.

Trackio does not record whether a run ended. Logs that wait in its folder `inbox` are not in the database yet.
"""

import json
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bathymetry.runs import sqlite
from bathymetry.runs.run import Format, Layout, Run, Unit, flat, history

_NUMBERS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}  # which JSON can't say
_GROUP = "_Group"  # the only setting of Trackio's own that its user chose


def _units(root: Path, files: Sequence[Path]) -> list[Unit]:
    return sqlite.units_with(root, files, {"metrics": ("run_name", "step", "metrics")})


def _read(unit: Unit, _: Layout) -> list[Run]:
    """Read a project; a run is told by its id, and in databases before Trackio had ids by its name."""
    names: dict[str, str] = {}
    logged: dict[str, dict[str, tuple[array[float], array[float]]]] = {}
    texts: defaultdict[str, set[str]] = defaultdict(set)
    configs: dict[str, dict[str, Any]] = {}
    with sqlite.opened(unit) as database:
        for run_id, name, config in database.rows("configs", "run_id", "run_name", "config"):
            key = str(name if run_id is None else run_id)
            names[key], configs[key] = str(name), _mapping(config)
        for run_id, name, step, metrics in database.rows("metrics", "run_id", "run_name", "step", "metrics"):
            key = str(name if run_id is None else run_id)
            names.setdefault(key, str(name))
            own = logged.setdefault(key, {})
            for metric, value in _values(_mapping(metrics)):
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
            config={"project": Path(unit.name).stem} | _config(configs.get(key, {})),
            metrics={metric: history(*rows) for metric, rows in logged.get(key, {}).items()},
            texts=frozenset(texts[key] - set(logged.get(key, {}))),
        )
        for key, name in names.items()
    ]


def _config(config: Mapping[str, Any]) -> dict[str, Any]:
    own = {name: value for name, value in config.items() if not name.startswith("_")}
    return flat({"group": config[_GROUP]} | own if config.get(_GROUP) is not None else own)


def _mapping(text: object) -> dict[str, Any]:
    value = json.loads(text) if isinstance(text, str | bytes) else None
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, found {str(value)[:20]!r}")
    return value


def _values(logged: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what was logged; nested names are joined by dots, except those of tables, images and the like."""
    for name, value in logged.items():
        if isinstance(value, dict) and "_type" not in value:
            yield from _values(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _NUMBERS.get(value, value) if isinstance(value, str) else value


FORMAT = Format("Trackio", _units, _read, wanted="Trackio's PROJECT.db")
