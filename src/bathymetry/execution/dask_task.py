"""What runs on a Dask worker: one job, from words to a receipt in words.

A scheduler imports this module too, when a task reaches it, so it loads nothing heavy before a job is done.
"""

import json
import signal
import socket
import threading
import time
from collections.abc import Mapping
from functools import cache
from typing import Any

_PROGRESS_EVERY = 5.0  # seconds
_one_at_a_time = threading.Lock()  # PyTorch's settings are the process's, and so is its memory
_last_run = ""


def dask_setup(worker: Any) -> None:  # noqa: ARG001 - as Dask calls it
    """Leave Ctrl-C, which reaches every process of a terminal, to the one that started the cluster."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def work(job_words: str, run_words: str) -> str:
    """Do a job for a run, and answer what became of it."""
    with _one_at_a_time:
        try:
            return json.dumps(_done(job_words, json.loads(run_words)))
        except Exception as error:  # noqa: BLE001 - the process that gave the job decides what becomes of it
            from bathymetry.execution.worker import failure

            return json.dumps({"event": "failed", "host": socket.gethostname(), **failure(error)})


def _done(job_words: str, run: Mapping[str, Any]) -> dict[str, Any]:
    from dask.distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()
    last = 0.0

    def tell(event: str, **words: Any) -> None:
        worker.log_event(run["topic"], {"event": event, "key": key, "worker": worker.address, **words})

    def progress(share: float) -> None:
        nonlocal last
        if time.monotonic() - last > _PROGRESS_EVERY:
            last = time.monotonic()
            tell("progress", share=share)

    tell("taken")
    from bathymetry.execution.jobs import Job, check_versions, run_job

    job = Job.from_json(job_words)
    check_versions(run["versions"])
    _forget_other_runs(run["topic"])
    place = _seen(run["out"], run["topic"])
    tell("begun", checkpoint=_checkpoint(place, job.parts[0].id))
    room = worker.memory_manager.memory_limit
    if room and job.bytes > room:
        return {"event": "large", "room": room, "host": socket.gethostname()}
    receipt = run_job(job, place, None, progress, lambda sentence: tell("say", sentence=sentence))
    return {"event": "done", "seconds": receipt.seconds}


def token_name(topic: str) -> str:
    """The file by which a worker sees that it has the same store."""
    return f".{topic}"


@cache
def _seen(out: str, topic: str) -> Any:
    """Open the store, and check that it holds the token of the run."""
    from bathymetry.core.errors import InputError
    from bathymetry.store import storage

    place = storage.place_of("out", out)
    if not storage.exists(place / token_name(topic)):
        remedy = "it is not the same place for this worker; expected a folder that all machines share, or an address"
        raise InputError("out", out, f"{remedy} such as s3://bucket/run1")
    return place


def _checkpoint(out: Any, identity: str) -> str:
    """The digest of the checkpoint that a chunk, or a stack by its first, goes on from; empty if there is none."""
    from bathymetry.core.identity import digest
    from bathymetry.store import storage
    from bathymetry.store.chunks import checkpoint_path, path_of_id

    left = checkpoint_path(path_of_id(out, identity))
    return digest(storage.read(left)) if storage.exists(left) else ""


def _forget_other_runs(topic: str) -> None:
    """Read data and plans again for a new run: files may have changed since."""
    from bathymetry.execution.jobs import found

    global _last_run
    if topic != _last_run:
        _last_run = topic
        found.cache_clear()
