"""Random streams, and the random states of PyTorch, NumPy and Python.

A stream is named by (seed, member, purpose, index) and nothing else, so it needs no state: epoch 7's data order of
member 3 is the same alone, in a stack of ten, on another machine and after a resume. What a user's function draws from
a global generator comes from a stream too, because every generator is seeded before the function is called.
"""

import hashlib
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal

import numpy as np
import torch

Purpose = Literal[
    "initialisation",
    "data order",
    "data draw",
    "label noise",
    "dropout",
    "probe vectors",
    "optimizer",
    "evaluation",
    "measurement",
]


def stream_seed(seed: int, member: int, purpose: Purpose, index: int = 0) -> int:
    """Hash a stream's name to its 63-bit seed; member −1 is for what all members share."""
    name = f"{seed}/{member}/{purpose}/{index}".encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big") >> 1


def stream(seed: int, member: int, purpose: Purpose, index: int = 0) -> torch.Generator:
    """Open a stream of random numbers, on the CPU whatever device the network is on."""
    return torch.Generator().manual_seed(stream_seed(seed, member, purpose, index))


def seed_generators(seed: int) -> None:
    """Seed the global generators of PyTorch, NumPy and Python."""
    if _has_accelerator():
        torch.manual_seed(seed)
    else:  # torch.manual_seed is a hundred times slower
        torch.default_generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)


@cache
def _has_accelerator() -> bool:
    return torch.accelerator.is_available()


@contextmanager
def preserve_rng_state(seed: int | None = None) -> Iterator[None]:
    """Restore the random states of PyTorch, Python and NumPy on exit; with a seed, set them to it meanwhile."""
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    if seed is not None:
        seed_generators(seed)
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        random.setstate(states[1])
        np.random.set_state(states[2])
        if devices:
            torch.cuda.set_rng_state_all(devices)


def random_states(generators: Sequence[Any] = ()) -> list[Any]:
    """Random states of the program and of some generators, to compare."""
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    of_torch = [torch.get_rng_state(), *devices, *(g.get_state() for g in generators if isinstance(g, torch.Generator))]
    of_numpy = [repr(one.bit_generator.state) for one in generators if isinstance(one, np.random.Generator)]
    of_python = [one.getstate() for one in generators if isinstance(one, random.Random)]
    legacy: list[Any] = [np.random, *(one for one in generators if isinstance(one, np.random.RandomState))]
    found = [state.numpy().tobytes() for state in of_torch] + of_numpy + of_python + [random.getstate()]
    for one in legacy:
        state: Any = one.get_state(legacy=False)["state"]
        found += [state["key"].tobytes(), state["pos"]]
    return found
