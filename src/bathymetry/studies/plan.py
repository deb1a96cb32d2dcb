"""What a study plans: ensembles to train, and measurements over several of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import xarray as xr

if TYPE_CHECKING:  # PyTorch takes seconds to load
    from bathymetry.store import Chunk
    from bathymetry.training import TrainingConfig

Coordinate = str | int | float
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
