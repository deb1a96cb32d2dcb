"""What a plan still needs: for each ensemble and joint measurement the chunks that are stored, and those missing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from bathymetry.core.identity import Description, describe
from bathymetry.store.chunks import Chunk, assembled, config_hash, missing, stored, verify
from bathymetry.store.storage import Place
from bathymetry.studies import JointMeasurement
from bathymetry.studies.base import Plan, PlannedEnsemble
from bathymetry.training import TrainingConfig


@dataclass(frozen=True)
class Task:
    """An ensemble or joint measurement of a plan, with what is stored of it."""

    planned: PlannedEnsemble | JointMeasurement
    index: int  # in the plan
    config_hash: str  # by which its chunks are known
    description: Description
    members: range
    chunks: dict[range, Chunk]  # read and verified; several tasks of one name share them
    missing: tuple[range, ...]
    with_parameters: bool  # which only joint measurements need

    @property
    def config(self) -> TrainingConfig:
        assert isinstance(self.planned, PlannedEnsemble)
        return self.planned.config

    def add(self, chunk: Chunk) -> None:
        """Add a chunk that was trained or measured."""
        self.chunks[chunk.members] = chunk if self.with_parameters else replace(chunk, snapshots={})

    def chunk(self, out: Place) -> Chunk:
        """All members in one chunk."""
        return assembled(out, self.config_hash, self.members, self.chunks)


@dataclass(frozen=True)
class Work:
    """All that a plan needs, with estimates on two cores."""

    ensembles: tuple[Task, ...]
    joints: tuple[Task, ...]
    damaged: tuple[str, ...] = ()  # a sentence for each damaged file

    @property
    def todo(self) -> list[tuple[Task, range]]:
        """The chunks that are to be trained."""
        return [(task, members) for task in self.ensembles for members in task.missing]

    @property
    def members(self) -> int:
        """How many members the plan has."""
        return sum(len(task.members) for task in self.ensembles)

    @property
    def reused(self) -> int:
        """How many members are stored already."""
        return self.members - sum(len(members) for _, members in self.todo)

    @property
    def seconds(self) -> float:
        """About how long training takes."""
        return sum(training_seconds(task, members) for task, members in self.todo)

    @property
    def measuring_seconds(self) -> float:
        """About how long the measurements take that say so."""
        joint = [len(task.members) * _seconds(task.planned) for task in self.joints if task.missing]
        return sum(joint) + sum(len(members) * _measuring_seconds(task.config) for task, members in self.todo)

    @property
    def measurements(self) -> int:
        """How many measurements are to be made."""
        joint = sum(bool(task.missing) for task in self.joints)
        return joint + sum(len(task.config.measurements) for task, _ in self.todo)

    @property
    def unestimated(self) -> int:
        """How many measurements do not say how long they take."""
        joint = sum(bool(task.missing) and not _says_seconds(task.planned) for task in self.joints)
        each = (task.config.named_measurements.values() for task, _ in self.todo)
        return joint + sum(not _says_seconds(one) for measurements in each for one in measurements)

    @property
    def bytes(self) -> int:
        """About how much memory the largest chunk and its data take."""
        return max((_bytes(task.config, len(task.members)) for task in self.ensembles), default=0)


def compare(out: Place, plan: Plan, *, read: bool = False) -> Work:
    """Compare a plan with what is stored in an output folder or at an address, which need not exist.

    With `read`, every chunk is read and verified, once, and damaged ones are quarantined; else nothing changes and what
    is stored is trusted.
    """
    descriptions = {id(one): one.config.description() for one in plan.ensembles}
    names = {key: config_hash(one) for key, one in descriptions.items()}
    with_parameters = {names[id(one)] for joint in plan.joints for one in joint.of}
    found: dict[str, tuple[dict[range, Chunk], list[range]]] = {}
    damaged: list[str] = []

    def task(planned: PlannedEnsemble | JointMeasurement, index: int, description: Description, members: range) -> Task:
        name = config_hash(description)
        verified: dict[range, Chunk] = {}
        if name not in found:
            if read:
                verified, sentences = verify(out, name)
                damaged.extend(sentences)
            found[name] = {}, list(verified) if read else stored(out, name)
        chunks, have = found[name]
        lacking = missing(have, members) if isinstance(planned, PlannedEnsemble) else [members] * (members not in have)
        have.extend(lacking)  # two ensembles of one config are trained once
        made = Task(planned, index, name, description, members, chunks, tuple(lacking), name in with_parameters)
        for chunk in verified.values():
            made.add(chunk)
        return made

    def joint_task(joint: JointMeasurement, index: int) -> Task:
        of = [{"config": names[id(one)], "members": describe(one.members)} for one in joint.of]
        description = describe({"joint measurement": joint.function, "of": of})
        return task(joint, index, description, joint.of[0].members)

    ensembles = [task(one, index, descriptions[id(one)], one.members) for index, one in enumerate(plan.ensembles)]
    joints = [joint_task(one, index) for index, one in enumerate(plan.joints)]
    return Work(tuple(ensembles), tuple(joints), tuple(damaged))


def training_seconds(task: Task, members: Sequence[int]) -> float:
    """About how long some members of an ensemble train, right within a factor of two."""
    config = task.config
    examples = len(config.train_examples)
    batch = config.batch_size or examples
    tensors, entries, units = _sizes(config)
    count = len(members)

    def pass_seconds(rows: float) -> float:  # forward: multiply-adds, then moving the activations about
        return count * rows * (entries * 2 / 200e9 + units * 4 / 10e9)

    step = 3 * pass_seconds(batch) + count * entries * 28 / 25e9 + 5e-6 * (tensors * 6 + 10)
    return config.num_steps * step + _recorded(config) * pass_seconds(examples + len(config.test_examples or ()))


def _sizes(config: TrainingConfig) -> tuple[int, int, int]:
    """Count a network's tensors, their entries, and the units of its layers."""
    shapes = [parameter.shape for parameter in config.network().parameters()]
    return len(shapes), sum(map(prod, shapes)), sum(shape[0] for shape in shapes if len(shape) > 1)


def _recorded(config: TrainingConfig) -> int:
    return config.num_epochs if config.record_at is None else len(config.record_at)


def _seconds(measurement: object) -> float:
    """About how long a measurement takes, which its function says of itself."""
    return float(getattr(getattr(measurement, "function", None), "seconds", 0.0))


def _says_seconds(measurement: object) -> bool:
    return hasattr(getattr(measurement, "function", None), "seconds")


def _measuring_seconds(config: TrainingConfig) -> float:
    """About how long all measurements of a member take."""
    measurements = config.named_measurements.values()
    return sum(_seconds(one) * (_recorded(config) if one.epochs is None else len(one.epochs)) for one in measurements)


def _bytes(config: TrainingConfig, members: int) -> int:
    """Estimate the memory of the program itself, the data, and one chunk's parameters, moments and activations."""
    train, test = config.train_examples, config.test_examples or config.train_examples
    _, entries, units = _sizes(config)
    rows = config.batch_size or len(train)
    examples_bytes = sum(one.nbytes for one in (train.inputs, train.targets, test.inputs, test.targets))
    full_batch = train.inputs.numel() * 4 if config.batch_size is None else 0
    return 450_000_000 + examples_bytes + full_batch + min(10, members) * (entries * 16 + 8 * rows * units)
