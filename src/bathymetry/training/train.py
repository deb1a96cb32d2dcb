"""Training an ensemble: every member with its own start and its own data order, all of them in one stack."""

from collections.abc import Callable, Mapping, Sequence
from typing import get_args

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from bathymetry.core.errors import InputError
from bathymetry.data.examples import Data, Examples
from bathymetry.training.checkpoint import Checkpoint, Watch
from bathymetry.training.evaluation import EvaluationSet
from bathymetry.training.losses import Loss, loss_function
from bathymetry.training.measurement import Measure, Measurement
from bathymetry.training.optimisers import Adam, Optimizer, Stepper
from bathymetry.training.recorder import Recorder, recorded_epochs
from bathymetry.training.run import Length, TrainingRun
from bathymetry.training.schedules import Constant, Cosine, Schedule, Step
from bathymetry.training.stacking import Path, assemble, build_members
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
    progress: Callable[[float], None] | None = None,
    checkpoint: Callable[[Checkpoint], None] | None = None,
    checkpoint_every: float = 60.0,
    resume: Checkpoint | None = None,
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
        progress: Hears now and then which share of the steps is done, from 0 to 1.
        checkpoint: Is given, every `checkpoint_every` seconds, all that is needed to go on.
        checkpoint_every: Seconds between checkpoints.
        resume: A checkpoint of this very training to go on from, as if it had never stopped.

    Returns:
        The records and the trained members.

    Raises:
        InputError: If something given can't be right; the sentence names it.
    """
    if not isinstance(data, Data):
        raise InputError("data", data if isinstance(data, str) else type(data).__name__, "give what bm.load gives")
    _check_kinds(optimizer=optimizer, schedule=schedule, stop=stop, seed=seed, dtype=dtype, path=path)
    numbers = _numbered(members)
    _check(numbers, data, epochs, steps, batch_size, targets)
    _check_loss(loss)
    place = _usable(device)
    train_set = _placed(EvaluationSet(data.train, targets), place, dtype)
    if evaluate_on is None:
        sets = {"train": train_set, "test": _placed(data.test, place, dtype)}
    else:
        sets = {name: _placed(one, place, dtype) for name, one in evaluate_on.items()}
    few = train_set.examples.inputs[:3].to(dtype) * train_set.examples.scale
    ensemble = assemble(
        build_members(build, numbers, seed), loss, numbers, seed, dtype=dtype, device=place, path=path, some_inputs=few
    )
    length = _length(len(data.train), epochs, steps, batch_size)
    run = TrainingRun(
        ensemble=ensemble,
        stepper=Stepper(optimizer or Adam(), ensemble.parameters, ensemble.gradients),
        train_set=train_set,
        sets=sets,
        recorder=Recorder(numbers, {name: _as_measurement(one) for name, one in (measurements or {}).items()}),
        record_at=recorded_epochs(record_at, length.epochs),
        snapshot_at=_within("snapshots", snapshots, length.epochs),
        length=length,
        loss=loss,
        schedule=schedule or Constant(),
        stop=stop,
        members=numbers,
        seed=seed,
        dtype=dtype,
        watch=Watch(progress, checkpoint, checkpoint_every),
    )
    if resume is not None:
        run.resume(resume)
    return run.go()


def _check_kinds(**given: object) -> None:
    kinds: dict[str, tuple[type | tuple[type, ...], str]] = {
        "optimizer": (Optimizer, "give an optimiser of bathymetry, such as bm.Adam(lr=1e-3)"),
        "schedule": ((Constant, Cosine, Step), "give Constant(), Cosine(...) or Step(...) of bathymetry.training"),
        "stop": (StopWhen, "give bm.StopWhen(...)"),
        "seed": (int, "give a whole number"),
        "dtype": (torch.dtype, "give torch.float32 or torch.float64"),
    }
    for name, (kind, remedy) in kinds.items():
        value = given[name]
        if not (value is None and name in ("optimizer", "schedule", "stop")) and not isinstance(value, kind):
            raise InputError(name, value, remedy)
    if given["dtype"] not in (torch.float32, torch.float64):
        raise InputError("dtype", given["dtype"], "give torch.float32 or torch.float64")
    if given["path"] not in get_args(Path):
        raise InputError("path", given["path"], f"give one of {', '.join(get_args(Path))}")


def _numbered(members: int | range) -> range:
    if not isinstance(members, int | range):
        raise InputError("members", members, "give a whole number or a range")
    numbers = members if isinstance(members, range) else range(members)
    if len(numbers) < 1 or numbers.step != 1 or numbers.start < 0:
        raise InputError("members", members, "give at least 1")
    return numbers


def _check_loss(loss: Loss) -> None:
    """Try a loss on two examples: it must give their mean, one number."""
    function = loss_function(loss)
    if callable(loss):
        answers = torch.zeros(2, 2, requires_grad=True)
        try:
            value = function(answers, torch.zeros(2, 2))
        except (RuntimeError, IndexError, ValueError, TypeError):
            return  # it wants targets of another kind, so nothing can be said before the first batch
        if not isinstance(value, Tensor) or value.ndim != 0:
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise InputError("loss", f"something that gives {shape}", "give a function that gives the mean, one number")


def _usable(device: str | torch.device) -> torch.device:
    try:
        place = torch.device(device)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:
        raise InputError("device", str(device), "this machine has no such device; give cpu") from error
    return place


def _within(field: str, chosen: Sequence[int], epochs: int) -> frozenset[int]:
    for epoch in chosen:
        if not 0 <= epoch <= epochs:
            raise InputError(field, epoch, f"give epochs from 0 to {epochs}")
    return frozenset(chosen)


def _as_measurement(measurement: Measure | Measurement) -> Measurement:
    return measurement if isinstance(measurement, Measurement) else Measurement(measurement)


def _placed(one: Examples | EvaluationSet, device: torch.device, dtype: torch.dtype) -> EvaluationSet:
    whole = one if isinstance(one, EvaluationSet) else EvaluationSet(one)

    def targets_there(targets: Tensor) -> Tensor:
        return targets.to(device, dtype if targets.is_floating_point() else targets.dtype)

    there = Examples(whole.examples.inputs.to(device), targets_there(whole.examples.targets), whole.examples.scale)
    return EvaluationSet(there, None if whole.own_targets is None else targets_there(whole.own_targets))


def _length(examples: int, epochs: int | None, steps: int | None, batch_size: int | None) -> Length:
    steps_an_epoch = 1 if batch_size is None else -(-examples // batch_size)
    if epochs is not None:
        return Length(epochs, epochs * steps_an_epoch, batch_size)
    assert steps is not None
    return Length(-(-steps // steps_an_epoch), steps, batch_size)


def _check(
    members: range, data: Data, epochs: int | None, steps: int | None, batch_size: int | None, targets: Tensor | None
) -> None:
    if (epochs is None) == (steps is None):
        raise InputError("epochs", epochs, "give epochs or steps, one of the two")
    for name, value in (("epochs", epochs), ("steps", steps), ("batch_size", batch_size)):
        if value is not None and (not isinstance(value, int) or value < 1):
            raise InputError(name, value, "give a whole number from 1")
    if batch_size is not None and batch_size > len(data.train):
        raise InputError("batch_size", batch_size, f"give at most the {len(data.train)} examples there are")
    if targets is not None and targets.shape[:2] != (len(members), len(data.train)):
        wanted = f"give ({len(members)}, {len(data.train)}, …): a row for each member"
        raise InputError("targets", f"shape {tuple(targets.shape)}", wanted)
