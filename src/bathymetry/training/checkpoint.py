"""Checkpoints: all that a training needs to go on as if it had never stopped.

Random streams have no state, so a checkpoint is numbers only: parameters, the optimiser's moments, what was recorded
so far, and how many steps were made.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from torch import Tensor

from bathymetry.core.resources import HeldSignals
from bathymetry.core.showing import readable

_FIRST_AFTER = 15.0  # seconds to the first checkpoint, which a short training has too
_HEARD_EVERY = 0.2  # seconds between two words of progress


@readable
class Checkpoint:
    """A training that was interrupted."""

    tensors: Mapping[str, Tensor]  # on the CPU, contiguous
    state: Mapping[str, Any]  # plain JSON


@dataclass(frozen=True)
class Schedules:
    """At which epochs a training records, measures and takes snapshots."""

    records: Sequence[int]
    rows: Mapping[str, Sequence[int]]  # by the name of the score or measurement
    snapshots: Sequence[int]

    def until(self, epoch: int, batches: int) -> "Schedules":
        """Give what is done once so many batches of an epoch are."""

        def done(epochs: Sequence[int]) -> list[int]:
            return sorted(one for one in epochs if one < epoch or (one == epoch and batches > 0))

        rows = {name: done(epochs) for name, epochs in self.rows.items() if done(epochs)}
        return Schedules(done(self.records), rows, done(self.snapshots))


def difference(
    checkpoint: Checkpoint, own: Checkpoint, shapes: Mapping[str, Sequence[int]], schedules: Schedules
) -> str | None:
    """Find what keeps a training from going on from a checkpoint.

    Args:
        checkpoint: The checkpoint.
        own: One of the training before its first step.
        shapes: The shape of each parameter, with its members.
        schedules: When the training records, measures and takes snapshots.

    Returns:
        What is wrong with it, as the end of a sentence; None if nothing is.
    """
    state, tensors = checkpoint.state, checkpoint.tensors
    if not isinstance(state, Mapping) or not isinstance(tensors, Mapping):
        return "without numbers or words"
    if not isinstance(state.get("training"), Mapping):
        return "of another version of Bathymetry"
    for name, value in own.state["training"].items():
        if state["training"].get(name) != value:
            return f"of a training with {name} {state['training'].get(name)} instead of {value}"
    for name, one in own.tensors.items():
        other = tensors.get(name)
        if not isinstance(other, Tensor) or other.shape != one.shape or other.dtype != one.dtype:
            told = f"{tuple(other.shape)} {other.dtype}" if isinstance(other, Tensor) else "nothing"
            return f"with {told} for {name} instead of {tuple(one.shape)} {one.dtype}"
    return (
        _odd_word(state)
        or _odd_tensor(state, tensors, len(tensors["stopped"]), shapes)
        or _odd_record(state, tensors, schedules)
    )


def _odd_word(state: Mapping[str, Any]) -> str | None:
    last = state["training"]
    for name, most in (("step", last["steps"]), ("epoch", last["epochs"]), ("batches", last["examples"])):
        if type(state.get(name)) is not int or not 0 <= state[name] <= most:
            return f"with {name} {state.get(name)}"
    an_epoch = -(-last["examples"] // last["batch size"]) if last["batch size"] else 1
    if state["step"] != min(state["epoch"] * an_epoch + state["batches"], last["steps"]):
        return f"at step {state['step']} in epoch {state['epoch']}"
    record = state.get("record")
    if not isinstance(record, Mapping) or not isinstance(record.get("places"), Mapping):
        return "without records"
    lists = [record.get("epochs"), record.get("steps"), *record["places"].values()]
    if any(not isinstance(one, list) or any(type(entry) is not int for entry in one) for one in lists):
        return "with records at no epochs"
    return None if len(record["epochs"]) == len(record["steps"]) else "with records at other epochs than steps"


def _odd_tensor(
    state: Mapping[str, Any], tensors: Mapping[str, Any], members: int, shapes: Mapping[str, Sequence[int]]
) -> str | None:
    record, snapshots = state["record"], dict[str, set[str]]()
    for key, one in tensors.items():
        folder, _, name = key.partition("/")
        epoch, _, parameter = name.partition("/")
        rows = len(record["places"].get(name, record["epochs"]))
        right = isinstance(one, Tensor) and (
            (folder == "frozen" and one.shape == shapes.get(name))
            or (folder == "snapshot" and epoch.isdigit() and one.shape == shapes.get(parameter))
            or (folder == "record" and one.shape[:2] == (members, rows))
            or folder not in ("frozen", "snapshot", "record")
        )
        if not right:
            return f"whose {key} does not fit"
        if folder == "snapshot":
            snapshots.setdefault(epoch, set()).add(parameter)
    frozen = {key.partition("/")[2] for key in tensors if key.startswith("frozen/")}
    whole = [*snapshots.values(), *([frozen] if frozen or bool(tensors["stopped"].any()) else [])]
    if any(one != set(shapes) for one in whole):
        return "that lacks parameters"
    recorded = {key.partition("/")[2] for key in tensors if key.startswith("record/")}
    return None if set(record["places"]) <= recorded else "that lacks records"


def _odd_record(state: Mapping[str, Any], tensors: Mapping[str, Tensor], schedules: Schedules) -> str | None:
    """Hold what was recorded against what the training records by then."""
    record, last = state["record"], state["training"]
    due = schedules.until(state["epoch"], state["batches"])
    an_epoch = -(-last["examples"] // last["batch size"]) if last["batch size"] else 1
    steps = [min(epoch * an_epoch, last["steps"]) for epoch in due.records]
    for name, found, expected in (("epochs", record["epochs"], due.records), ("steps", record["steps"], steps)):
        if found != list(expected):
            return f"with records at {name} {_short(found)} instead of {_short(expected)}"
    rows = {key.partition("/")[2] for key in tensors if key.startswith("record/")}
    if rows != set(due.rows):
        differing = sorted(rows ^ set(due.rows))
        return f"that {'lacks' if differing[0] in due.rows else 'has'} the record {differing[0]}"
    for name, places in record["places"].items():
        if places != list(due.rows[name]):
            return f"with {name} at epochs {_short(places)} instead of {_short(due.rows[name])}"
    snapshots = sorted({int(key.split("/")[1]) for key in tensors if key.startswith("snapshot/")})
    if snapshots != list(due.snapshots):
        return f"with snapshots at epochs {_short(snapshots)} instead of {_short(due.snapshots)}"
    return None


def _short(numbers: Sequence[int]) -> str:
    first = ", ".join(map(str, numbers[:6]))
    return f"[{first}{', …' if len(numbers) > 6 else ''}]"


class Watch:
    """Watches the clock and the signals while a training runs: when to tell how far it is, when to keep a checkpoint.

    Args:
        progress: Hears which share of the steps is done.
        checkpoint: Keeps a checkpoint.
        checkpoint_every: Seconds between two of them; the first comes after 15 at the latest.
    """

    def __init__(
        self,
        progress: Callable[[float], None] | None = None,
        checkpoint: Callable[[Checkpoint], None] | None = None,
        checkpoint_every: float = 60.0,
    ) -> None:
        self._progress, self._checkpoint, self._every = progress, checkpoint, checkpoint_every
        self._heard = perf_counter()
        self._due = self._heard + min(checkpoint_every, _FIRST_AFTER)
        self._signals = HeldSignals()

    @contextmanager
    def over(self) -> Iterator[None]:
        """Hold back Ctrl-C and SIGTERM, where there is a checkpoint to keep, until a step is done and it is kept.

        Yields:
            Nothing; the training is made inside.
        """
        if self._checkpoint is None:
            yield
            return
        with self._signals as self._signals:
            yield

    def look(self, share: float, take: Callable[[], Checkpoint]) -> None:
        """Tell and keep what is due.

        Args:
            share: Of the steps, done.
            take: Takes a checkpoint.
        """
        now = perf_counter()
        if self._progress is not None and now - self._heard >= _HEARD_EVERY:
            self._progress(share)
            self._heard = now
        if self._checkpoint is None:
            return
        if now >= self._due or self._signals.received is not None:
            self._checkpoint(take())
            self._due = perf_counter() + self._every
        if self._signals.received is not None:
            self._signals.release()
