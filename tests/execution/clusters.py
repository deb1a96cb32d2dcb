"""A Dask scheduler and its workers as processes of their own on this machine."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

PATIENCE = 180.0  # seconds for a process to start on a busy machine


def _started(*words, **environment):
    command = [sys.executable, "-m", "dask", *map(str, words)]
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **{name: str(value) for name, value in environment.items()}}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, **quiet, env=variables, start_new_session=True)


def start_scheduler(folder, port=0, preload=None, **environment):
    """Start a scheduler; return its process and address once it answers."""
    file = folder / f"scheduler-{time.monotonic_ns()}.json"
    words = ("--host", "127.0.0.1", "--port", port, "--no-dashboard", "--scheduler-file", file)
    process = _started("scheduler", *words, *(["--preload", preload] if preload else []), **environment)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None
        with suppress(OSError, ValueError):
            return process, json.loads(file.read_text())["address"]
        time.sleep(0.1)
    raise TimeoutError("no scheduler")


def start_worker(address, folder, threads=1, preload=None, memory="4GB", **environment):
    """Start a worker with its nanny."""
    words = ["--nthreads", threads, "--memory-limit", memory, "--local-directory", folder, "--no-dashboard"]
    return _started("worker", address, *words, *(["--preload", preload] if preload else []), **environment)


def wait_for_workers(address, number):
    """Wait until workers are started: one that is killed before its nanny knows it takes the nanny with it."""
    from distributed import Client

    deadline = time.monotonic() + PATIENCE
    with Client(address, set_as_default=False) as client:
        client.wait_for_workers(number, timeout=PATIENCE)
        while set(client.run(lambda dask_worker: dask_worker.status.name, nanny=True).values()) != {"running"}:
            assert time.monotonic() < deadline
            time.sleep(0.1)


@contextmanager
def cluster(folder, workers=2, **options):
    """A scheduler with workers, until the block ends."""
    folder = Path(folder)
    scheduler, address = start_scheduler(folder)
    processes = [start_worker(address, folder, **options) for _ in range(workers)]
    try:
        wait_for_workers(address, workers)
        yield address
    finally:
        stop(*processes, scheduler)


def stop(*processes):
    """Kill processes with those that they started: a nanny would take its time."""
    for one in processes:
        with suppress(ProcessLookupError):
            os.killpg(one.pid, signal.SIGKILL)
        one.wait()
