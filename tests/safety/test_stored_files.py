"""Stored files come from disks that damage them and from folders of others, who can write their digests too."""

import copy
import io
import json

import h5py
import numpy as np
import safetensors.torch
import torch
from hypothesis import strategies as st

import bathymetry as bm
from bathymetry.store.chunks import _seal as seal
from bathymetry.store.chunks import _unseal as unseal
from bathymetry.store.chunks import chunk_path, read_checkpoint, read_chunk, save, write_checkpoint
from bathymetry.store.results import read_results, write_results
from bathymetry.training import load_trained, train
from bathymetry.training.checkpoint import Checkpoint
from bathymetry.training.result import _digest as trained_digest
from report.cases import HOSTILE
from safety.test_data_files import damaged
from store import cases as chunks
from store.test_results import results, sealed

NAME = "0" * 32
WORDS = st.sampled_from(["", "x", HOSTILE, "\x1b[2J", "../..", "/etc/passwd", "nan", "λ" * 500, "\0", "member"])
LEAVES = st.one_of(
    st.none(), st.booleans(), WORDS, st.sampled_from([0, -1, 3, 10**9, 2**63, 10**30, 1.5, 1e308, float("nan")])
)
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3), max_leaves=5
)


@st.composite
def changed(draw, value, most=3):
    """The same JSON with a few of its parts replaced, left out, or named otherwise."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, most))):
        inside = value
        while True:
            places = list(inside) if isinstance(inside, dict) else list(range(len(inside)))
            if not places:
                break
            place = draw(st.sampled_from(places))
            if isinstance(inside[place], dict | list) and inside[place] and draw(st.booleans()):
                inside = inside[place]
                continue
            kind = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
            if kind == "replace":
                inside[place] = draw(ANYTHING)
            elif kind == "remove":
                del inside[place]
            elif isinstance(inside, dict):
                inside[draw(WORDS)] = draw(ANYTHING)
            else:
                inside.append(draw(ANYTHING))
            break
    return value


ARRAYS = st.sampled_from([
    np.zeros(0), np.zeros(3), np.zeros((3, 4)), np.array(1.0), np.full((3, 4), np.nan), np.zeros((3, 4), bool),
    np.zeros((3, 2, 3), np.float32), np.zeros((3, 4), np.int8), np.full(3, 2**60),
])  # fmt: skip


@st.composite
def sealed_content(draw, arrays, words):
    """A chunk with other words and arrays under a digest that is right, or with damage under one that is not."""
    if draw(st.booleans()):
        return draw(damaged(seal(arrays, words)))
    arrays = dict(arrays)
    for _ in range(draw(st.integers(0, 2))):
        name = draw(st.sampled_from([*arrays, "record/x", "snapshot/x/y", "snapshot/9", "/", "record/../x"]))
        arrays[name] = draw(ARRAYS)
    return seal(arrays, draw(changed(words)))


def test_chunks(fuzz, tmp_path):
    """Chunks with damage, or with other arrays and words under a right digest."""
    path = save(tmp_path, NAME, {}, chunks.chunk(range(3)))
    arrays, words = unseal(path)

    def attempt(content):
        path.write_bytes(content)
        chunk = read_chunk(path).select(range(3))
        assert chunk.record.sizes["member"] == 3

    fuzz(sealed_content(arrays, words), attempt, writes=tmp_path)


def test_checkpoints(fuzz, tmp_path):
    """Checkpoints with damage, or with other numbers and words under a right digest."""
    taken = []
    given = {"build": bm.MLPConfig((1, 3, 1)), "data": bm.data.function("sin", samples=8), "members": 3, "epochs": 3}
    train(**given, checkpoint=taken.append, checkpoint_every=0)
    path = chunk_path(tmp_path, NAME, range(3)).with_suffix(".checkpoint")
    write_checkpoint(path, {name: one.numpy() for name, one in taken[0].tensors.items()}, taken[0].state)
    arrays, words = unseal(path)

    def attempt(content):
        path.write_bytes(content)
        arrays, state = read_checkpoint(path)
        tensors = {name: torch.from_numpy(one) for name, one in arrays.items()}
        train(**given, resume=Checkpoint(tensors, state))

    fuzz(sealed_content(arrays, words), attempt, writes=tmp_path)


def test_saved_ensembles(fuzz, tmp_path):
    """Files of `Trained.save` with damage, or with other words under a right digest."""
    path = tmp_path / "trained.safetensors"
    data = bm.data.function("sin", samples=8)
    train(bm.MLPConfig((1, 3, 1)), data, members=3, epochs=3, snapshots=(0,)).save(path)
    whole = path.read_bytes()
    tensors = safetensors.torch.load(whole)
    state = json.loads(json.loads(whole[8 : 8 + int.from_bytes(whole[:8], "little")])["__metadata__"]["state"])

    def content(state):
        text = json.dumps(state)
        metadata = {"state": text, "digest": trained_digest(text, tensors)}
        return safetensors.torch.save(tensors, metadata)

    def attempt(content):
        path.write_bytes(content)
        repr(load_trained(path).networks())

    fuzz(damaged(whole) | changed(state).map(content), attempt, writes=tmp_path)


@st.composite
def netcdf(draw, body):
    """Results whose HDF5 has other attributes, links, types and shapes, under a right digest; or damage."""
    if draw(st.booleans()):
        return draw(damaged(sealed(body)))
    buffer = io.BytesIO(body)
    with h5py.File(buffer, "a") as file:
        places = []
        file.visit(places.append)
        for _ in range(draw(st.integers(1, 3))):
            place = draw(st.sampled_from(["/", *places]))
            if place not in file:
                continue
            one = file[place]
            attribute = draw(st.sampled_from([*one.attrs, "units", "_FillValue", "scale_factor", "dtype", "calendar"]))
            kind = draw(st.sampled_from(["attribute", "attribute", "remove", "attribute removed", "dataset", "link"]))
            if kind == "attribute":
                value = draw(st.sampled_from([
                    0, -1.5, "x", "[" * 5000, HOSTILE, b"\xff\xfe", "days since 0-0-0", "{}", "NaN", np.zeros(3),
                    np.zeros(0), h5py.Empty("f"), "1e400", "99", '{"members": -1}', "\u202e", "datetime64[ns]",
                ]))  # fmt: skip
                one.attrs[attribute] = value
            elif kind == "attribute removed":
                one.attrs.pop(attribute, None)
            elif kind == "remove" and place != "/":
                del file[place]
            elif kind == "dataset" and isinstance(one, h5py.Group):
                shape = draw(st.sampled_from([(3,), (0,), (2, 2, 3), (10**6, 10**6), ()]))
                dtype = draw(st.sampled_from(["f8", "i1", "S9", h5py.string_dtype(), "c16", [("a", "f4")], "f2", bool]))
                name = draw(st.sampled_from(["x", "member", "loss", "..", "λ", "a b", "epoch"]))
                if name not in one:
                    one.create_dataset(name, shape, dtype, chunks=(1000, 1000) if len(shape) == 2 else None)
            elif kind == "link" and isinstance(one, h5py.Group) and "link" not in one:
                one["link"] = draw(st.sampled_from([
                    h5py.ExternalLink("/etc/passwd", "/"), h5py.SoftLink("/"), h5py.SoftLink("/nothing"),
                ]))  # fmt: skip
    return sealed(buffer.getvalue())


def test_results(fuzz, tmp_path):
    """Results whose HDF5 has hostile attributes, links, types and shapes."""
    path = tmp_path / "result.nc"
    write_results(path, results())
    body = path.read_bytes()[:-51]

    def attempt(content):
        path.write_bytes(content)
        read_results(path, earlier=True)

    fuzz(netcdf(body), attempt, writes=tmp_path)
