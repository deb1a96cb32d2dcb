"""Jobs: what is trained or measured in one go, in words that travel to any process, and how one is done.

A job names its study by the location of its class and its settings, never by code or data: who does it plans again,
refuses a plan that differs, and stores what it makes under the hash of its config. So a job that is done twice is
stored once, and what a worker returns is a receipt.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from importlib.metadata import version
from typing import Any, Literal

import torch

from bathymetry.core.errors import DamagedError, InputError, StorageError, abridged
from bathymetry.core.identity import Description, describe, digest
from bathymetry.core.randomness import preserve_rng_state, stream_seed
from bathymetry.core.system import HeldSignals, one_thread, return_free_memory
from bathymetry.execution.failures import OF_THE_RUN, PointError
from bathymetry.store import chunks, storage
from bathymetry.store.chunks import Chunk, checkpoint_path, chunk_path, config_hash
from bathymetry.store.folder import provenance
from bathymetry.store.storage import Place
from bathymetry.studies import JointMeasurement, Study, find
from bathymetry.sweeps.sweep import Sweep
from bathymetry.training import Trained, TrainingConfig, train
from bathymetry.training.checkpoint import Checkpoint
from bathymetry.training.together import train_together

CHECKPOINT_EVERY = 60.0  # seconds: what a fault can lose of a chunk
Say = Callable[[str], None]  # receives a sentence that a reader should know


@dataclass(frozen=True)
class Part:
    """A chunk that is trained in one stack with the chunk of a job."""

    index: int  # of the ensemble in the plan
    config: str  # the hash of its config there
    start: int  # its members are start to stop - 1
    stop: int
    label: str

    @property
    def members(self) -> range:
        """The members to train."""
        return range(self.start, self.stop)

    @property
    def id(self) -> str:
        """Names it among the chunks of a store."""
        return f"{self.config}/{self.start}-{self.stop - 1}"


@dataclass(frozen=True)
class Job(Part):
    """A chunk to train, alone or in one stack with others, or a measurement over several ensembles to make."""

    study: str  # where its class is found
    settings: str  # as JSON
    kind: Literal["train", "measure"]
    seconds: float  # about how long it takes with one thread
    bytes: int  # about how much memory its process takes
    after: tuple[str, ...] = ()  # ids of jobs that must be done before
    stack: tuple[Part, ...] = ()  # other chunks of the same architecture, trained together with it
    default_dtype: str = field(default_factory=lambda: str(torch.get_default_dtype()))  # of the script that runs it

    @property
    def id(self) -> str:
        """Names it among the jobs of a run."""
        whole = digest(" ".join(one.id for one in self.stack).encode())
        return f"{super().id}+{whole[:12]}" if self.stack else super().id

    @property
    def parts(self) -> tuple[Part, ...]:
        """All its chunks."""
        return (Part(self.index, self.config, self.start, self.stop, self.label), *self.stack)

    def halves(self) -> "list[Job]":
        """Two jobs with half of the chunks each, or half of the members of one chunk; none if there is one member."""
        if self.stack:
            middle = len(self.parts) // 2
            some = (self.parts[:middle], self.parts[middle:])
            return [
                replace(self, **asdict(first), stack=tuple(rest), seconds=self.seconds / 2) for first, *rest in some
            ]
        middle = (self.start + self.stop) // 2
        if self.kind != "train" or middle == self.start:
            return []
        cuts = ((self.start, middle), (middle, self.stop))
        return [replace(self, start=start, stop=stop, seconds=self.seconds / 2) for start, stop in cuts]

    def to_json(self) -> str:
        """Write it in words."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "Job":
        """Read what `to_json` wrote."""
        words = json.loads(text)
        return Job(**{**words, "after": tuple(words["after"]), "stack": tuple(Part(**one) for one in words["stack"])})


@dataclass(frozen=True)
class Receipt:
    """What is known of a job when it has ended."""

    id: str
    status: Literal["done", "failed"]
    seconds: float
    label: str = ""
    error: str = ""  # a sentence
    traceback: str = ""


def versions() -> dict[str, str]:
    """The versions that have to agree between processes."""
    return {name: version(name) for name in ("bathymetry", "torch")}


def check_versions(theirs: Mapping[str, str]) -> None:
    """Refuse to work for a process with other versions."""
    for name, own in versions().items():
        if theirs.get(name) != own:
            remedy = f"this worker has {own}; install the same version on every machine"
            raise InputError(f"{name} of the run", theirs.get(name, "unknown"), remedy)


def run_job(
    job: Job,
    out: Place,
    study: Study | None = None,
    progress: Callable[[float], None] | None = None,
    say: Say = lambda _: None,
) -> Receipt:
    """Do a job with one thread, unless what it makes is stored already; errors are the caller's."""
    begun = time.perf_counter()
    if missing := [one for one in job.parts if not storage.exists(chunk_path(out, one.config, one.members))]:
        with one_thread(), _default_dtype(job.default_dtype):
            study = found(job.study, job.settings, job.default_dtype) if study is None else study
            if job.kind == "measure":
                _measure(study, job, out, say)
            else:
                _train(study, missing, out, progress, say)
        return_free_memory()
    return Receipt(job.id, "done", time.perf_counter() - begun)


@contextmanager
def _default_dtype(name: str) -> Iterator[None]:
    """Compute with another process's default dtype, which is part of a config: a user's functions may depend on it."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, name.removeprefix("torch.")))
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@cache
def found(location: str, settings: str, default_dtype: str) -> Study:  # noqa: ARG001 - what it plans depends on it
    """The study of a job, with its plan and its data, read once in a process."""
    return find(location).model_validate_json(settings)


def _train(study: Study, parts: Sequence[Part], out: Place, progress: Callable[[float], None] | None, say: Say) -> None:
    """Train chunks; what training a point of a sweep refuses is not refused to the others."""
    try:
        train_chunks(study, parts, out, progress, say)
    except InputError as error:
        if isinstance(study, Sweep) and error.field not in OF_THE_RUN:
            raise PointError from error
        raise


def train_chunks(
    study: Study,
    parts: Sequence[Part],
    out: Place,
    progress: Callable[[float], None] | None = None,
    say: Say = lambda _: None,
) -> list[Chunk]:
    """Train chunks of a study's plan, several of one architecture as one stack, and store each."""
    configs = [study.planned.ensembles[one.index].config for one in parts]
    descriptions = [config.description() for config in configs]
    for one, description in zip(parts, descriptions, strict=True):
        _check_planned(study, f"Ensemble {one.index}", description, one.config)
    with HeldSignals():  # chunks that are done are stored before Ctrl-C or SIGTERM stops the run
        begun = time.perf_counter()
        trained = _trained(configs, parts, out, say, device=study.device, progress=progress)
        each = (time.perf_counter() - begun) / sum(len(one.members) for one in parts)
        return [
            _store(study, out, one, description, result, each * len(one.members), say)
            for one, description, result in zip(parts, descriptions, trained, strict=True)
        ]


def train_chunk(
    study: Study,
    index: int,
    planned_hash: str,
    members: range,
    out: Place,
    progress: Callable[[float], None] | None = None,
    say: Say = lambda _: None,
) -> Chunk:
    """Train members of one ensemble of a study's plan, whose config has this hash there, and store them."""
    part = Part(index, planned_hash, members.start, members.stop, str(index))
    return train_chunks(study, [part], out, progress, say)[0]


def _store(
    study: Study, out: Place, part: Part, description: Description, result: Trained, took: float, say: Say
) -> Chunk:
    machine = {**provenance(study.device), "seconds": took, "backend": result.backend}
    snapshots = {
        epoch: {name: tensor.cpu().numpy() for name, tensor in parameters.items()}
        for epoch, parameters in result.snapshots.items()
    }
    chunk = Chunk(result.members, result.record, snapshots, machine)
    chunks.save(out, part.config, description, chunk, say)
    storage.delete(checkpoint_path(chunk_path(out, part.config, part.members)))
    return chunk


def joint_description(joint: JointMeasurement, configs: Mapping[int, str]) -> Description:
    """Describe a measurement over ensembles, whose configs' hashes are known by their identity."""
    of = [{"config": configs[id(one)], "members": describe(one.members)} for one in joint.of]
    return describe({"joint measurement": joint.function, "of": of})


def _measure(study: Study, job: Job, out: Place, say: Say) -> None:
    """Make a measurement over several ensembles and store its record, as a chunk without parameters."""
    begun = time.perf_counter()
    joint = study.planned.joints[job.index]
    configs = {id(one): config_hash(one.config.description()) for one in joint.of}
    description = joint_description(joint, configs)
    _check_planned(study, f"Measurement {job.index}", description, job.config)
    of = [chunks.load(out, configs[id(one)], one.members) for one in joint.of]
    with preserve_rng_state(stream_seed(study.seed, -1, "measurement")):
        record = joint.function(of)
    machine = {**provenance(study.device), "seconds": time.perf_counter() - begun}
    chunks.save(out, job.config, description, Chunk(job.members, record, {}, machine), say)


def _check_planned(study: Study, what: str, description: Description, planned_hash: str) -> None:
    if config_hash(description) != planned_hash:
        cause = (
            "code or data differ, or a function changes a global value that it reads: keep such a value in the function"
        )
        raise StorageError(f"{what} of {study.name} has another config than planned ({cause}).")


def _trained(
    configs: Sequence[TrainingConfig], parts: Sequence[Part], out: Place, say: Say, **options: Any
) -> list[Trained]:
    """Train from the checkpoint that is left; one that can't be used is quarantined, and training starts again."""
    stack = [one.id for one in parts]
    left = checkpoint_path(chunk_path(out, parts[0].config, parts[0].members))

    def keep(checkpoint: Checkpoint) -> None:
        arrays = {name: one.numpy() for name, one in checkpoint.tensors.items()}
        chunks.write_checkpoint(left, arrays, checkpoint.state, stack)

    def begin(resume: Checkpoint | None = None) -> list[Trained]:
        every = {**options, "checkpoint": keep, "checkpoint_every": CHECKPOINT_EVERY, "resume": resume}
        if len(parts) == 1:
            return [train(configs[0], members=parts[0].members, **every)]
        return train_together([(config, one.members) for config, one in zip(configs, parts, strict=True)], **every)

    try:
        read = chunks.read_checkpoint(left, stack)
        if read is None:
            return begin()
        arrays, state = read
        return begin(Checkpoint({name: torch.from_numpy(array) for name, array in arrays.items()}, state))
    except DamagedError as error:
        sentence = str(error)
    except InputError as error:
        if error.field != "resume":
            raise
        sentence = f"Training can't continue from {left}: it is {abridged(str(error.value))}."
    say(f"{sentence} It was moved to {chunks.quarantine(out, left)} and the training starts again.")
    return begin()
