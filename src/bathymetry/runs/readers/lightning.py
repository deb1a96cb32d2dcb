"""Lightning's `CSVLogger`: folders "version_N" with metrics.csv and hparams.yaml.

A row has the metrics that were logged together; the cells of others are empty, which is not NaN.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from bathymetry.runs import settings
from bathymetry.runs.columns import read_columns
from bathymetry.runs.run import Format, Layout, Run, Unit

_METRICS, _SETTINGS, _STEP = "metrics.csv", "hparams.yaml", "step"
_VERSION = re.compile(r"version_\d+")


def _units(root: Path, files: Sequence[Path]) -> list[Unit]:
    known = set(files)
    found = []
    for path in sorted(files):
        said = path.parent / _SETTINGS
        if path.name == _METRICS and (said in known or _VERSION.fullmatch(path.parent.name)):
            name = path.parent.relative_to(root).as_posix()
            found.append(Unit(name, (path, said) if said in known else (path,)))
    return found


def _read(unit: Unit, _: Layout) -> list[Run]:
    """Read one folder."""
    metrics, texts, notes = read_columns(unit.files[0], _STEP, "Lightning")
    config, refused = settings.from_files(unit.files[1:])
    name = unit.files[0].resolve().parent.name if unit.name == "." else unit.name
    config = config or settings.from_name(unit.name)
    return [Run(name, config, metrics, notes=(*notes, *refused), texts=frozenset(texts))]


FORMAT = Format("Lightning", _units, _read, "version_N/metrics.csv")
