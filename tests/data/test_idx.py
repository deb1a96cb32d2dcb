import gzip
import os
import tracemalloc

import numpy as np
import pytest

import bathymetry as bm
from bathymetry.core.errors import InputError
from bathymetry.data.datasets import MNIST_DIGEST
from data import files


def test_images_and_labels_are_read_as_they_were_written(tmp_path):
    data = bm.load(str(files.write(tmp_path / "mine")))
    x_train, y_train, x_test, y_test = files.arrays()
    assert np.array_equal(data.train.inputs.numpy(), x_train.reshape(6, 9))
    assert np.allclose(data.x_test.numpy(), x_test.reshape(4, 9) / 255)
    assert data.y_train.tolist() == y_train.tolist()
    assert data.y_test.tolist() == y_test.tolist()
    assert (data.name, data.classes, data.image_shape) == ("mine", 5, (3, 3))


def test_compression_and_spelling_change_nothing(tmp_path):
    plain = files.write(tmp_path / "a")
    compressed = files.write(tmp_path / "b", compressed=True)
    dotted = files.write(tmp_path / "c", name=lambda one: one.replace("-idx", ".idx"))
    assert len({bm.load(str(folder)).digest for folder in (plain, compressed, dotted)}) == 1


def damage(folder, place, change):
    path = folder / files.NAMES[place]
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    ("place", "change", "words"),
    [
        (0, lambda c: c[:-1], "cut short"),
        (2, lambda c: c + b"\0", "too long"),
        (0, lambda c: c[:10], "does not begin as an IDX file of images"),
        (1, lambda c: b"", "does not begin as an IDX file of labels"),
        (0, lambda c: b"\0\0\x0d\3" + c[4:], "does not begin as an IDX file of images does (it begins 00000d03)"),
        (0, lambda c: b"\0\0\x08\1" + c[4:], "does not begin as an IDX file of images"),
        (0, lambda c: c[:4] + b"\0\0\0\0" + c[8:], "it is empty"),
        (0, lambda c: c[:4] + b"\xff\xff\xff\xff" * 3 + c[16:], "cut short"),
        (1, lambda c: files.encoded(np.zeros(5, np.uint8)), "training targets have shape (5,) for 6 inputs"),
        (2, lambda c: files.encoded(np.zeros((4, 2, 2), np.uint8)), "differ in shape, (3, 3) and (2, 2)"),
    ],
)
def test_a_damaged_file_is_named_with_its_fault(tmp_path, place, change, words):
    folder = files.write(tmp_path / "mine")
    damage(folder, place, change)
    with pytest.raises(InputError) as caught:
        bm.load(str(folder))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    folder = files.write(tmp_path / "mine")
    (folder / files.NAMES[3]).unlink()
    with pytest.raises(InputError, match="t10k-labels-idx1-ubyte"):
        bm.load(str(folder))


def test_a_broken_archive_is_named(tmp_path):
    folder = files.write(tmp_path / "mine", compressed=True)
    path = folder / f"{files.NAMES[0]}.gz"
    for content in (path.read_bytes()[:-9], b"no gzip", gzip.compress(b"")):
        path.write_bytes(content)
        with pytest.raises(InputError, match="train-images"):
            bm.load(str(folder))


@pytest.mark.parametrize("below", ["MNIST/raw", "raw", "mine"])
def test_a_folder_above_the_files_is_accepted(tmp_path, below):
    files.write(tmp_path / below)
    assert bm.load(tmp_path).digest == bm.load(tmp_path / below).digest
    assert bm.load(tmp_path).name == {"raw": tmp_path.name, "mine": "mine"}.get(below, "MNIST")


def test_torchvisions_folders_are_found_below_the_variables_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BATHYMETRY_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for count, folder in enumerate(("MNIST", "FashionMNIST", "KMNIST"), 5):
        files.write(tmp_path / folder / "raw", train=count)
    assert [len(bm.load(name).train) for name in ("mnist", "fashion-mnist", "kmnist")] == [5, 6, 7]
    with pytest.raises(InputError, match=r"holds 3 data sets; expected one of .*FashionMNIST/raw"):
        bm.load(tmp_path)


def renamed(prefix, half="test"):
    return lambda name: prefix + name.replace("t10k", half)


def test_emnist_has_other_names_and_images_that_lie_on_their_side(tmp_path):
    x_train, y_train, x_test, _ = files.arrays(side=3)
    folder = files.write(tmp_path / "gzip", compressed=True, name=renamed("emnist-letters-"))
    data = bm.load(folder)
    upright = np.stack([image.T for image in x_train])
    assert np.array_equal(data.train.inputs.numpy().reshape(6, 3, 3), upright)
    assert data.y_train.tolist() == y_train.tolist()
    assert (data.name, data.image_shape, len(data.test)) == ("emnist-letters", (3, 3), len(x_test))
    assert "column by column" in data.source


def test_one_of_several_sets_in_a_folder_is_named_by_its_prefix(tmp_path):
    for prefix, train in (("emnist-digits-", 5), ("emnist-letters-", 7)):
        files.write(tmp_path / "EMNIST" / "raw", name=renamed(prefix), train=train)
    with pytest.raises(
        InputError, match=r"holds 2 data sets; expected one of .*raw/emnist-digits, .*raw/emnist-letters"
    ):
        bm.load(tmp_path / "EMNIST")
    assert len(bm.load(tmp_path / "EMNIST" / "raw" / "emnist-letters").train) == 7


def test_qmnist_has_rows_of_labels_of_which_the_first_is_the_class(tmp_path):
    x_train, y_train, x_test, y_test = files.arrays()
    for half, images, labels in (("train", x_train, y_train), ("test", x_test, y_test)):
        (tmp_path / f"qmnist-{half}-images-idx3-ubyte.gz").write_bytes(gzip.compress(files.encoded(images)))
        (tmp_path / f"qmnist-{half}-labels-idx2-int.gz").write_bytes(gzip.compress(files.labels_of_qmnist(labels)))
    data = bm.load(tmp_path)
    assert (data.y_train.tolist(), data.y_test.tolist()) == (y_train.tolist(), y_test.tolist())
    assert np.array_equal(data.train.inputs.numpy(), x_train.reshape(6, 9))


def test_content_decides_whether_a_file_is_compressed(tmp_path):
    plain = bm.load(files.write(tmp_path / "plain"))
    for name in files.NAMES:
        content = (tmp_path / "plain" / name).read_bytes()
        for folder, file, kept in (("a", name, gzip.compress(content)), ("b", f"{name}.gz", content)):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / file).write_bytes(kept)
    assert bm.load(tmp_path / "a").digest == bm.load(tmp_path / "b").digest == plain.digest


def test_of_two_files_the_uncompressed_one_is_read(tmp_path):
    files.write(tmp_path, train=5)
    files.write(tmp_path, train=7, compressed=True)
    assert len(bm.load(tmp_path).train) == 5


def test_labels_from_1_are_read_as_classes_from_0(tmp_path):
    folder = files.write(tmp_path / "letters", train=30)
    letters = np.arange(30, dtype=np.uint8) % 26 + 1
    (folder / files.NAMES[1]).write_bytes(files.encoded(letters))
    (folder / files.NAMES[3]).write_bytes(files.encoded(letters[-4:]))
    data = bm.load(folder)
    assert data.classes == 26
    assert data.y_train.tolist() == [i % 26 for i in range(30)]
    assert data.y_test.tolist() == [0, 1, 2, 3]
    assert "classes 1 to 26 read as 0 to 25" in data.source


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<html><body>403 Forbidden", "text that begins “<html><body>403 Forb”"),
        (b"PK\3\4" + b"\0" * 60, "a zip archive"),
        (b"\xfd7zXZ\0" + b"\0" * 60, "compressed by xz"),
        (gzip.compress(gzip.compress(b"\0\0\x08\3")), "compressed by gzip"),
        (b"\x89PNG", "it begins 89504e47"),
    ],
    ids=["text", "zip", "xz", "gzip in gzip", "png"],
)
def test_a_file_of_another_kind_is_identified(tmp_path, content, words):
    folder = files.write(tmp_path / "mine", compressed=True)
    (folder / f"{files.NAMES[0]}.gz").write_bytes(content)
    with pytest.raises(InputError) as caught:
        bm.load(folder)
    assert words in str(caught.value)
    assert "expected the published file" in str(caught.value)


def header(count, side=28):
    return bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in (count, side, side))


def test_sizes_are_checked_before_anything_is_unpacked_or_allocated(tmp_path):
    zeros = gzip.compress(bytes(2**24), 1)
    bomb = gzip.compress(header(2**30 // 784)) + zeros * 64  # a gigabyte in a few members, each a quick read
    for name, content, words in (
        (f"{files.NAMES[0]}.gz", bomb, "more than 100 times as much; .* store it uncompressed"),
        (f"{files.NAMES[0]}.gz", gzip.compress(header(2**32 - 1, 2**16 - 1)), "more than 100 times as much"),
        (files.NAMES[0], header(2**32 - 1, 2**16 - 1), "cut short"),
    ):
        folder = files.write(tmp_path / "mine", compressed=True)
        (folder / name).write_bytes(content)
        tracemalloc.start()
        with pytest.raises(InputError, match=words):
            bm.load(folder)
        assert tracemalloc.get_traced_memory()[1] < 5e7
        tracemalloc.stop()


def test_reading_stops_where_the_header_says(tmp_path):
    folder = files.write(tmp_path / "mine", compressed=True)
    (folder / f"{files.NAMES[0]}.gz").write_bytes(gzip.compress(header(1)) + gzip.compress(bytes(2**24), 1) * 64)
    tracemalloc.start()
    with pytest.raises(InputError, match="too long"):
        bm.load(folder)
    assert tracemalloc.get_traced_memory()[1] < 5e7
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied"), "Permission denied"),
        (OSError(5, "Input/output error"), "Input/output"),
    ],
)
def test_an_unreadable_file_is_not_called_damaged(tmp_path, monkeypatch, error, words):
    folder = files.write(tmp_path / "mine")

    def refuse(self, *arguments, **named):
        raise error

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(InputError, match=words):
        bm.load(folder)


def test_a_single_file_of_the_four_is_not_enough(tmp_path):
    files.write(tmp_path)
    with pytest.raises(InputError, match="the folder that holds all four"):
        bm.load(tmp_path / files.NAMES[0])


@pytest.mark.skipif("BATHYMETRY_DATA" not in os.environ, reason="BATHYMETRY_DATA does not name a folder with MNIST")
def test_real_mnist_is_known_by_its_digest():
    data = bm.load("mnist")
    assert (data.name, data.digest) == ("mnist", MNIST_DIGEST)
    assert (len(data.train), len(data.test), data.classes) == (60_000, 10_000, 10)
    # counts of each digit that LeCun's page and every textbook give
    assert data.y_train.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert round(data.x_train.double().mean().item(), 4) == 0.1307
    assert round(data.x_train.double().std().item(), 4) == 0.3081
