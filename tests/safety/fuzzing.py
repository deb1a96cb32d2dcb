"""Many hostile inputs, each of which must be read or refused in one sentence.

`BATHYMETRY_FUZZ_CASES` is the number of cases of each test. A new target is a strategy, and a test of a few lines:

    def test_any_text_is_a_name_or_refused(fuzz, tmp_path):
        fuzz(st.text(), lambda text: find(text), writes=tmp_path)
"""

import faulthandler
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings

from bathymetry.cli.parsing import UsageError
from bathymetry.core.errors import BathymetryError, InputError, StorageError
from bathymetry.core.showing import printable
from bathymetry.runs.dataset import AmbiguousError

CASES = int(os.environ.get("BATHYMETRY_FUZZ_CASES", "25"))
_PHASES = [one for one in Phase if one is not Phase.explain]
_SECONDS = 5.0  # of the processor, so that other programs make no test fail
_HANG = 20.0  # of the processor, after which a case is stopped
_BLOCKED = 300.0  # of the wall clock, after which the process ends with a traceback: something waits for ever
_BYTES = 400e6
_LETTERS = 380  # of a sentence, but for the folder of the test; options of a command are listed
_RUNS = re.compile(r"os\.(system|exec|spawn|posix_spawn|fork)|subprocess\.Popen|pickle\.find_class|socket\.connect")
_OWN = "bathymetry.charts.drawing"  # the program's process that draws figures
_CHANGES = re.compile(r"os\.(remove|rename|mkdir|rmdir|link|symlink|truncate|chmod|chown)")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_watching: "list[tuple[Path, list[str]]]" = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    """Note what a case does that reading never does: run something, or change a file outside its folder."""
    if not _watching:
        return
    folder, seen = _watching[-1]
    if _RUNS.match(event) and not (event == "subprocess.Popen" and _OWN in arguments[1]):
        seen.append(f"{event}{arguments}")
        return
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING
    if writes or _CHANGES.match(event):
        of_files = arguments[: 1 if event == "open" else 2]
        paths = [os.fsdecode(one) for one in of_files if isinstance(one, str | bytes | os.PathLike)]
        outside = [one for one in paths if not os.path.abspath(one).startswith(f"{folder}{os.sep}")]
        if [one for one in outside if "__pycache__" not in one and one not in (os.devnull, str(folder))]:
            seen.append(f"{event}{arguments}")


sys.addaudithook(_audit)


class HangError(BaseException):
    """A case that takes far too long."""


@contextmanager
def watched(folder: Path) -> Iterator[list[str]]:
    """Collect what is done inside that reading never does; stop what does not end."""
    seen: list[str] = []

    def stop(*_: object) -> None:
        raise HangError

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, _HANG)
    faulthandler.dump_traceback_later(_BLOCKED, exit=True)
    _watching.append((folder, seen))
    try:
        yield seen
    finally:
        _watching.pop()
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def peak_bytes(*, restart: bool = False) -> int:
    """The largest memory of this process, since it began or since the last restart; 0 where Linux does not say so."""
    with suppress(OSError):
        if restart:
            Path("/proc/self/clear_refs").write_text("5")
        words = Path("/proc/self/status").read_text()
        return 1024 * int(re.search(r"VmHWM:\s+(\d+)", words)[1])
    return 0


class Fuzz:
    """Tries many cases of one kind of input, and counts what came of them."""

    def __init__(self) -> None:
        self.most_seconds = _SECONDS
        self.read = self.refused = self.letters = 0
        self.seconds = self.bytes = 0.0

    def __call__(
        self,
        cases: Any,
        attempt: Callable[[Any], object],
        *,
        writes: Path,
        arrange: Callable[[Any], object] = lambda _: None,
        most: int = CASES,
    ) -> None:
        """Try cases from a strategy, each after what `arrange` does; an attempt may write below `writes` alone."""

        @settings(max_examples=most, deadline=None, phases=_PHASES, suppress_health_check=list(HealthCheck))
        @given(cases)
        def each(case: Any) -> None:
            arrange(case)
            self.one(lambda: attempt(case), writes)

        each()

    def one(self, attempt: Callable[[], object], writes: Path) -> str:
        """Try one case: it works, or it is refused in one sentence, which is returned."""
        refusal: BathymetryError | None = None
        before, start = peak_bytes(restart=True), time.process_time()
        with watched(writes) as seen:
            try:
                attempt()
            except BathymetryError as error:
                refusal = error
            except HangError as error:  # which Hypothesis would take for an interruption
                raise AssertionError(f"it takes longer than {_HANG} s") from error
        seconds, grown = time.process_time() - start, peak_bytes() - before
        assert seen == [], seen
        assert seconds < self.most_seconds, f"{seconds} s"
        assert grown < _BYTES, f"{grown:,} bytes"
        sentence = "" if refusal is None else str(refusal)
        if refusal is not None:
            assert isinstance(refusal, InputError | StorageError | UsageError | AmbiguousError), repr(refusal)
            assert not isinstance(refusal, InputError) or sentence.startswith(f"{printable(refusal.field)} = ")
            self.letters = max(self.letters, check_sentence(sentence, writes))
        self.read, self.refused = self.read + (not sentence), self.refused + bool(sentence)
        self.seconds, self.bytes = max(self.seconds, seconds), max(self.bytes, grown)
        return sentence

    @property
    def outcome(self) -> str:
        numbers = f"{self.read:,} read, {self.refused:,} refused; at most {self.letters} letters"
        return f"{numbers}, {self.seconds:.1f} s, {max(self.bytes, 0) / 1e6:.0f} MB"


def check_sentence(sentence: str, folder: Path) -> int:
    """The length of a sentence without the test's folder; it is one line of printable letters with an end."""
    text = sentence.replace(str(folder), "")
    assert printable(text, allowed="") == text, ascii(sentence)
    assert text.endswith((".", "?")), sentence
    assert "Traceback" not in text
    assert len(text) <= _LETTERS, f"{len(text)} letters: {sentence}"
    return len(text)
