"""Training an ensemble: every member with its own start and its own data order, all of them in one stack."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from bathymetry.core.errors import InputError
from bathymetry.data.examples import Data, Examples
from bathymetry.training.batch import Batch, Gatherer, data_order
from bathymetry.training.evaluation import EvaluationSet, evaluate
from bathymetry.training.losses import Loss, loss_function
from bathymetry.training.measurement import Measure, Measurement, Moment
from bathymetry.training.optimisers import Adam, Optimizer, Stepper
from bathymetry.training.recorder import Recorder, recorded_epochs
from bathymetry.training.schedules import Constant, Schedule
from bathymetry.training.stacking import Ensemble, Path, assemble, build_members
from bathymetry.training.stop import StopWhen
from bathymetry.training.trained import Trained


def train(
    build: Callable[[], nn.Module],
    data: Data,
    *,
    members: int | range = 10,
    seed: int = 0,
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
) -> Trained:
    """Train an ensemble of networks of one architecture.

    Args:
        build: Makes one network with random weights; called once a member, under the member's own stream.
        data: What to learn from and be judged by.
        members: How many, or their numbers: `range(6, 10)` gives members 6 to 9 of a larger ensemble.
        seed: With a member's number it decides its start, its data order and its dropout.
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

    Returns:
        The records and the trained members.
    """
    numbers = members if isinstance(members, range) else range(members)
    _check(numbers, data, epochs, steps, batch_size, targets)
    loss_function(loss)
    place = torch.device(device)
    train_set = _placed(EvaluationSet(data.train, targets), place, dtype)
    usual: dict[str, Examples | EvaluationSet] = {"train": EvaluationSet(data.train, targets), "test": data.test}
    sets = usual if evaluate_on is None else evaluate_on
    ensemble = assemble(build_members(build, numbers, seed), loss, numbers, seed, dtype=dtype, device=place, path=path)
    length = _length(len(data.train), epochs, steps, batch_size)
    run = _Run(
        ensemble=ensemble,
        stepper=Stepper(optimizer or Adam(), ensemble.parameters, ensemble.gradients),
        train_set=train_set,
        sets={name: _placed(one, place, dtype) for name, one in sets.items()},
        recorder=Recorder(numbers, {name: _as_measurement(one) for name, one in (measurements or {}).items()}),
        record_at=recorded_epochs(record_at, length.epochs),
        snapshot_at=frozenset(snapshots),
        length=length,
        loss=loss,
        schedule=schedule or Constant(),
        stop=stop,
        members=numbers,
        seed=seed,
        dtype=dtype,
    )
    return run.go()


@dataclass(frozen=True)
class _Length:
    """How long training lasts."""

    epochs: int
    steps: int
    batch_size: int | None


class _Run:
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
        length: _Length,
        loss: Loss,
        schedule: Schedule,
        stop: StopWhen | None,
        members: range,
        seed: int,
        dtype: torch.dtype,
    ) -> None:
        self._ensemble, self._stepper, self._train_set, self._sets = ensemble, stepper, train_set, sets
        self._recorder, self._record_at, self._snapshot_at = recorder, record_at, snapshot_at
        self._length, self._loss, self._schedule, self._stop = length, loss, schedule, stop
        self._members, self._seed, self._dtype = members, seed, dtype
        self._step = 0
        self._batch_loss: Float[Tensor, " member"] = torch.full((len(members),), torch.nan, dtype=torch.float64)
        self._stopped: Bool[Tensor, " member"] = torch.zeros(len(members), dtype=torch.bool)
        self._stopped_at = torch.full((len(members),), -1, dtype=torch.int64)
        self._frozen: dict[str, Tensor] = {}
        self._snapshots: dict[int, dict[str, Tensor]] = {}
        self._whole_batch = self._gather_whole() if length.batch_size is None else None
        targets = train_set.own_targets if train_set.own_targets is not None else train_set.examples.targets
        self._gatherer = Gatherer(train_set.examples, targets, train_set.own_targets is not None, dtype)

    def go(self) -> Trained:
        """Train to the end."""
        for epoch in range(self._length.epochs + 1):
            if self._whole_batch is not None:
                self._batch_loss = self._ensemble.stack.differentiate(self._whole_batch)
            self._look(epoch)
            if epoch == self._length.epochs or bool(self._stopped.all()):
                break
            self._train_epoch(epoch)
        return self._result()

    def _train_epoch(self, epoch: int) -> None:
        if self._whole_batch is not None:
            self._move()
            return
        assert self._length.batch_size is not None
        order = data_order(len(self._train_set.examples), self._length.batch_size, self._members, self._seed, epoch)
        for positions in order[: self._length.steps - self._step]:
            self._batch_loss = self._ensemble.stack.differentiate(self._gatherer.gather(positions))
            self._move()

    def _move(self) -> None:
        self._stepper.step(self._schedule.factor(self._step / self._length.steps))
        self._step += 1
        if self._frozen:
            for name, view in self._ensemble.parameters.views.items():
                view[self._stopped] = self._frozen[name][self._stopped]

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
            score = evaluate(self._ensemble.stack, self._loss, examples, len(self._members), self._dtype)
            scores[f"{name}_loss"] = score.loss
            if score.accuracy is not None:
                scores[f"{name}_accuracy"] = torch.where(score.loss.isnan(), torch.nan, score.accuracy)
        return scores

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

    def _gather_whole(self) -> Batch:
        examples = self._train_set.examples
        inputs = examples.inputs.to(self._dtype)
        inputs = inputs if examples.scale == 1.0 else inputs * examples.scale
        own = self._train_set.own_targets
        shared = examples.targets.expand(len(self._members), *examples.targets.shape)
        return Batch(inputs, shared if own is None else own, shared=True)

    def _result(self) -> Trained:
        record = self._recorder.dataset({"path": self._ensemble.stack.name})
        parameters = self._ensemble.parameters
        finite = torch.stack([v.flatten(1).isfinite().all(1) for v in parameters.views.values()]).all(0)
        record["diverged"] = ("member", (~finite).cpu().numpy())
        record["stopped_at"] = ("member", self._stopped_at.numpy())
        return Trained(
            record=record,
            parameters=_copied(self._ensemble),
            snapshots=self._snapshots,
            members=self._members,
            path=self._ensemble.stack.name,
            _modules=tuple(self._ensemble.modules),
        )


def _copied(ensemble: Ensemble) -> dict[str, Tensor]:
    return {name: view.clone() for name, view in ensemble.parameters.views.items()}


def _as_measurement(measurement: Measure | Measurement) -> Measurement:
    return measurement if isinstance(measurement, Measurement) else Measurement(measurement)


def _placed(one: Examples | EvaluationSet, device: torch.device, dtype: torch.dtype) -> EvaluationSet:
    whole = one if isinstance(one, EvaluationSet) else EvaluationSet(one)

    def targets_there(targets: Tensor) -> Tensor:
        return targets.to(device, dtype if targets.is_floating_point() else targets.dtype)

    there = Examples(whole.examples.inputs.to(device), targets_there(whole.examples.targets), whole.examples.scale)
    return EvaluationSet(there, None if whole.own_targets is None else targets_there(whole.own_targets))


def _length(examples: int, epochs: int | None, steps: int | None, batch_size: int | None) -> _Length:
    steps_an_epoch = 1 if batch_size is None else -(-examples // batch_size)
    if epochs is not None:
        return _Length(epochs, epochs * steps_an_epoch, batch_size)
    assert steps is not None
    return _Length(-(-steps // steps_an_epoch), steps, batch_size)


def _check(
    members: range, data: Data, epochs: int | None, steps: int | None, batch_size: int | None, targets: Tensor | None
) -> None:
    if len(members) < 1 or members.step != 1 or members.start < 0:
        raise InputError("members", len(members), "give at least 1")
    if (epochs is None) == (steps is None):
        raise InputError("epochs", epochs, "give epochs or steps, one of the two")
    for name, value in (("epochs", epochs), ("steps", steps), ("batch_size", batch_size)):
        if value is not None and value < 1:
            raise InputError(name, value, "give at least 1")
    if batch_size is not None and batch_size > len(data.train):
        raise InputError("batch_size", batch_size, f"give at most the {len(data.train)} examples there are")
    if targets is not None and targets.shape[:2] != (len(members), len(data.train)):
        wanted = f"give ({len(members)}, {len(data.train)}, …): a row for each member"
        raise InputError("targets", f"shape {tuple(targets.shape)}", wanted)
