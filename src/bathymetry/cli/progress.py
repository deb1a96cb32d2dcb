"""Progress of a run on the terminal."""

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bar

from bathymetry.cli.terminal import counted
from bathymetry.core.showing import printable
from bathymetry.execution.run import Progress

_EVERY = 10.0  # seconds between lines where no bar can be drawn


class TerminalProgress(Progress):
    """Progress of a run: a bar on a screen, a line every few seconds elsewhere."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._bar: Bar | None = None
        self._task: Any = TaskID(0)
        self._study, self._seconds, self._start, self._last_line = "", 1.0, 0.0, 0.0

    def say(self, sentence: str) -> None:
        """Print a sentence."""
        self._console.print(printable(sentence), soft_wrap=True, markup=False)

    def begin(self, study: str, chunks: int, seconds: float) -> None:
        """Show that a study trains so many chunks in about so many seconds."""
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
        """Show the chunk being trained and how many of the estimated seconds are done."""
        now = time.perf_counter()
        share = min(seconds / self._seconds, 1.0)
        left = f"about {(now - self._start) * (1 / share - 1):.0f} s left" if share > 0.02 else ""
        if self._bar is not None:
            self._bar.update(self._task, completed=seconds, description=f"{self._study}: {label}", left=left)
        elif now - self._last_line >= _EVERY:
            self._last_line = now
            self.say(f"{self._study}: {label}, {share:.0%} done{f', {left}' if left else ''}")

    def end(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
