"""The random states of a program, left as they were."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def preserve_rng_state(seed: int | None = None) -> Iterator[None]:
    """Put the random states of PyTorch, Python and NumPy back after what is inside has drawn from them.

    Args:
        seed: What to set them to meanwhile; None for what they are.

    Yields:
        Nothing.
    """
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    if seed is not None:
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        random.setstate(states[1])
        np.random.set_state(states[2])
        if devices:
            torch.cuda.set_rng_state_all(devices)
