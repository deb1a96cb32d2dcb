"""Training units, and reading ensembles back from them."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from bathymetry.core.errors import DamagedError, InputError
from bathymetry.core.interruption import HeldSignals
from bathymetry.core.threads import one_thread
from bathymetry.execution.work import EnsembleWork
from bathymetry.store import (
    Unit,
    checkpoint_path,
    keep,
    read_checkpoint,
    set_aside,
    unit_path,
    write_checkpoint,
)
from bathymetry.store.machine import provenance
from bathymetry.training import Checkpoint, Measurement, Moment, Setting, Trained, train
from bathymetry.training.measurement import Measure

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
        trained = _trained(work.planned.setting, members, out, device, progress, place, say or (lambda _: None))
        machine = {**provenance(device), "seconds": time.perf_counter() - begun, "path": trained.path}
        snapshots = {
            epoch: {name: tensor.cpu().numpy() for name, tensor in parameters.items()}
            for epoch, parameters in trained.snapshots.items()
        }
        keep(out, work.name, work.description, Unit(members, trained.record, snapshots, machine))
        checkpoint_path(place).unlink(missing_ok=True)


def _trained(
    setting: Setting,
    members: range,
    out: Path,
    device: str,
    progress: Callable[[float], None] | None,
    place: Path,
    say: Callable[[str], None],
) -> Trained:
    """Train from the unit's checkpoint; one that can't be gone on from is set aside, and training begins anew."""
    try:
        return _train_setting(setting, members, device, progress, place, _left(place))
    except DamagedError as error:
        sentence = str(error)
    except InputError as error:
        if error.field != "resume":
            raise
        sentence = f"{checkpoint_path(place)} can't be gone on from: it is {error.value}."
    say(f"{sentence} It was moved to {set_aside(out, checkpoint_path(place))} and the training begins anew.")
    return _train_setting(setting, members, device, progress, place, None)


def _train_setting(
    setting: Setting,
    members: range,
    device: str,
    progress: Callable[[float], None] | None,
    place: Path,
    resume: Checkpoint | None,
) -> Trained:
    """Train members under a setting; checkpoints stand beside the place where the unit will stand."""
    sets = setting.evaluate_on

    def keep_checkpoint(checkpoint: Checkpoint) -> None:
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
        measurements={name: _on_one_thread(measurement) for name, measurement in setting.measurements.items()},
        snapshots=setting.snapshots,
        dtype=setting.dtype,
        device=device,
        progress=progress,
        checkpoint=keep_checkpoint,
        checkpoint_every=CHECKPOINT_EVERY,
        resume=resume,
    )


def _on_one_thread(measurement: Measure | Measurement) -> Measurement:
    """Measure with one thread: training is the same with any number of them, measurements are not."""
    one = measurement if isinstance(measurement, Measurement) else Measurement(measurement)

    def measured(moment: Moment) -> Tensor:
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
