"""Checkpoints: all that a training needs to go on as if it had never stopped.

Random streams have no state, so a checkpoint is numbers only: parameters, the optimiser's moments, what was recorded
so far, and how many steps were made.
"""

from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

from torch import Tensor

from bathymetry.core.showing import readable

_HEARD_EVERY = 0.2  # seconds between two words of progress


@readable
class Checkpoint:
    """A training that was interrupted."""

    tensors: Mapping[str, Tensor]  # on the CPU, contiguous
    state: Mapping[str, Any]  # plain JSON


class Watch:
    """Watches the clock while a training runs: when to tell how far it is, and when to keep a checkpoint.

    Args:
        progress: Hears which share of the steps is done.
        checkpoint: Keeps a checkpoint.
        checkpoint_every: Seconds between two of them.
    """

    def __init__(
        self,
        progress: Callable[[float], None] | None = None,
        checkpoint: Callable[[Checkpoint], None] | None = None,
        checkpoint_every: float = 60.0,
    ) -> None:
        self._progress, self._checkpoint, self._every = progress, checkpoint, checkpoint_every
        self._heard = self._kept = perf_counter()

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
        if self._checkpoint is not None and now - self._kept >= self._every:
            self._checkpoint(take())
            self._kept = perf_counter()
