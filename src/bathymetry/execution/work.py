"""What a plan still needs: each ensemble's name, the members that are stored, and the units to train."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from bathymetry.core.identity import Description
from bathymetry.execution.joints import joint_description
from bathymetry.store import gaps, setting_hash, sound, stored, unit_path
from bathymetry.studies.plan import JointMeasurement, Plan, PlannedEnsemble
from bathymetry.training import Measurement, Setting


@dataclass(frozen=True)
class EnsembleWork:
    """An ensemble of a plan, with what is stored of it and what is missing."""

    planned: PlannedEnsemble
    name: str  # hash of the setting
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
        return sum(estimated_seconds(one.planned.setting, len(unit)) for one in self.ensembles for unit in one.missing)

    @property
    def measuring_seconds(self) -> float:
        """About how long the measurements take, in units and joint ones; those that do not say it count as nothing."""
        in_units = sum(
            len(unit) * _measuring_seconds(one.planned.setting) for one in self.ensembles for unit in one.missing
        )
        return in_units + self.joint_seconds

    @property
    def measurements(self) -> int:
        """How many measurements are to be made, in units and joint ones."""
        in_units = sum(len(one.missing) * len(one.planned.setting.measurements) for one in self.ensembles)
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
        yield setting_hash(description), measurement.of[0].members


def _compared(planned: PlannedEnsemble, out: Path, said: list[str] | None) -> EnsembleWork:
    description = planned.setting.description()
    name = setting_hash(description)
    if said is None:
        have: Sequence[range] = stored(out, name)
    else:
        have, damaged = sound(out, name)
        said.extend(damaged)
    return EnsembleWork(planned, name, description, tuple(gaps(have, planned.members)))


def _joint_seconds(measurement: JointMeasurement) -> float:
    return len(measurement.of[0].members) * float(getattr(measurement.function, "seconds", 0.0))


def _measuring_seconds(setting: Setting) -> float:
    """Estimate how long a member's measurements take, from what they say of themselves."""
    seconds = 0.0
    for one in setting.measurements.values():
        function, epochs = (one.function, one.epochs) if isinstance(one, Measurement) else (one, None)
        times = _recorded(setting) if epochs is None else len(epochs)
        seconds += times * float(getattr(function, "seconds", 0.0))
    return seconds


def _recorded(setting: Setting) -> float:
    """Give how many epochs are recorded."""
    if setting.record_at is not None:
        return len(setting.record_at)
    if setting.epochs is not None:
        return setting.epochs
    examples = len(setting.data.train)
    return (setting.steps or 0) / -(-examples // (setting.batch_size or examples))


def estimated_seconds(setting: Setting, members: int) -> float:
    """Estimate how long a unit trains, from rates measured on two cores.

    Args:
        setting: Its setting.
        members: How many members it has.

    Returns:
        Seconds, right within a factor of about two.
    """
    examples = len(setting.data.train)
    batch = setting.batch_size or examples
    steps_an_epoch = -(-examples // batch)
    steps = setting.steps if setting.steps is not None else (setting.epochs or 0) * steps_an_epoch
    shapes = [p.shape for p in setting.network().parameters()]
    entries = sum(prod(shape) for shape in shapes)
    units = sum(shape[0] for shape in shapes if len(shape) > 1)
    judged = examples + len(setting.data.test)

    def pass_seconds(rows: float) -> float:  # forward: multiply-adds, then moving the activations about
        return members * rows * (entries * 2 / 200e9 + units * 4 / 10e9)

    step = 3 * pass_seconds(batch) + members * entries * 28 / 25e9 + 5e-6 * (len(shapes) * 6 + 10)
    return steps * step + _recorded(setting) * pass_seconds(judged)


def estimated_bytes(planned: PlannedEnsemble) -> int:
    """Estimate the memory that an ensemble's units take.

    Args:
        planned: The ensemble.

    Returns:
        Bytes: the program itself, the data, and one unit's parameters, moments and activations.
    """
    setting = planned.setting
    data = setting.data
    tensors = (data.train.inputs, data.train.targets, data.test.inputs, data.test.targets)
    members = min(10, len(planned.members))
    shapes = [p.shape for p in setting.network().parameters()]
    entries = sum(prod(shape) for shape in shapes)
    units = sum(shape[0] for shape in shapes if len(shape) > 1)
    rows = min(setting.batch_size or len(data.train), len(data.train))
    examples_bytes = sum(t.numel() * t.element_size() for t in tensors)
    whole_batch = data.train.inputs.numel() * 4 if setting.batch_size is None else 0
    return 450_000_000 + examples_bytes + whole_batch + members * (entries * 16 + 8 * rows * units)
