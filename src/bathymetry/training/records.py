"""Records: what was measured of every member, epoch by epoch, as one labelled dataset."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Shaped
from torch import Tensor

from bathymetry.core.errors import InputError
from bathymetry.core.resources import free_bytes, gigabytes
from bathymetry.core.showing import readable
from bathymetry.core.streams import Purpose, stream
from bathymetry.data.examples import Examples
from bathymetry.training.loss import Criterion, Loss, are_classes, correct_answers, summed_losses
from bathymetry.training.mlp_backend import StackedTensors
from bathymetry.training.module_backends import Stack


@readable
class TrainingState:
    """What a measurement receives: one moment of an ensemble's training. It may read all and must change nothing."""

    epoch: int
    step: int
    members: range
    seed: int
    parameters: StackedTensors
    gradients: StackedTensors  # of the last batch; with full batches, at these very parameters
    moments: Mapping[str, StackedTensors]  # the optimiser's state, by PyTorch's names
    batch_loss: Float[Tensor, " member"]  # of the last batch; NaN before the first
    stack: Stack

    def outputs(self, inputs: Shaped[Tensor, "example *feature"]) -> Float[Tensor, "member example *output"]:
        """Ask every member the same inputs.

        Args:
            inputs: One row an example.

        Returns:
            Their outputs.
        """
        return self.stack.outputs(inputs)

    def stream(self, member: int, purpose: Purpose = "probe vectors") -> torch.Generator:
        """Open a member's own stream of random numbers at this moment.

        Args:
            member: The member's number.
            purpose: What the numbers are for.

        Returns:
            A fresh generator.
        """
        return stream(self.seed, member, purpose, self.step)


Measure = Callable[[TrainingState], Tensor]


@dataclass(frozen=True)
class Measurement:
    """A function to call at chosen epochs.

    Args:
        function: Gives a tensor whose first axis is the member.
        epochs: When; None for every epoch that is recorded.
        dimension: The name of the axis over `epochs`.
        axes: Names of the result's axes after the first.
    """

    function: Measure
    epochs: Sequence[int] | None = None
    dimension: str = "epoch"
    axes: tuple[str, ...] = ()


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

    def record(self, moment: TrainingState, scores: Mapping[str, Tensor]) -> None:
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

    def visit(self, moment: TrainingState) -> None:
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

    def _measure(self, moment: TrainingState, *, everywhere: bool) -> None:
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


_PASS_BYTES = 4_000_000


@readable
class EvaluationSet:
    """Examples to be judged by, with targets of each member's own if it has them."""

    examples: Examples
    own_targets: Shaped[Tensor, "member example *target"] | None = None  # None: all share those of the examples


@readable
class Score:
    """How an ensemble does on a set."""

    loss: Float[Tensor, " member"]  # mean over the whole set, float64
    accuracy: Float[Tensor, " member"] | None  # share of correct answers; None where there are no classes


def evaluate(
    stack: Stack, loss: Loss, criterion: Criterion, examples: EvaluationSet, members: int, dtype: torch.dtype
) -> Score:
    """Judge every member by a whole set.

    Args:
        stack: The ensemble.
        loss: Which loss; the two that have names are summed for all members at once.
        criterion: The same loss, with the weight that a part of the set has in the whole.
        examples: What to judge by.
        members: How many members there are.
        dtype: What the ensemble computes in.

    Returns:
        The loss of the whole set, however it is cut into passes, and accuracies over the labels that count in it.
    """
    data = examples.examples
    features = max(1, data.inputs[0].numel())
    size = max(256, _PASS_BYTES // (4 * max(features, 32 * members)))
    losses: _Named | _Weighted | _AtOnce
    if isinstance(loss, str):
        losses = _Named(loss, members)
    else:
        losses = _Weighted(criterion, members) if criterion.is_known else _AtOnce(criterion)
    correct = counted = torch.zeros(members, dtype=torch.float64)
    classes = False
    for start in range(0, len(data), size):
        part = slice(start, start + size)
        outputs = stack.outputs(data.scaled(data.inputs[part], dtype))
        targets = _targets(examples, part, members)
        losses.add(outputs, targets, len(data))
        classes = are_classes(outputs, targets)
        if classes:
            right, counts = correct_answers(outputs, targets, criterion.counted(targets))
            correct, counted = correct + right.cpu(), counted + counts.cpu()
    return Score(losses.whole().cpu(), correct / counted if classes else None)


class _Named:
    """A loss by name: sums over examples."""

    def __init__(self, loss: str, members: int) -> None:
        self._loss, self._total, self._rows = loss, torch.zeros(members, dtype=torch.float64), 0

    def add(self, outputs: Tensor, targets: Tensor, rows: int) -> None:
        self._total, self._rows = self._total + summed_losses(self._loss, outputs, targets).cpu(), rows

    def whole(self) -> Tensor:
        return self._total / self._rows


class _Weighted:
    """A loss whose parts add up by known weights."""

    def __init__(self, criterion: Criterion, members: int) -> None:
        self._criterion = criterion
        self._total, self._weight = torch.zeros(members, dtype=torch.float64), torch.zeros(members, dtype=torch.float64)

    def add(self, outputs: Tensor, targets: Tensor, rows: int) -> None:  # noqa: ARG002 - one way to call all three
        for place, (output, target) in enumerate(zip(outputs, targets, strict=True)):
            weight = self._criterion.weight((target,), len(output))
            if weight > 0:  # a mean over nothing is NaN, and counts for nothing
                self._total[place] += weight * float(self._criterion(output, (target,)))
            self._weight[place] += weight

    def whole(self) -> Tensor:
        return self._total / self._weight if self._criterion.is_mean else self._total


class _AtOnce:
    """A loss that may be anything: the outputs of the whole set are kept, and it is asked once."""

    def __init__(self, criterion: Criterion) -> None:
        self._criterion, self._parts = criterion, list[tuple[Tensor, Tensor]]()

    def add(self, outputs: Tensor, targets: Tensor, rows: int) -> None:
        if not self._parts:
            needed, free = 2 * rows * (outputs.nbytes // outputs.shape[1]), free_bytes()
            if needed > free:
                told = f"it is asked for the outputs of all {rows:,} examples at once, {gigabytes(needed)} of memory"
                remedy = f"{told}, and {gigabytes(free)} are free; expected a loss module of PyTorch, or fewer examples"
                raise InputError("loss", self._criterion.name, remedy)
        self._parts.append((outputs.clone(), targets))  # a stack may write its next outputs into the same memory

    def whole(self) -> Tensor:
        outputs, targets = (torch.cat(parts, dim=1) for parts in zip(*self._parts, strict=True))
        each = [self._criterion(one, (target,)).double() for one, target in zip(outputs, targets, strict=True)]
        return torch.stack(each)


def _targets(examples: EvaluationSet, part: slice, members: int) -> Tensor:
    if examples.own_targets is not None:
        return examples.own_targets[:, part]
    targets = examples.examples.targets[part]
    return targets.expand(members, *targets.shape)
