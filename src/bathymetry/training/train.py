"""Training an ensemble: every member with its own start and its own data order, all of them in one stack."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from bathymetry.core.errors import InputError, whole_number
from bathymetry.data.examples import Data, Examples
from bathymetry.training.checkpoint import Checkpoint, Schedules, Watch, difference
from bathymetry.training.config import (
    StopWhen,
    as_data,
    as_epochs,
    as_measurements,
    as_set,
    check_kinds,
    check_own_targets,
    check_room,
    numbered,
)
from bathymetry.training.fitting import check_fit
from bathymetry.training.loss import Criterion, Loss, loss_function
from bathymetry.training.members import build_members
from bathymetry.training.mlp_backend import Batch, Gatherer, data_order
from bathymetry.training.module_backends import Ensemble, Path, SeparateStack, assemble
from bathymetry.training.optimizers import Adam, Constant, Optimizer, Schedule, Stepper
from bathymetry.training.records import EvaluationSet, Measure, Measurement, Recorder, TrainingState, evaluate
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
        moment = TrainingState(
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
        inputs = examples.scaled(examples.inputs, self._dtype)
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


_MOST = 10**15  # epochs, steps or examples: more than anybody can wait for


def train(
    build: Callable[[], nn.Module],
    data: Data | Sequence[Tensor],
    *,
    members: int | range = 10,
    seed: int = 0,
    same_start: bool = False,
    optimizer: Optimizer | None = None,
    loss: Loss = "mse",
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    schedule: Schedule | None = None,
    stop: StopWhen | None = None,
    targets: Shaped[Tensor, "member example *target"] | None = None,
    evaluate_on: Mapping[str, Examples | EvaluationSet] | None = None,
    record_at: Sequence[int] | None = None,
    measurements: Mapping[str, Measure | Measurement] | None = None,
    snapshots: Sequence[int] = (),
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    path: Path = "auto",
    progress: Callable[[float], None] | None = None,
    checkpoint: Callable[[Checkpoint], None] | None = None,
    checkpoint_every: float = 60.0,
    resume: Checkpoint | None = None,
) -> Trained:
    """Train an ensemble of networks of one architecture.

    Data, network and loss are tried on a few examples first; what does not fit is refused with an `InputError`.

    Args:
        build: Makes one network with random weights; called once a member, under the member's own stream.
        data: What to learn from and be judged by: what `bm.load` gives, or tensors (x, y) or (x, y, x_test, y_test).
        members: How many, or their numbers: `range(6, 10)` gives members 6 to 9 of a larger ensemble.
        seed: With a member's number it decides its start, its data order and its dropout.
        same_start: Whether members may begin with equal parameters, as where `build` copies one network; they are
            refused otherwise, for members that do not differ say nothing about other starts.
        optimizer: Adam at 1e-3 if None; any hyperparameter may be a sequence with one value a member.
        loss: "mse", "cross_entropy", or a function that gives the mean over the batch it is handed.
        epochs: How often each example is seen; give this or `steps`.
        steps: How many steps to make.
        batch_size: Examples a batch; None for all of them in every step, one step an epoch.
        schedule: What becomes of the learning rate; constant if None.
        stop: When a member stops by itself.
        targets: Training targets of each member's own.
        evaluate_on: Sets to judge by, by name; the training and test set of `data` if None.
        record_at: Epochs to record besides the first and the last; None for all.
        measurements: What else to measure, by name.
        snapshots: Epochs at which all parameters are kept.
        dtype: What to compute in.
        device: Where to compute.
        path: A way of stacking to take instead of the fastest.
        progress: Hears now and then which share of the steps is done, from 0 to 1.
        checkpoint: Is given, every `checkpoint_every` seconds, all that is needed to go on.
        checkpoint_every: Seconds between checkpoints.
        resume: A checkpoint of this very training to go on from, as if it had never stopped.

    Returns:
        The records and the trained members.
    """
    check_kinds(
        build=build, data=data, optimizer=optimizer, schedule=schedule, stop=stop, targets=targets, seed=seed,
        path=path, evaluate_on=evaluate_on, measurements=measurements, dtype=dtype, progress=progress,
        checkpoint=checkpoint, checkpoint_every=checkpoint_every, resume=resume, same_start=same_start, loss=loss,
    )  # fmt: skip
    numbers, place = numbered(members), _usable(device)
    data, own_sets = as_data(data)
    length = _length(len(data.train), epochs, steps, batch_size)
    loss_function(loss)
    train_set = _placed(EvaluationSet(data.train, targets), place, dtype)
    named = own_sets if evaluate_on is None else evaluate_on
    sets = {name: _placed(as_set(name, one), place, dtype) for name, one in named.items()}
    sets = {name: train_set if evaluate_on is None and name == "train" else one for name, one in sets.items()}
    every = range(length.epochs + 1)
    recorded = as_epochs(*(("epochs", every) if record_at is None else ("record_at", record_at)), length.epochs)
    if isinstance(loss, str) and loss == "cross_entropy" and any(map(_has_ignored, (train_set, *sets.values()))):
        loss = nn.CrossEntropyLoss()  # which ignores the label −100, as the faster formulas do not
    criterion = Criterion(loss, dtype).to(place)
    modules = build_members(build, numbers, seed, same_start=same_start)
    told = {name if evaluate_on is None else f"evaluate_on[{name}]": one for name, one in sets.items()}
    for name, one in {"targets": train_set, **told}.items():
        check_own_targets(name, one, len(numbers))
    check_fit(modules[0], loss, criterion, {"train": train_set, **told}, length.batch_size, dtype)
    check_room("record_at", len(recorded), len(numbers), 16 * len(sets))
    kept = as_epochs("snapshots", snapshots, length.epochs)
    check_room("snapshots", len(kept), len(numbers), dtype.itemsize * sum(p.numel() for p in modules[0].parameters()))
    few = train_set.examples.scaled(train_set.examples.inputs[:3], dtype)
    own = train_set.own_targets
    ensemble = assemble(
        modules, loss, criterion, numbers, seed, dtype=dtype, device=place, path=path, some_inputs=few,
        some_targets=train_set.examples.targets[:3].expand(len(numbers), *train_set.examples.targets[:3].shape)
        if own is None else own[:, :3],
    )  # fmt: skip
    run = TrainingRun(
        ensemble=ensemble,
        stepper=Stepper(optimizer or Adam(), ensemble.parameters, ensemble.gradients),
        train_set=train_set,
        sets=sets,
        recorder=Recorder(numbers, as_measurements(measurements or {}, sets, length.epochs)),
        record_at=frozenset(recorded) | {0, length.epochs},
        snapshot_at=frozenset(kept),
        length=length,
        loss=loss,
        criterion=criterion,
        schedule=schedule or Constant(),
        stop=stop,
        members=numbers,
        seed=int(seed),
        dtype=dtype,
        watch=Watch(progress, checkpoint, checkpoint_every),
    )
    if resume is not None:
        run.resume(resume)
    return run.go()


def _has_ignored(one: EvaluationSet) -> bool:
    targets = one.examples.targets if one.own_targets is None else one.own_targets
    return not targets.is_floating_point() and bool((targets == nn.CrossEntropyLoss().ignore_index).any())


def _usable(device: str | torch.device) -> torch.device:
    if not isinstance(device, str | torch.device):
        raise InputError("device", device, "expected cpu, cuda or the like")
    try:
        place = torch.device(device)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise InputError("device", str(device), "this machine has no such device; give cpu") from error
    return place


def _placed(one: EvaluationSet, device: torch.device, dtype: torch.dtype) -> EvaluationSet:
    def targets_there(targets: Tensor) -> Tensor:
        kind = dtype if targets.is_floating_point() else torch.bool if targets.dtype == torch.bool else torch.int64
        return targets.detach().to(device, kind)

    examples, own = one.examples, one.own_targets
    there = Examples(examples.inputs.detach().to(device), targets_there(examples.targets), examples.scale)
    return EvaluationSet(there, None if own is None else targets_there(own))


def _length(examples: int, epochs: int | None, steps: int | None, batch_size: int | None) -> Length:
    if (epochs is None) == (steps is None):
        raise InputError("epochs", epochs, "give epochs or steps, one of the two")
    for name, value in (("epochs", epochs), ("steps", steps), ("batch_size", batch_size)):
        if value is not None:
            whole_number(name, value, 1)
            if value > _MOST:
                raise InputError(name, value, f"expected at most {_MOST:,}")
    if batch_size is not None and batch_size > examples > 0:
        raise InputError("batch_size", batch_size, f"give at most the {examples} examples there are")
    steps_an_epoch = 1 if batch_size is None else -(-max(examples, 1) // int(batch_size))
    size = None if batch_size is None else int(batch_size)
    if epochs is not None:
        return Length(int(epochs), int(epochs) * steps_an_epoch, size)
    assert steps is not None
    return Length(-(-int(steps) // steps_an_epoch), int(steps), size)
