"""Hydra: output folders with .hydra/config.yaml, of single runs and multiruns, and the metrics that are in them.

Hydra records settings and no metrics. These come from files of W&B, TensorBoard or Lightning below the folder; where
there are none, from tables: CSV, Parquet or JSON Lines.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from bathymetry.core.errors import BathymetryError
from bathymetry.runs import settings
from bathymetry.runs.readers import csv, jsonl, lightning, parquet, tensorboard, wandb
from bathymetry.runs.run import Format, History, Layout, Run, Scalar, Status, Unit, note_of

_FOLDER, _CONFIG = ".hydra", "config.yaml"
_TOOLS = (wandb.FORMAT, tensorboard.FORMAT, lightning.FORMAT)
_TABLES = (csv.FORMAT, parquet.FORMAT, jsonl.FORMAT)
_STATUSES: tuple[Status, ...] = ("crashed", "running", "finished", "unknown")
_REFERENCE = re.compile(r"\$\{([^${}:]+)\}")


def _units(root: Path, files: Sequence[Path]) -> list[Unit]:
    """Give each output folder the files of metrics below it, but for those of output folders inside."""
    below = {path.parent.parent: [path] for path in files if path.parts[-2:] == (_FOLDER, _CONFIG)}
    for path in files:
        if path.parent.name != _FOLDER:
            folder = next((one for one in path.parents if one in below), None)
            if folder is not None:
                below[folder].append(path)
    units = []
    for folder, (config, *others) in below.items():
        used = [one for _, unit in _inside(folder, others, (*_TOOLS, *_TABLES)) for one in unit.files]
        units.append(Unit(folder.relative_to(root).as_posix(), (config, *dict.fromkeys(used))))
    return units


def _inside(folder: Path, files: Sequence[Path], formats: Sequence[Format]) -> list[tuple[Format, Unit]]:
    """Units of other formats in an output folder."""
    found = []
    for form in formats:
        units = form.units(folder, files)
        taken = {file for unit in units for file in unit.files}
        files = [file for file in files if file not in taken]
        found += [(form, unit) for unit in units]
    return found


def _read(unit: Unit, layout: Layout) -> list[Run]:
    """Read one output folder: one run, unless a table in it has several."""
    path, *files = unit.files
    folder = path.parent.parent
    config = _without_references(settings.from_file(path))
    name = folder.resolve().name if unit.name == "." else unit.name
    inside = _inside(folder, files, _TOOLS) or _inside(folder, files, _TABLES)
    parts: list[tuple[str, list[Run]]] = []
    refused: list[BathymetryError] = []
    for form, one in inside:
        try:
            part = form.name if one.name == "." else one.name.removesuffix(one.files[0].suffix)
            parts.append((part, form.read(one, layout)))
        except BathymetryError as error:
            refused.append(error)
    if refused and not parts:
        raise refused[0]
    notes = tuple(map(note_of, refused))
    if all(len(runs) == 1 for _, runs in parts):
        return [_one_run(name, config, [(part, run) for part, (run,) in parts], notes)]
    return [
        Run(f"{name}/{run.id}", {**run.config, **config}, run.metrics, run.status, (*run.notes, *notes), run.texts)
        for _, runs in parts
        for run in runs
    ]


def _one_run(name: str, config: Mapping[str, Scalar], parts: Sequence[tuple[str, Run]], notes: Sequence[str]) -> Run:
    """Join the files of a run; a metric that several have is named by the file as well."""
    names = [metric for _, run in parts for metric in run.metrics]
    metrics: dict[str, History] = {}
    for part, run in parts:
        for metric, logged in run.metrics.items():
            metrics[metric if names.count(metric) == 1 else f"{part}/{metric}"] = logged
    own = {key: value for _, run in parts for key, value in run.config.items()}
    return Run(
        id=name,
        config={**own, **config},
        metrics=metrics,
        status=next((one for one in _STATUSES if any(run.status == one for _, run in parts)), "unknown"),
        notes=(*(note for _, run in parts for note in run.notes), *notes),
        texts=frozenset(text for _, run in parts for text in run.texts),
    )


def _without_references(config: dict[str, Scalar]) -> dict[str, Scalar]:
    """Put in the settings that others refer to whole, as in "${optimizer.lr}"; Hydra writes them as they were given."""
    for _ in range(3):  # a reference to a reference
        for key, value in config.items():
            match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
            if match and match[1] in config:
                config[key] = config[match[1]]
    return config


FORMAT = Format("Hydra", _units, _read, ".hydra/config.yaml", depends_on_layout=True)
