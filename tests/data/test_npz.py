import numpy as np
import pytest

import bathymetry as bm
from bathymetry.core.errors import InputError


def arrays(**changes):
    usual = {
        "x_train": np.arange(12.0).reshape(6, 2),
        "y_train": np.array([0, 1, 2, 0, 1, 2]),
        "x_test": np.ones((2, 2)),
        "y_test": np.array([1, 0]),
    }
    return {key: value for key, value in {**usual, **changes}.items() if value is not None}


def stored(folder, **changes):
    np.savez(folder / "own.npz", **arrays(**changes))
    return str(folder / "own.npz")


def test_classes_and_values_are_told_apart_by_their_dtype(tmp_path):
    classes = bm.load(stored(tmp_path))
    assert (classes.name, classes.classes, classes.x_train[1].tolist()) == ("own", 3, [2.0, 3.0])
    values = bm.load(stored(tmp_path, y_train=np.linspace(0, 1, 6), y_test=np.zeros(2)))
    assert values.classes is None
    assert values.y_train.shape == (6, 1)


def test_unsigned_bytes_are_pixels(tmp_path):
    images = np.full((6, 4, 4), 255, np.uint8)
    data = bm.load(stored(tmp_path, x_train=images, x_test=images[:2]))
    assert data.x_train.shape == (6, 16)
    assert data.x_train.max() == 1.0
    assert data.image_shape == (4, 4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"y_test": None}, "has no y_test"),
        ({"x_train": np.ones((5, 2))}, "y_train has (6,) rows for 5"),
        ({"x_test": np.ones((2, 3))}, "differ in shape"),
        ({"x_train": np.full((6, 2), np.nan)}, "x_train holds NaN"),
        ({"x_train": np.full((6, 2), np.inf)}, "x_train holds NaN or infinity"),
        ({"y_train": np.array([0, 1, -1, 0, 0, 0])}, "a class is -1"),
        ({"y_test": np.array([0.5, 1.0])}, "both be classes"),
        ({"x_train": np.ones((6, 2), complex)}, "complex128"),
        ({"x_train": np.array([["a", "b"]] * 6)}, "x_train has dtype"),
        ({"x_train": np.ones((0, 2)), "y_train": np.ones(0, int)}, "at least one"),
        ({"x_train": np.array([[{}] * 2] * 6, dtype=object)}, "pickled objects are refused"),
    ],
)
def test_what_does_not_fit_is_said_in_one_sentence(tmp_path, changes, words):
    with pytest.raises(InputError) as caught:
        bm.load(stored(tmp_path, **changes))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PK\3\4broken", b"\x93NUMPY"])
def test_what_is_no_npz_file_is_said(tmp_path, content):
    (tmp_path / "own.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"own\.npz"):
        bm.load(str(tmp_path / "own.npz"))


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        bm.load(str(tmp_path / "own.npz"))
