"""What a study plans, ensembles and measurements over several of them, and how their records become its results."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import xarray as xr

if TYPE_CHECKING:  # PyTorch takes seconds to load
    from bathymetry.store.chunks import Chunk
    from bathymetry.training import TrainingConfig

Coordinate = str | int | float
Groups = dict[str, xr.Dataset]
MAIN = "main"


@dataclass(frozen=True)
class PlannedEnsemble:
    """Members to train with one config, and where their records go in the study's results."""

    coordinates: Mapping[str, Coordinate]  # {"function": "cos", "network": "deep"}
    config: "TrainingConfig"
    members: range
    group: str = MAIN


@dataclass(frozen=True)
class JointMeasurement:
    """A measurement that needs the parameters of several ensembles, such as a line between two solutions.

    Its function may have an attribute `seconds`, about how long it takes for a member: a plan adds these up.
    """

    coordinates: Mapping[str, Coordinate]
    of: tuple[PlannedEnsemble, ...]
    function: "Callable[[Sequence[Chunk]], xr.Dataset]"  # receives one chunk with all members of each ensemble
    group: str = MAIN


@dataclass(frozen=True)
class Plan:
    """All that a study has to do before its results can be put together."""

    ensembles: tuple[PlannedEnsemble, ...]
    joints: tuple[JointMeasurement, ...] = ()
    notes: tuple[str, ...] = ()  # what was chosen for the user, such as widths for another input size
    data: Mapping[str, str] = field(default_factory=dict)  # name → source and digest in words


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
    if config.evaluate_on is not None:
        return {name: len(one.examples) for name, one in config.evaluation_sets(planned.members[:1]).items()}
    test = {} if config.test_examples is None else {"test": len(config.test_examples)}
    return {"train": len(config.train_examples), **test}


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
