"""Training an ensemble: every member with its own start and its own data order, all of them in one stack."""

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from bathymetry.core.checks import whole_number
from bathymetry.core.errors import InputError
from bathymetry.data.examples import Data, Examples
from bathymetry.training.arguments import (
    as_data,
    as_epochs,
    as_measurements,
    as_set,
    check_kinds,
    check_own_targets,
    check_room,
    numbered,
)
from bathymetry.training.checkpoint import Checkpoint, Watch
from bathymetry.training.criterion import Criterion
from bathymetry.training.evaluation import EvaluationSet
from bathymetry.training.fitting import check_fit
from bathymetry.training.losses import Loss, loss_function
from bathymetry.training.measurement import Measure, Measurement
from bathymetry.training.members import build_members
from bathymetry.training.optimisers import Adam, Optimizer, Stepper
from bathymetry.training.recorder import Recorder
from bathymetry.training.run import Length, TrainingRun
from bathymetry.training.schedules import Constant, Schedule
from bathymetry.training.stacking import Path, assemble
from bathymetry.training.stop import StopWhen
from bathymetry.training.trained import Trained

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
    few = train_set.examples.seen(train_set.examples.inputs[:3], dtype)
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
