"""One training under way: what has been done, what comes next, and how to go on after an interruption."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bathymetry.core.errors import InputError
from bathymetry.training.batch import Batch, Gatherer, data_order
from bathymetry.training.checkpoint import Checkpoint, Schedules, Watch, difference
from bathymetry.training.criterion import Criterion
from bathymetry.training.evaluation import EvaluationSet, evaluate
from bathymetry.training.losses import Loss
from bathymetry.training.measurement import Moment
from bathymetry.training.optimisers import Stepper
from bathymetry.training.recorder import Recorder
from bathymetry.training.schedules import Schedule
from bathymetry.training.separate import SeparateStack
from bathymetry.training.stacking import Ensemble
from bathymetry.training.stop import StopWhen
from bathymetry.training.trained import Trained


@dataclass(frozen=True)
class Length:
    """How long training lasts."""

    epochs: int
    steps: int
    batch_size: int | None


class TrainingRun:
    """One training under way: what has been done, and what comes next."""

    def __init__(
        self,
        *,
        ensemble: Ensemble,
        stepper: Stepper,
        train_set: EvaluationSet,
        sets: Mapping[str, EvaluationSet],
        recorder: Recorder,
        record_at: frozenset[int],
        snapshot_at: frozenset[int],
        length: Length,
        loss: Loss,
        criterion: Criterion,
        schedule: Schedule,
        stop: StopWhen | None,
        members: range,
        seed: int,
        dtype: torch.dtype,
        watch: Watch,
    ) -> None:
        self._ensemble, self._stepper, self._train_set, self._sets = ensemble, stepper, train_set, sets
        self._recorder, self._record_at, self._snapshot_at = recorder, record_at, snapshot_at
        self._length, self._schedule, self._stop = length, schedule, stop
        self._loss, self._criterion = loss, criterion
        self._members, self._seed, self._dtype, self._watch = members, seed, dtype, watch
        self._step = 0
        self._epoch, self._batches = 0, 0  # the epoch under way, and how many of its batches are done
        self._batch_loss: Float[Tensor, " member"] = torch.full((len(members),), torch.nan, dtype=torch.float64)
        self._stopped: Bool[Tensor, " member"] = torch.zeros(len(members), dtype=torch.bool)
        self._stopped_at = torch.full((len(members),), -1, dtype=torch.int64)
        self._frozen: dict[str, Tensor] = {}
        self._held: dict[str, Tensor] = {}  # statistics of members that stopped
        self._snapshots: dict[int, dict[str, Tensor]] = {}
        self._whole_batch = self._gather_whole() if length.batch_size is None else None
        targets = train_set.own_targets if train_set.own_targets is not None else train_set.examples.targets
        self._gatherer = Gatherer(train_set.examples, targets, train_set.own_targets is not None, dtype)

    def go(self) -> Trained:
        """Train to the end."""
        with self._watch.over():
            self._train()
        return self._result()

    def _train(self) -> None:
        for epoch in range(self._epoch, self._length.epochs + 1):
            self._epoch = epoch
            if self._batches == 0:
                passed = self._differentiate_whole() if self._whole_batch is not None else {}
                self._look(epoch)
                if epoch == self._length.epochs or bool(self._stopped.all()):
                    break
                self._restore(passed)
            self._train_epoch(epoch)
            self._batches = 0

    def _differentiate_whole(self) -> dict[str, Tensor]:
        """Take the gradient before the record, and give what layers learnt of the batch: it counts from the step on."""
        assert self._whole_batch is not None
        before = {name: buffer.clone() for name, buffer in self._buffers().items()}
        self._batch_loss = self._ensemble.stack.differentiate(self._whole_batch)
        passed = {name: buffer.clone() for name, buffer in self._buffers().items()}
        self._restore(before)
        return passed

    def _restore(self, kept: Mapping[str, Tensor]) -> None:
        buffers = self._buffers() if kept else {}
        for name, values in kept.items():
            buffers[name].copy_(values)

    def _train_epoch(self, epoch: int) -> None:
        if self._whole_batch is not None:
            if self._batches == 0:
                self._move()
            return
        assert self._length.batch_size is not None
        order = data_order(len(self._train_set.examples), self._length.batch_size, self._members, self._seed, epoch)
        for positions in order[self._batches :][: self._length.steps - self._step]:
            self._batch_loss = self._ensemble.stack.differentiate(self._gatherer.gather(positions))
            self._move()

    def _move(self) -> None:
        self._stepper.step(self._schedule.factor(self._step / self._length.steps))
        self._step += 1
        self._batches += 1
        if self._frozen:
            for name, view in self._ensemble.parameters.views.items():
                view[self._stopped] = self._frozen[name][self._stopped]
            self._restore(self._held)
        self._watch.look(self._step / self._length.steps, self._checkpoint)

    def _checkpoint(self) -> Checkpoint:
        tensors = {"parameters": self._ensemble.parameters.flat, "gradients": self._ensemble.gradients.flat}
        tensors |= {f"moment/{name}": moment.flat for name, moment in self._stepper.moments.items()}
        tensors |= {f"frozen/{name}": values for name, values in self._frozen.items()}
        tensors |= {f"buffer/{name}": buffer for name, buffer in self._buffers().items()}
        tensors |= {
            f"snapshot/{epoch}/{name}": values
            for epoch, snapshot in self._snapshots.items()
            for name, values in snapshot.items()
        }
        rows, record = self._recorder.state()
        tensors |= {f"record/{name}": values for name, values in rows.items()}
        tensors |= {"batch_loss": self._batch_loss, "stopped": self._stopped, "stopped_at": self._stopped_at}
        state = {
            "training": {
                "members": [self._members.start, self._members.stop],
                "seed": self._seed,
                "epochs": self._length.epochs,
                "steps": self._length.steps,
                "batch size": self._length.batch_size,
                "examples": len(self._train_set.examples),
                "path": self._ensemble.stack.name,
            },
            "step": self._step,
            "epoch": self._epoch,
            "batches": self._batches,
            "record": record,
        }
        return Checkpoint({name: one.detach().cpu().clone().contiguous() for name, one in tensors.items()}, state)

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint of this very training.

        Args:
            checkpoint: What an earlier run of it left.

        Raises:
            InputError: If it belongs to another training.
        """
        views = self._ensemble.parameters.views
        shapes = {name: one.shape for name, one in views.items()}
        lacking = difference(checkpoint, self._checkpoint(), shapes, self._schedules())
        if lacking:
            raise InputError("resume", f"a checkpoint {lacking}", "expected one of this very training")
        state, tensors, parameters = checkpoint.state, checkpoint.tensors, self._ensemble.parameters
        place = parameters.flat.device
        parameters.flat.copy_(tensors["parameters"])
        self._ensemble.gradients.flat.copy_(tensors["gradients"])
        self._step, self._epoch, self._batches = state["step"], state["epoch"], state["batches"]
        self._stepper.resume({name: tensors[f"moment/{name}"] for name in self._stepper.moments}, self._step)
        self._frozen = {name: one.to(place) for name, one in _below("frozen", tensors).items()}
        for name, buffer in self._buffers().items():
            buffer.copy_(tensors[f"buffer/{name}"])
        for key, one in _below("snapshot", tensors).items():
            epoch, _, name = key.partition("/")
            self._snapshots.setdefault(int(epoch), {})[name] = one.to(place)
        rows = {name: one.to(place) for name, one in _below("record", tensors).items()}
        self._recorder.restore(rows, state["record"])
        self._batch_loss = tensors["batch_loss"].to(place)
        self._stopped, self._stopped_at = tensors["stopped"], tensors["stopped_at"]
        self._hold(self._stopped)
        if isinstance(self._ensemble.stack, SeparateStack):
            self._ensemble.stack.step = self._step

    def _schedules(self) -> Schedules:
        recorded = sorted(self._record_at)
        measured = self._recorder.measured_at(recorded)
        return Schedules(recorded, dict.fromkeys(self._scores(), recorded) | measured, sorted(self._snapshot_at))

    def _buffers(self) -> dict[str, Tensor]:
        # Statistics that layers keep while they train; networks that are batched keep none.
        if not isinstance(self._ensemble.stack, SeparateStack):
            return {}
        modules = enumerate(self._ensemble.modules)
        return {f"{place}/{name}": one for place, module in modules for name, one in module.named_buffers()}

    def _look(self, epoch: int) -> None:
        """Record, measure and decide who stops."""
        moment = Moment(
            epoch=epoch,
            step=self._step,
            members=self._members,
            seed=self._seed,
            parameters=self._ensemble.parameters,
            gradients=self._ensemble.gradients,
            moments=self._stepper.moments,
            batch_loss=self._batch_loss,
            stack=self._ensemble.stack,
        )
        last = epoch == self._length.epochs
        if epoch in self._record_at:
            scores = self._scores()
            self._recorder.record(moment, scores)
            if self._stop is not None:
                self._stop_members(self._stop.reached(scores), epoch)
        self._recorder.visit(moment)
        if epoch in self._snapshot_at or last:
            self._snapshots[epoch] = _copied(self._ensemble)

    def _scores(self) -> dict[str, Float[Tensor, " member"]]:
        scores: dict[str, Tensor] = {}
        for name, examples in self._sets.items():
            if examples is self._train_set and self._loss_is_at_hand:
                scores[f"{name}_loss"] = self._batch_loss.clone()
                continue
            score = evaluate(
                self._ensemble.stack, self._loss, self._criterion, examples, len(self._members), self._dtype
            )
            scores[f"{name}_loss"] = score.loss
            if score.accuracy is not None:
                scores[f"{name}_accuracy"] = torch.where(score.loss.isnan(), torch.nan, score.accuracy)
        return scores

    @property
    def _loss_is_at_hand(self) -> bool:
        """Whether the gradient already gave the whole training loss; random layers and accuracies need another look."""
        alike = not isinstance(self._ensemble.stack, SeparateStack)
        return alike and self._whole_batch is not None and self._whole_batch.targets.is_floating_point()

    def _stop_members(self, reached: Bool[Tensor, " member"], epoch: int) -> None:
        newly = reached & ~self._stopped
        if not newly.any():
            return
        self._stopped |= newly
        self._stopped_at[newly] = epoch
        parameters = self._ensemble.parameters.views
        if not self._frozen:
            self._frozen = {name: torch.zeros_like(view) for name, view in parameters.items()}
        for name, view in parameters.items():
            self._frozen[name][newly] = view[newly]
        self._hold(newly)

    def _hold(self, stopped: Bool[Tensor, " member"]) -> None:
        for name, buffer in self._buffers().items():
            if bool(stopped[int(name.partition("/")[0])]):
                self._held[name] = buffer.clone()

    def _gather_whole(self) -> Batch:
        examples = self._train_set.examples
        inputs = examples.seen(examples.inputs, self._dtype)
        own = self._train_set.own_targets
        shared = examples.targets.expand(len(self._members), *examples.targets.shape)
        return Batch(inputs, shared if own is None else own, shared=True)

    def _result(self) -> Trained:
        record = self._recorder.dataset({"path": self._ensemble.stack.name})
        parameters = self._ensemble.parameters
        finite = parameters.vectors().isfinite().all(1)
        record["diverged"] = ("member", (~finite).cpu().numpy())
        record["stopped_at"] = ("member", self._stopped_at.numpy())
        return Trained(
            record=record,
            parameters=_copied(self._ensemble),
            snapshots=dict(sorted(self._snapshots.items())),  # a checkpoint lists them alphabetically
            members=self._members,
            path=self._ensemble.stack.name,
            _modules=tuple(self._ensemble.modules),
        )


def _copied(ensemble: Ensemble) -> dict[str, Tensor]:
    return {name: view.clone() for name, view in ensemble.parameters.views.items()}


def _below(folder: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.partition("/")[2]: one for name, one in tensors.items() if name.startswith(f"{folder}/")}
