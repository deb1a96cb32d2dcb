"""What a plan still needs: for each ensemble and joint measurement the chunks that are stored, and those missing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

from bathymetry.core.identity import Description, describe
from bathymetry.store.chunks import Chunk, assembled, config_hash, missing, stored, verify
from bathymetry.studies import JointMeasurement
from bathymetry.studies.plan import Plan, PlannedEnsemble
from bathymetry.training import TrainingConfig


@dataclass(frozen=True)
class Task:
    """An ensemble or joint measurement of a plan, with what is stored of it."""

    planned: PlannedEnsemble | JointMeasurement
    place: int  # in the plan
    name: str  # hash of the description
    description: Description
    members: range
    chunks: dict[range, Chunk]  # read and verified; several tasks of one name share them
    missing: tuple[range, ...]
    with_parameters: bool  # which only joint measurements need

    def add(self, chunk: Chunk) -> None:
        """Keep a chunk that was trained or measured."""
        self.chunks[chunk.members] = chunk if self.with_parameters else replace(chunk, snapshots={})

    def chunk(self, out: Path) -> Chunk:
        """All members in one chunk."""
        return assembled(out, self.name, self.members, self.chunks)


@dataclass(frozen=True)
class Work:
    """All that a plan needs, with estimates on two cores; measurements that do not say how long they take count 0."""

    ensembles: tuple[Task, ...]
    joints: tuple[Task, ...]
    damaged: tuple[str, ...] = ()  # a sentence for each damaged file

    @property
    def num_chunks(self) -> int:
        """How many chunks are to be trained."""
        return sum(len(one.missing) for one in self.ensembles)

    @property
    def members(self) -> int:
        """How many members the plan has."""
        return sum(len(one.members) for one in self.ensembles)

    @property
    def reused(self) -> int:
        """How many members are stored already."""
        return self.members - sum(len(members) for one in self.ensembles for members in one.missing)

    @property
    def seconds(self) -> float:
        """About how long training takes."""
        return sum(training_seconds(one, members) for one in self.ensembles for members in one.missing)

    @property
    def measuring_seconds(self) -> float:
        """About how long the measurements take."""
        in_training = sum(
            len(members) * _measuring_seconds(_config(one)) for one in self.ensembles for members in one.missing
        )
        joint = sum(
            len(members) * float(getattr(getattr(one.planned, "function", None), "seconds", 0.0))
            for one in self.joints
            for members in one.missing
        )
        return in_training + joint

    @property
    def measurements(self) -> int:
        """How many measurements are to be made."""
        in_training = sum(len(one.missing) * len(_config(one).measurements) for one in self.ensembles)
        return in_training + sum(bool(one.missing) for one in self.joints)

    @property
    def bytes(self) -> int:
        """About how much memory the largest chunk and its data take."""
        return max((_bytes(_config(one), len(one.members)) for one in self.ensembles), default=0)


def compare(out: Path, plan: Plan, *, read: bool = False) -> Work:
    """Compare a plan with what is stored.

    Args:
        out: The output folder; it need not exist.
        plan: The plan.
        read: Whether to read and verify every chunk, once; damaged ones are quarantined. Without it nothing changes and
            what is stored is trusted.

    Returns:
        What is stored and what is missing.
    """
    joined = {id(ensemble) for joint in plan.joints for ensemble in joint.of}
    names: dict[int, str] = {}
    descriptions: dict[int, Description] = {}
    for planned in plan.ensembles:
        descriptions[id(planned)] = planned.config.description()
        names[id(planned)] = config_hash(descriptions[id(planned)])
    with_parameters = {names[one] for one in joined}
    found: dict[str, tuple[dict[range, Chunk], list[range]]] = {}
    damaged: list[str] = []

    def task(planned: PlannedEnsemble | JointMeasurement, place: int, description: Description, members: range) -> Task:
        name = config_hash(description)
        verified: dict[range, Chunk] = {}
        if name not in found:
            if read:
                verified, said = verify(out, name)
                damaged.extend(said)
            found[name] = {}, list(verified) if read else stored(out, name)
        chunks, have = found[name]
        lacking = missing(have, members) if isinstance(planned, PlannedEnsemble) else [members] * (members not in have)
        have.extend(lacking)  # two ensembles of one config are trained once
        made = Task(planned, place, name, description, members, chunks, tuple(lacking), name in with_parameters)
        for chunk in verified.values():
            made.add(chunk)
        return made

    ensembles = tuple(task(one, place, descriptions[id(one)], one.members) for place, one in enumerate(plan.ensembles))
    joints = tuple(
        task(one, place, _joint(one, [names[id(ensemble)] for ensemble in one.of]), one.of[0].members)
        for place, one in enumerate(plan.joints)
    )
    return Work(ensembles, joints, tuple(damaged))


def training_seconds(task: Task, members: Sequence[int]) -> float:
    """About how long some members of an ensemble train, right within a factor of two."""
    config = _config(task)
    examples = len(config.train_examples)
    batch = config.batch_size or examples
    tensors, entries, units = _sizes(config)
    count = len(members)

    def pass_seconds(rows: float) -> float:  # forward: multiply-adds, then moving the activations about
        return count * rows * (entries * 2 / 200e9 + units * 4 / 10e9)

    step = 3 * pass_seconds(batch) + count * entries * 28 / 25e9 + 5e-6 * (tensors * 6 + 10)
    return config.num_steps * step + _recorded(config) * pass_seconds(examples + len(config.test_examples or ()))


def _config(task: Task) -> TrainingConfig:
    assert isinstance(task.planned, PlannedEnsemble)
    return task.planned.config


def _joint(measurement: JointMeasurement, names: Sequence[str]) -> Description:
    of = [{"config": name, "members": describe(one.members)} for name, one in zip(names, measurement.of, strict=True)]
    return describe({"joint measurement": measurement.function, "of": of})


def _sizes(config: TrainingConfig) -> tuple[int, int, int]:
    """Count a network's tensors, their entries, and the units of its layers."""
    shapes = [parameter.shape for parameter in config.network().parameters()]
    return len(shapes), sum(map(prod, shapes)), sum(shape[0] for shape in shapes if len(shape) > 1)


def _recorded(config: TrainingConfig) -> int:
    """How many epochs are recorded."""
    return config.num_epochs if config.record_at is None else len(config.record_at)


def _measuring_seconds(config: TrainingConfig) -> float:
    """About how long a member's measurements take, from what they say of themselves."""
    seconds = 0.0
    for one in config.named_measurements.values():
        times = _recorded(config) if one.epochs is None else len(one.epochs)
        seconds += times * float(getattr(one.function, "seconds", 0.0))
    return seconds


def _bytes(config: TrainingConfig, members: int) -> int:
    """Estimate the memory of the program itself, the data, and one chunk's parameters, moments and activations."""
    train, test = config.train_examples, config.test_examples or config.train_examples
    _, entries, units = _sizes(config)
    rows = config.batch_size or len(train)
    examples_bytes = sum(one.nbytes for one in (train.inputs, train.targets, test.inputs, test.targets))
    full_batch = train.inputs.numel() * 4 if config.batch_size is None else 0
    return 450_000_000 + examples_bytes + full_batch + min(10, members) * (entries * 16 + 8 * rows * units)
