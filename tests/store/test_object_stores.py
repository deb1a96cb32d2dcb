"""Object stores: what holds on every server, S3's and Google's; `make test-slow` installs them."""

import concurrent.futures

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

SETTING = {"epochs": 3}
NAME = config_hash(SETTING)
OWN = own_study.__file__


@pytest.fixture(scope="module", params=servers.KINDS)
def running(request, tmp_path_factory):
    pytest.importorskip(request.param, reason="servers come with requirements-servers.txt")
    with servers.server(request.param, tmp_path_factory.mktemp(request.param) / "data") as variables:
        yield variables


@pytest.fixture
def bucket(running, monkeypatch):
    """A prefix of its own in the bucket of a server."""
    yield from servers.entered(running, monkeypatch)


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
    place = place_of("out", bucket)
    key = str(place.path).removeprefix("bucket/") + "/new"
    assert storage.names(place) == []
    servers.put(running, key, b"1")
    assert storage.names(place) == ["new"]
    assert storage.exists(place / "new")
    servers.put(running, key, b"22")
    assert storage.read(place / "new") == b"22"
    servers.remove(running, key)
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
    ran = servers.bathymetry(running, "run", OWN, "--preset", "smoke", "--workers", "2", "--out", bucket)
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
    again = servers.bathymetry(running, "report", bucket, "--study", OWN)
    assert again.returncode == 0, again.stderr
    assert storage.names(place / "own-width" / "figures") == figures
    tables = servers.bathymetry(running, "export", bucket)
    assert tables.returncode == 0, tables.stderr
    assert storage.names(place / "tables" / "own-width")


def test_two_runs_at_once_on_one_address_store_the_same(bucket, running):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        arguments = ("run", OWN, "--preset", "smoke", "--out", bucket)
        runs = list(pool.map(lambda _: servers.bathymetry(running, *arguments), range(2)))
    assert [one.returncode for one in runs] == [0, 0], [one.stderr for one in runs]
    assert not any("different numbers" in one.stdout + one.stderr for one in runs)
    assert "damaged" not in storage.names(place_of("out", bucket))


def test_a_bucket_that_is_missing_and_a_foreign_folder_are_said_in_one_sentence(bucket, running):
    protocol = servers.protocol(running)
    servers.put(running, "foreign/thesis.tex", b"mine")
    for out, sentence in [
        (f"{protocol}://nowhere/run", "(there is no bucket nowhere): make it first, or choose another.\n"),
        (f"{protocol}://bucket/foreign", "it holds files that are not Bathymetry's (thesis.tex)"),
    ]:
        ran = servers.bathymetry(running, "run", "gradient-norm", "--preset", "smoke", "--out", out, timeout=200)
        assert ran.returncode == 2
        assert sentence in ran.stderr
        assert len(ran.stderr.strip().splitlines()) == 1


def test_a_server_that_refuses_connections_is_said_in_one_sentence(running):
    name = "AWS_ENDPOINT_URL" if servers.protocol(running) == "s3" else "STORAGE_EMULATOR_HOST"
    variables = {**running, name: "http://127.0.0.1:9"}
    out = f"{servers.protocol(running)}://bucket/run"
    ran = servers.bathymetry(variables, "run", "gradient-norm", "--preset", "smoke", "--out", out, timeout=300)
    assert ran.returncode == 2
    assert "can't be read (no connection to " in ran.stderr
    assert "127.0.0.1:9): check the network" in ran.stderr
    assert len(ran.stderr.strip().splitlines()) == 1
