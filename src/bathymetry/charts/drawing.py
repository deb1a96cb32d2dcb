"""Drawing figures side by side, in processes of one thread each that load neither Altair nor PyTorch.

Such a process answers requests from its standard input and ends with it, so that none outlives the program that started
it, however that ends. It touches no file: whoever asked stores what it drew.
"""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import BinaryIO, Self, cast

from bathymetry.charts.sheet import Sheet, charting_library, draw
from bathymetry.core.errors import BathymetryError
from bathymetry.core.system import available_cores, free_bytes

_MOST = 8  # processes: with more, starting them takes longer than drawing the figures of nine studies
_BYTES = 300_000_000  # of memory for a process
_LETTERS = 300  # of an error
_CALLS = re.compile(r"\s+at [^\n]*\(?https?://")  # where JavaScript lists what called what
_LIBRARY = b"charting library\n"  # the request that is no sheet


class DrawingError(BathymetryError):
    """A figure that can't be drawn."""


class DrawingPool:
    """Processes that draw figures, started as there is something to draw, and ended with the context."""

    def __init__(self, workers: int | None = None) -> None:
        count = max(1, min(workers or available_cores(), _MOST, free_bytes() // _BYTES))
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="drawing")  # each waits for a process of its own
        self._own, self._lock = threading.local(), threading.Lock()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        for process in self._processes:
            process.kill()
        self._threads.shutdown()
        for process in self._processes:
            process.communicate()

    def draw(self, sheet: Sheet) -> Future[tuple[bytes, bytes]]:
        """Begin to draw a figure, as an SVG and a PNG; the result raises DrawingError if that fails."""

        def drawn() -> tuple[bytes, bytes]:
            svg, png = self._answer(f"{sheet.to_json()}\n".encode())
            return svg, png

        return self._threads.submit(drawn)

    def charting_library(self) -> Future[str]:
        """Begin to make the script that draws charts in a browser."""
        return self._threads.submit(lambda: self._answer(_LIBRARY)[0].decode())

    def _answer(self, request: bytes) -> list[bytes]:
        process = self._process()
        source, target = cast(BinaryIO, process.stdout), cast(BinaryIO, process.stdin)
        with suppress(BrokenPipeError):
            target.write(request)
            target.flush()
        head = source.readline()
        if not head:
            self._own.process = None
            raise DrawingError(f"The process that draws figures ended (exit status {process.wait()}).")
        answer = json.loads(head)
        if "error" in answer:
            raise DrawingError(answer["error"])
        return [source.read(size) for size in answer["sizes"]]

    def _process(self) -> subprocess.Popen[bytes]:
        """The process of this thread, started if there is none."""
        if getattr(self._own, "process", None) is None:
            command = [sys.executable, "-P", "-m", __name__]
            path = os.pathsep.join(filter(None, sys.path))
            with self._lock:
                if self._closed:
                    raise DrawingError("Drawing was stopped.")
                # In a group of its own Ctrl-C does not reach it; the end of its input does.
                self._own.process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": path},
                    process_group=0,
                )  # fmt: skip
                self._processes.append(self._own.process)
        return cast("subprocess.Popen[bytes]", self._own.process)


def _parts(request: bytes) -> Sequence[bytes]:
    if request == _LIBRARY:
        return (charting_library().encode(),)
    svg, png = draw(Sheet.from_json(request))
    return svg.encode(), png


def _serve() -> None:
    """Answer each request with a line that has the sizes of its parts, and the parts."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # where what a library prints is not taken for an answer
    for request in sys.stdin.buffer:
        try:
            parts = _parts(request)
            head = json.dumps({"sizes": [len(part) for part in parts]})
        except Exception as error:  # noqa: BLE001 - the process that asked says it
            words = " ".join(f"{type(error).__name__}: {_CALLS.split(str(error))[0]}".split())
            parts, head = (), json.dumps({"error": words[:_LETTERS]})
        answers.write(b"".join([head.encode(), b"\n", *parts]))
        answers.flush()


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        _serve()
