import gzip
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from bathymetry.core.errors import InputError
from bathymetry.data import Data, Examples, strokes
from bathymetry.models import mlp
from bathymetry.training import Adam, train


def images(examples: Examples) -> torch.Tensor:
    return examples.inputs.view(-1, 28, 28)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    first, again, other = (strokes(seed, train=300, test=100) for seed in (0, 0, 1))
    assert torch.equal(first.train.inputs, again.train.inputs)
    assert torch.equal(first.test.targets, again.test.targets)
    assert first.digest == again.digest != other.digest
    assert not torch.equal(first.train.inputs, other.train.inputs)


def test_fewer_digits_are_the_first_of_more():
    few, many = strokes(train=50, test=10), strokes(train=700, test=20)
    assert torch.equal(few.train.inputs, many.train.inputs[:50])
    assert torch.equal(few.test.targets, many.test.targets[:10])


def test_digits_lie_as_in_mnist_centred_by_mass_in_grey_levels():
    drawn = strokes(train=1000, test=1)
    assert drawn.train.inputs.dtype == torch.uint8
    ink = images(drawn.train).double()
    place = torch.arange(28, dtype=torch.float64)
    mass = ink.sum((1, 2))
    for axis in (1, 2):
        centre = (ink.sum(axis) * place).sum(1) / mass
        # moved by whole pixels, so within half of one; but for ink that would leave the picture
        assert ((centre - 14).abs() <= 0.51).double().mean() > 0.95
    assert ((ink > 0) & (ink < 255)).any(2).any(1).all()
    wide, high = ((ink > 127).any(axis).sum(1) for axis in (1, 2))
    assert max(int(wide.max()), int(high.max())) <= 21


def test_every_digit_is_as_frequent_as_the_others():
    counts = torch.bincount(strokes(train=4000, test=1).train.targets, minlength=10)
    # five standard deviations of a count of 4,000 draws at one tenth
    assert (counts - 400).abs().max() < 5 * (4000 * 0.1 * 0.9) ** 0.5


def test_a_digit_is_read_by_the_nearest_of_the_means_of_others():
    drawn = strokes(train=2000, test=500)
    means = torch.stack([drawn.x_train[drawn.y_train == digit].mean(0) for digit in range(10)])
    read = torch.cdist(drawn.x_test, means).argmin(1)
    assert (read == drawn.y_test).double().mean() > 0.5


@pytest.mark.parametrize(("field", "value"), [("train", 0), ("test", -1), ("seed", -1)])
def test_what_can_not_be_drawn_is_refused(field, value):
    with pytest.raises(InputError, match=rf"^{field} = {value}"):
        strokes(**{"train": 5, "test": 5, field: value})


def real_mnist() -> Examples:
    root = os.environ.get("BATHYMETRY_DATA")
    if root is None:
        pytest.skip("real MNIST is not at hand: BATHYMETRY_DATA is not set")
    folder = Path(root) if (Path(root) / "t10k-images-idx3-ubyte.gz").exists() else Path(root) / "mnist"

    def content(name: str, header: int) -> torch.Tensor:
        return torch.from_numpy(np.frombuffer(gzip.open(folder / name).read(), np.uint8, offset=header).copy())

    pixels = content("t10k-images-idx3-ubyte.gz", 16).view(-1, 784)
    return Examples(pixels, content("t10k-labels-idx1-ubyte.gz", 8).long(), 1 / 255)


@pytest.mark.slow
def test_a_network_that_saw_only_strokes_reads_real_mnist():
    real = real_mnist()
    drawn = strokes()
    data = Data("strokes", drawn.train, drawn.test, drawn.source)
    trained = train(
        lambda: mlp([784, 30, 10]),
        data,
        members=3,
        optimizer=Adam(lr=1e-3),
        loss="cross_entropy",
        epochs=5,
        batch_size=50,
        evaluate_on={"own": drawn.test, "mnist": real},
        record_at=[],
    )
    own, mnist = (trained.record["accuracy"].sel(split=name, epoch=5) for name in ("own", "mnist"))
    assert bool((mnist >= 0.70).all())
    assert bool(((own >= 0.93) & (own <= 0.985)).all())
