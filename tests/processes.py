"""What processes a process started."""

from contextlib import suppress
from pathlib import Path


def children(process: int) -> list[int]:
    """The processes that any thread of a process started; none if it has ended."""
    found: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):  # a thread that ended just now, or the process
        for thread in Path(f"/proc/{process}/task").iterdir():
            found += map(int, (thread / "children").read_text().split())
    return found
