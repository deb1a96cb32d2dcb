"""What the program prints: lines, counts, durations, verdicts, and the progress of a run."""

import os
import sys
import textwrap
import time
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from bathymetry.core.showing import joined, plural, printable
from bathymetry.execution import Progress

if TYPE_CHECKING:  # so that listing the studies need not wait for PyTorch
    from bathymetry.claims.judging import Judged
    from bathymetry.store.storage import Place

WIDTH = 100  # columns, at most
OpenFlag = tyro.conf.FlagCreatePairsOff[
    Annotated[bool, tyro.conf.arg(help="open the page in the browser", help_behavior_hint="")]
]
PredictOption = Annotated[
    str | None,
    tyro.conf.arg(metavar="FILE", help="your predicted verdicts, of `bathymetry predict STUDY`", help_behavior_hint=""),
]
_STYLES = {"supported": "green", "contradicted": "red"}
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


def print_outcome(page: "Place", claims: "Sequence[Judged]", *, opens: bool) -> None:
    """Print every finding, the table of verdicts, and where the page is, which is opened if that was asked for."""
    for words, some in groupby(claims, lambda claim: " ".join((claim.finding, *claim.remarks))):
        first, *others = some
        letters = [one.id.rpartition(".")[2] for one in others]
        say(wrapped(words, f"{joined([first.id, *letters])}  ", "    "))
    if claims:
        _print_verdicts(claims)
    say(f"\nPage: {page}")
    if opens:
        open_page(page)


def _print_verdicts(claims: "Sequence[Judged]") -> None:
    """Print each claim with this run's verdict, and those of the reference run and the reader where there are any."""
    from bathymetry.claims.judging import hits

    console = _LastingConsole(highlight=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    differs = "≠" if console.encoding.startswith("utf") else "!="
    hit = "✓" if console.encoding.startswith("utf") else "="
    found = hits(claims)
    has_reference = any(claim.reference is not None for claim in claims)
    heads = ["reference"] * has_reference + ["this run"] + ["predicted"] * bool(found)
    table = Table("", "claim", *heads, box=SIMPLE_HEAD, show_edge=False)
    for column in table.columns[2 + has_reference :]:
        column.no_wrap = True
    for study, some in groupby(claims, lambda claim: claim.id.rpartition(".")[0]):
        table.add_row("", Text(study, "bold"))
        for claim in some:
            letter, text = (Text(printable(one, allowed="")) for one in (claim.id.rpartition(".")[2], claim.text))
            reference = [_verdict(claim.reference.decision if claim.reference else "")] if has_reference else []
            mark = f" {differs}" if claim.differs else ""
            predicted = [_verdict(claim.predicted or "", f" {hit}" if claim.hit else "")] if found else []
            table.add_row(letter, text, *reference, _verdict(claim.verdict.decision, mark), *predicted)
    count = sum(claim.differs for claim in claims)
    say("")
    with goes_on():
        console.print(table)
    if has_reference:
        tested = sum(claim.verdict.decision != "not tested" for claim in claims)
        untested = f"; {counted(len(claims) - tested, 'claim')} not tested" if tested < len(claims) else ""
        verb = "differs" if count == 1 else "differ"
        mark = f"{differs} " if count else ""
        say(f"\n{mark}{count} of {counted(tested, 'verdict')} {verb} from the reference run's{untested}.")
    if found:
        say(f"Your predictions: {found}.")


def _verdict(decision: str, mark: str = "") -> Text:
    return Text.assemble((decision, _STYLES.get(decision, "")), mark)


def wrapped(words: str, indent: str = "", later: str | None = None) -> str:
    """Break words into lines of at most WIDTH columns, but no path or command within a word."""
    lines = textwrap.TextWrapper(WIDTH, indent, indent if later is None else later)
    lines.break_long_words = lines.break_on_hyphens = False
    return lines.fill(printable(words, allowed=""))


def open_page(page: "Place") -> None:
    """Open a page in the browser, or say why that can't be done."""
    if not isinstance(page, Path):
        say("The page is not on this machine; fetch it from there to open it.")
        return
    with suppress(webbrowser.Error):
        if webbrowser.open(page.resolve().as_uri()):
            return
    say("No browser could be opened here; open the page from where it is.")


@contextmanager
def before_training() -> Iterator[None]:
    """Say, where a command is stopped while it plans, that training had not begun."""
    try:
        yield
    except KeyboardInterrupt as stopped:
        stopped.args = ("Training had not begun; what is stored stays. Run the same command to go on",)
        raise


@contextmanager
def reading() -> Iterator[Callable[[int, int], None]]:
    """Show how many files are read: a bar on a screen, a line every few seconds elsewhere."""
    console = _LastingConsole(highlight=False, stderr=True)
    columns = (TextColumn("reading"), BarColumn(), TextColumn("{task.completed:,.0f} of {task.total:,.0f}"))
    bar = Bar(*columns, console=console, transient=True, disable=not console.is_terminal)
    task = bar.add_task("reading", total=1)
    last = time.perf_counter()

    def advance(done: int, of: int) -> None:
        nonlocal last
        bar.update(task, completed=done, total=of)
        if bar.disable and time.perf_counter() - last >= _EVERY and done < of:
            last = time.perf_counter()
            with goes_on():
                console.print(f"reading: {done:,} of {of:,}")

    with bar:
        yield advance


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
