"""Random streams: every member draws its own numbers for every purpose, whoever trains beside it.

A stream is named by (seed, member, purpose, index) and nothing else, so it needs no state: epoch 7's data order of
member 3 is the same alone, in a stack of ten, on another machine and after a resume.
"""

import hashlib
from typing import Literal

import torch

Purpose = Literal["initialisation", "data order", "data draw", "label noise", "dropout", "probe vectors"]


def stream_seed(seed: int, member: int, purpose: Purpose, index: int = 0) -> int:
    """Hash a stream's name to its 63-bit seed; member −1 is for what all members share.

    >>> stream_seed(0, 3, "data order", 7) == stream_seed(0, 3, "data order", 7)
    True
    >>> stream_seed(0, 3, "data order", 7) == stream_seed(0, 4, "data order", 7)
    False
    """
    name = f"{seed}/{member}/{purpose}/{index}".encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big") >> 1


def stream(seed: int, member: int, purpose: Purpose, index: int = 0) -> torch.Generator:
    """Open a stream of random numbers, on the CPU whatever device the network is on."""
    return torch.Generator().manual_seed(stream_seed(seed, member, purpose, index))
