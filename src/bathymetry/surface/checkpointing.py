"""Networks that save memory by `torch.utils.checkpoint`, run without it.

A checkpoint runs a part of the network a second time during the backward pass, where that part has its own parameters
again and not those that it was asked at. Without checkpoints the loss is the same function.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from torch.utils import checkpoint

_lock = threading.Lock()
_NAME = "_checkpoint_without_reentrant_generator"  # what `checkpoint` looks up in each call
_original: Any = None
_users = 0  # measurements in progress, nested or in several threads


def _forward_only(_function: Any, _preserve: Any, context_fn: Callable[[], Any], *_: Any, **__: Any) -> Iterator[None]:
    """Stand for what `checkpoint` does around a call, in the context that the user gave for the forward pass."""
    forward, _ = context_fn()
    with nullcontext() if isinstance(forward, checkpoint._CachingTorchDispatchMode) else forward:
        yield


@contextmanager
def without_checkpointing() -> Iterator[None]:
    """Have `torch.utils.checkpoint.checkpoint`, under whatever name it was imported, call its function and no more.

    Of the form `use_reentrant=False`; the other, which may cut the graph, is left as it is.

    Yields:
        Nothing.
    """
    global _users, _original
    with _lock:
        if _users == 0:
            _original = getattr(checkpoint, _NAME)
            setattr(checkpoint, _NAME, _forward_only)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                setattr(checkpoint, _NAME, _original)
