"""A member's numbers are the same, bit for bit, whoever else is trained with it."""

from pathlib import Path

import pytest
import torch

import bathymetry as bm

MEMBER = 3
COMPANY = (range(3, 4), range(3, 5), range(2, 5), range(10), range(1, 18), range(50), range(3, 43))


def examples(inputs: int, outputs: int | None, count: int) -> bm.Data:
    """Random examples, with classes if `outputs` is None; the test set has another size than the training set."""
    generator = torch.Generator().manual_seed(inputs)

    def drawn(rows: int) -> bm.Examples:
        x = torch.randn(rows, inputs, generator=generator)
        classes = torch.randint(0, 10, (rows,), generator=generator)
        return bm.Examples(x, classes if outputs is None else torch.randn(rows, outputs, generator=generator))

    return bm.Data("random", drawn(count), drawn(count + 14), classes=10 if outputs is None else None)


def assert_independent(config: bm.TrainingConfig, companies=COMPANY, backend="auto") -> None:
    alone, *others = (bm.train(config, members=members, backend=backend) for members in companies)
    assert alone.members == range(MEMBER, MEMBER + 1)
    for other in others:
        place = other.members.index(MEMBER)
        for name, tensor in alone.parameters.items():
            torch.testing.assert_close(other.parameters[name][place], tensor[0], rtol=0, atol=0, equal_nan=True)
        of_member = other.record.sel(member=[MEMBER])
        if len(of_member.epoch) > len(alone.record.epoch):  # others went on
            of_member = of_member.sel(epoch=alone.record.epoch)
        assert alone.record.identical(of_member)


OPTIMIZERS = (bm.Adam(1e-2), bm.AdamW(1e-2, weight_decay=0.1), bm.SGD(1e-2, momentum=0.9, weight_decay=1e-3))
INTEL = Path("/proc/cpuinfo").exists() and "GenuineIntel" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
ON_INTEL = pytest.mark.xfail(
    INTEL, reason="MKL rounds a single product otherwise on Intel (docs/decisions.md)", strict=False
)
WIDTHS = ([1, 32, 32, 1], [1, 1], [3, 1], [3, 7, 1, 5, 2], [1, 5, 5, 3], [8, 13, 4], [784, 20, 30, 10])


@pytest.mark.parametrize("batch_size", [None, 5, 8, 1])
@pytest.mark.parametrize("widths", [*WIDTHS, pytest.param([784, 1, 10], marks=ON_INTEL)], ids=str)
def test_a_member_of_any_width_and_batch_size(widths, batch_size):
    data = examples(widths[0], widths[-1] if widths[-1] < 10 else None, 23)
    loss = "mse" if widths[-1] < 10 else "cross_entropy"
    config = bm.TrainingConfig(bm.MLPConfig(tuple(widths)), data, steps=12, batch_size=batch_size, loss=loss)
    assert_independent(config)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "identity"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda one: type(one).__name__)
def test_a_member_with_any_activation_optimizer_and_dtype(optimizer, activation, dtype):
    network = bm.MLPConfig((3, 7, 6, 1), activation)
    for batch_size in (None, 7):
        config = bm.TrainingConfig(
            network, examples(3, 1, 30), steps=9, batch_size=batch_size, optimizer=optimizer, dtype=dtype, clip_norm=0.5
        )
        assert_independent(config, COMPANY[::2])


@pytest.mark.parametrize("batch_size", [None, 10])
def test_a_member_when_others_stop_and_when_others_diverge(batch_size):
    data = examples(2, 1, 20)
    rates = [1e-2] * MEMBER + [0.05] + [1e3] * 6
    for at_most in (0.9, 0.99):
        stop = bm.StopWhen("train_loss", at_most=at_most)
        config = bm.TrainingConfig(
            bm.MLPConfig((2, 9, 1)), data, steps=40, batch_size=batch_size, optimizer=bm.SGD(0.05), stop=stop
        )
        assert_independent(config, (range(3, 4), range(10)))
    alone = bm.train(config, members=range(3, 4))
    among = bm.train(bm.MLPConfig((2, 9, 1)), data, steps=40, batch_size=batch_size, optimizer=bm.SGD(rates), stop=stop)
    for name, tensor in alone.parameters.items():
        assert torch.equal(among.parameters[name][MEMBER], tensor[0])


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda one: type(one).__name__)
def test_one_number_for_each_member_is_the_same_number_for_all(optimizer):
    data, network = examples(3, 1, 30), bm.MLPConfig((3, 7, 1))
    rates = [optimizer.lr * (1 + k % 3) for k in range(10)]
    mixed = bm.train(network, data, steps=20, optimizer=type(optimizer)(rates, optimizer.weight_decay))
    for rate in sorted(set(rates)):
        uniform = bm.train(network, data, steps=20, optimizer=type(optimizer)(rate, optimizer.weight_decay))
        for member in (k for k in range(10) if rates[k] == rate):
            for name, tensor in uniform.parameters.items():
                assert torch.equal(mixed.parameters[name][member], tensor[member])


def test_a_member_that_is_trained_in_a_loop():
    network = lambda: bm.mlp([3, 7, 5, 1], "gelu")  # noqa: E731
    config = bm.TrainingConfig(network, examples(3, 1, 23), steps=10, batch_size=5)
    assert_independent(config, COMPANY[::2], backend="loop")


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [50, 5, pytest.param(None, marks=ON_INTEL)])
@pytest.mark.parametrize("hidden", [[30], [200, 100], [2, 5], [400, 200], [33]], ids=str)
def test_a_member_of_image_networks(hidden, batch_size):
    network = bm.MLPConfig((784, *hidden, 10))
    config = bm.TrainingConfig(
        network, examples(784, None, 1000), steps=20, batch_size=batch_size, loss="cross_entropy", record_at=[]
    )
    assert_independent(config)


LARGE = ([784, 110, 10], [300, 200, 100, 3])  # with products that are large enough for a way of their own


@pytest.mark.parametrize("widths", LARGE, ids=str)
def test_a_member_of_a_large_network(widths):
    data = examples(widths[0], None if widths[-1] == 10 else widths[-1], 123)
    loss = "cross_entropy" if widths[-1] == 10 else "mse"
    for batch_size in (50, 60, None):
        config = bm.TrainingConfig(bm.MLPConfig(tuple(widths)), data, steps=7, batch_size=batch_size, loss=loss)
        assert_independent(config, COMPANY[:5])


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("widths", LARGE, ids=str)
def test_a_large_network_trains_as_in_a_loop_and_in_float64(widths, activation):
    data = examples(widths[0], widths[-1], 123)
    network = bm.MLPConfig(tuple(widths), activation)
    for batch_size in (50, None):
        common = {"steps": 5, "batch_size": batch_size, "optimizer": bm.SGD(0.05, momentum=0.9), "members": 3}
        stacked = bm.train(network, data, **common)
        assert stacked.backend == "stacked"
        for other in ({"backend": "loop"}, {"dtype": torch.float64}):
            trained = bm.train(network, data, **common, **other)
            for name, tensor in stacked.parameters.items():
                torch.testing.assert_close(tensor.double(), trained.parameters[name].double(), rtol=1e-4, atol=1e-6)
            assert float(abs(stacked.record["loss"] - trained.record["loss"]).max()) < 1e-5
