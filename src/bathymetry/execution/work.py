"""What a plan still needs: for each ensemble and joint measurement the chunks that are stored, and those missing."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any, Literal

from torch import nn

from bathymetry.core.errors import StorageError
from bathymetry.core.identity import Description
from bathymetry.core.showing import joined, plural, rounded
from bathymetry.execution.jobs import Job, joint_description
from bathymetry.store.chunks import (
    Chunk,
    assembled,
    checkpoint_path,
    chunk_path,
    config_hash,
    failures,
    missing,
    read_checkpoint,
    read_chunk,
    stored,
    stored_in,
    verify_all,
)
from bathymetry.store.storage import Place
from bathymetry.studies import JointMeasurement, Study
from bathymetry.studies.base import Plan, PlannedEnsemble
from bathymetry.sweeps.results import Found
from bathymetry.sweeps.sweep import Sweep
from bathymetry.training import TrainingConfig
from bathymetry.training.ensemble import built_by
from bathymetry.training.together import stack_key

Shard = tuple[int, int]  # (2, 40) is the second of forty fixed shares of a plan's chunks
Share = frozenset[tuple[str, int, int]]  # planned chunks and joint measurements: hash of the config, first, last + 1
_CHUNK_MEMBERS = 10  # at most
_CHUNK_SECONDS = 60.0  # about; a chunk that takes longer is cut, so that no process idles long at the end
_CHUNK_SIZES = (1, 2, 5, _CHUNK_MEMBERS)
_CHECKPOINTS = 4  # that a plan names
_CHUNK_COST = 1.25  # times that of a member among ten, at most

_STACK_MEMBERS = 250  # at most that train together
_STACK_SECONDS = 20.0  # about, of the longest stack, so that no process idles long at the end


@dataclass(frozen=True)
class Task:
    """An ensemble or joint measurement of a plan, with what is stored of it."""

    planned: PlannedEnsemble | JointMeasurement
    index: int  # in the plan
    config_hash: str  # by which its chunks are known
    description: Description
    members: range
    chunks: dict[range, Chunk]  # read and verified, without parameters; several tasks of one name share them
    planned_chunks: tuple[range, ...]  # how its members are cut, whatever is stored
    missing: tuple[range, ...]  # parts of these

    @property
    def config(self) -> TrainingConfig:
        assert isinstance(self.planned, PlannedEnsemble)
        return self.planned.config

    def add(self, chunk: Chunk) -> None:
        """Add a chunk that was read."""
        self.chunks[chunk.members] = replace(chunk, snapshots={})

    def chunk(self, out: Place) -> Chunk:
        """All members in one chunk."""
        return assembled(out, self.config_hash, self.members, self.chunks)


@dataclass(frozen=True)
class Work:
    """All that a plan needs, with estimates on two cores."""

    ensembles: tuple[Task, ...]
    joints: tuple[Task, ...]
    damaged: tuple[str, ...] = ()  # a sentence for each damaged file

    def only(self, where: Callable[[PlannedEnsemble], bool] | None) -> "Work":
        """The same with nothing to train of ensembles that are not wanted now."""
        if where is None:
            return self
        wanted = [where(one.planned) if isinstance(one.planned, PlannedEnsemble) else True for one in self.ensembles]
        ensembles = [
            one if is_wanted else replace(one, missing=())
            for one, is_wanted in zip(self.ensembles, wanted, strict=True)
        ]
        return replace(self, ensembles=tuple(ensembles))

    def found(self, out: Place) -> list[Found]:
        """What is stored of each ensemble of a sweep, in the order of its plan."""
        found = []
        for task in self.ensembles:
            assert isinstance(task.planned, PlannedEnsemble)
            records = {members: chunk.record for members, chunk in task.chunks.items()}
            failed = failures(out, task.config_hash) if missing(list(records), task.members) else {}
            found.append(Found(task.planned, records, failed))
        return found

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

    def begun_in(self, out: Place) -> str:
        """How far checkpoints are, in a local folder, that training goes on from; empty if there are none."""
        shares = []
        for task, members in self.todo if isinstance(out, Path) else ():  # at an address each would be a request
            path = checkpoint_path(chunk_path(out, task.config_hash, members))
            with suppress(StorageError, LookupError, TypeError):  # which training names, and does without
                if (read := read_checkpoint(path)) is not None:
                    shares.append(read[1]["step"] / task.config.num_steps)
        named = joined([f"{share:.0%}" for share in shares[:_CHECKPOINTS]]) + "; …" * (len(shares) > _CHECKPOINTS)
        return f"{plural('checkpoint', len(shares))} at {named} of the steps" if shares else ""

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
        sizes = ((task.config, len(chunk)) for task in self.ensembles for chunk in task.planned_chunks)
        return max((_bytes(config, members) for config, members in sizes), default=0)

    def part(self, share: Share | None = None, failed_in: Place | None = None) -> "Work":
        """The same with nothing to do outside of a fixed share of the chunks, or but where members failed before."""
        ensembles = [replace(one, missing=tuple(_gaps(one, share, failed_in))) for one in self.ensembles]
        chosen = {(task.config_hash, gap.start) for task in ensembles for gap in task.missing}
        left_out = {task.config_hash for task, gap in self.todo if (task.config_hash, gap.start) not in chosen}

        def is_done(joint: Task) -> bool:
            is_mine = share is None or _entry(joint, joint.members) in share
            return is_mine and not self._needed(joint) & left_out

        joints = (one if is_done(one) else replace(one, missing=()) for one in self.joints)
        return replace(self, ensembles=tuple(ensembles), joints=tuple(joints))

    def jobs(self, study: Study, share: Share | None = None, failed_in: Place | None = None) -> list[Job]:
        """What is to be done, for a fixed share of the chunks, or only where members failed before."""
        part, settings = self.part(share, failed_in), study.model_dump_json()

        def job(task: Task, kind: Literal["train", "measure"], members: range, **estimates: Any) -> Job:
            own = (task.index, task.config_hash, members.start, members.stop, _label(study, task, members))
            return Job(*own, study.location, settings, kind, **estimates)

        stacks: dict[str | None, list[tuple[Job, int]]] = {}
        keys = {id(task): stack_key(task.config) for task, _ in part.todo}
        for task, members in part.todo:
            estimates = {"seconds": _chunk_seconds(task, members), "bytes": _bytes(task.config, len(members))}
            own = _member_bytes(task.config) * len(members)
            stacks.setdefault(keys[id(task)], []).append((job(task, "train", members, **estimates), own))
        alone = [one for one, _ in stacks.pop(None, [])]
        jobs = [*alone, *(one for some in stacks.values() for one in _stacked(some))]
        for task in part.joints:
            if task.missing:
                needed = self._needed(task)
                after = tuple(one.id for one in jobs if needed & {some.config for some in one.parts})
                seconds = len(task.members) * _seconds(task.planned)
                jobs.append(job(task, "measure", task.members, seconds=seconds, bytes=self.bytes, after=after))
        return jobs

    def _needed(self, joint: Task) -> set[str]:
        """The hashes of the configs whose ensembles a joint measurement is over."""
        assert isinstance(joint.planned, JointMeasurement)
        return {self._names[id(one)] for one in joint.planned.of}

    @property
    def _names(self) -> dict[int, str]:
        return {id(task.planned): task.config_hash for task in self.ensembles}

    def refresh(self, out: Place) -> bool:
        """Read the chunks that were stored since; return whether nothing is missing."""
        for task in (*self.ensembles, *self.joints):
            for members in stored(out, task.config_hash) if task.missing else ():
                if members not in task.chunks:
                    task.add(read_chunk(chunk_path(out, task.config_hash, members)).select(members))
        return not any(missing(list(task.chunks), gap) for task in self.ensembles for gap in task.missing) and all(
            task.members in task.chunks for task in self.joints
        )


def _gaps(task: Task, share: Share | None, failed_in: Place | None) -> Iterator[range]:
    """What is missing of an ensemble, in a share, or where members failed before."""
    failed = None if failed_in is None or not task.missing else failures(failed_in, task.config_hash)
    for planned in task.planned_chunks:
        for gap in task.missing if share is None or _entry(task, planned) in share else ():
            is_wanted = failed is None or any(set(gap) & set(one) for one in failed)
            if planned.start <= gap.start < planned.stop and is_wanted:
                yield gap


def share_of(works: Sequence[Work], shard: Shard | None) -> Share | None:
    """A fixed share of what works plan, whatever is stored: every nth by length, so that shares take equally long."""
    if shard is None:
        return None
    chunks = [(task, members) for work in works for task in work.ensembles for members in task.planned_chunks]
    seconds = {_entry(*one): _chunk_seconds(*one) for one in chunks}  # each once, though several works may plan it
    ordered = sorted(seconds, key=lambda one: (-seconds[one], one))
    ordered += sorted({_entry(task, task.members) for work in works for task in work.joints})
    return frozenset(ordered[shard[0] - 1 :: shard[1]])


def _entry(task: Task, members: range) -> tuple[str, int, int]:
    return task.config_hash, members.start, members.stop


def compare(out: Place, plan: Plan, *, read: bool = False, repair: bool = True) -> Work:
    """Compare a plan with what is stored in an output folder or at an address, which need not exist.

    With `read`, every chunk is read and verified, once, and damaged ones are quarantined, or with `repair` False taken
    for missing; else nothing changes and what is stored is trusted.
    """
    descriptions = {id(one): one.config.description() for one in plan.ensembles}
    configs = {key: config_hash(one) for key, one in descriptions.items()}
    for joint in plan.joints:
        descriptions[id(joint)] = joint_description(joint, configs)
        configs[id(joint)] = config_hash(descriptions[id(joint)])
    listed = stored_in(out, dict.fromkeys(configs.values()))
    damaged: list[str] = []
    found: dict[str, dict[range, Chunk]] = {config: {} for config in listed}
    if read:
        for config, (whole, sentences) in zip(listed, verify_all(out, listed, repair=repair), strict=True):
            found[config] = {members: replace(chunk, snapshots={}) for members, chunk in whole.items()}
            damaged.extend(sentences)
    have = {config: list(found[config]) if read else ranges for config, ranges in listed.items()}

    def task(planned: PlannedEnsemble | JointMeasurement, index: int, members: range) -> Task:
        config = configs[id(planned)]
        if isinstance(planned, PlannedEnsemble):
            cut = planned_chunks(planned.config, members)
            lacking = [gap for one in cut for gap in missing(have[config], one)]
        else:
            cut, lacking = [members], [members] * (members not in have[config])
        have[config].extend(lacking)  # two ensembles of one config are trained once
        chunks, description = found[config], descriptions[id(planned)]
        return Task(planned, index, config, description, members, chunks, tuple(cut), tuple(lacking))

    ensembles = [task(one, index, one.members) for index, one in enumerate(plan.ensembles)]
    joints = [task(one, index, one.of[0].members) for index, one in enumerate(plan.joints)]
    return Work(tuple(ensembles), tuple(joints), tuple(damaged))


def planned_chunks(config: TrainingConfig, members: range) -> list[range]:
    """Cut members into chunks, smaller ones for large networks: by the config alone, never by the machine."""
    size = _CHUNK_MEMBERS
    if _training_seconds(config, size) > _CHUNK_SECONDS:  # smaller, where fewer are nearly as fast together
        enough = _CHUNK_COST * modelled_step_seconds(config, size) / size
        size = next(one for one in _CHUNK_SIZES if modelled_step_seconds(config, one) / one <= enough)
    return [range(start, min(start + size, members.stop)) for start in range(members.start, members.stop, size)]


def _stacked(jobs: Sequence[tuple[Job, int]]) -> list[Job]:
    """Join jobs of one architecture, with the bytes of their members, into stacks of as many as are fast together."""
    stacks: list[Job] = []
    members = 0
    for one, size in jobs:
        last = stacks[-1] if stacks else None
        members += len(one.members)
        if last and members <= _STACK_MEMBERS and last.seconds + one.seconds <= _STACK_SECONDS:
            stack, seconds = (*last.stack, one.parts[0]), last.seconds + one.seconds
            stacks[-1] = replace(last, stack=stack, seconds=seconds, bytes=last.bytes + size)
        else:
            stacks.append(one)
            members = len(one.members)
    return stacks


def _label(study: Study, task: Task, members: range) -> str:
    """Name a chunk by its coordinates, and by its members if those have several chunks."""
    names = study.values_at(task.index) if isinstance(study, Sweep) else task.planned.coordinates
    words = [f"{name} {rounded(value)}" for name, value in names.items()]
    if len(task.planned_chunks) > 1 or not words:
        words.append(f"member {members[0]}" if len(members) == 1 else f"members {members[0]} to {members[-1]}")
    return ", ".join(words)


def _chunk_seconds(task: Task, members: range) -> float:
    """About how long training and measuring a chunk take."""
    return training_seconds(task, members) + len(members) * _measuring_seconds(task.config)


def training_seconds(task: Task, members: Sequence[int]) -> float:
    """About how long some members of an ensemble train, right within a factor of two."""
    return _training_seconds(task.config, len(members))


def _training_seconds(config: TrainingConfig, count: int) -> float:
    rows = len(config.train_examples) + len(config.test_examples or ())
    _, entries, units = _sizes(config)
    recording = _recorded(config) * _pass_seconds(count, rows, entries, units)
    return config.num_steps * modelled_step_seconds(config, count) + recording


def modelled_step_seconds(config: TrainingConfig, count: int) -> float:
    """About how long a step of so many members takes."""
    batch = config.batch_size or len(config.train_examples)
    tensors, entries, units = _sizes(config)
    passes = 3 * _pass_seconds(count, batch, entries, units)
    return passes + count * entries * 28 / 25e9 + 5e-6 * (tensors * 6 + 10)


def _pass_seconds(count: int, rows: float, entries: int, units: int) -> float:
    """A forward pass: multiply-adds, then moving the activations about."""
    return count * rows * (entries * 2 / 200e9 + units * 4 / 10e9)


def _sizes(config: TrainingConfig) -> tuple[int, int, int]:
    """Count a network's tensors, their entries, and the units of its layers; each network is built once for it."""
    try:
        return _sizes_of(config.network)
    except TypeError:  # it has no hash
        return _sizes_of.__wrapped__(config.network)


@lru_cache(maxsize=100)
def _sizes_of(network: Callable[[], nn.Module]) -> tuple[int, int, int]:
    shapes = [parameter.shape for parameter in built_by(network).parameters()]
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
    examples_bytes = sum(one.nbytes for one in (train.inputs, train.targets, test.inputs, test.targets))
    full_batch = train.inputs.numel() * 4 if config.batch_size is None else 0
    return 450_000_000 + examples_bytes + full_batch + min(_CHUNK_MEMBERS, members) * _member_bytes(config)


def _member_bytes(config: TrainingConfig) -> int:
    """Estimate the memory of one member's parameters, moments and activations."""
    _, entries, units = _sizes(config)
    return entries * 16 + 8 * (config.batch_size or len(config.train_examples)) * units
