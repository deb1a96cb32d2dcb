import gzip
import os

import numpy as np
import pytest

import bathymetry as bm
from bathymetry.core.errors import InputError
from bathymetry.data import MNIST_DIGEST
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


def spoilt(folder, place, change):
    path = folder / files.NAMES[place]
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    ("place", "change", "words"),
    [
        (0, lambda c: c[:-1], "cut short"),
        (2, lambda c: c + b"\0", "too long"),
        (0, lambda c: c[:10], "does not begin as an IDX file of images"),
        (1, lambda c: b"", "does not begin as an IDX file of labels"),
        (0, lambda c: b"\0\0\x0d\3" + c[4:], "does not begin as an IDX file of images does (00000d03)"),
        (0, lambda c: b"\0\0\x08\1" + c[4:], "does not begin as an IDX file of images"),
        (0, lambda c: c[:4] + b"\0\0\0\0" + c[8:], "so nothing"),
        (0, lambda c: c[:4] + b"\xff\xff\xff\xff" * 3 + c[16:], "cut short"),
        (1, lambda c: files.encoded(np.zeros(5, np.uint8)), "5 labels for 6 images"),
        (2, lambda c: files.encoded(np.zeros((4, 2, 2), np.uint8)), "differ in size (3×3 and 2×2)"),
    ],
)
def test_a_spoilt_file_is_named_with_its_fault(tmp_path, place, change, words):
    folder = files.write(tmp_path / "mine")
    spoilt(folder, place, change)
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


@pytest.mark.skipif("BATHYMETRY_DATA" not in os.environ, reason="BATHYMETRY_DATA does not name a folder with MNIST")
def test_real_mnist_is_known_by_its_digest():
    data = bm.load("mnist")
    assert (data.name, data.digest) == ("mnist", MNIST_DIGEST)
    assert (len(data.train), len(data.test), data.classes) == (60_000, 10_000, 10)
    # counts of each digit that LeCun's page and every textbook give
    assert data.y_train.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert round(data.x_train.double().mean().item(), 4) == 0.1307
    assert round(data.x_train.double().std().item(), 4) == 0.3081
