"""Progress on the terminal: which study, which unit, and how long it still takes."""

import time

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bar

from bathymetry.core.showing import printable
from bathymetry.execution import Progress

_EVERY = 10.0  # seconds between lines where no bar can be drawn


class Terminal(Progress):
    """Tells how a run goes: a bar where there is a screen, a line now and then where there is none."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._study, self._seconds, self._begun, self._said = "", 1.0, 0.0, 0.0

    def say(self, sentence: str) -> None:
        """Print a sentence.

        Args:
            sentence: What a reader should know.
        """
        self._console.print(printable(sentence), soft_wrap=True, markup=False)

    def begin(self, study: str, units: int, seconds: float) -> None:
        """Show that a study begins.

        Args:
            study: Which study.
            units: How many units it trains.
            seconds: About how long that takes.
        """
        self._study, self._seconds, self._begun = study, max(seconds, 1e-9), time.perf_counter()
        self._said = self._begun
        if self._console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[left]}"))
            self._bar = Bar(*columns, console=self._console, transient=True)
            self._task = self._bar.add_task(study, total=self._seconds, left="")
            self._bar.start()
        else:
            self.say(f"{study}: training {units} chunk{'' if units == 1 else 's'}")

    def advance(self, unit: str, seconds: float) -> None:
        """Show how far it has come.

        Args:
            unit: Which unit is being trained.
            seconds: How many of the estimated seconds are done.
        """
        now = time.perf_counter()
        share = min(seconds / self._seconds, 1.0)
        left = f"about {(now - self._begun) * (1 / share - 1):.0f} s left" if share > 0.02 else ""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=seconds, description=f"{self._study}: {unit}", left=left)
        elif now - self._said >= _EVERY:
            self._said = now
            self.say(f"{self._study}: {unit}, {share:.0%} done{f', {left}' if left else ''}")

    def end(self) -> None:
        """Show that a study's units are done."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
