import io
import os
import struct
import tracemalloc
import zipfile

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


def test_the_dtype_decides_between_classes_and_values(tmp_path):
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
        ({"x_train": np.ones((5, 2))}, "training targets have shape (6,) for 5 inputs"),
        ({"x_test": np.ones((2, 3))}, "differ in shape"),
        ({"x_train": np.full((6, 2), np.nan)}, "x_train holds NaN"),
        ({"x_train": np.full((6, 2), np.inf)}, "x_train holds NaN, infinity"),
        ({"y_train": np.array([0, 1, -1, 0, 0, 0])}, "a class is -1"),
        ({"y_test": np.array([0.5, 1.0])}, "both be classes"),
        ({"x_train": np.ones((6, 2), complex)}, "complex128"),
        ({"x_train": np.array([["a", "b"]] * 6)}, "x_train has dtype"),
        ({"x_train": np.ones((0, 2)), "y_train": np.ones(0, int)}, "none empty"),
        ({"x_train": np.array([[{}] * 2] * 6, dtype=object)}, "x_train has dtype object; expected numbers"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_in_one_sentence(tmp_path, changes, words):
    with pytest.raises(InputError) as caught:
        bm.load(stored(tmp_path, **changes))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PK\3\4broken", b"\x93NUMPY"])
def test_a_file_of_another_kind_is_refused_as_npz(tmp_path, content):
    (tmp_path / "own.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"own\.npz"):
        bm.load(str(tmp_path / "own.npz"))


def test_a_missing_npz_file_is_named(tmp_path):
    with pytest.raises(InputError, match="there is no such file"):
        bm.load(str(tmp_path / "own.npz"))


CLASSES = np.array([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize(
    ("y_train", "y_test", "note"),
    [
        (CLASSES + 1, np.array([2, 1]), "classes 1 to 3 read as 0 to 2"),
        (CLASSES[:, None], np.array([[1], [0]]), ""),
        (CLASSES[:, None].astype(np.uint8) + 1, np.array([[2], [1]], np.uint8), "classes 1 to 3"),
        (np.eye(3, dtype=int)[CLASSES], np.eye(3, dtype=int)[[1, 0]], "one-hot"),
        (np.eye(3, dtype=bool)[CLASSES], np.eye(3, dtype=bool)[[1, 0]], "one-hot"),
    ],
)
def test_classes_are_read_however_they_are_written(tmp_path, y_train, y_test, note):
    data = bm.load(stored(tmp_path, y_train=y_train, y_test=y_test))
    assert (data.classes, data.y_train.tolist(), data.y_test.tolist()) == (3, CLASSES.tolist(), [1, 0])
    assert note in data.source


def test_labels_1_to_10_are_10_classes(tmp_path):
    labels = np.arange(1, 11)
    ones = np.ones((10, 2))
    data = bm.load(stored(tmp_path, x_train=ones, x_test=ones, y_train=labels, y_test=labels))
    assert (data.classes, data.y_test.tolist()) == (10, list(range(10)))


def test_a_class_of_test_examples_alone_is_noted_in_the_source(tmp_path):
    data = bm.load(stored(tmp_path, y_test=np.array([3, 0])))
    assert data.classes == 4
    assert "of class 3 there are test examples alone" in data.source


@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize("shift", [-1, 1])
def test_classes_counted_from_0_in_one_half_and_from_1_in_the_other_are_refused(tmp_path, shift, column):
    train, test = (CLASSES, CLASSES + 1) if shift > 0 else (CLASSES + 1, CLASSES)
    train, test = (train[:, None], test[:, None]) if column else (train, test)
    path = stored(tmp_path, y_train=train, y_test=test, x_test=np.ones((6, 2)))
    ranges = "from 0 to 2 and from 1 to 3" if shift > 0 else "from 1 to 3 and from 0 to 2"
    with pytest.raises(InputError, match=f"its training and test classes go {ranges}; expected both from 0"):
        bm.load(path)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_values_of_every_float_are_read_without_a_warning(tmp_path, dtype):
    values = np.array([[0.5], [-2.0], [60000.0], [0.0], [1.0], [2.0]], dtype)
    inputs = np.arange(12).reshape(6, 2).astype(dtype)
    data = bm.load(stored(tmp_path, x_train=inputs, y_train=values, y_test=values[:2]))
    assert data.y_train[:, 0].tolist() == [0.5, -2.0, 60000.0, 0.0, 1.0, 2.0]
    assert data.x_train.tolist() == np.arange(12.0).reshape(6, 2).tolist()


def test_the_names_that_others_use_are_understood(tmp_path):
    usual = bm.load(stored(tmp_path))
    for names in (
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("X_train", "Y_train", "X_test", "Y_test"),
        ("trainX", "trainY", "testX", "testY"),
    ):
        np.savez(tmp_path / "other.npz", val_images=np.ones(3), **dict(zip(names, arrays().values(), strict=True)))
        assert bm.load(tmp_path / "other.npz").digest == usual.digest


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"y_train": CLASSES + 900_000}, "a class is 900,002 among 8 examples"),
        ({"y_train": CLASSES + 10**12}, "a class is 1,000,000,000,002 among"),
        ({"y_train": np.array([0, 1, 2, 3, 4, 2**64 - 1], np.uint64)}, "a class is 18,446,744,073,709,551,615 among"),
        ({"y_train": np.array(["a", "b", "c"] * 2)}, "number classes that have names: classes, y = numpy.unique"),
        ({"y_train": np.array([{}] * 6, dtype=object)}, "y_train has dtype object"),
        ({"y_train": np.ones((6, 3), int), "y_test": np.ones((2, 3), int)}, "one number per example, or one-hot rows"),
        ({"y_train": np.eye(3, dtype=int)[CLASSES]}, "shapes (6, 3) and (2,)"),
        ({"y_train": np.ones((6, 2)), "y_test": np.ones((2, 3))}, "targets differ in shape"),
        ({"x_train": np.ones((6, 0)), "x_test": np.ones((2, 0))}, "training inputs have shape (6, 0)"),
        ({"x_train": np.ones(6)}, "training inputs have shape (6,)"),
        ({"x_train": np.full((6, 2), 1e300)}, "range of float32"),
        ({"y_train": np.full(6, 1e300), "y_test": np.ones(2)}, "y_train holds NaN, infinity or numbers beyond"),
        ({"y_train": np.array(3)}, "training targets have shape () for 6 inputs"),
        ({"x_train": np.zeros((6, 2), "datetime64[s]")}, "x_train has dtype datetime64"),
        (
            {"x_test": None, "inputs": np.ones(2)},
            "it has no x_test: it holds inputs, x_train, y_test, y_train; ",
        ),
    ],
)
def test_arrays_that_make_no_data_set_are_refused_with_what_is_expected(tmp_path, changes, words):
    with pytest.raises(InputError) as caught:
        bm.load(stored(tmp_path, **changes))
    assert words in str(caught.value)
    assert str(caught.value).isprintable()


def packed(folder, compression=zipfile.ZIP_DEFLATED, **members):
    """Write an archive by hand, each member as it is given or as an .npy file."""
    with zipfile.ZipFile(folder / "own.npz", "w", compression, compresslevel=1) as archive:
        for key, value in {**arrays(), **members}.items():
            content = value
            if isinstance(value, np.ndarray):
                buffer = io.BytesIO()
                np.save(buffer, value)
                content = buffer.getvalue()
            archive.writestr(f"{key}.npy", content)
    return folder / "own.npz"


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_change_nothing(tmp_path, compression):
    usual = bm.load(stored(tmp_path)).digest
    assert bm.load(packed(tmp_path, compression)).digest == usual


def changed(path, offset, value):
    """Change a field of all headers of an archive: before each member and in its list, there 2 bytes later."""
    content = bytearray(path.read_bytes())
    for mark, shift in ((b"PK\3\4", 0), (b"PK\1\2", 2)):
        at = content.find(mark)
        while at >= 0:
            struct.pack_into("<H", content, at + offset + shift, value)
            at = content.find(mark, at + 4)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("offset", "value", "words"),
    [(6, 1, "x_train.* is encrypted.* save it with numpy.savez"), (8, 93, "compression"), (8, 9, "compression method")],
)
def test_encrypted_and_unknown_archives_are_refused(tmp_path, offset, value, words):
    with pytest.raises(InputError, match=words):
        bm.load(changed(packed(tmp_path), offset, value))


def lying(shape):
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + bytes(64)


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (lying((10**12, 784)), "it is damaged"),
        (lying((10**30, 10**30)), "it is damaged"),
        (lying((-5, 3)), "it is damaged"),
        (lying((7,)), "it is damaged"),
        (bytes(2**26 + 1), "more than 100 times as much; .* store it uncompressed"),
        (b"\x93NUMPY\3\0" + b"\xff" * 40, "it is damaged"),
        (b"", "it is damaged"),
        (b"\x93NUMPY\1\0\x20\0" + b"(" * 32, "it is damaged"),
    ],
)
def test_sizes_are_checked_before_anything_is_allocated(tmp_path, member, words):
    bm.load(packed(tmp_path))  # what it imports is no part of what it allocates
    path = packed(tmp_path, x_train=member)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=words):
            bm.load(path)
        assert tracemalloc.get_traced_memory()[1] < 2e7
    finally:
        tracemalloc.stop()


def test_a_damaged_byte_is_refused_or_changes_nothing(tmp_path):
    path = packed(tmp_path)
    whole, digest = path.read_bytes(), bm.load(path).digest
    for place in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            assert bm.load(path).digest == digest
        except InputError as error:
            text = str(error)
            assert text.isprintable()


def test_a_file_without_permission_is_not_called_damaged(tmp_path, monkeypatch):
    path = stored(tmp_path)

    def refuse(self, *arguments, **named):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(InputError, match="Permission denied"):
        bm.load(path)


def test_a_folder_instead_of_a_file_is_refused(tmp_path):
    (tmp_path / "own.npz").mkdir()
    with pytest.raises(InputError, match="Is a directory"):
        bm.load(tmp_path / "own.npz")


def test_data_beyond_the_free_memory_are_refused_before_reading(tmp_path, monkeypatch):
    path = stored(tmp_path)
    monkeypatch.setattr("bathymetry.data.files.free_bytes", lambda: 100)
    with pytest.raises(InputError, match="there are 1 MB of memory"):
        bm.load(path)


def test_too_little_memory_is_reported(tmp_path, monkeypatch):
    path = stored(tmp_path)

    def full(*arguments, **named):
        raise MemoryError

    monkeypatch.setattr("zipfile.ZipExtFile.read", full)
    with pytest.raises(InputError, match="not enough memory"):
        bm.load(path)


@pytest.mark.parametrize(
    "name", ["a\0b", "a\0b.npz", "x" * 5000, "x" * 5000 + ".npz", "~nobody-at-all/x", b"mnist", None, 3]
)
def test_an_impossible_name_is_refused_in_one_sentence(name, unchecked):
    with pytest.raises(InputError) as caught:
        bm.load(name)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("name", "meant"), [("MNIST", "mnist"), ("fashion_mnist", "fashion-mnist"), ("FashionMNIST", "fashion-mnist")]
)
def test_a_name_that_is_nearly_right_is_refused_with_the_right_one(name, meant, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"did you mean {meant}"):
        bm.load(name)


def test_a_header_that_python_2_wrote_is_read_without_a_warning(tmp_path):
    content = lying((6, 2)).replace(b"(6, 2)", b"(6L,2)")[:-64] + np.arange(12.0).tobytes()
    assert bm.load(packed(tmp_path, x_train=content)).x_train.tolist() == np.arange(12.0).reshape(6, 2).tolist()


@pytest.mark.parametrize("name", ["own.npz", "train-images-idx3-ubyte"])
def test_a_named_pipe_is_refused_instead_of_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match=r"no ordinary file|is missing there"):
        bm.load(tmp_path / name if name == "own.npz" else tmp_path)


def test_the_names_in_an_archive_are_shortened(tmp_path):
    path = tmp_path / "own.npz"
    np.savez(path, **{f"{'n' * 500}{count}": np.ones(1) for count in range(50)})
    with pytest.raises(InputError, match=r"it holds n{19}…, .* and 45 others; expected x_train") as caught:
        bm.load(path)
    assert len(str(caught.value).replace(str(tmp_path), "")) < 320


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_file_that_is_cut_short_is_called_so(tmp_path, share):
    path = tmp_path / "own.npz"
    stored(tmp_path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError, match="it is cut short or damaged: an archive without its end"):
        bm.load(str(path))
