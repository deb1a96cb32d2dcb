"""Records: what was measured of every member, epoch by epoch, as one labelled dataset."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from bathymetry.core.errors import InputError
from bathymetry.training.measurement import Measurement, Moment


class Recorder:
    """Collects rows as training goes on.

    Args:
        members: The members' numbers.
        measurements: What to measure beside loss and accuracy, by name.
    """

    def __init__(self, members: range, measurements: Mapping[str, Measurement]) -> None:
        self._members, self._measurements = members, measurements
        self.epochs: list[int] = []
        self.steps: list[int] = []
        self.rows: dict[str, list[Tensor]] = {}
        self._places: dict[str, list[int]] = {}

    def record(self, moment: Moment, scores: Mapping[str, Tensor]) -> None:
        """Add one epoch.

        Args:
            moment: The moment, for the measurements that are due at every recorded epoch.
            scores: Losses and accuracies by name, one value a member.
        """
        self.epochs.append(moment.epoch)
        self.steps.append(moment.step)
        for name, values in scores.items():
            self.rows.setdefault(name, []).append(values)
        self._measure(moment, everywhere=True)

    def visit(self, moment: Moment) -> None:
        """Make the measurements that ask for this very epoch.

        Args:
            moment: The moment.
        """
        self._measure(moment, everywhere=False)

    def dataset(self, attributes: Mapping[str, str]) -> xr.Dataset:
        """Give all that was recorded.

        Args:
            attributes: What to say of the whole.

        Returns:
            Variables over (member, epoch) and over the axes that measurements name.
        """
        variables: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
        coordinates: dict[str, object] = {"member": list(self._members), "epoch": self.epochs}
        for name, rows in self.rows.items():
            measurement = self._measurements.get(name)
            along = measurement.dimension if measurement and measurement.epochs is not None else "epoch"
            values = torch.stack(list(rows), dim=1).cpu().numpy()
            axes = measurement.axes if measurement else ()
            named = (*axes, *(f"{name}_{i}" for i in range(len(axes), values.ndim - 2)))
            variables[name] = (("member", along, *named), values)
            if along != "epoch":
                coordinates[along] = self._places[name]
        dataset = xr.Dataset(variables, coords=coordinates, attrs=dict(attributes))
        return dataset.assign_coords(step=("epoch", self.steps))

    def measured_at(self, recorded: Sequence[int]) -> dict[str, Sequence[int]]:
        """Give the epochs of each measurement.

        Args:
            recorded: The epochs at which losses are recorded.

        Returns:
            The epochs, by the measurement's name.
        """
        each = self._measurements.items()
        return {name: recorded if one.epochs is None else sorted(set(one.epochs)) for name, one in each}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Give all that was recorded, to be restored later.

        Returns:
            The rows of each name as one tensor, and when they were taken, plain JSON.
        """
        rows = {name: torch.stack(values, dim=1) for name, values in self.rows.items()}
        places = {name: list(epochs) for name, epochs in self._places.items()}
        return rows, {"epochs": list(self.epochs), "steps": list(self.steps), "places": places}

    def restore(self, rows: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Go on from what was recorded earlier.

        Args:
            rows: As `state` gave them.
            state: When they were taken.
        """
        self.rows = {name: list(values.unbind(dim=1)) for name, values in rows.items()}
        self.epochs, self.steps = list(state["epochs"]), list(state["steps"])
        self._places = {name: list(places) for name, places in state["places"].items()}

    def _measure(self, moment: Moment, *, everywhere: bool) -> None:
        for name, measurement in self._measurements.items():
            due = measurement.epochs is None if everywhere else moment.epoch in (measurement.epochs or ())
            if not due:
                continue
            values = _as_values(measurement.function(moment), name)
            axes = 1 + len(measurement.axes)
            if values.shape[:1] != (len(self._members),) or values.ndim < axes:
                named = f", then {', '.join(measurement.axes)}" if measurement.axes else ""
                remedy = f"a measurement's first axis must be the {len(self._members)} members{named}"
                raise InputError(f"measurements[{name}]", f"shape {tuple(values.shape)}", remedy)
            self.rows.setdefault(name, []).append(values)
            self._places.setdefault(name, []).append(moment.epoch)


def _as_values(measured: object, name: str) -> Tensor:
    try:
        return torch.as_tensor(measured).detach().clone()
    except (RuntimeError, TypeError, ValueError) as error:
        remedy = "a measurement gives numbers, one row a member"
        raise InputError(f"measurements[{name}]", f"a {type(measured).__name__}", remedy) from error
