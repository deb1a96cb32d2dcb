"""Two servers that speak S3's protocol, in processes of their own; `make test-slow` installs them."""

import concurrent.futures
import os
import socket
import subprocess
import sys
import threading
import time
import uuid

import pytest

import bathymetry as bm
from bathymetry.core.errors import StorageError
from bathymetry.execution import Progress
from bathymetry.store import storage
from bathymetry.store.chunks import chunk_path, config_hash, read_chunk, save, stored, verify
from bathymetry.store.storage import place_of
from execution import own_study
from execution.own_study import OwnWidth
from store import cases, servers

pytestmark = [pytest.mark.slow, pytest.mark.server]
s3fs = pytest.importorskip("s3fs", reason="s3fs and two servers come with requirements-servers.txt")
boto3 = pytest.importorskip("boto3")

SETTING = {"epochs": 3}
NAME = config_hash(SETTING)
OWN = own_study.__file__


@pytest.fixture(scope="module", params=["moto", "nanio"])
def running(request, tmp_path_factory):
    pytest.importorskip("moto" if request.param == "moto" else "nanio")
    with servers.server(request.param, tmp_path_factory.mktemp(request.param) / "data") as variables:
        client(variables).create_bucket(Bucket="bucket")
        yield variables


def client(variables):
    login = {"aws_access_key_id": servers.KEY, "aws_secret_access_key": servers.SECRET}
    return boto3.client("s3", endpoint_url=variables["AWS_ENDPOINT_URL"], region_name="us-east-1", **login)


@pytest.fixture
def bucket(running, monkeypatch):
    """A prefix of its own in the bucket of a server."""
    yield from entered(running, monkeypatch)


def entered(variables, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    yield f"s3://bucket/{uuid.uuid4().hex}"
    s3fs.S3FileSystem.clear_instance_cache()


def bathymetry(variables, *arguments, timeout=600):
    """Run the program in a process of its own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return subprocess.run(
        [sys.executable, "-m", "bathymetry.cli.main", *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=timeout, env={**inherited, **variables},
    )  # fmt: skip


def test_what_is_written_is_read_listed_moved_and_deleted(bucket):
    place = place_of("out", bucket)
    assert storage.names(place) == []
    storage.write(place / "a" / "file.bin", b"one")
    storage.write(place / "a" / "file.bin", b"three")
    assert storage.read(place / "a" / "file.bin") == b"three"
    assert storage.size(place / "a" / "file.bin") == 5
    assert storage.names(place) == ["a"]
    assert storage.exists(place / "a" / "file.bin")
    assert not storage.exists(place / "a" / "other")
    moved = storage.move(place / "a" / "file.bin", place / "b" / "file.bin")
    assert storage.names(place) == ["b"]
    assert storage.read(moved) == b"three"
    storage.delete(moved)
    storage.delete(moved)
    assert storage.names(place) == []
    with pytest.raises(StorageError, match=r"file\.bin can't be read \(there is no such file\)"):
        storage.read(moved)


def test_what_another_client_writes_and_deletes_is_seen_at_once(bucket, running):
    place, other = place_of("out", bucket), client(running)
    prefix = str(place.path).removeprefix("bucket/")
    assert storage.names(place) == []
    other.put_object(Bucket="bucket", Key=f"{prefix}/new", Body=b"1")
    assert storage.names(place) == ["new"]
    assert storage.exists(place / "new")
    other.put_object(Bucket="bucket", Key=f"{prefix}/new", Body=b"22")
    assert storage.read(place / "new") == b"22"
    other.delete_object(Bucket="bucket", Key=f"{prefix}/new")
    assert storage.names(place) == []
    assert not storage.exists(place / "new")


def test_damaged_chunks_are_quarantined(bucket):
    place = place_of("out", bucket)
    for members in (range(3), range(3, 6)):
        save(place, NAME, SETTING, cases.chunk(members))
    path = chunk_path(place, NAME, range(3))
    storage.write(path, storage.read(path)[:-20])
    whole, sentences = verify(place, NAME)
    assert list(whole) == [range(3, 6)] == stored(place, NAME)
    assert "damaged" in sentences[0]
    assert len(storage.names(place / "damaged")) == 1


def test_sixteen_writers_of_one_chunk_leave_it_whole(bucket):
    place, said = place_of("out", bucket), []
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: save(place, NAME, SETTING, cases.chunk(range(10)), said.append), range(32)))
    assert said == []
    assert stored(place, NAME) == [range(10)]
    assert read_chunk(chunk_path(place, NAME, range(10))).record.identical(cases.chunk(range(10)).record)


def test_a_study_has_the_numbers_of_one_in_a_folder_and_is_used_again(bucket, tmp_path):
    there, here = (bm.run_study(OwnWidth, preset="smoke", members=2, out=out) for out in (bucket, tmp_path / "run"))
    for group in here.results.children:
        one, other = (run.results[group].to_dataset().drop_attrs() for run in (there, here))
        assert one.identical(other)

    class NothingToTrain(Progress):
        def begin(self, *_):
            raise AssertionError("it is stored")

    again = bm.run_study(OwnWidth, preset="smoke", members=2, out=bucket, progress=NothingToTrain())
    assert again.results["main"].identical(there.results["main"])
    networks = again.networks(network="8")
    assert len(networks) == 2


def test_the_program_runs_reports_and_exports_at_an_address(bucket, running):
    ran = bathymetry(running, "run", OWN, "--preset", "smoke", "--workers", "2", "--out", bucket)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.rstrip().endswith(f"Page: {bucket}/report.html")
    place = place_of("out", bucket)
    assert {"bathymetry.json", "claims.json", "own-width", "provenance.json", "report.html", "units"} == set(
        storage.names(place)
    )
    figures = storage.names(place / "own-width" / "figures")
    assert any(name.endswith(".png") for name in figures)
    page = storage.read(place / "report.html").decode()
    assert f'out="{bucket}"' in page.replace("&#34;", '"').replace("&quot;", '"')
    again = bathymetry(running, "report", bucket, "--study", OWN)
    assert again.returncode == 0, again.stderr
    assert storage.names(place / "own-width" / "figures") == figures
    tables = bathymetry(running, "export", bucket)
    assert tables.returncode == 0, tables.stderr
    assert storage.names(place / "tables" / "own-width")


def test_two_runs_at_once_on_one_address_store_the_same(bucket, running):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        arguments = ("run", OWN, "--preset", "smoke", "--out", bucket)
        runs = list(pool.map(lambda _: bathymetry(running, *arguments), range(2)))
    assert [one.returncode for one in runs] == [0, 0], [one.stderr for one in runs]
    assert not any("different numbers" in one.stdout + one.stderr for one in runs)
    assert "damaged" not in storage.names(place_of("out", bucket))


@pytest.mark.parametrize(
    ("out", "changes", "sentence"),
    [
        ("s3://nowhere/run", {}, "can't be read (there is no bucket nowhere): make it first, or choose another."),
        ("s3://bucket/foreign", {}, "it holds files that are not Bathymetry's (thesis.tex)"),
        ("s3://bucket/run", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "(no connection to http://127.0.0.1:9): check"),
        (
            "s3://bucket/run",
            {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
            "(there are no credentials for it): set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        ),
    ],
)
def test_an_address_that_can_not_be_used_is_said_in_one_sentence(running, out, changes, sentence):
    client(running).put_object(Bucket="bucket", Key="foreign/thesis.tex", Body=b"mine")
    variables = {name: value for name, value in {**running, **changes}.items() if value}
    ran = bathymetry(variables, "run", "gradient-norm", "--preset", "smoke", "--out", out, timeout=100)
    assert ran.returncode == 2
    assert sentence in ran.stderr
    assert len(ran.stderr.strip().splitlines()) == 1


def test_wrong_credentials_are_said_in_one_sentence(tmp_path):
    pytest.importorskip("nanio")
    with servers.server("nanio", tmp_path / "data") as variables:
        client(variables).create_bucket(Bucket="bucket")
        wrong = {**variables, "AWS_SECRET_ACCESS_KEY": "another"}
        ran = bathymetry(wrong, "run", "gradient-norm", "--preset", "smoke", "--out", "s3://bucket/run", timeout=100)
    assert ran.returncode == 2
    assert ran.stderr.endswith("can't be read (the credentials are refused: SignatureDoesNotMatch): set others.\n")


def test_a_server_that_accepts_and_never_answers_is_given_up_in_two_minutes():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(50)
        variables, begun = servers.environment(silent.getsockname()[1]), time.monotonic()
        ran = bathymetry(
            variables, "run", "gradient-norm", "--preset", "smoke", "--out", "s3://bucket/run", timeout=240
        )
    assert ran.returncode == 2
    assert "can't be read (no connection to http://127.0.0.1:" in ran.stderr
    assert time.monotonic() - begun < 200  # generous: the machine may be busy


def test_a_server_that_goes_away_during_a_run_stops_it_and_the_same_command_continues(tmp_path, monkeypatch):
    """As moto keeps objects in memory, nanio is the one that has them still when it is started again."""
    pytest.importorskip("nanio")
    fields = {"preset": "smoke", "members": 12}
    with servers.server("nanio", tmp_path / "data") as variables:
        client(variables).create_bucket(Bucket="bucket")
        address = next(entered(variables, monkeypatch))
        gone = threading.Event()

        class Leaving(Progress):
            def advance(self, label, seconds):
                if seconds > 0 and not gone.is_set():
                    gone.set()
                    os.environ["AWS_ENDPOINT_URL"] = "http://127.0.0.1:9"
                    s3fs.S3FileSystem.clear_instance_cache()

        with pytest.raises(StorageError, match="no connection"):
            bm.run_study(OwnWidth, out=address, progress=Leaving(), **fields)
        next(entered(variables, monkeypatch))
        there = bm.run_study(OwnWidth, out=address, **fields)
        here = bm.run_study(OwnWidth, out=tmp_path / "here", **fields)
        assert there.results["main"].to_dataset().drop_attrs().identical(here.results["main"].to_dataset().drop_attrs())
    s3fs.S3FileSystem.clear_instance_cache()
