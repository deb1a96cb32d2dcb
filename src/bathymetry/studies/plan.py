"""What a study plans: ensembles to train, and measurements over several of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # so that listing the studies need not wait for PyTorch
    import xarray as xr

    from bathymetry.store import Unit
    from bathymetry.training import TrainingConfig

Coordinate = str | int | float


@dataclass(frozen=True)
class PlannedEnsemble:
    """Members to train under one setting, and where their records go in the study's results."""

    coordinates: Mapping[str, Coordinate]  # {"function": "cos", "network": "deep"}
    config: "TrainingConfig"
    members: range
    group: str = ""  # the group of the results; "" for the results proper


@dataclass(frozen=True)
class JointMeasurement:
    """A measurement that needs the parameters of several ensembles, such as a line between two solutions.

    Its function may have an attribute `seconds`, about how long it takes for a member: a plan adds these up.
    """

    coordinates: Mapping[str, Coordinate]
    of: tuple[PlannedEnsemble, ...]
    function: "Callable[[Sequence[Unit]], xr.Dataset]"  # gets a unit with all members of each ensemble
    group: str = ""


@dataclass(frozen=True)
class Plan:
    """All that a study has to do before its results can be put together."""

    ensembles: tuple[PlannedEnsemble, ...]
    joints: tuple[JointMeasurement, ...] = ()
    notes: tuple[str, ...] = field(default=())  # what was chosen for the user, such as widths for another input size
    data: Mapping[str, str] = field(default_factory=dict)  # name → source and digest in words
