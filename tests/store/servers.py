"""Servers that speak the protocols of S3 and of Google Cloud Storage, each a process of its own on this machine."""

import os
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
import uuid
from contextlib import contextmanager

import fsspec

KINDS = ("moto", "nanio", "gcp_storage_emulator")
KEY, SECRET = "testkey", "testsecret"
_COMMANDS = {
    "moto": ["-m", "moto.server", "-H", "127.0.0.1", "-p"],
    "nanio": ["-m", "nanio", "serve", "--host", "127.0.0.1", "--log-level", "warning", "--port"],
    "gcp_storage_emulator": [
        *("-m", "gcp_storage_emulator", "start", "--quiet", "--in-memory"),
        *("--default-bucket", "bucket", "--host", "127.0.0.1", "--port"),
    ],
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
        variables = environment(port, kind)
        if kind in ("moto", "nanio"):
            s3_client(variables).create_bucket(Bucket="bucket")
        yield variables
    finally:
        process.kill()
        process.wait()


def environment(port, kind="moto"):
    if kind == "gcp_storage_emulator":
        return {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}", "GOOGLE_APPLICATION_CREDENTIALS": ""}
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


def protocol(variables):
    return "gs" if "STORAGE_EMULATOR_HOST" in variables else "s3"


def forget():
    """Close the connections that fsspec keeps open for the process."""
    for name in ("s3", "gs"):
        try:
            fsspec.get_filesystem_class(name).clear_instance_cache()
        except ImportError:
            continue


def entered(variables, monkeypatch):
    """Lead this process to a server; yield an address of its own there."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    forget()
    yield f"{protocol(variables)}://bucket/{uuid.uuid4().hex}"
    forget()


def s3_client(variables):
    import boto3

    login = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET}
    return boto3.client("s3", endpoint_url=variables["AWS_ENDPOINT_URL"], region_name="us-east-1", **login)


def put(variables, key, content):
    """Write an object into the bucket with a client that is not fsspec's."""
    if protocol(variables) == "s3":
        s3_client(variables).put_object(Bucket="bucket", Key=key, Body=content)
    else:
        query = urllib.parse.urlencode({"uploadType": "media", "name": key})
        _request(variables, "POST", f"/upload/storage/v1/b/bucket/o?{query}", content)


def remove(variables, key):
    """Delete an object with a client that is not fsspec's."""
    if protocol(variables) == "s3":
        s3_client(variables).delete_object(Bucket="bucket", Key=key)
    else:
        _request(variables, "DELETE", f"/storage/v1/b/bucket/o/{urllib.parse.quote(key, safe='')}")


def _request(variables, method, path, content=None):
    request = urllib.request.Request(variables["STORAGE_EMULATOR_HOST"] + path, data=content, method=method)
    with urllib.request.urlopen(request) as answer:
        answer.read()


def bathymetry(variables, *arguments, timeout=600):
    """Run the program in a process of its own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return subprocess.run(
        [sys.executable, "-m", "bathymetry.cli.main", *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=timeout, env={**inherited, **variables},
    )  # fmt: skip
