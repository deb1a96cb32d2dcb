"""What the program prints: lines, counts, durations, verdicts, and the progress of a run."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bar

from bathymetry.core.showing import plural, printable
from bathymetry.execution import Progress

if TYPE_CHECKING:  # so that listing the studies need not wait for PyTorch
    from bathymetry.claims.judging import Judged

_LONG = (("years", 365 * 86_400), ("days", 86_400), ("min", 60))
_EVERY = 10.0  # seconds between lines where no bar can be drawn


def say(words: str) -> None:
    with goes_on():
        print(printable(words), flush=True)


@contextmanager
def goes_on() -> Iterator[None]:
    """Where the reader of the output has gone, such as `head`, throw away what is left to say, and go on."""
    try:
        yield
    except BrokenPipeError:
        _throw_away()


def _throw_away() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _LastingConsole(Console):
    def on_broken_pipe(self) -> None:
        """Go on, where rich would end the program."""
        _throw_away()


def rounded(seconds: float) -> int:
    """Round up to a second, to seconds, or from 90 seconds on to minutes of two digits; sums of these are printed."""
    whole = max(round(seconds), 1) if seconds > 0 else 0
    return whole if whole < 90 else 60 * int(float(f"{round(whole / 60):.2g}"))


def duration(seconds: float) -> str:
    """A duration in the largest unit of which it has a few."""
    shown = rounded(seconds)
    if shown < 90:
        return f"{shown} s"
    name, unit = next((name, unit) for name, unit in _LONG if shown >= 2 * unit or name == "min")
    return f"{round(shown / unit):,} {name}"


def counted(count: int, noun: str) -> str:
    return f"{count} {plural(noun, count)}"


def print_verdicts(claims: "Sequence[Judged]") -> None:
    """Print each claim with its verdict, its finding and that of the reference run."""
    for claim in claims:
        say(f"\n{claim.id}  {claim.text}")
        say(f"  {claim.verdict.decision.upper()}  {claim.finding}")
        for remark in claim.remarks:
            say(f"  {remark}")
        if claim.reference is not None and claim.reference.decision != claim.verdict.decision:
            say(f"  The reference run: {claim.reference.decision}. {claim.reference.finding}")


class TerminalProgress(Progress):
    """Progress of a run: a bar on a screen, a line every few seconds elsewhere."""

    def __init__(self) -> None:
        self._console = _LastingConsole(highlight=False)
        self._bar: Bar | None = None
        self._task: Any = TaskID(0)
        self._study, self._seconds, self._start, self._last_line = "", 1.0, 0.0, 0.0

    def say(self, sentence: str) -> None:
        with goes_on():
            self._console.print(printable(sentence), soft_wrap=True, markup=False)

    def begin(self, study: str, chunks: int, seconds: float) -> None:
        self._study, self._seconds = study, max(seconds, 1e-9)
        self._start = self._last_line = time.perf_counter()
        if self._console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[left]}"))
            self._bar = Bar(*columns, console=self._console, transient=True)
            self._task = self._bar.add_task(study, total=self._seconds, left="")
            self._bar.start()
        else:
            self.say(f"{study}: training {counted(chunks, 'chunk')}")

    def advance(self, label: str, seconds: float) -> None:
        now = time.perf_counter()
        share = min(seconds / self._seconds, 1.0)
        left = f"about {duration((now - self._start) * (1 / share - 1))} left" if 0.02 < share < 1 else ""
        if self._bar is not None:
            self._bar.update(self._task, completed=seconds, description=f"{self._study}: {label}", left=left)
        elif now - self._last_line >= _EVERY:
            self._last_line = now
            self.say(f"{self._study}: {label}, {share:.0%} done{f', {left}' if left else ''}")

    def end(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
