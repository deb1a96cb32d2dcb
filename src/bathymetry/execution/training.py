"""Training one chunk of a study's plan, here or in another process, and making its joint measurements."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from bathymetry.core.errors import DamagedError, InputError, StorageError
from bathymetry.core.system import HeldSignals, one_thread
from bathymetry.execution.work import Task
from bathymetry.store.chunks import (
    Chunk,
    checkpoint_path,
    chunk_path,
    config_hash,
    quarantine,
    read_checkpoint,
    save,
    write_checkpoint,
)
from bathymetry.store.folder import provenance
from bathymetry.studies import JointMeasurement, Study
from bathymetry.training import Measurement, Trained, TrainingConfig, TrainingState, train
from bathymetry.training.checkpoint import Checkpoint

CHECKPOINT_EVERY = 60.0  # seconds: what a fault can lose of a chunk


def train_chunk(
    study: Study,
    place: int,
    name: str,
    members: range,
    out: Path,
    progress: Callable[[float], None] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Chunk:
    """Train members of one ensemble of a study and store them.

    All arguments can be sent to another process: a study travels as the place of its class and its settings.

    Args:
        study: The study with its settings.
        place: Which ensemble of its plan.
        name: The hash of the ensemble's config, where the study was planned.
        members: The members.
        out: The output folder.
        progress: Called with the share of the training that is done.
        say: Called with what became of a checkpoint that can't be used.

    Returns:
        The chunk.

    Raises:
        StorageError: If the plan has another config there, because code or data are not the same.
    """
    config = study.planned.ensembles[place].config
    description = config.description()
    if config_hash(description) != name:
        cause = (
            "code or data differ, or a function changes a global value that it reads: keep such a value in the function"
        )
        raise StorageError(f"Ensemble {place} of {study.name} has another config than planned ({cause}).")
    with HeldSignals():  # a chunk that is done is stored before Ctrl-C or SIGTERM stops the run
        begun = time.perf_counter()
        path = chunk_path(out, name, members)
        trained = _trained(config, members, out, path, study.device, progress, say)
        machine = {**provenance(study.device), "seconds": time.perf_counter() - begun, "backend": trained.backend}
        snapshots = {
            epoch: {name: tensor.cpu().numpy() for name, tensor in parameters.items()}
            for epoch, parameters in trained.snapshots.items()
        }
        chunk = Chunk(members, trained.record, snapshots, machine)
        save(out, name, description, chunk)
        checkpoint_path(path).unlink(missing_ok=True)
    return chunk


def measure(task: Task, chunks: Sequence[Chunk], out: Path, device: str) -> Chunk:
    """Make a measurement over several ensembles and store its record, as a chunk without parameters."""
    assert isinstance(task.planned, JointMeasurement)
    begun = time.perf_counter()
    with one_thread():
        record = task.planned.function(chunks)
    machine = {**provenance(device), "seconds": time.perf_counter() - begun}
    chunk = Chunk(task.members, record, {}, machine)
    save(out, task.name, task.description, chunk)
    return chunk


def _trained(
    config: TrainingConfig,
    members: range,
    out: Path,
    path: Path,
    device: str,
    progress: Callable[[float], None] | None,
    say: Callable[[str], None],
) -> Trained:
    """Train from the chunk's checkpoint; one that can't be used is quarantined, and training starts again."""

    def keep(checkpoint: Checkpoint) -> None:
        write_checkpoint(path, {name: one.numpy() for name, one in checkpoint.tensors.items()}, checkpoint.state)

    measured = {name: _on_one_thread(one) for name, one in config.named_measurements.items()}
    begin = partial(
        train,
        replace(config, measurements=measured),
        members=members,
        device=device,
        progress=progress,
        checkpoint=keep,
        checkpoint_every=CHECKPOINT_EVERY,
    )
    try:
        return begin(resume=_left(path))
    except DamagedError as error:
        sentence = str(error)
    except InputError as error:
        if error.field != "resume":
            raise
        sentence = f"Training can't continue from {checkpoint_path(path)}: it is {error.value}."
    say(f"{sentence} It was moved to {quarantine(out, checkpoint_path(path))} and the training starts again.")
    return begin()


def _on_one_thread(one: Measurement) -> Measurement:
    """Measure with one thread: training is the same with any number of them, measurements are not."""

    def measured(state: TrainingState) -> Tensor:
        with one_thread():
            return one.function(state)

    return replace(one, function=measured)


def _left(path: Path) -> Checkpoint | None:
    """What an interrupted training of this chunk left."""
    left = read_checkpoint(path)
    if left is None:
        return None
    arrays, state = left
    return Checkpoint({name: torch.from_numpy(array) for name, array in arrays.items()}, state)
