import functools
import http.server
import threading

import pytest
import torch

import bathymetry as bm
from bathymetry.core.errors import InputError
from bathymetry.data import datasets, fetch, subset
from bathymetry.data.datasets import available
from data import files


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("BATHYMETRY_DATA", raising=False)
    datasets._strokes.cache_clear()
    yield tmp_path
    datasets._strokes.cache_clear()


@pytest.fixture
def few_strokes(monkeypatch):
    """Draw a few strokes instead of 70,000, and count how often."""
    drawn = []

    def draw(seed):
        drawn.append(seed)
        return bm.data.strokes(seed, 30, 10)

    monkeypatch.setattr(datasets, "strokes", draw)
    return drawn


def test_the_environment_variable_names_the_folder_of_the_data(places, monkeypatch):
    files.write(places / "all" / "fashion-mnist")
    files.write(places / "all" / "mnist", train=7)
    monkeypatch.setenv("BATHYMETRY_DATA", str(places / "all"))
    assert bm.load("fashion-mnist").name == "fashion-mnist"
    assert len(bm.load("mnist").train) == 7
    monkeypatch.setenv("BATHYMETRY_DATA", str(places / "all" / "mnist"))
    assert len(bm.load("mnist").train) == 7


def test_files_that_are_not_the_published_mnist_do_not_pass_for_it(places, monkeypatch):
    monkeypatch.setenv("BATHYMETRY_DATA", str(files.write(places / "mine")))
    data = bm.load("auto")
    assert data.name == "mnist-like"
    assert "not the published MNIST" in data.source


def test_a_changed_file_is_read_again(places):
    folder = files.write(places / "mine")
    before = bm.load(str(folder))
    assert bm.load(str(folder)) is before
    files.write(folder, train=9)
    assert len(bm.load(str(folder)).train) == 9


def test_auto_draws_strokes_without_mnist_and_caches_them(few_strokes):
    first = bm.load("auto")
    datasets._strokes.cache_clear()
    again = bm.load("auto")
    assert first.name == again.name == "strokes"
    assert first.digest == again.digest
    assert torch.equal(first.train.inputs, again.train.inputs)
    assert few_strokes == [0]


def test_damaged_drawings_are_drawn_again(few_strokes):
    digest = bm.load("strokes").digest
    path = datasets._strokes_file(0)
    for content in (b"", path.read_bytes()[:200]):
        path.write_bytes(content)
        datasets._strokes.cache_clear()
        assert bm.load("strokes").digest == digest
    assert few_strokes == [0, 0, 0]


def test_without_a_writable_cache_strokes_are_drawn(places, few_strokes):
    (places / "cache").write_text("a file in the way")
    assert bm.load("strokes").name == "strokes"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("imagenet", "expected one of auto, mnist"),
        ("mnist", "data fetch mnist"),
        ("", "expected one of"),
        ("/nowhere", "expected one of"),
    ],
)
def test_a_missing_data_set_is_refused_with_the_available_ones(name, words):
    with pytest.raises(InputError, match=words):
        bm.load(name)


def test_a_variable_that_names_no_folder_is_refused(monkeypatch):
    monkeypatch.setenv("BATHYMETRY_DATA", "/nowhere/at/all")
    with pytest.raises(InputError, match="BATHYMETRY_DATA = /nowhere/at/all"):
        bm.load("auto")


def test_present_data_sets_are_listed_with_their_digests(places, monkeypatch):
    monkeypatch.setenv("BATHYMETRY_DATA", str(files.write(places / "mine")))
    listed = {one.name: one for one in available()}
    assert listed["mnist"].at_hand
    assert listed["mnist"].digest == bm.load("mnist").digest
    assert not listed["kmnist"].at_hand
    assert "fetch kmnist" in listed["kmnist"].source
    assert listed["digits"].at_hand


def test_the_digits_are_the_1797_of_scikit_learn():
    digits = bm.load("digits")
    assert (len(digits.train), len(digits.test), digits.classes) == (1500, 297, 10)
    assert digits.x_train.max() == 1.0
    assert torch.cat([digits.y_train, digits.y_test]).bincount().tolist() == [
        178,
        182,
        177,
        183,
        181,
        182,
        181,
        179,
        174,
        180,
    ]


def test_a_subset_is_drawn_by_the_seed_without_replacement(places):
    whole = bm.load(str(files.write(places / "mine", train=200, test=50)))
    part, again, other = (subset(whole, train=60, seed=seed) for seed in (1, 1, 2))
    assert part.digest == again.digest
    assert len({whole.digest, part.digest, other.digest}) == 3
    rows = {tuple(row) for row in whole.train.inputs.tolist()}
    drawn = [tuple(row) for row in part.train.inputs.tolist()]
    assert len(set(drawn)) == 60
    assert set(drawn) <= rows
    assert len(part.test) == 50
    assert subset(whole, 200, 50) is whole
    with pytest.raises(InputError, match="train_examples = 201"):
        subset(whole, train=201)


@pytest.fixture
def mirrors(places, monkeypatch):
    """Serve a right and a wrong copy of a small data set on this machine, as `tiny`."""
    import hashlib

    right = files.write(places / "web" / "right", compressed=True)
    files.write(places / "web" / "wrong", compressed=True, side=2)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=places / "web"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setitem(datasets.PUBLISHED, "tiny", ())
    for path in right.iterdir():
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        monkeypatch.setitem(datasets.HASHES, f"tiny/{path.name}", f"sha256:{digest}")
    address = f"http://127.0.0.1:{server.server_port}"
    yield {"right": f"{address}/right/", "wrong": f"{address}/wrong/", "none": f"{address}/none/", "folder": right}
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("order", [("right",), ("none", "right"), ("wrong", "right"), ("right", "wrong")])
def test_the_first_mirror_with_the_right_bytes_is_taken(mirrors, order):
    folder = fetch("tiny", [mirrors[name] for name in order])
    assert bm.load(str(folder)).digest == bm.load(str(mirrors["folder"])).digest


def test_a_failed_download_stores_nothing(mirrors, places):
    for order in (("none", "wrong"), ()):
        with pytest.raises(InputError, match="no mirror has the published train-images"):
            fetch("tiny", [mirrors[name] for name in order] or ["http://127.0.0.1:9/"])
    assert not (places / "cache" / "bathymetry" / "tiny").exists()


def test_every_published_data_set_has_two_mirrors_or_more():
    for name, mirrors in datasets.PUBLISHED.items():
        assert len({mirror.split("/")[2] for mirror in mirrors}) == len(mirrors) >= 2
        assert sum(file.startswith(f"{name}/") for file in datasets.HASHES) == 4
