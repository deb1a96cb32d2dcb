"""Training units, and reading ensembles back from them."""

import time
from collections.abc import Callable
from pathlib import Path

import torch

from bathymetry.execution.work import EnsembleWork
from bathymetry.store import (
    Unit,
    checkpoint_path,
    keep,
    read_checkpoint,
    unit_path,
    write_checkpoint,
)
from bathymetry.store.machine import provenance
from bathymetry.training import Checkpoint, Setting, Trained, train

CHECKPOINT_EVERY = 60.0  # seconds: what a fault can lose of a unit


def train_unit(
    work: EnsembleWork, members: range, out: Path, device: str, progress: Callable[[float], None] | None = None
) -> None:
    """Train one unit and store it.

    Args:
        work: The ensemble that it belongs to.
        members: Its members.
        out: The output folder.
        device: Where to compute.
        progress: Hears which share of the training is done.
    """
    begun = time.perf_counter()
    place = unit_path(out, work.name, members)
    trained = train_setting(work.planned.setting, members, device, progress, place)
    machine = {**provenance(device), "seconds": time.perf_counter() - begun, "path": trained.path}
    snapshots = {
        epoch: {name: tensor.cpu().numpy() for name, tensor in parameters.items()}
        for epoch, parameters in trained.snapshots.items()
    }
    keep(out, work.name, work.description, Unit(members, trained.record, snapshots, machine))
    checkpoint_path(place).unlink(missing_ok=True)


def train_setting(
    setting: Setting,
    members: range,
    device: str = "cpu",
    progress: Callable[[float], None] | None = None,
    place: Path | None = None,
) -> Trained:
    """Train members under a setting.

    Args:
        setting: All that decides their numbers.
        members: Their numbers.
        device: Where to compute.
        progress: Hears which share of the training is done.
        place: Where the unit will stand; its checkpoints stand beside it, and the last one is gone on from.

    Returns:
        The trained members.
    """
    sets = setting.evaluate_on

    def keep_checkpoint(checkpoint: Checkpoint) -> None:
        assert place is not None
        arrays = {name: tensor.numpy() for name, tensor in checkpoint.tensors.items()}
        write_checkpoint(place, arrays, checkpoint.state)

    return train(
        setting.network,
        setting.data,
        members=members,
        seed=setting.seed,
        same_start=setting.same_start,
        optimizer=setting.optimizer,
        loss=setting.loss,
        epochs=setting.epochs,
        steps=setting.steps,
        batch_size=setting.batch_size,
        schedule=setting.schedule,
        stop=setting.stop,
        targets=setting.targets(members) if setting.targets else None,
        evaluate_on={name: one(members) if callable(one) else one for name, one in sets.items()} if sets else None,
        record_at=setting.record_at,
        measurements=setting.measurements,
        snapshots=setting.snapshots,
        dtype=setting.dtype,
        device=device,
        progress=progress,
        checkpoint=keep_checkpoint if place is not None else None,
        checkpoint_every=CHECKPOINT_EVERY,
        resume=_left(place) if place is not None else None,
    )


def _left(place: Path) -> Checkpoint | None:
    """Find what an interrupted training of this unit left."""
    left = read_checkpoint(place)
    if left is None:
        return None
    arrays, state = left
    return Checkpoint({name: torch.from_numpy(array) for name, array in arrays.items()}, state)
