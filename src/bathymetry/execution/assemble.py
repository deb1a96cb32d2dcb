"""Results from records: each record goes to its coordinates, and where nothing was planned is NaN."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import xarray as xr

from bathymetry.studies import JointMeasurement
from bathymetry.studies.base import Coordinate, Groups, PlannedEnsemble

Placed = tuple[Mapping[str, Coordinate], xr.Dataset]


def assemble(records: Iterable[tuple[PlannedEnsemble | JointMeasurement, xr.Dataset]]) -> Groups:
    """Put records together along their coordinates, in the order of the plan; NaN where none was planned."""
    placed: dict[str, list[Placed]] = {}
    sizes: dict[str, list[Mapping[str, int]]] = {}
    for planned, record in records:
        if isinstance(planned, PlannedEnsemble):
            sizes.setdefault(planned.group, []).append(_sizes(planned))
            record = record.drop_vars("examples", errors="ignore")  # ensembles may differ in it
        placed.setdefault(planned.group, []).append((planned.coordinates, record.drop_attrs()))
    groups = {}
    for name, some in placed.items():
        group = _joined(some, list(dict.fromkeys(dim for coordinates, _ in some for dim in coordinates)))
        known = sizes.get(name, [])
        if known and "split" in group.dims and all(one == known[0] for one in known):
            group = group.assign_coords(examples=("split", [known[0][one] for one in group["split"].values.tolist()]))
        groups[name] = group
    return groups


def _sizes(planned: PlannedEnsemble) -> dict[str, int]:
    """How many examples each set has by which the members are evaluated."""
    config = planned.config
    sets = {name: len(one.examples) for name, one in config.evaluation_sets(planned.members[:1]).items()}
    return sets if config.evaluate_on is not None else {"train": len(config.train_examples), **sets}


def _joined(placed: Sequence[Placed], dims: Sequence[str]) -> xr.Dataset:
    if not dims:
        return placed[0][1]
    along, rest = dims[0], dims[1:]
    values = list(dict.fromkeys(coordinates[along] for coordinates, _ in placed))
    pieces = [_joined([one for one in placed if one[0][along] == value], rest) for value in values]
    labelled = [piece.expand_dims({along: [value]}) for piece, value in zip(pieces, values, strict=True)]
    if len(labelled) == 1:
        return labelled[0]
    joined = xr.concat(labelled, dim=along, join="outer", coords="minimal", compat="override", data_vars="all")
    return joined.reindex({dim: _in_order(labelled, dim) for dim in rest}) if rest else joined


def _in_order(pieces: Sequence[xr.Dataset], dim: str) -> list[Any]:
    return list(dict.fromkeys(value for piece in pieces for value in piece[dim].values.tolist()))
