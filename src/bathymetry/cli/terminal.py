"""What the program prints: lines, counts, durations and verdicts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bathymetry.core.showing import printable

if TYPE_CHECKING:  # so that listing the studies need not wait for PyTorch
    from bathymetry.claims.judging import Judged


def say(words: str) -> None:
    """Print a line at once."""
    print(printable(words), flush=True)


def duration(seconds: float) -> str:
    """Write a duration in seconds or minutes."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s" if seconds > 0 else "0 s"
    return f"{seconds / 60:.0f} min"


def counted(count: int, noun: str) -> str:
    """Write a count with its noun, such as "2 chunks"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def print_verdicts(claims: "Sequence[Judged]") -> None:
    """Print each claim with its verdict, its finding and that of the reference run."""
    for claim in claims:
        say(f"\n{claim.id}  {claim.text}")
        say(f"  {claim.verdict.decision.upper()}  {claim.finding}")
        for remark in claim.remarks:
            say(f"  {remark}")
        if claim.reference is not None:
            say(f"  The reference run: {claim.reference.decision}. {claim.reference.finding}")
