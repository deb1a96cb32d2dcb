"""Jobs on Dask: the same jobs on an existing cluster, or on one of this machine.

The client keeps the schedule. A task is a job in words, and its result a receipt in words; what a worker says while it
works arrives as events. A worker that dies loses its job to another, which goes on from the last checkpoint; one that
gives no sign is restarted after its job was given to another, and the first receipt counts.
"""

import asyncio
import json
import logging
import queue
import secrets
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bathymetry.core.errors import IncompleteError, InputError, StorageError, first_line
from bathymetry.execution import Progress
from bathymetry.execution.dask_connection import connected, imported, quiet
from bathymetry.execution.dask_task import token_name, work
from bathymetry.execution.jobs import Job, Receipt, versions
from bathymetry.execution.schedule import TRIES, Schedule
from bathymetry.store import storage
from bathymetry.store.storage import Place

RECONNECTING = 60.0  # seconds in which a scheduler that was lost, or workers of our own, may come back
_LOOKING = 5.0  # seconds between looks at which workers there are
PATIENCE = 60.0  # seconds without progress, at least, before a worker counts as hanging
_TIMES = 3.0  # an estimate, likewise
_CLOSING = 1.0  # seconds that workers of our own have to end
_REPLACED = 10.0  # seconds in which another worker takes a hanging worker's job; else it is restarted at once
_AHEAD = 1000  # tasks that the scheduler knows before they can start: it allots them, and clusters grow by them
_TASK = "bathymetry.execution.dask_task"  # which workers of a cluster of this machine load when they start


@dataclass
class _Attempt:
    """A job that was given to the cluster."""

    job: Job
    future: Any
    patience: float  # seconds without progress, after which its worker counts as hanging
    last_sign: float | None = None  # when it was last allotted, began or progressed
    worker: str = ""  # that has it, as long as it is there
    begun: bool = False
    share: float = 0.0
    hanging: float | None = None  # since when


@dataclass
class _Trouble:
    """What happened to a job before."""

    starts: int = 0  # that are to be expected: the first, and one for each time that it was tried again
    losses: int = 0  # workers that died while they did it, since a checkpoint last brought it on
    killed: int = 0  # times that Dask gave it up because its workers had died
    hangs: int = 0
    checkpoint: str = ""  # from which it last went on
    attempts: set[str] = field(default_factory=set)  # keys


class Cluster:
    """The workers of a Dask scheduler, or of one started for the block that it is used in."""

    def __init__(self, out: Place, scheduler: str | None, local: int | None = None, max_memory: int = 0) -> None:
        self._out, self._address, self._local, self._max_memory = out, scheduler, local, max_memory
        self._topic = f"bathymetry-{secrets.token_hex(8)}"
        self._events: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._attempts: dict[str, _Attempt] = {}  # by key
        self._trouble: dict[str, _Trouble] = {}  # by the id of a job
        self._client: Any = None
        self._lost = False  # whether the scheduler was, and all that it knew
        self._looked = 0.0  # when the workers were last counted
        self._alone: float | None = None  # since when there has been none
        self._exit = ExitStack()

    def __enter__(self) -> "Cluster":
        self._distributed = imported("local_cluster", self._local)
        with self._exit:
            self._exit.enter_context(quiet())
            cluster = None if self._local is None else self._own_cluster()
            self._exit.callback(self._leave)
            self._client = connected(self._address, cluster)
            self._listen()
            storage.write(self._out / token_name(self._topic), b"")
            self._exit.callback(storage.delete, self._out / token_name(self._topic))
            self._exit = self._exit.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def _own_cluster(self) -> Any:
        """Start a cluster of this machine, whose workers end with the block, within a second."""
        assert self._local is not None
        cluster = self._distributed.LocalCluster(
            n_workers=self._local,
            threads_per_worker=1,
            memory_limit=self._max_memory // self._local,
            dashboard_address="127.0.0.1:0",
            preload=[_TASK],
            silence_logs=logging.CRITICAL,
        )
        self._exit.enter_context(cluster)

        async def close() -> None:
            nannies = cluster.workers.values()
            await asyncio.gather(*(one.close(timeout=_CLOSING) for one in nannies), return_exceptions=True)

        self._exit.callback(cluster.sync, close)
        return cluster

    def run(self, schedule: Schedule, progress: Progress) -> Iterator[Receipt]:
        """Do the jobs; yield a receipt as each ends."""
        self._describe(progress)
        while schedule.left:
            if self._lost or self._client.status != "running":
                self._reconnect(schedule, progress)
            while len(self._attempts) < _AHEAD + self._threads and (job := schedule.next()) is not None:
                self._give(job)
            with suppress(queue.Empty):
                event = self._events.get(timeout=0.5)
                while True:
                    yield from self._answer(*event, schedule, progress)
                    event = self._events.get_nowait()
            self._look_at_workers(schedule, progress)
            yield from self._look_for_hanging(schedule)
            shares = sum(one.share * one.job.seconds for one in self._attempts.values() if one.hanging is None)
            progress.advance(schedule.so_far, max(0.0, schedule.seconds_done + shares))

    def _listen(self) -> None:
        """Receive what workers of this run say."""
        self._client.subscribe_topic(self._topic, lambda event: self._events.put(("event", event[1])))

    def _describe(self, progress: Progress) -> None:
        """Say what is unusual about the workers, and count their threads."""
        workers = self._client.nthreads().values()
        self._threads = sum(workers)
        if not workers:
            self._alone = time.monotonic()
            progress.say(f"{self._address} has no workers yet and the run waits for them; to start one: {self._start}")
        several = sum(one > 1 for one in workers)
        if several:
            which = f"{several} of {len(workers)} workers"
            progress.say(f"{which} have several threads, of which only one can work: start them with --nthreads 1.")

    @property
    def _start(self) -> str:
        return f"dask worker {self._address} --nthreads 1"

    def _look_at_workers(self, schedule: Schedule, progress: Progress) -> None:
        """Note which workers left, and which don't begin what they have; say when no worker is left.

        A worker that dies before its nanny has noted its start takes the nanny with it, and nothing replaces them.
        """
        now = time.monotonic()
        if now - self._looked < _LOOKING or self._client.status != "running":
            return
        self._looked = now
        try:
            workers, allotted = self._client.nthreads(), self._client.processing()
        except OSError:  # the scheduler was lost just now
            return
        for attempt in self._attempts.values():
            if attempt.worker not in workers:  # the scheduler gives it to another
                attempt.worker, attempt.hanging = "", None
        for worker, keys in allotted.items():
            self._note_idle(worker, keys)
        if workers:
            self._threads, self._alone = sum(workers.values()), None
        elif self._alone is None:
            self._alone = now
            if self._local is None:
                left = f"{self._address} has no workers left and the run waits for others"
                progress.say(f"{left}; to start one: {self._start}")
        elif self._local is not None and now - self._alone > RECONNECTING:
            raise IncompleteError(f"All workers of the local cluster ended; {self._stored(schedule)}")

    def _note_idle(self, worker: str, keys: Collection[str]) -> None:
        """A worker with jobs of this run alone, of which it does none: another run may have left one that hangs."""
        if not self._attempts.keys() >= set(keys) or any(self._attempts[key].worker == worker for key in keys):
            return
        for key in keys:
            self._attempts[key].worker, self._attempts[key].last_sign = worker, time.monotonic()

    def _stored(self, schedule: Schedule) -> str:
        done = f"{schedule.planned - schedule.left} of {schedule.planned} jobs are stored in {self._out}"
        return f"{done}; start it again, and the same command continues."

    def _give(self, job: Job, patience: float = 1.0) -> None:
        """Give a job to the cluster under a key of its own."""
        key = f"{self._topic}-{secrets.token_hex(8)}"
        out = str(self._out.absolute() if isinstance(self._out, Path) else self._out)
        run = json.dumps({"out": out, "versions": versions(), "topic": self._topic})
        future = self._client.submit(work, job.to_json(), run, key=key, pure=False)
        self._attempts[key] = _Attempt(job, future, patience * max(PATIENCE, _TIMES * job.seconds))
        trouble = self._trouble.setdefault(job.id, _Trouble())
        trouble.attempts.add(key)
        trouble.starts += 1
        future.add_done_callback(lambda _, key=key: self._events.put(("ended", key)))

    def _answer(self, kind: str, words: Any, schedule: Schedule, progress: Progress) -> Iterator[Receipt]:
        """React to an event, or to the end of a task."""
        key = words if kind == "ended" else words["key"]
        attempt = self._attempts.get(key)
        if attempt is None:  # of a job that has ended otherwise
            return
        if kind == "ended":
            yield from self._ended(key, attempt, schedule)
        elif words["event"] == "say":
            progress.say(words["sentence"])
        elif words["event"] == "taken":
            attempt.worker, attempt.last_sign, attempt.share, attempt.hanging = (
                words["worker"],
                time.monotonic(),
                0.0,
                None,
            )
        elif words["event"] == "begun":
            yield from self._begun(attempt, words["checkpoint"], schedule)
        elif words["share"] > attempt.share:
            attempt.last_sign, attempt.share = time.monotonic(), words["share"]

    def _begun(self, attempt: _Attempt, checkpoint: str, schedule: Schedule) -> Iterator[Receipt]:
        """Note where a job begins; one that begins again without need lost its worker."""
        trouble, attempt.begun = self._trouble[attempt.job.id], True
        goes_on, trouble.checkpoint = checkpoint not in ("", trouble.checkpoint), checkpoint
        if goes_on:  # its workers may be taken away ever so often, as long as it gets on
            trouble.losses = trouble.killed = 0
        trouble.starts -= 1
        if trouble.starts >= 0:
            return
        trouble.starts = 0
        trouble.losses += not goes_on
        if trouble.losses > 1 and attempt.job.halves():  # memory may be the cause
            self._forget(attempt.job)
            schedule.split(attempt.job)
        elif trouble.losses >= TRIES:
            self._forget(attempt.job)
            yield from schedule.give_up(attempt.job, f"{TRIES} workers died while they did it")

    def _ended(self, key: str, attempt: _Attempt, schedule: Schedule) -> Iterator[Receipt]:
        job, trouble = attempt.job, self._trouble[attempt.job.id]
        if attempt.future.status == "cancelled":  # nothing here cancels what it still waits for
            self._lost = True
            return
        try:
            answer = json.loads(attempt.future.result(timeout=30.0))
        except CancelledError:  # the scheduler was lost just now
            self._lost = True
            return
        except Exception as error:  # noqa: BLE001 - what Dask raises
            yield from self._refused(key, attempt, error, schedule)
            return
        match answer["event"]:
            case "done":
                self._forget(job)
                schedule.done(job)
                yield Receipt(job.id, "done", answer["seconds"])
            case "large":
                self._forget(job)
                schedule.cut(job, f"memory of a worker on {answer['host']}", answer["room"])
            case _:
                self._raise_if_refused(answer)
                self._drop(key)
                if not trouble.attempts:
                    memory = answer["kind"] == "memory"
                    yield from schedule.failed(job, answer["sentence"], answer["traceback"], memory=memory)

    @staticmethod
    def _raise_if_refused(answer: Mapping[str, Any]) -> None:
        """Raise what a worker refuses, with the name of its machine."""
        on = f" (on {answer['host']})"
        if answer["kind"] == "input":
            raise InputError(answer["field"], answer["value"], answer["remedy"].rstrip(".") + on)
        if answer["kind"] == "storage":
            raise StorageError(answer["sentence"].rstrip(".") + f"{on}.")

    def _refused(self, key: str, attempt: _Attempt, error: Exception, schedule: Schedule) -> Iterator[Receipt]:
        """A task that Dask gave up: its workers died, or it can't be run at all."""
        if self._client.status != "running":
            return
        if not isinstance(error, self._distributed.KilledWorker | OSError):  # it can't read the task
            cause = first_line(error.__cause__ or error)
            remedy = f"it can't run a task ({cause}); install Bathymetry there and on its workers, in the same version"
            raise InputError("scheduler", self._address or "local", remedy) from error
        trouble = self._trouble[attempt.job.id]
        self._drop(key)
        trouble.starts, trouble.killed = 0, trouble.killed + 1
        if trouble.killed >= TRIES:
            self._forget(attempt.job)
            yield from schedule.give_up(attempt.job, f"its workers died again and again: {first_line(error)}")
        elif not trouble.attempts:
            self._give(attempt.job)
            trouble.starts = 0  # its next start is one after a loss

    def _look_for_hanging(self, schedule: Schedule) -> Iterator[Receipt]:
        """Give the job of a worker without a sign to another too; restart the worker when that one works on it."""
        now = time.monotonic()
        for key, attempt in list(self._attempts.items()):
            if attempt.last_sign is None or not attempt.worker or key not in self._attempts:
                continue
            trouble = self._trouble[attempt.job.id]
            if attempt.hanging is None and now - attempt.last_sign > attempt.patience:
                attempt.hanging = now
                trouble.hangs += attempt.begun  # else it is what the worker did before that hangs
                if trouble.hangs >= TRIES:
                    self._forget(attempt.job, restart=True)
                    yield from schedule.give_up(attempt.job, f"{TRIES} workers gave no sign while they did it")
                else:
                    self._give(attempt.job, patience=4.0**trouble.hangs)  # it may only be slow
            elif attempt.hanging is not None and now - attempt.hanging > _REPLACED:
                others = [self._attempts[one] for one in trouble.attempts if one != key]
                if not any(one.begun and one.hanging is None for one in others):
                    self._drop(key)
                    self._restart(attempt.worker)

    def _forget(self, job: Job, *, restart: bool = False) -> None:
        """End all attempts at a job; workers that hang on it are restarted."""
        for key in list(self._trouble.pop(job.id, _Trouble()).attempts):
            attempt = self._attempts.pop(key)
            self._cancel(attempt)
            if attempt.worker and (attempt.hanging is not None or restart):
                self._restart(attempt.worker)

    def _drop(self, key: str) -> None:
        attempt = self._attempts.pop(key)
        trouble = self._trouble[attempt.job.id]
        trouble.attempts.discard(key)
        trouble.starts -= not attempt.begun
        self._cancel(attempt)

    def _cancel(self, *attempts: _Attempt) -> None:
        with suppress(Exception):  # the scheduler may be gone
            self._client.cancel([one.future for one in attempts if not one.future.done()])

    def _restart(self, worker: str) -> None:
        """Have a worker's nanny restart it, on the side; a worker without one stays as it is."""

        def restart() -> None:
            with suppress(Exception):
                self._client.restart_workers([worker], timeout=30.0, raise_for_error=False)

        threading.Thread(target=restart, daemon=True).start()

    def _reconnect(self, schedule: Schedule, progress: Progress) -> None:
        """Wait for a scheduler that was lost, and give it all jobs again."""
        deadline = time.monotonic() + RECONNECTING
        progress.say(f"The scheduler at {self._address} is lost; the run waits {RECONNECTING:.0f} s for it.")
        while self._client.status != "running":
            if self._client.status in ("closed", "closing", "failed"):
                with suppress(InputError):
                    self._client = connected(self._address)
                    break
            if time.monotonic() > deadline:
                raise IncompleteError(f"The scheduler at {self._address} was lost; {self._stored(schedule)}")
            time.sleep(0.2)
        self._listen()
        jobs = {one.job.id: one.job for one in self._attempts.values()}
        self._attempts.clear()
        self._trouble.clear()
        self._lost = False
        for job in jobs.values():
            self._give(job)
        self._describe(progress)

    def _leave(self) -> None:
        """Leave the cluster; what is under way ends there and is stored, for a thread can't be stopped."""
        if self._client is not None:
            self._cancel(*self._attempts.values())
            self._attempts.clear()
            with suppress(Exception):
                self._client.close(timeout=1.0)
