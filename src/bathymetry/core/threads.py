"""One thread, where a number must not depend on how many there are.

Sums are cut differently by two threads than by one, and rounding differs with them. Of most results that is the last
digit; a search that decides by it may end at another point.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch and NumPy compute with one thread inside the block, and with as many as before after it.

    Yields:
        Nothing.
    """
    import torch

    before = torch.get_num_threads()
    with _controller().limit(limits=1):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


@cache
def _controller() -> Any:
    # once, for looking through the libraries that are loaded takes longer than many a measurement
    import numpy  # noqa: F401 - it and SciPy bring linear algebra of their own
    import scipy.linalg  # noqa: F401
    import threadpoolctl

    return threadpoolctl.ThreadpoolController()
