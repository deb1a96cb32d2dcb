"""Servers that speak S3's protocol, each a process of its own on this machine."""

import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

KEY, SECRET = "testkey", "testsecret"
_COMMANDS = {
    "moto": ["-m", "moto.server", "-H", "127.0.0.1", "-p"],
    "nanio": ["-m", "nanio", "serve", "--host", "127.0.0.1", "--log-level", "warning", "--port"],
}


@contextmanager
def server(kind, folder):
    """Start a server with an empty bucket named `bucket`; yield the variables that lead a program there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    own = {"NANIO_ACCESS_KEY": KEY, "NANIO_SECRET_KEY": SECRET, "NANIO_DATA_DIR": str(folder)}
    with (folder.parent / f"{kind}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *_COMMANDS[kind], str(port)], env={**os.environ, **own}, stdout=log, stderr=log
        )
    try:
        wait_for(port, process)
        yield environment(port)
    finally:
        process.kill()
        process.wait()


def environment(port):
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def wait_for(port, process, seconds=120):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the server does not answer")
