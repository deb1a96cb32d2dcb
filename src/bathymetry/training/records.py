"""Records of a training: losses, accuracies and measurements of every member at chosen epochs."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Shaped
from torch import Tensor

from bathymetry.core.errors import InputError
from bathymetry.core.randomness import Purpose, seed_generators, stream, stream_seed
from bathymetry.core.showing import kind_of, readable
from bathymetry.core.system import check_memory
from bathymetry.training.backends import Backend
from bathymetry.training.ensemble import Ensemble, EvaluationSet, StackedTensors
from bathymetry.training.loss import is_correct

_PASS_NUMBERS = 1_000_000
_FEWEST_NUMBERS = 320  # that an example counts for: ten members with 32 units


@readable
class TrainingState:
    """What a measurement receives; it may read everything and must change nothing.

    Args:
        epoch: The epoch that is measured.
        step: Steps done.
        members: Numbers of the members.
        seed: Seed of the training.
        parameters: Parameters of all members.
        gradients: Gradients of the last batch before clipping; with full batches, at these parameters.
        moments: State of Adam, AdamW or SGD by PyTorch's names; empty for other optimizers.
        batch_loss: Loss of the last batch; NaN before the first.
        backend: How members are differentiated.
    """

    epoch: int
    step: int
    members: range
    seed: int
    parameters: StackedTensors
    gradients: StackedTensors
    moments: Mapping[str, StackedTensors]
    batch_loss: Float[Tensor, " member"]
    backend: Backend

    def outputs(self, inputs: Shaped[Tensor, "example *feature"]) -> Float[Tensor, "member example *output"]:
        """Return the outputs of every member on the same inputs, one row per example."""
        return self.backend.outputs(inputs)

    def stream(self, member: int, purpose: Purpose = "probe vectors") -> torch.Generator:
        """Return a member's own random generator for a purpose at this step."""
        return stream(self.seed, member, purpose, self.step)


Measure = Callable[[TrainingState], Tensor]


@dataclass(frozen=True)
class Measurement:
    """A function to call at chosen epochs.

    Args:
        function: Returns a tensor whose first axis is the member.
        epochs: When to call it; None for every epoch that is recorded.
        dimension: The name of the axis over `epochs`; "epoch" stands for the name of the measurement and "_epoch".
        axes: Names of the result's axes after the first.
    """

    function: Measure
    epochs: Sequence[int] | None = None
    dimension: str = "epoch"
    axes: tuple[str, ...] = ()


class Recorder:
    """Collects one row per name and epoch, and snapshots of all parameters."""

    def __init__(
        self,
        members: range,
        measurements: Mapping[str, Measurement],
        recorded: Collection[int],
        snapshots: Collection[int],
    ) -> None:
        self._members, self._measurements = members, measurements
        self._recorded, self._snapshot_at = recorded, snapshots
        self.rows: dict[str, dict[int, Tensor]] = {}  # name → epoch → (member, ...), on the CPU
        self.snapshots: dict[int, Mapping[str, Tensor]] = {}  # epoch → name → (member, *shape)

    def record(self, state: TrainingState, scores: Mapping[str, Tensor]) -> None:
        """Add the scores of an epoch, the measurements that are due, and a snapshot if one is."""
        rows = dict(scores)
        for name, one in self._measurements.items():
            if state.epoch in (self._recorded if one.epochs is None else one.epochs):
                rows[name] = self._measured(name, one, state)
        for name, values in rows.items():
            self.rows.setdefault(name, {})[state.epoch] = values
        if state.epoch in self._snapshot_at:
            self.snapshots[state.epoch] = state.parameters.copied()

    def _measured(self, name: str, measurement: Measurement, state: TrainingState) -> Tensor:
        seed_generators(stream_seed(state.seed, -1, "measurement", state.epoch))
        measured = measurement.function(state)
        try:
            values = torch.as_tensor(measured).detach().to("cpu", copy=True)
        except (RuntimeError, TypeError, ValueError) as error:
            remedy = "expected numbers, one row per member"
            raise InputError(f"measurements[{name}]", kind_of(measured), remedy) from error
        if values.shape[:1] != (len(self._members),) or values.ndim < 1 + len(measurement.axes):
            named = f", then {', '.join(measurement.axes)}" if measurement.axes else ""
            remedy = f"a measurement's first axis must be the {len(self._members)} members{named}"
            raise InputError(f"measurements[{name}]", f"shape {tuple(values.shape)}", remedy)
        return values

    def state(self) -> dict[str, Any]:
        """Everything recorded, for a checkpoint."""
        return {
            "epochs": {name: list(rows) for name, rows in self.rows.items()},
            "rows": {name: torch.stack(list(rows.values()), dim=1) for name, rows in self.rows.items()},
            "snapshots": self.snapshots,
        }

    def state_at(self, end: int, scores: Sequence[str], parameters: StackedTensors) -> dict[str, Any]:
        """What `state` has before an epoch, with the first two sizes in place of rows."""
        measured = {n: self._recorded if one.epochs is None else one.epochs for n, one in self._measurements.items()}
        due = {**dict.fromkeys(scores, self._recorded), **measured}
        epochs = {name: sorted({epoch for epoch in chosen if epoch < end}) for name, chosen in due.items()}
        epochs = {name: past for name, past in epochs.items() if past}
        return {
            "epochs": epochs,
            "rows": {name: [len(self._members), len(past)] for name, past in epochs.items()},
            "snapshots": {epoch: parameters.views for epoch in self._snapshot_at if epoch < end},
        }

    def load(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Go on from what `state` returned."""
        for name, epochs in state["epochs"].items():
            self.rows[name] = dict(zip(epochs, state["rows"][name].unbind(dim=1), strict=True))
        for epoch, snapshot in sorted(state["snapshots"].items()):
            self.snapshots[epoch] = {name: one.to(device) for name, one in snapshot.items()}

    def dataset(self, steps: Mapping[int, int], sets: Mapping[str, int], attributes: Mapping[str, str]) -> xr.Dataset:
        """Everything recorded; `steps` has the steps of each epoch, `sets` the number of examples of each set."""
        rows = {name: stacked.numpy() for name, stacked in self.state()["rows"].items()}
        variables: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
        coordinates: dict[str, object] = {"member": list(self._members), "epoch": list(steps), "split": list(sets)}
        for quantity in ("loss", "accuracy"):
            scores = [rows.get(f"{name}_{quantity}") for name in sets]
            known = next((one for one in scores if one is not None), None)
            if known is not None:
                each = [np.full_like(known, np.nan) if one is None else one for one in scores]
                variables[quantity] = (("split", "member", "epoch"), np.stack(each))
        for name, measurement in self._measurements.items():
            if name in rows:
                along = measurement.dimension if measurement.epochs is not None else "epoch"
                if along == "epoch" and measurement.epochs is not None:  # the axis epoch has the recorded epochs
                    along = f"{name}_epoch"
                unnamed = (f"{name}_{i}" for i in range(len(measurement.axes), rows[name].ndim - 2))
                variables[name] = (("member", along, *measurement.axes, *unnamed), rows[name])
                if along != "epoch":
                    coordinates[along] = list(self.rows[name])
        dataset = xr.Dataset(variables, coords=coordinates, attrs=dict(attributes))
        return dataset.assign_coords(step=("epoch", list(steps.values())), examples=("split", list(sets.values())))


def evaluate(
    backend: Backend, ensemble: Ensemble, examples: EvaluationSet
) -> tuple[Float[Tensor, " member"], Float[Tensor, " member"] | None]:
    """Loss and accuracy over a whole set, however it is cut into passes; no accuracy without classes.

    A loss with a formula is summed for all members at once, a known loss is weighted by what the mean of each pass was
    divided by, and for any other loss the outputs of the whole set are collected.
    """
    data, criterion, formula, members = examples.examples, ensemble.criterion, ensemble.formula, len(ensemble.members)
    size = max(256, _PASS_NUMBERS // max(_FEWEST_NUMBERS, data.inputs[0].numel()))  # the same for any members
    total, weight, correct, counted = torch.zeros(4, members, dtype=torch.float64).unbind()
    collected: list[tuple[Tensor, Tensor]] = []
    classes = False
    for start in range(0, len(data), size):
        rows = slice(start, start + size)
        outputs = backend.outputs(data.scaled(data.inputs[rows], ensemble.dtype))
        targets = examples.targets(members, rows)
        if formula is not None:
            total = total + _summed(formula, outputs, targets).cpu()
        elif criterion.is_known:
            for place, (output, target) in enumerate(zip(outputs, targets, strict=True)):
                divisor = criterion.weight((target,), len(output))
                if divisor > 0:  # a mean over nothing is NaN and counts for nothing
                    total[place] += divisor * float(criterion(output, (target,)))
                weight[place] += divisor
        else:
            if start == 0:
                what = f"the outputs of {len(data):,} examples take about"
                remedy = "expected fewer examples, or a loss of PyTorch"
                check_memory("loss", criterion.name, 2 * len(data) * outputs[:, 0].nbytes, what, remedy)
            collected.append((outputs.clone(), targets))  # a backend may reuse the memory of its outputs
        classes = _are_classes(outputs, targets)
        if classes:
            valid = criterion.counted(targets)
            right = is_correct(outputs, targets.masked_fill(~valid, 0)) & valid
            correct = correct + right.flatten(1).sum(1, dtype=torch.float64).cpu()
            counted = counted + valid.flatten(1).sum(1, dtype=torch.float64).cpu()
    if formula is not None:
        loss = total / len(data)
    elif criterion.is_known:
        loss = total / weight if criterion.is_mean else total
    else:
        outputs, targets = (torch.cat(parts, dim=1) for parts in zip(*collected, strict=True))
        each = []
        for member, output, target in zip(ensemble.members, outputs, targets, strict=True):
            seed_generators(stream_seed(*member, "evaluation"))
            each.append(criterion(output, (target,)).double())
        loss = torch.stack(each).cpu()
    return loss, correct / counted if classes else None


def _summed(
    formula: str, outputs: Float[Tensor, "member example *output"], targets: Shaped[Tensor, "member example *target"]
) -> Float[Tensor, " member"]:
    """Sums over examples, float64, of the mean over an example's outputs or labels."""
    if formula == "mse":
        residuals = (outputs - targets).flatten(1)
        return residuals.square().sum(1, dtype=torch.float64) / max(1, outputs[0, 0].numel())
    chosen = outputs.gather(2, targets.unsqueeze(2)).squeeze(2)
    losses = (outputs.logsumexp(2) - chosen).flatten(1)
    return losses.sum(1, dtype=torch.float64) / max(1, targets[0, 0].numel())


def _are_classes(outputs: Tensor, targets: Tensor) -> bool:
    """Whether targets are numbers of classes, one for each place with an output per class."""
    whole = not targets.is_floating_point() and targets.dtype != torch.bool
    return whole and outputs.ndim > 2 and targets.shape == (*outputs.shape[:2], *outputs.shape[3:])
