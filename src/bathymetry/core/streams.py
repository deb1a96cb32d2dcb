"""Random streams: every member draws its own numbers for every purpose, whoever trains beside it.

A stream is named by (seed, member, purpose, index) and nothing else, so it needs no state: epoch 7's data order of
member 3 is the same alone, in a stack of ten, on another machine and after a resume.
"""

import hashlib
from typing import Literal

import torch

Purpose = Literal["initialisation", "data order", "data draw", "label noise", "dropout", "probe vectors"]


def stream_seed(seed: int, member: int, purpose: Purpose, index: int = 0) -> int:
    """Give the 63-bit number that starts a stream.

    Args:
        seed: The seed of the whole run.
        member: The member's number; -1 for what all members share.
        purpose: What the numbers are for.
        index: Which stream of that purpose, for example the epoch.

    Returns:
        A number that any two different names share only by accident (one in 2⁶³).

    Example:
        >>> stream_seed(0, 3, "data order", 7) == stream_seed(0, 3, "data order", 7)
        True
        >>> stream_seed(0, 3, "data order", 7) == stream_seed(0, 4, "data order", 7)
        False
    """
    name = f"{seed}/{member}/{purpose}/{index}".encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big") >> 1


def stream(seed: int, member: int, purpose: Purpose, index: int = 0) -> torch.Generator:
    """Open a stream of random numbers on the CPU, whatever device the network is on.

    Args:
        seed: The seed of the whole run.
        member: The member's number; -1 for what all members share.
        purpose: What the numbers are for.
        index: Which stream of that purpose, for example the epoch.

    Returns:
        A fresh generator; the same name always gives the same numbers.
    """
    return torch.Generator().manual_seed(stream_seed(seed, member, purpose, index))
