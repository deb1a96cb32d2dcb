"""Files with data are made by others: whatever is in them is read as numbers or refused."""

import gzip
import io
import struct
import warnings
import zipfile

import numpy as np
from hypothesis import strategies as st

import bathymetry as bm
from data import files

SIZES = st.sampled_from([0, 1, 2, 3, 6, 28, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1])
SOME_BYTES = st.binary(max_size=80)


@st.composite
def damaged(draw, content):
    """A few bytes exchanged, cut out or put in."""
    content = bytearray(content)
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(content)))
        stop = min(len(content), start + draw(st.integers(0, 8)))
        content[start:stop] = draw(st.binary(max_size=8))
    return bytes(content)


@st.composite
def idx_content(draw, content):
    """A published file with damage, or a header of any kind with any sizes and some bytes after it."""
    if draw(st.booleans()):
        content = draw(damaged(content))
    else:
        axes = draw(st.sampled_from([0, 1, 2, 3, 4, 255]))
        kind = draw(st.sampled_from([0x08, 0x09, 0x0B, 0x0C, 0x0D, 0x0E, 0]))
        lengths = b"".join(struct.pack(">I", draw(SIZES)) for _ in range(min(axes, 4)))
        content = bytes([0, 0, kind, axes]) + lengths + draw(SOME_BYTES)
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        content = gzip.compress(content, 1)
        content = draw(damaged(content)) if draw(st.booleans()) else content
    return content


def test_idx_files(fuzz, tmp_path):
    """IDX files with damage, other headers and sizes, compressed or not."""
    folder = files.write(tmp_path / "mine")
    whole = [(folder / name).read_bytes() for name in files.NAMES]
    cases = st.integers(0, 3).flatmap(lambda place: st.tuples(st.just(place), idx_content(whole[place])))

    def attempt(case):
        place, content = case
        for name, kept in zip(files.NAMES, whole, strict=True):
            (folder / name).write_bytes(content if name == files.NAMES[place] else kept)
        data = bm.load(folder)
        assert len(data.x_train) == len(data.y_train)
        assert data.x_train.isfinite().all()

    fuzz(cases, attempt, writes=tmp_path)


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


@st.composite
def header(draw):
    """An .npy file whose header says anything."""
    descr = draw(st.sampled_from([
        "'<f8'", "'|u1'", "'<i8'", "'|O'", "'<U9'", "'<f2'", "'<f16'", "'<c16'", "'|b1'", "'<M8[s]'", "'V0'", "'|V8'",
        "[('a', '<f8')]", "'no'", "None", "''", "'<f8' * 9**9", "__import__('os')", "[[[[[['a']]]]]]", "('<f8', 9)",
    ]))  # fmt: skip
    sizes = draw(st.lists(st.sampled_from([0, 1, 2, 6, -1, 2**31, 2**63, 10**30, True]), max_size=40))
    shape = draw(st.sampled_from([str(tuple(sizes)), "()", "6", "None", "(6, 'a')", "(" * 90, "((6, 2),)", "[6, 2]"]))
    order = draw(st.sampled_from(["False", "True", "1", "None"]))
    more = draw(st.sampled_from(["", "'x': 1, ", " " * 9000, "'descr': 1, "]))
    text = f"{{'descr': {descr}, 'fortran_order': {order}, {more}'shape': {shape}, }}\n".encode()
    version = draw(st.sampled_from([(1, 0), (2, 0), (3, 0), (9, 9)]))
    length = draw(st.sampled_from([len(text), len(text), len(text), 0, 2**16 - 1]))
    packed = struct.pack("<H", length) if version[0] == 1 else struct.pack("<I", length)
    return b"\x93NUMPY" + bytes(version) + packed + text + draw(SOME_BYTES)


USUAL = {
    "x_train": np.arange(12.0).reshape(6, 2), "y_train": np.array([0, 1, 2, 0, 1, 2]),
    "x_test": np.ones((2, 2)), "y_test": np.array([1, 0]),
}  # fmt: skip
NUMBERS = st.sampled_from([0.0, -1.0, 1.5, 1e300, np.nan, np.inf, 2.0**63, 255.0, 256.0])
ARRAYS = st.builds(
    lambda shape, number, dtype: npy(_array(shape, number, dtype)),
    st.sampled_from([(), (0,), (6,), (2,), (6, 2), (2, 2), (6, 0), (2, 3, 4), (6, 1, 2), (1,) * 32]),
    NUMBERS,
    st.sampled_from(["f2", "f4", "f8", "g", ">f8", "u1", "i1", "i8", "u8", ">i4", "?", "O", "U3", "c8", "M8[s]"]),
)
NAMES = st.sampled_from([
    "x_train", "y_train", "x_test", "y_test", "X-Train", "train_images", "../x_train", "/etc/x_train", "x_train\0",
    "", "a/../../y_test", "x_train.npy", "λ", "\x1b[31m", "n" * 400, "C:\\x_train",
])  # fmt: skip


def _array(shape, number, dtype):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.full(shape, number).astype(dtype)


@st.composite
def archives(draw):
    """An archive with members of other names, arrays of other kinds and shapes, lying headers, and damage."""
    members = {name: npy(array) for name, array in USUAL.items()}
    for _ in range(draw(st.integers(0, 3))):
        name = draw(st.sampled_from(sorted(members)) | NAMES)
        content = draw(st.one_of(ARRAYS, header(), SOME_BYTES, st.sampled_from([npy(one) for one in USUAL.values()])))
        members[name] = content
    for name in draw(st.lists(st.sampled_from(list(USUAL)), max_size=1)):
        members[draw(NAMES)] = members.pop(name)
    compression = draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return draw(damaged(buffer.getvalue())) if draw(st.booleans()) else buffer.getvalue()


def test_npz_files(fuzz, tmp_path):
    """npz files with object arrays, lying headers, other names, shapes and numbers, and damage."""

    def attempt(content):
        (tmp_path / "own.npz").write_bytes(content)
        data = bm.load(tmp_path / "own.npz")
        assert len(data.x_train) == len(data.y_train)
        assert data.x_train.isfinite().all()

    fuzz(archives(), attempt, writes=tmp_path)


def test_a_member_that_unpacks_without_bound_takes_no_memory(fuzz, tmp_path):
    """An npz member that unpacks to 200 MB of zeros."""
    head = npy(np.zeros(0))
    with zipfile.ZipFile(tmp_path / "own.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in USUAL.items():
            if name != "x_train":
                archive.writestr(f"{name}.npy", npy(array))
        with archive.open("x_train.npy", "w", force_zip64=True) as member:
            member.write(head)
            for _ in range(12):
                member.write(bytes(2**24))
    assert "more than 100 times as much" in fuzz.one(lambda: bm.load(tmp_path / "own.npz"), tmp_path)
