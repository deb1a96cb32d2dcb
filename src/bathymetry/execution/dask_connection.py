"""Connecting to a Dask scheduler, and refusing what is none."""

import asyncio
import logging
import queue
import re
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bathymetry.core.errors import InputError, first_line, not_installed

CONNECTING = 6.0  # seconds until a scheduler counts as unreachable
_ADDRESS = re.compile(r"(tcp|tls|wss?)://([^\s/]+):(\d{1,5})/?")
_LAST_PORT = 65535
_DASK = ("distributed.client", "distributed.core", "distributed.comm", "distributed.batched")
_LOGGERS = (*_DASK, "tornado.application", "asyncio")


def connected(address: str | None, cluster: Any = None) -> Any:
    """Connect to the scheduler at an address or of a cluster; refuse one of another version."""
    distributed = imported("scheduler", address)
    try:
        if cluster is None:
            _within(CONNECTING + 1.0, lambda: asyncio.run(_shake_hands(distributed, str(address))))
        with warnings.catch_warnings(action="ignore", category=distributed.versions.VersionMismatchWarning):
            client = distributed.Client(cluster or address, timeout=CONNECTING, set_as_default=False)
    except Exception as error:  # whatever is made of an answer that is none of a scheduler
        raise _unreachable(address, error) from error
    there = client.run_on_scheduler(distributed.versions.get_versions)["packages"]["distributed"]
    if there != distributed.__version__:
        client.close(timeout=1)
        own = distributed.__version__
        remedy = f"it runs distributed {there} and this process {own}; install the same version on both"
        raise InputError("scheduler", address, remedy)
    return client


def host_and_port(address: str) -> tuple[str, int]:
    """Read the address of a scheduler."""
    found = _ADDRESS.fullmatch(address)
    if found is None or int(found[3]) > _LAST_PORT:
        raise InputError("scheduler", address, "expected the address of a Dask scheduler, such as tcp://HOST:8786")
    return found[2].strip("[]"), int(found[3])


def check_scheduler(address: str) -> None:
    """Refuse an address at which nothing answers, before anything else is done."""
    try:
        socket.create_connection(host_and_port(address), CONNECTING).close()
    except OSError as error:
        raise _unreachable(address, error) from error


async def _shake_hands(distributed: Any, address: str) -> None:
    """Connect as Dask does; a client that fails to leaves threads behind."""
    security = distributed.Security().get_connection_args("client")
    comm = await distributed.comm.connect(address, timeout=CONNECTING, **security)
    await comm.close()


def _within(seconds: float, make: Callable[[], Any]) -> Any:
    """Call a function that may never return, at something that accepts and says nothing."""
    answer: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def call() -> None:
        try:
            answer.put((make(), None))
        except Exception as error:  # noqa: BLE001 - raised below
            answer.put((None, error))

    threading.Thread(target=call, daemon=True).start()
    try:
        made, error = answer.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"it did not answer within {seconds:.0f} s") from None
    if error is not None:
        raise error
    return made


def _unreachable(address: str | None, error: BaseException) -> InputError:
    while error.__cause__ is not None:  # Dask's own says only that it did not connect
        error = error.__cause__
    said = getattr(error, "strerror", None) or first_line(error)
    cause = said if isinstance(error, OSError) else "what is there does not answer like one"
    remedy = f"no Dask scheduler answers there ({cause}); start one with: dask scheduler"
    return InputError("scheduler", address, remedy)


def imported(field: str, value: object) -> Any:
    try:
        import distributed
    except ImportError as error:
        raise InputError(field, value, not_installed(error.name or "distributed", "dask")) from error
    return distributed


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Dask from logging what the run says in a sentence of its own."""
    loggers = [logging.getLogger(one) for one in _LOGGERS]
    before = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.CRITICAL)
    stopped = False
    try:
        yield
    except KeyboardInterrupt:
        stopped = True  # the program ends, and what Dask has under way fails while the interpreter shuts down
        raise
    finally:
        for one, level in zip(loggers, before, strict=True):
            one.setLevel(logging.CRITICAL if stopped else level)
