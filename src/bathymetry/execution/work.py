"""What a plan still needs: each ensemble's name, the members that are stored, and the units to train."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from bathymetry.core.errors import DamagedError, InputError
from bathymetry.core.identity import Description, describe
from bathymetry.core.resources import HeldSignals, one_thread
from bathymetry.store import (
    Unit,
    checkpoint_path,
    collect,
    config_hash,
    gaps,
    keep,
    read_checkpoint,
    read_unit,
    set_aside,
    sound,
    stored,
    unit_path,
    write_checkpoint,
)
from bathymetry.store.folder import provenance
from bathymetry.studies.plan import JointMeasurement, Plan, PlannedEnsemble
from bathymetry.training import Checkpoint, Measurement, Trained, TrainingConfig, TrainingState, train
from bathymetry.training.records import Measure


def joint_description(measurement: JointMeasurement, names: Sequence[str]) -> Description:
    """Describe a measurement by all that decides its numbers.

    Args:
        measurement: The measurement.
        names: The hashes of its ensembles' settings.

    Returns:
        The description.
    """
    of = [{"config": name, "members": describe(one.members)} for name, one in zip(names, measurement.of, strict=True)]
    return describe({"joint measurement": measurement.function, "of": of})


def joint(measurement: JointMeasurement, names: Sequence[str], out: Path, device: str) -> Unit:
    """Make a measurement over several ensembles, or read it if it is stored.

    Args:
        measurement: The measurement.
        names: The hashes of its ensembles' settings.
        out: The output folder.
        device: Where it computes, for the provenance.

    Returns:
        Its record, as a unit without snapshots.
    """
    description = joint_description(measurement, names)
    name, members = config_hash(description), measurement.of[0].members
    path = unit_path(out, name, members)
    if not path.exists():
        begun = time.perf_counter()
        units = [collect(out, one, ensemble.members) for one, ensemble in zip(names, measurement.of, strict=True)]
        with one_thread():
            record = measurement.function(units)
        machine = {**provenance(device), "seconds": time.perf_counter() - begun}
        keep(out, name, description, Unit(members, record, {}, machine))
    return read_unit(path)


@dataclass(frozen=True)
class EnsembleWork:
    """An ensemble of a plan, with what is stored of it and what is missing."""

    planned: PlannedEnsemble
    name: str  # hash of the config
    description: Description
    missing: tuple[range, ...]  # the units to train

    @property
    def stored_members(self) -> int:
        """How many of its members need not be trained."""
        return len(self.planned.members) - sum(len(one) for one in self.missing)


@dataclass(frozen=True)
class Work:
    """All that a plan needs."""

    ensembles: tuple[EnsembleWork, ...]
    set_aside: tuple[str, ...] = ()  # a sentence for each damaged file
    joints: int = 0  # joint measurements that are missing
    joint_seconds: float = 0.0  # about how long those take

    @property
    def units(self) -> int:
        """How many units are to be trained."""
        return sum(len(one.missing) for one in self.ensembles)

    @property
    def members(self) -> int:
        """How many members the plan has."""
        return sum(len(one.planned.members) for one in self.ensembles)

    @property
    def reused(self) -> int:
        """How many members are stored already."""
        return sum(one.stored_members for one in self.ensembles)

    @property
    def seconds(self) -> float:
        """About how long the missing units take on two cores."""
        return sum(estimated_seconds(one.planned.config, len(unit)) for one in self.ensembles for unit in one.missing)

    @property
    def measuring_seconds(self) -> float:
        """About how long the measurements take, in units and joint ones; those that do not say it count as nothing."""
        in_units = sum(
            len(unit) * _measuring_seconds(one.planned.config) for one in self.ensembles for unit in one.missing
        )
        return in_units + self.joint_seconds

    @property
    def measurements(self) -> int:
        """How many measurements are to be made, in units and joint ones."""
        in_units = sum(len(one.missing) * len(one.planned.config.measurements) for one in self.ensembles)
        return in_units + self.joints

    @property
    def bytes(self) -> int:
        """About how much memory the largest unit and its data take."""
        return max((estimated_bytes(one.planned) for one in self.ensembles), default=0)


def look(out: Path, plan: Plan) -> Work:
    """Compare a plan with what is stored, without changing anything.

    Args:
        out: The output folder; it need not exist.
        plan: The plan.

    Returns:
        What is missing, trusting what is stored.
    """
    ensembles = tuple(_compared(one, out, None) for one in plan.ensembles)
    missing = [
        measurement
        for measurement, (name, members) in zip(plan.joints, _joints(plan, ensembles), strict=True)
        if not unit_path(out, name, members).exists()
    ]
    return Work(ensembles, joints=len(missing), joint_seconds=sum(map(_joint_seconds, missing)))


def inspect(out: Path, plan: Plan) -> Work:
    """Compare a plan with what is stored, reading every unit and joint measurement; damaged ones are set aside.

    Args:
        out: The output folder.
        plan: The plan.

    Returns:
        What is missing, and what was set aside.
    """
    said: list[str] = []
    ensembles = tuple(_compared(one, out, said) for one in plan.ensembles)
    missing = 0
    for name, members in _joints(plan, ensembles):
        said.extend(sound(out, name)[1])
        missing += not unit_path(out, name, members).exists()
    return Work(ensembles, tuple(said), missing)


def _joints(plan: Plan, ensembles: Sequence[EnsembleWork]) -> Iterator[tuple[str, range]]:
    """Give the name under which each joint measurement is stored, and the members that it is of."""
    names = {id(one.planned): one.name for one in ensembles}
    for measurement in plan.joints:
        description = joint_description(measurement, [names[id(one)] for one in measurement.of])
        yield config_hash(description), measurement.of[0].members


def _compared(planned: PlannedEnsemble, out: Path, said: list[str] | None) -> EnsembleWork:
    description = planned.config.description()
    name = config_hash(description)
    if said is None:
        have: Sequence[range] = stored(out, name)
    else:
        have, damaged = sound(out, name)
        said.extend(damaged)
    return EnsembleWork(planned, name, description, tuple(gaps(have, planned.members)))


def _joint_seconds(measurement: JointMeasurement) -> float:
    return len(measurement.of[0].members) * float(getattr(measurement.function, "seconds", 0.0))


def _measuring_seconds(config: TrainingConfig) -> float:
    """Estimate how long a member's measurements take, from what they say of themselves."""
    seconds = 0.0
    for one in config.measurements.values():
        function, epochs = (one.function, one.epochs) if isinstance(one, Measurement) else (one, None)
        times = _recorded(config) if epochs is None else len(epochs)
        seconds += times * float(getattr(function, "seconds", 0.0))
    return seconds


def _recorded(config: TrainingConfig) -> int:
    """Give how many epochs are recorded."""
    return config.num_epochs if config.record_at is None else len(config.record_at)


def estimated_seconds(config: TrainingConfig, members: int) -> float:
    """Estimate how long a unit trains, from rates measured on two cores.

    Args:
        config: Its config.
        members: How many members it has.

    Returns:
        Seconds, right within a factor of about two.
    """
    examples = len(config.train_examples)
    batch = config.batch_size or examples
    shapes = [p.shape for p in config.network().parameters()]
    entries = sum(prod(shape) for shape in shapes)
    units = sum(shape[0] for shape in shapes if len(shape) > 1)
    judged = examples + len(config.test_examples or ())

    def pass_seconds(rows: float) -> float:  # forward: multiply-adds, then moving the activations about
        return members * rows * (entries * 2 / 200e9 + units * 4 / 10e9)

    step = 3 * pass_seconds(batch) + members * entries * 28 / 25e9 + 5e-6 * (len(shapes) * 6 + 10)
    return config.num_steps * step + _recorded(config) * pass_seconds(judged)


def estimated_bytes(planned: PlannedEnsemble) -> int:
    """Estimate the memory that an ensemble's units take.

    Args:
        planned: The ensemble.

    Returns:
        Bytes: the program itself, the data, and one unit's parameters, moments and activations.
    """
    config = planned.config
    train, test = config.train_examples, config.test_examples or config.train_examples
    tensors = (train.inputs, train.targets, test.inputs, test.targets)
    members = min(10, len(planned.members))
    shapes = [p.shape for p in config.network().parameters()]
    entries = sum(prod(shape) for shape in shapes)
    units = sum(shape[0] for shape in shapes if len(shape) > 1)
    rows = config.batch_size or len(train)
    examples_bytes = sum(t.numel() * t.element_size() for t in tensors)
    whole_batch = train.inputs.numel() * 4 if config.batch_size is None else 0
    return 450_000_000 + examples_bytes + whole_batch + members * (entries * 16 + 8 * rows * units)


CHECKPOINT_EVERY = 60.0  # seconds: what a fault can lose of a unit


def train_unit(
    work: EnsembleWork,
    members: range,
    out: Path,
    device: str,
    progress: Callable[[float], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> None:
    """Train one unit and store it.

    Args:
        work: The ensemble that it belongs to.
        members: Its members.
        out: The output folder.
        device: Where to compute.
        progress: Hears which share of the training is done.
        say: Hears what became of a checkpoint that can't be gone on from.
    """
    with HeldSignals():  # a unit that is done is stored before Ctrl-C or SIGTERM stops the run
        begun = time.perf_counter()
        place = unit_path(out, work.name, members)
        trained = _trained(work.planned.config, members, out, device, progress, place, say or (lambda _: None))
        machine = {**provenance(device), "seconds": time.perf_counter() - begun, "backend": trained.backend}
        snapshots = {
            epoch: {name: tensor.cpu().numpy() for name, tensor in parameters.items()}
            for epoch, parameters in trained.snapshots.items()
        }
        keep(out, work.name, work.description, Unit(members, trained.record, snapshots, machine))
        checkpoint_path(place).unlink(missing_ok=True)


def _trained(
    config: TrainingConfig,
    members: range,
    out: Path,
    device: str,
    progress: Callable[[float], None] | None,
    place: Path,
    say: Callable[[str], None],
) -> Trained:
    """Train from the unit's checkpoint; one that can't be gone on from is set aside, and training begins anew."""
    try:
        return _train_config(config, members, device, progress, place, _left(place))
    except DamagedError as error:
        sentence = str(error)
    except InputError as error:
        if error.field != "resume":
            raise
        sentence = f"{checkpoint_path(place)} can't be gone on from: it is {error.value}."
    say(f"{sentence} It was moved to {set_aside(out, checkpoint_path(place))} and the training begins anew.")
    return _train_config(config, members, device, progress, place, None)


def _train_config(
    config: TrainingConfig,
    members: range,
    device: str,
    progress: Callable[[float], None] | None,
    place: Path,
    resume: Checkpoint | None,
) -> Trained:
    """Train members under a config; checkpoints stand beside the place where the unit will stand."""

    def keep_checkpoint(checkpoint: Checkpoint) -> None:
        arrays = {name: tensor.numpy() for name, tensor in checkpoint.tensors.items()}
        write_checkpoint(place, arrays, checkpoint.state)

    return train(
        replace(config, measurements={name: _on_one_thread(one) for name, one in config.measurements.items()}),
        members=members,
        device=device,
        progress=progress,
        checkpoint=keep_checkpoint,
        checkpoint_every=CHECKPOINT_EVERY,
        resume=resume,
    )


def _on_one_thread(measurement: Measure | Measurement) -> Measurement:
    """Measure with one thread: training is the same with any number of them, measurements are not."""
    one = measurement if isinstance(measurement, Measurement) else Measurement(measurement)

    def measured(moment: TrainingState) -> Tensor:
        with one_thread():
            return one.function(moment)

    return replace(one, function=measured)


def _left(place: Path) -> Checkpoint | None:
    """Find what an interrupted training of this unit left."""
    left = read_checkpoint(place)
    if left is None:
        return None
    arrays, state = left
    return Checkpoint({name: torch.from_numpy(array) for name, array in arrays.items()}, state)
