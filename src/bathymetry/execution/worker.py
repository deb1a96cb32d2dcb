"""A worker process: it reads jobs from its standard input and answers on its standard output, in lines of JSON.

The first line has what the process has to agree with: the folder, the versions and where modules are found.
"""

import json
import os
import queue
import signal
import sys
import threading
import time
from typing import Any, TextIO

_PROGRESS_EVERY = 0.5  # seconds


def main() -> None:
    """Work until the standard input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # what a study prints is no answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; the first one decides
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(lines,), daemon=True).start()
    hello = json.loads(lines.get() or "{}")
    sys.path[:] = hello.get("path", sys.path)

    from bathymetry.core.system import Terminated

    def terminate(*_: object) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)
    try:
        _work(hello["out"], hello["versions"], lines, answers)
    except (KeyboardInterrupt, BrokenPipeError):
        os._exit(143)


def _read(lines: "queue.SimpleQueue[str]") -> None:
    """Pass lines on; where they end, the process that gave the jobs is gone, and so is this one soon."""
    for line in sys.stdin:
        lines.put(line)
    lines.put("")
    os.kill(os.getpid(), signal.SIGTERM)  # a training under way leaves a checkpoint


def _work(out: str, versions: dict[str, str], lines: "queue.SimpleQueue[str]", answers: TextIO) -> None:
    from bathymetry.execution.jobs import Job, check_versions, run_job
    from bathymetry.store.storage import place_of

    place = place_of("out", out)

    def answer(event: str, **words: Any) -> None:
        answers.write(json.dumps({"event": event, **words}) + "\n")

    last = 0.0

    def progress(share: float) -> None:
        nonlocal last
        if time.monotonic() - last > _PROGRESS_EVERY:
            last = time.monotonic()
            answer("progress", share=share)

    def say(sentence: str) -> None:
        answer("say", sentence=sentence)

    while line := lines.get():
        try:
            check_versions(versions)
            receipt = run_job(Job.from_json(line), place, None, progress, say)
            answer("done", seconds=receipt.seconds)
        except Exception as error:  # noqa: BLE001 - the first process decides what becomes of it
            answer("failed", **failure(error))


def failure(error: Exception) -> dict[str, Any]:
    """An error in words."""
    from bathymetry.execution import failures

    return failures.failure(error)
