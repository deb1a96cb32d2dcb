"""How much memory is free, so that what can't fit is refused before it is allocated."""

import contextlib
import os
import resource
from pathlib import Path

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
    if count < 1e9:
        return f"{max(1, round(count / 1e6))} MB"
    return f"{count / 1e9:.2g} GB" if count < 1e11 else f"{count / 1e9:,.0f} GB"
