"""MLflow: a folder `mlruns` with a folder for each run, or a SQLite database, `mlflow.db`.

MLflow stores parameters and tags as text; text that is a number, True or False is read as such. A run whose
process was killed stays RUNNING. Deleted runs are left out.
"""

import os
import re
from array import array
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from bathymetry.core.errors import DamagedError
from bathymetry.runs import settings, sqlite
from bathymetry.runs.run import Format, History, Layout, Run, Scalar, Status, Unit, history

_META = "meta.yaml"
_TABLES = {
    "experiments": ("experiment_id", "name"),
    "runs": ("run_uuid", "status", "experiment_id"),
    "params": ("run_uuid", "key", "value"),
    "metrics": ("run_uuid", "key", "value", "timestamp", "step"),
}
_RUNS = re.compile(rb"^run_(id|uuid):", re.MULTILINE)
_START = re.compile(rb"^start_time: ([0-9]{1,20})\b", re.MULTILINE)
_IN_TABLES = {".csv", ".tsv", ".parquet", ".json", ".jsonl", ".ndjson"}  # artifacts that look like other runs
_STATUS: Mapping[str, Status] = {
    "1": "running", "2": "running", "3": "finished", "4": "crashed", "5": "crashed",
    "RUNNING": "running", "SCHEDULED": "running", "FINISHED": "finished", "FAILED": "crashed", "KILLED": "crashed",
}  # fmt: skip
_MOST = 1_000_000  # bytes of a parameter or a run's description
_LARGEST = np.finfo(np.float64).max  # what MLflow stores for infinity in a database


def _units(root: Path, files: Sequence[Path]) -> list[Unit]:
    began = {file.parent: _began(file) for file in files if file.name == _META}
    folders = {folder: time for folder, time in began.items() if time is not None}
    owned: defaultdict[Path, list[Path]] = defaultdict(list)
    for file in files if folders else ():
        folder = next((one for one in file.parents if one in folders), None)
        if folder is not None:
            inside = file.relative_to(folder).parts
            if inside == (_META,) or inside[0] in ("metrics", "params", "tags") or file.suffix.lower() in _IN_TABLES:
                owned[folder].append(file)
    names = {folder: root.name if folder == root else os.path.relpath(folder, root) for folder in owned}
    in_order = sorted(owned, key=lambda folder: folders[folder])  # the folders' own names are random
    return [Unit(names[folder], tuple(owned[folder])) for folder in in_order] + sqlite.units_with(root, files, _TABLES)


def _began(meta: Path) -> int | None:
    """When a run began; None where the file describes no run, but an experiment or something of another program."""
    text = sqlite.start(meta, _MOST)
    if not _RUNS.search(text):
        return None
    time = _START.search(text)
    return int(time[1]) if time else 0


def _read(unit: Unit, _: Layout) -> list[Run]:
    meta = next((file for file in unit.files if file.name == _META), None)
    return _read_database(unit) if meta is None else _read_folder(unit, meta)


def _read_folder(unit: Unit, meta: Path) -> list[Run]:
    """Read a run of the file store; names with a slash are folders."""
    about = settings.from_file(meta)
    if about.get("lifecycle_stage", "active") != "active":
        return []
    above = meta.parent.parent / _META
    experiment = settings.from_file(above).get("name") if above.is_file() else about.get("experiment_id")
    texts: dict[str, dict[str, str]] = {"params": {}, "tags": {}}
    metrics: dict[str, History] = {}
    notes: list[str] = []
    for file in unit.files:
        kind, *parts = file.relative_to(meta.parent).parts
        name = "/".join(parts)
        if kind in texts:
            texts[kind][name] = _content(unit, file, _MOST).decode(errors="replace")
        elif kind == "metrics":
            rows, whole = _lines(unit, name, _content(unit, file))
            metrics[name], counted = _curve(rows)
            notes += counted
            if not whole:
                notes.append(f"the last line of {name} is not whole and is left out")
    key = str(about.get("run_id", about.get("run_uuid", unit.name)))
    return [_run(key, about.get("status"), experiment, texts["params"], texts["tags"], metrics, notes)]


def _read_database(unit: Unit) -> list[Run]:
    with sqlite.opened(unit) as database:
        names = dict(database.rows("experiments", "experiment_id", "name"))
        about = database.rows("runs", "run_uuid", "status", "experiment_id", "lifecycle_stage")
        runs = [row for row in about if row[3] in ("active", None)]
        texts: defaultdict[tuple[str, str], dict[str, str]] = defaultdict(dict)
        for table in ("params", "tags"):
            for run, name, value in database.rows(table, "run_uuid", "key", "value"):
                texts[table, run][str(name)] = str(value)
        logged: defaultdict[str, dict[str, array[float]]] = defaultdict(dict)
        columns = ("run_uuid", "key", "timestamp", "value", "step", "is_nan")
        for run, name, time, value, step, is_nan in database.rows("metrics", *columns):
            one = logged[run].setdefault(str(name), array("d"))
            try:
                one.extend((time, float("nan") if is_nan else value, step))
            except TypeError:
                raise ValueError(f"metric {str(name)[:40]} has a value that is no number") from None
    found = []
    for run, status, experiment, _ in runs:
        metrics: dict[str, History] = {}
        notes: list[str] = []
        for name, cells in logged[run].items():
            rows = np.array(cells).reshape(-1, 3)
            rows[:, 1] = np.where(abs(rows[:, 1]) == _LARGEST, np.copysign(np.inf, rows[:, 1]), rows[:, 1])
            metrics[name], counted = _curve(rows)
            notes += counted
        own = texts["params", run], texts["tags", run]
        found.append(_run(str(run), status, names.get(experiment, experiment), *own, metrics, notes))
    return found


def _run(
    key: str,
    status: object,
    experiment: object,
    params: Mapping[str, str],
    tags: Mapping[str, str],
    metrics: Mapping[str, History],
    notes: Sequence[str],
) -> Run:
    config: dict[str, Scalar] = {"experiment": str(experiment)}
    config |= {f"tags.{name}": settings.parsed(text) for name, text in tags.items() if not name.startswith("mlflow.")}
    config |= {name: settings.parsed(text) for name, text in params.items()}
    return Run(key, config, metrics, _STATUS.get(str(status), "unknown"), tuple(dict.fromkeys(notes)))


def _curve(rows: Float64[np.ndarray, "row 3"]) -> tuple[History, list[str]]:
    """Order (time, value, step); values without steps, which MLflow puts at step 0, are counted."""
    _, value, step = rows[np.argsort(rows[:, 0], kind="stable")].T
    if len(step) > 1 and not step.any():
        return history(np.arange(len(step)), value), ["logged without steps; counted in order of time"]
    return history(step, value), []


def _lines(unit: Unit, name: str, content: bytes) -> tuple[Float64[np.ndarray, "row 3"], bool]:
    """Read "time value step" and perhaps a data set, or "time value" of early versions; whether the last is whole."""
    text = content.decode(errors="replace")
    whole = text.endswith("\n") or not text
    lines = text[: text.rfind("\n") + 1].splitlines()
    rows = np.zeros((len(lines), 3))
    for k, line in enumerate(lines):
        fields = line.split(" ")
        try:
            rows[k, : len(fields)] = [float(one) for one in fields[:3]] if len(fields) > 1 else [float("")]
        except ValueError:
            raise DamagedError(
                f"{unit.name} can't be read as MLflow (metric {name}, line {k + 1}: "
                f"expected time, value and step, found {line[:40]!r})."
            ) from None
    return rows, whole


def _content(unit: Unit, file: Path, most: int = -1) -> bytes:
    with file.open("rb") as opened:
        content = opened.read(most if most < 0 else most + 1)
    if 0 <= most < len(content):
        raise DamagedError(f"{unit.name} can't be read as MLflow ({file.name} has more than {most:,} bytes).")
    return content


FORMAT = Format("MLflow", _units, _read, wanted="MLflow's mlruns/EXPERIMENT/RUN/meta.yaml or mlflow.db")
