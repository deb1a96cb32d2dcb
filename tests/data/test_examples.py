"""Examples and data sets in memory."""

import hashlib

import pytest
import torch

import bathymetry as bm
from bathymetry.data import examples


def no_hash(*arguments, **named):
    raise AssertionError("the examples are hashed")


def test_training_on_tensors_hashes_nothing(monkeypatch):
    monkeypatch.setattr(examples, "hashlib", type("Hashlib", (), {"blake2b": no_hash}))
    x = torch.linspace(-1, 1, 20)[:, None]
    bm.train(lambda: bm.mlp([1, 3, 1]), (x, x), members=2, epochs=1)
    with pytest.raises(AssertionError, match="hashed"):
        _ = bm.Data("own", bm.Examples(x, x), bm.Examples(x, x)).digest


def test_a_digest_is_blake2b_over_shapes_dtypes_scales_and_bytes():
    inputs, targets = torch.arange(6, dtype=torch.uint8).view(3, 2), torch.tensor([0, 1, 0])
    train, test = bm.Examples(inputs, targets, 1 / 255), bm.Examples(inputs[:1], targets[:1], 0.5)
    state = hashlib.blake2b(digest_size=16)
    for dtype, content, scale in (
        ("torch.uint8(3, 2)", bytes(range(6)), 1 / 255),
        ("torch.int64(3,)", targets.numpy().tobytes(), 1 / 255),
        ("torch.uint8(1, 2)", bytes(range(2)), 0.5),
        ("torch.int64(1,)", bytes(8), 0.5),
    ):
        state.update(f"{dtype}{scale!r}".encode() + content)
    assert bm.Data("own", train, test).digest == state.hexdigest()


def test_scaled_inputs_leave_the_stored_ones_as_they_are():
    stored = torch.tensor([[2.0, 4.0]])
    pixels = torch.tensor([[0, 255]], dtype=torch.uint8)
    assert bm.Examples(stored, torch.zeros(1), 0.5).x.tolist() == [[1.0, 2.0]]
    assert stored.tolist() == [[2.0, 4.0]]
    assert bm.Examples(pixels, torch.zeros(1), 1 / 255).scaled(pixels, torch.float64).tolist() == [[0.0, 1.0]]
    assert bm.Examples(torch.tensor([[7, 2]]), torch.zeros(1)).x.dtype == torch.int64
