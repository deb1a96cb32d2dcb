"""Checkpoints: everything that a training needs to go on as if it had never stopped."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from numbers import Real
from time import perf_counter
from typing import Any

from torch import Tensor

from bathymetry.core.errors import InputError
from bathymetry.core.resources import HeldSignals
from bathymetry.core.showing import readable

_FIRST_CHECKPOINT = 15.0  # seconds; a short training has one too
_PROGRESS_EVERY = 0.2  # seconds


@readable
class Checkpoint:
    """What a training needs to go on; random streams have no state, so it is numbers only.

    Args:
        tensors: Contiguous tensors on the CPU, by name.
        state: Plain JSON.
    """

    tensors: Mapping[str, Tensor]
    state: Mapping[str, Any]


class Clock:
    """Reports progress and takes checkpoints when they are due; while it does, signals wait for the next checkpoint."""

    def __init__(
        self,
        progress: Callable[[float], None] | None,
        checkpoint: Callable[[Checkpoint], None] | None,
        checkpoint_every: Any,
    ) -> None:
        for name, function in (("progress", progress), ("checkpoint", checkpoint)):
            if function is not None and (not callable(function) or isinstance(function, type)):
                raise InputError(name, function, "expected a function")
        if not isinstance(checkpoint_every, Real) or not float(checkpoint_every) >= 0:
            raise InputError("checkpoint_every", checkpoint_every, "expected seconds, from 0")
        self._progress = progress
        self._checkpoint = checkpoint
        self._every = float(checkpoint_every)
        self._reported: float = perf_counter()
        self._due: float = self._reported + min(self._every, _FIRST_CHECKPOINT)
        self._signals = HeldSignals()

    @contextmanager
    def holding_signals(self) -> Iterator[None]:
        """Hold back Ctrl-C and SIGTERM inside, if there is a checkpoint to take."""
        if self._checkpoint is None:
            yield
            return
        with HeldSignals() as signals:
            self._signals = signals
            yield

    def tick(self, share: float, take: Callable[[], Checkpoint]) -> None:
        """Report that a share of the steps is done, and take what is due."""
        now = perf_counter()
        if self._progress is not None and now - self._reported >= _PROGRESS_EVERY:
            self._progress(share)
            self._reported = now
        if self._checkpoint is None:
            return
        if now >= self._due or self._signals.received is not None:
            self._checkpoint(take())
            self._due = perf_counter() + self._every
        if self._signals.received is not None:
            self._signals.release()


def check_same_training(
    checkpoint: Checkpoint,
    own: Checkpoint,  # of the training before its first step
    steps_per_epoch: int,
    num_steps: int,
    due: Callable[[int, int], dict[str, list[int]]],  # (epoch, batches) -> name -> epochs recorded by then
    parameters: Mapping[str, Tensor],
) -> None:
    """Refuse a checkpoint of another training."""
    difference = _position(checkpoint, own, steps_per_epoch, num_steps)
    if difference is None:
        state = checkpoint.state
        difference = _content(checkpoint, own, due(state["epoch"], state["batches"]), parameters)
    if difference is not None:
        raise InputError("resume", f"a checkpoint {difference}", "expected one of this very training")


def _position(checkpoint: Checkpoint, own: Checkpoint, steps_per_epoch: int, num_steps: int) -> str | None:
    state = checkpoint.state
    if not isinstance(state, Mapping) or not isinstance(checkpoint.tensors, Mapping):
        return "without state or tensors"
    if not isinstance(state.get("training"), Mapping) or not isinstance(state.get("epochs"), Mapping):
        return "of another version of Bathymetry"
    for name, value in own.state["training"].items():
        if state["training"].get(name) != value:
            return f"of a training with {name} {state['training'].get(name)} instead of {value}"
    step, epoch, batches = (state.get(name) for name in ("step", "epoch", "batches"))
    done = [one for one in (step, epoch, batches) if type(one) is int and one >= 0]
    if len(done) < 3 or done[2] > steps_per_epoch or done[0] != min(done[1] * steps_per_epoch + done[2], num_steps):
        return f"at step {step} after {batches} batches of epoch {epoch}"
    return None


def _content(
    checkpoint: Checkpoint, own: Checkpoint, due: Mapping[str, list[int]], parameters: Mapping[str, Tensor]
) -> str | None:
    epochs, tensors = checkpoint.state["epochs"], checkpoint.tensors
    for name in (*due, *epochs):
        if epochs.get(name) != due.get(name):
            return f"with {name} at epochs {epochs.get(name)} instead of {due.get(name)}"
    snapshots = {f"snapshot/{epoch}/{name}": one for epoch in due["snapshot"] for name, one in parameters.items()}
    fixed = {**own.tensors, **snapshots}
    for name in tensors:
        if name not in fixed and name not in due and not name.startswith("optimizer/"):
            return f"with {name}, which this training does not have"
    for name, one in fixed.items():
        other = tensors.get(name)
        if not isinstance(other, Tensor) or other.shape != one.shape or other.dtype != one.dtype:
            found = f"{tuple(other.shape)} {other.dtype}" if isinstance(other, Tensor) else "nothing"
            return f"with {found} for {name} instead of {tuple(one.shape)} {one.dtype}"
    for name in due.keys() - {"snapshot"}:
        rows = tensors.get(name)
        if not isinstance(rows, Tensor) or rows.shape[:2] != (len(own.tensors["stopped"]), len(due[name])):
            return f"without the rows of {name}"
    return None
