"""How much memory is free, so that what can't fit is refused before it is allocated."""

import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path

from bathymetry.core.errors import InputError

_CGROUP = Path("/sys/fs/cgroup")


def free_bytes() -> int:
    """Tell how much memory this process can still allocate.

    Returns:
        The smallest of what the machine has available, what a container leaves, and what `ulimit -v` leaves; where
        nothing is known, 2⁶².
    """
    known = [2**62]
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        known.append(1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")))
    with contextlib.suppress(OSError, ValueError):  # a container without a limit says "max"
        limit, used = (int((_CGROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        known.append(limit - used)
    with contextlib.suppress(OSError, ValueError):
        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
            known.append(limit - used)
    return max(0, min(known))


def gigabytes(count: float) -> str:
    """Say a number of bytes as people do.

    Args:
        count: Bytes.

    Returns:
        Gigabytes with two digits, or megabytes where there is less than one.

    Example:
        >>> gigabytes(84e9), gigabytes(25_000_000)
        ('84 GB', '25 MB')
    """
    count = float(min(count, 10**30))  # larger whole numbers may be beyond floats
    if count < 1e9:
        return f"{max(1, round(count / 1e6))} MB"
    return f"{count / 1e9:.2g} GB" if count < 1e11 else f"{count / 1e9:,.0f} GB"


@contextlib.contextmanager
def memory_for(field: str, value: object) -> Iterator[None]:
    """Say in one sentence that an argument needs more memory than there is.

    Args:
        field: The argument's name.
        value: What was given.

    Yields:
        Nothing.

    Raises:
        InputError: If memory ends inside.
        MemoryError: Never; it is caught.
        RuntimeError: As it comes, where it says something else.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # NumPy raises the first, PyTorch the second
        if isinstance(error, RuntimeError) and "allocate memory" not in str(error):
            raise
        raise InputError(field, value, "there is not enough memory for it; free some, or give less") from error
