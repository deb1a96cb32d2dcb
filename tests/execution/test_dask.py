"""Chunks on Dask: equal results, and faults of workers, scheduler and stores."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest
import xarray as xr

import bathymetry as bm
from bathymetry.core.errors import IncompleteError, InputError, StorageError
from bathymetry.execution import Progress, dask, dask_connection
from bathymetry.studies import find
from execution import clusters
from store import servers

FAULTY = str(Path(__file__).with_name("faulty_study.py"))
COMMAND = [sys.executable, "-m", "bathymetry.cli.main", "run", FAULTY, "--preset", "smoke"]
pytestmark = pytest.mark.server
NEEDED = "Dask's distributed comes with requirements-servers.txt"

OFTEN = """\
import os
from pathlib import Path
from bathymetry.execution import jobs

jobs.CHECKPOINT_EVERY = 0.0

def noted(*arguments, read=jobs.chunks.read_checkpoint):
    found = read(*arguments)
    if found is not None:
        (Path(os.environ["FAULTS"]) / "resumed").touch()
    return found

jobs.chunks.read_checkpoint = noted
"""


class Said(Progress):
    def __init__(self):
        self.sentences = []

    def say(self, sentence):
        self.sentences.append(sentence)


@pytest.fixture(scope="module")
def distributed():
    return pytest.importorskip("distributed", reason=NEEDED)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The results of a run in one process."""
    return results(bm.run_study(FAULTY, preset="smoke", out=tmp_path_factory.mktemp("one")))


@pytest.fixture(scope="module")
def folder_of_faults(tmp_path_factory):
    return tmp_path_factory.mktemp("faults")


@pytest.fixture
def faults(folder_of_faults):
    """A folder in which a file's name makes chunks fail on the workers; none is left of another test."""
    for one in folder_of_faults.iterdir():
        one.unlink()
    return folder_of_faults


@pytest.fixture(scope="module")
def address(distributed, folder_of_faults, tmp_path_factory):
    """The scheduler of two workers, which take a checkpoint at every step and note that they go on from one."""
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "often.py").write_text(OFTEN)
    with clusters.cluster(folder, preload=folder / "often.py", FAULTS=folder_of_faults) as one:
        yield one


@pytest.fixture
def on(address, faults):
    """Where to run, with two workers."""
    clusters.wait_for_workers(address, 2)
    return {"preset": "smoke", "scheduler": address}


def results(run):
    return run.results["main"].to_dataset().drop_attrs()


def refused(command, *words, **variables):
    """Give the sentence of a command that is refused, and how long that took."""
    begun = time.monotonic()
    environment = {**os.environ, **variables}
    done = subprocess.run([*command, *words], capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 2, done.stderr
    return done.stderr.strip(), time.monotonic() - begun


def test_a_cluster_of_this_machine_gives_the_results_of_one_process(tmp_path, distributed, undisturbed):
    run = bm.run_study(FAULTY, preset="smoke", out=tmp_path / "out", local_cluster=1)
    xr.testing.assert_identical(results(run), undisturbed)
    assert not list((tmp_path / "out").glob(".bathymetry-*"))  # the token is gone


def test_without_distributed_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    for where in ({"scheduler": "tcp://127.0.0.1:8786"}, {"local_cluster": 2}):
        with pytest.raises(
            InputError, match=r"is not installed; in a copy of the repository: pip install \"\.\[dask\]\"\."
        ):
            bm.run_study(FAULTY, preset="smoke", out=tmp_path, **where)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"scheduler": "cluster"},
            r"scheduler = cluster: expected the address of a Dask scheduler, such as tcp://HOST",
        ),
        ({"scheduler": "tcp://127.0.0.1:99999"}, "expected the address of a Dask scheduler"),
        ({"local_cluster": 0}, "local_cluster = 0: expected a whole number, at least 1"),
        (
            {"local_cluster": 2, "workers": 2},
            "workers = 2: a cluster has workers of its own; expected workers or a cluster, not both",
        ),
        ({"local_cluster": 2, "out": f"memory://{uuid.uuid4().hex}/out"}, "other processes can't reach memory://"),
        (
            {"local_cluster": 2, "scheduler": "tcp://127.0.0.1:1"},
            "local_cluster = 2: expected local_cluster or scheduler, not both",
        ),
        ({"scheduler": "tcp://127.0.0.1:1", "max_memory": 10**6}, "workers of a cluster have limits of their own"),
    ],
)
def test_what_can_not_be_is_refused(tmp_path, distributed, options, sentence):
    with pytest.raises(InputError, match=sentence):
        bm.run_study(FAULTY, preset="smoke", **{"out": tmp_path / "out", **options})
    assert not (tmp_path / "out").exists()


def test_a_scheduler_that_does_not_answer_is_refused_within_ten_seconds(tmp_path, distributed):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(InputError, match="no Dask scheduler answers there"):
            bm.run_study(FAULTY, preset="smoke", out=tmp_path / "out", scheduler=address)
        unused.listen()  # something that is no scheduler
        begun = time.monotonic()
        with pytest.raises(InputError, match=r"no Dask scheduler answers there \(it did not answer within 7 s\)"):
            bm.run_study(FAULTY, preset="smoke", out=tmp_path / "out", scheduler=address)
        assert time.monotonic() - begun < 60


def test_a_server_that_is_no_scheduler_is_refused(tmp_path, distributed):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            connection, _ = server.accept()
            connection.close()
            connection, _ = server.accept()
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n" * 3)
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(InputError, match="no Dask scheduler answers there"):
            bm.run_study(FAULTY, preset="smoke", out=tmp_path / "out", scheduler=address)
        thread.join()


def test_a_study_of_the_main_script_is_refused(tmp_path, distributed):
    class Mine(bm.Study):
        """Can a worker read it?"""

        location = "__main__:Mine"
        presets = {"smoke": {}}

        def plan(self):
            yield self.ensemble({}, bm.MLPConfig((1, 2, 1)), data=bm.data.function("sin", samples=5), epochs=1)

    with pytest.raises(InputError, match="no worker can read what a notebook or a script defines"):
        bm.run_study(Mine, preset="smoke", out=tmp_path / "out", local_cluster=1)


@pytest.mark.slow
def test_results_are_those_of_one_process(tmp_path, on, undisturbed):
    run = bm.run_study(FAULTY, out=tmp_path / "out", **on)
    xr.testing.assert_identical(results(run), undisturbed)


@pytest.mark.slow
def test_a_sweep_on_an_object_store_is_that_of_one_process(tmp_path, distributed, monkeypatch):
    pytest.importorskip("s3fs", reason=NEEDED)
    spec = {
        "name": "rates",
        "network": {"hidden": [4]},
        "data": {"function": "sin", "samples": 20},
        "training": {"epochs": 3},
        "members": 3,
        "axes": {"learning_rate": [0.1, 0.01], "batch_size": [5, 10]},
    }
    with servers.server("moto", tmp_path / "data") as variables:
        out = next(servers.entered(variables, monkeypatch))
        with clusters.cluster(tmp_path, workers=1) as address:
            run = bm.sweep(spec, out=out, scheduler=address)
        servers.forget()
    assert (run.dataset["status"] == "done").all()
    xr.testing.assert_identical(run.dataset.drop_attrs(), bm.sweep(spec, out=tmp_path / "one").dataset.drop_attrs())


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_its_chunk_to_another_which_goes_on_from_the_checkpoint(
    tmp_path, on, faults, undisturbed, fault
):
    (faults / "4-kill-once").touch()
    begun = time.monotonic()
    run = bm.run_study(FAULTY, out=tmp_path / "out", **on)
    xr.testing.assert_identical(results(run), undisturbed)
    assert (faults / "resumed").exists()
    assert not list((tmp_path / "out").rglob("*.checkpoint"))
    fault("A Dask worker is killed mid-chunk", f"Equal results; {time.monotonic() - begun:.0f} s in all")


@pytest.mark.slow
def test_a_chunk_that_always_kills_its_worker_is_marked_failed_and_the_rest_is_stored(tmp_path, on, faults, fault):
    (faults / "4-kill").touch()
    with pytest.raises(IncompleteError, match=r"failed 3 times: .*workers died"):
        bm.run_study(FAULTY, out=tmp_path / "out", members=1, **on)
    assert len(list((tmp_path / "out").rglob("*.safetensors"))) == 2
    fault("A chunk whose Dask workers always die", "Marked failed; the 2 others are stored; status 1")


@pytest.mark.slow
def test_a_chunk_whose_workers_are_killed_is_cut_in_halves_which_need_less_memory(
    tmp_path, on, faults, undisturbed, fault
):
    (faults / "4-outgrow").touch()
    run = bm.run_study(FAULTY, out=tmp_path / "out", **on)
    xr.testing.assert_identical(results(run), undisturbed)
    assert len(list((tmp_path / "out").rglob("*.safetensors"))) == 4
    fault("A Dask worker is killed for want of memory", "The chunk is cut into halves; equal results")


@pytest.mark.slow
def test_a_chunk_that_always_fails_is_tried_three_times_and_the_rest_goes_on(tmp_path, on, faults, fault):
    (faults / "4-raise").touch()
    with pytest.raises(IncompleteError, match=r"failed 3 times: ZeroDivisionError: the study divides by zero"):
        bm.run_study(FAULTY, out=tmp_path / "out", **on)
    assert len(list((tmp_path / "out").rglob("*.safetensors"))) == 2
    assert len(list((tmp_path / "out").rglob("*.failed.json"))) == 1
    fault(
        "A chunk on Dask that always fails", "3 tries, marked failed with its error; the 2 others are stored; status 1"
    )


@pytest.mark.slow
def test_what_a_worker_refuses_ends_the_run_with_its_machine(tmp_path, on, faults):
    (faults / "4-refuse").touch()
    with pytest.raises(InputError, match=rf"hidden = 4: expected another \(on {socket.gethostname()}\)\."):
        bm.run_study(FAULTY, out=tmp_path / "out", **on)


@pytest.mark.slow
def test_a_hanging_worker_is_replaced_and_restarted(tmp_path, on, faults, undisturbed, monkeypatch, distributed, fault):
    monkeypatch.setattr(dask, "PATIENCE", 8.0)
    monkeypatch.setattr(dask, "_TIMES", 0.0)
    (faults / "4-hang-once").touch()
    with distributed.Client(on["scheduler"], set_as_default=False) as client:
        before = set(client.nthreads())
        run = bm.run_study(FAULTY, out=tmp_path / "out", **on)
        deadline = time.monotonic() + 60
        while len(now := set(client.nthreads())) < 2 or now == before:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    assert (faults / "hanging-4").exists()
    xr.testing.assert_identical(results(run), undisturbed)
    took = f"after {dask.PATIENCE:.0f} s another does its chunk; equal results; the nanny restarts the first"
    fault("A Dask worker hangs and still sends heartbeats (with 8 s of patience instead of 60)", took)


@pytest.mark.slow
def test_two_runs_on_one_store_at_once_have_equal_results(tmp_path, on, undisturbed, fault):
    words = ["--scheduler", on["scheduler"], "--out", str(tmp_path / "out")]
    runs = [subprocess.Popen([*COMMAND, *words], stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [one.wait(300) for one in runs] == [0, 0]
    xr.testing.assert_identical(results(bm.run_study(FAULTY, preset="smoke", out=tmp_path / "out")), undisturbed)
    fault("Two Dask clients on one store at once", "Equal results; status 0 twice")


@pytest.mark.slow
def test_a_lost_scheduler_ends_the_run_with_a_sentence_and_the_same_command_continues(
    tmp_path, distributed, faults, undisturbed, monkeypatch, fault
):
    monkeypatch.setattr(dask, "RECONNECTING", 3.0)
    monkeypatch.setattr(dask_connection, "CONNECTING", 3.0)
    (faults / "5-hang-once").touch()
    scheduler, address = clusters.start_scheduler(tmp_path)
    worker = clusters.start_worker(address, tmp_path, FAULTS=faults)

    class Kills(Said):
        def advance(self, label, seconds):
            if (faults / "hanging-5").exists():
                scheduler.kill()

    with pytest.raises(IncompleteError, match=r"was lost; . of 3 jobs are stored in .*; start it again|start it again"):
        bm.run_study(FAULTY, preset="smoke", out=tmp_path / "out", scheduler=address, progress=Kills())
    clusters.stop(scheduler, worker)
    with clusters.cluster(tmp_path, workers=1) as address:
        run = bm.run_study(FAULTY, preset="smoke", out=tmp_path / "out", scheduler=address)
    xr.testing.assert_identical(results(run), undisturbed)
    fault("The Dask scheduler is lost", "One sentence; the same command continues to equal results")


@pytest.mark.slow
def test_a_scheduler_that_is_restarted_is_found_again(tmp_path, distributed, faults, undisturbed, fault):
    (faults / "3-hang-once").touch()
    scheduler, address = clusters.start_scheduler(tmp_path)
    started = [clusters.start_worker(address, tmp_path, FAULTS=faults)]

    class Restarts(Said):
        def advance(self, label, seconds):
            if (faults / "hanging-3").exists():
                (faults / "hanging-3").unlink()
                scheduler.kill()
                scheduler.wait()
                again, same = clusters.start_scheduler(tmp_path, address.rpartition(":")[2])
                assert same == address
                started.extend([clusters.start_worker(address, tmp_path, FAULTS=faults), again])

    heard = Restarts()
    run = bm.run_study(FAULTY, preset="smoke", out=tmp_path / "out", scheduler=address, progress=heard)
    clusters.stop(*started)
    assert any("is lost" in one for one in heard.sentences)
    xr.testing.assert_identical(results(run), undisturbed)
    fault("The Dask scheduler is lost and restarted", "The run finds it again; equal results")


@pytest.mark.slow
def test_a_cluster_without_workers_is_named_and_the_run_goes_on_when_there_are_others(
    tmp_path, distributed, faults, undisturbed, monkeypatch, fault
):
    monkeypatch.setattr(dask, "_LOOKING", 0.5)
    monkeypatch.setattr(dask, "PATIENCE", 15.0)  # a chunk without a worker does not count as hanging
    monkeypatch.setattr(dask, "_TIMES", 0.0)
    scheduler, address = clusters.start_scheduler(tmp_path)
    (faults / "4-hang-once").touch()
    started = [clusters.start_worker(address, tmp_path, FAULTS=faults)]

    class Replaces(Said):
        def advance(self, label, seconds):
            if (faults / "hanging-4").exists():
                (faults / "hanging-4").unlink()
                clusters.stop(*started)  # with its nanny
                self.alone = time.monotonic()
            said = any("has no workers left" in one for one in self.sentences)
            if said and len(started) == 1 and time.monotonic() - self.alone > 1.5 * dask.PATIENCE:
                started.append(clusters.start_worker(address, tmp_path, FAULTS=faults))

    heard = Replaces()
    run = bm.run_study(FAULTY, preset="smoke", out=tmp_path / "out", scheduler=address, progress=heard)
    clusters.stop(*started, scheduler)
    sentence = f"{address} has no workers left and the run waits for others; to start one: dask worker {address}"
    assert f"{sentence} --nthreads 1" in heard.sentences
    xr.testing.assert_identical(results(run), undisturbed)
    fault("All Dask workers are lost with their nannies", "The run says so, and goes on with new ones to equal results")


@pytest.mark.slow
def test_a_cluster_of_this_machine_without_workers_ends_the_run(tmp_path, distributed, monkeypatch):
    monkeypatch.setattr(dask, "_LOOKING", 0.5)
    monkeypatch.setattr(dask, "RECONNECTING", 2.0)

    class Ends(Said):
        def advance(self, label, seconds):
            for one in distributed.LocalCluster._instances:
                one.scale(0)

    with pytest.raises(IncompleteError, match=r"All workers of the local cluster ended; . of 3 jobs are stored in .*"):
        bm.run_study(FAULTY, preset="smoke", out=tmp_path / "out", local_cluster=1, progress=Ends())


@pytest.mark.slow
def test_workers_with_several_threads_give_the_same_bits(tmp_path, distributed, undisturbed):
    heard = Said()
    with clusters.cluster(tmp_path, workers=1, threads=3) as address:
        run = bm.run_study(FAULTY, preset="smoke", out=tmp_path / "out", scheduler=address, progress=heard)
    assert "1 of 1 workers have several threads, of which only one can work: start them with --nthreads 1." in (
        heard.sentences
    )
    xr.testing.assert_identical(results(run), undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preload", "sentence"),
    [
        (
            "import bathymetry.execution.jobs as jobs\njobs.versions = lambda: {'bathymetry': '0.0.1', 'torch': '1'}\n",
            r"bathymetry of the run = .*: this worker has 0\.0\.1; install the same version on every machine \(on ",
        ),
        (
            "from bathymetry.store import storage\nstorage.exists = lambda place: False\n",
            r"out = .*: it is not the same place for this worker; expected a folder that all machines share",
        ),
        (
            "import bathymetry.execution.jobs as jobs\njobs.config_hash = lambda description: 'another'\n",
            r"Ensemble . of faulty has another config than planned \(code or data differ.*\) \(on ",
        ),
    ],
    ids=["version", "store", "code"],
)
def test_a_worker_that_differs_refuses_in_one_sentence(tmp_path, distributed, preload, sentence):
    (tmp_path / "preload.py").write_text(preload)
    with (
        clusters.cluster(tmp_path, workers=1, preload=tmp_path / "preload.py") as address,
        pytest.raises((InputError, StorageError), match=sentence),
    ):
        bm.run_study(FAULTY, preset="smoke", out=tmp_path / "out", scheduler=address)


@pytest.mark.slow
def test_a_study_file_that_the_worker_does_not_have_is_named_with_its_machine(tmp_path, on):
    mine = tmp_path / "mine.py"
    mine.write_text(Path(FAULTY).read_text())
    study = find(mine).preset("smoke")
    mine.unlink()
    with pytest.raises(InputError, match=rf"study = .*mine\.py: there is no such file \(on {socket.gethostname()}\)\."):
        bm.run_study(study, out=tmp_path / "out", scheduler=on["scheduler"])


@pytest.mark.slow
def test_a_scheduler_of_another_version_is_refused(tmp_path, distributed):
    (tmp_path / "preload.py").write_text(
        "from distributed import versions\nversions._version_cached = lambda name: '1999.1.0'\n"
    )
    scheduler, address = clusters.start_scheduler(tmp_path, preload=tmp_path / "preload.py")
    try:
        with pytest.raises(InputError, match=r"it runs distributed 1999\.1\.0 and this process .*same version on both"):
            bm.run_study(FAULTY, preset="smoke", out=tmp_path / "out", scheduler=address)
    finally:
        clusters.stop(scheduler)


@pytest.mark.slow
def test_a_chunk_too_large_for_its_worker_is_cut_until_it_can_not_be(tmp_path, distributed):
    unwatched = {f"DASK_DISTRIBUTED__WORKER__MEMORY__{name}": "False" for name in ("PAUSE", "TERMINATE")}
    with (
        clusters.cluster(tmp_path, workers=1, memory="300MB", **unwatched) as address,
        pytest.raises(InputError, match=r"memory of a worker on .* = 300 MB: expected at least 450 MB, which .* needs"),
    ):
        bm.run_study(FAULTY, preset="smoke", out=tmp_path / "out", scheduler=address)


@pytest.mark.slow
def test_ctrl_c_leaves_the_cluster_and_the_same_command_continues(
    tmp_path, on, faults, undisturbed, monkeypatch, fault
):
    (faults / "4-hang-once").touch()
    out = tmp_path / "out"
    process = subprocess.Popen(
        [*COMMAND, "--scheduler", on["scheduler"], "--out", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (faults / "hanging-4").exists():
        assert process.poll() is None
        time.sleep(0.05)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    took = time.monotonic() - begun
    assert said.strip().endswith("Run the same command to go on.")
    assert "Traceback" not in said
    monkeypatch.setattr(dask, "PATIENCE", 8.0)  # the worker of the chunk that hangs is allotted another
    monkeypatch.setattr(dask, "_TIMES", 0.0)
    xr.testing.assert_identical(results(bm.run_study(FAULTY, out=out, **on)), undisturbed)
    fault("Ctrl-C while a chunk hangs on Dask", f"Ended after {took:.1f} s; the same command continues")


@pytest.mark.slow
def test_ctrl_c_in_a_terminal_ends_a_cluster_of_this_machine_with_one_sentence(tmp_path, distributed, fault):
    (tmp_path / "4-hang-once").touch()
    with subprocess.Popen(
        [*COMMAND, "--local-cluster", "1", "--out", str(tmp_path / "out")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "FAULTS": str(tmp_path)},
    ) as process:
        while not (tmp_path / "hanging-4").exists():
            assert process.poll() is None
            time.sleep(0.05)
        begun = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers hear it too
        _, said = process.communicate(timeout=60)
    took = time.monotonic() - begun
    assert process.returncode == 130
    assert "Traceback" not in said
    assert said.strip().splitlines()[-1].endswith("Run the same command to go on.")
    fault("Ctrl-C in a terminal while a Dask cluster of this machine works", f"One sentence; ended after {took:.1f} s")
