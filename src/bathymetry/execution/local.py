"""Jobs in processes of this machine: one thread each, the longest first, as many at once as the memory allows.

A worker is a program of its own that reads jobs in words, so a script needs no guard around its main part, and what a
study prints or a worker's death does not disturb the run. Results do not depend on the number of workers.
"""

import json
import math
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from bathymetry.core.errors import InputError, StorageError
from bathymetry.execution import Progress
from bathymetry.execution.failures import failure
from bathymetry.execution.jobs import Job, Receipt, run_job, versions
from bathymetry.execution.schedule import Schedule
from bathymetry.store.storage import Place
from bathymetry.studies import Study

GRACE = 1.5  # seconds that workers have to store a checkpoint before they are killed
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
_COMMAND = (sys.executable, "-P", "-c", "from bathymetry.execution.worker import main; main()")


def in_process(
    schedule: Schedule,
    out: Place,
    studies: Mapping[tuple[str, str], Study],
    progress: Progress,
    max_memory: int | None = None,
) -> Iterator[Receipt]:
    """Do the jobs here, one after another, on the studies as they are; yield a receipt as each ends."""
    finished = 0.0
    while schedule.pending:
        job = schedule.next(max_memory or math.inf)
        if job is None:
            assert max_memory is not None
            schedule.shrink(max_memory)
            continue

        def advance(share: float, job: Job = job, before: float = finished) -> None:
            which = "" if job.stack else f" ({job.label})"
            progress.advance(f"{schedule.so_far}{which}", before + share * job.seconds)

        advance(0.0)
        try:
            receipt = run_job(job, out, studies[job.study, job.settings], advance, progress.say)
        except (InputError, StorageError):
            raise
        except Exception as error:  # noqa: BLE001 - the others go on
            words = failure(error)
            yield from schedule.failed(job, words["sentence"], words["traceback"], memory=words["kind"] == "memory")
        else:
            schedule.done(job)
            yield receipt
        finished += job.seconds


class _Worker:
    """A process, and the job that it does."""

    def __init__(self, out: Place, place: int, environment: Mapping[str, str]) -> None:
        self.place = place  # among the workers
        # In a session of its own, Ctrl-C does not reach it: who started it decides when it ends.
        self.process = subprocess.Popen(
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **_ONE_THREAD, **environment},
            start_new_session=True,
        )
        self.job: Job | None = None
        self.share = 0.0
        self._rest = b""
        assert self.process.stdout is not None
        self.output = self.process.stdout
        os.set_blocking(self.output.fileno(), False)
        self._write(
            json.dumps(
                {"out": str(out.absolute() if isinstance(out, Path) else out), "versions": versions(), "path": sys.path}
            )
        )

    def begin(self, job: Job) -> None:
        self.job, self.share = job, 0.0
        self._write(job.to_json())

    def answers(self) -> list[dict[str, Any]] | None:
        """What it has answered since; None if it has ended."""
        content = self.output.read()
        if content == b"":
            return None
        *lines, self._rest = (self._rest + (content or b"")).split(b"\n")
        return [json.loads(line) for line in lines]

    def end(self) -> str:
        """Close what led to a process that has ended; say how it did."""
        status = self.process.wait()
        self.output.close()
        with suppress(BrokenPipeError):
            self.process.stdin.close()  # type: ignore[union-attr]
        return f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"

    def _write(self, line: str) -> None:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # that it has ended shows at its output
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()


class LocalWorkers:
    """Worker processes, which end with the block that they are used in."""

    def __init__(self, out: Place, count: int, max_memory: int, devices: int = 0) -> None:
        self._out, self._count, self._max_memory = out, count, max_memory
        self._devices = devices  # GPUs, of which each worker gets one
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> "LocalWorkers":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.process.terminate()
        deadline = time.monotonic() + GRACE
        for worker in self._workers:
            try:
                worker.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
            worker.end()
        self._workers = []
        self._selector.close()

    def run(self, schedule: Schedule, progress: Progress) -> Iterator[Receipt]:
        """Do the jobs; yield a receipt as each ends."""
        while schedule.left:
            self._give(schedule)
            for key, _ in self._selector.select(timeout=1.0):
                yield from self._handle(key.data, schedule, progress)
            self._advance(schedule, progress)

    def _give(self, schedule: Schedule) -> None:
        """Give jobs to processes that have none, as far as there is memory."""
        while schedule.pending:
            busy = [worker.job for worker in self._workers if worker.job is not None]
            if len(busy) >= self._count:
                return
            room = self._max_memory - sum(job.bytes for job in busy)
            job = schedule.next(room)
            if job is None:
                if busy:
                    return
                schedule.shrink(room)
                continue
            idle = next((worker for worker in self._workers if worker.job is None), None)
            (idle or self._started()).begin(job)

    def _started(self) -> _Worker:
        taken = {worker.place for worker in self._workers}
        place = next(one for one in range(self._count) if one not in taken)
        worker = _Worker(self._out, place, {"CUDA_VISIBLE_DEVICES": _visible(place)} if self._devices else {})
        self._workers.append(worker)
        self._selector.register(worker.output, selectors.EVENT_READ, worker)
        return worker

    def _handle(self, worker: _Worker, schedule: Schedule, progress: Progress) -> Iterator[Receipt]:
        answers = worker.answers()
        if answers is None:
            self._selector.unregister(worker.output)
            self._workers.remove(worker)
            ended, job = worker.end(), worker.job
            if job is not None:
                yield from schedule.failed(job, f"its worker {ended}", memory=worker.process.returncode == -9)
            return
        for answer in answers:
            match answer["event"]:
                case "progress":
                    worker.share = answer["share"]
                case "say":
                    progress.say(answer["sentence"])
                case "done":
                    job, worker.job = worker.job, None
                    assert job is not None
                    schedule.done(job)
                    yield Receipt(job.id, "done", answer["seconds"])
                case "failed":
                    job, worker.job = worker.job, None
                    assert job is not None
                    yield from _failed(job, answer, schedule)

    def _advance(self, schedule: Schedule, progress: Progress) -> None:
        under_way = [worker for worker in self._workers if worker.job is not None]
        shares = sum(worker.share * worker.job.seconds for worker in under_way if worker.job is not None)
        progress.advance(schedule.so_far, max(0.0, schedule.seconds_done + shares))


def _failed(job: Job, answer: Mapping[str, Any], schedule: Schedule) -> list[Receipt]:
    if answer["kind"] == "input":
        raise InputError(answer["field"], answer["value"], answer["remedy"])
    if answer["kind"] == "storage":
        raise StorageError(answer["sentence"])
    return schedule.failed(job, answer["sentence"], answer["traceback"], memory=answer["kind"] == "memory")


def _visible(place: int) -> str:
    """The GPU of a worker, among those that this process may use."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return allowed.split(",")[place] if allowed else str(place)
