"""Checkpoints: everything that a training needs to go on as if it had never stopped."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from torch import Tensor

from bathymetry.core.errors import InputError, is_real
from bathymetry.core.showing import readable
from bathymetry.core.system import HeldSignals

_FIRST_CHECKPOINT = 15.0  # seconds; a short training has one too
_PROGRESS_EVERY = 0.2  # seconds


@readable
class Checkpoint:
    """What a training needs to go on; random streams have no state, so it is numbers only.

    Args:
        tensors: Contiguous tensors on the CPU, by name.
        state: Plain JSON, in which {"tensor": name} stands for a tensor.
    """

    tensors: Mapping[str, Tensor]
    state: Mapping[str, Any]


def packed(state: Mapping[str, Any]) -> Checkpoint:
    """Copy nested mappings and lists with tensors."""
    tensors: dict[str, Tensor] = {}

    def pack(value: Any, name: str) -> Any:
        if isinstance(value, Tensor):
            tensors[name] = value.detach().cpu().clone().contiguous()
            return {"tensor": name}
        if isinstance(value, Mapping):  # JSON knows no keys but text
            return {"entries": [[key, pack(one, f"{name}/{key}")] for key, one in value.items()]}
        if isinstance(value, list | tuple):
            entries = [pack(one, f"{name}/{place}") for place, one in enumerate(value)]
            return {"tuple": entries} if isinstance(value, tuple) else entries
        return value

    plain = {name: pack(one, name) for name, one in state.items()}
    return Checkpoint(tensors, plain)


def unpacked(checkpoint: Checkpoint) -> dict[str, Any]:
    """The state that was packed, with copies of its tensors."""

    def unpack(value: Any) -> Any:
        if isinstance(value, list):
            return [unpack(one) for one in value]
        if isinstance(value, Mapping):
            if "tensor" in value:
                return checkpoint.tensors[value["tensor"]].clone()
            if "tuple" in value:
                return tuple(unpack(one) for one in value["tuple"])
            return {key: unpack(one) for key, one in value["entries"]}
        return value

    return {name: unpack(one) for name, one in checkpoint.state.items()}


def difference(expected: Any, found: Any, name: str = "") -> str | None:
    """Say where two states differ in anything but the numbers in tensors; None if nowhere."""
    if isinstance(expected, Mapping) or isinstance(found, Mapping):
        expected, found = expected or {}, found or {}
        keys = {**expected, **found}
        each = (difference(expected.get(key), found.get(key), f"{name} {key}".strip()) for key in keys)
        return next((one for one in each if one is not None), None)
    expected, found = (f"{tuple(t.shape)} {t.dtype}" if isinstance(t, Tensor) else t for t in (expected, found))
    return None if expected == found else f"with {name} {found} instead of {expected}"


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
        if not is_real(checkpoint_every) or not checkpoint_every >= 0:
            raise InputError("checkpoint_every", checkpoint_every, "expected seconds, from 0")
        self._progress, self._checkpoint, self._every = progress, checkpoint, float(checkpoint_every)
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
