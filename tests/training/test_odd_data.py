"""Data and networks that do not fit are answered in one sentence; unusual ones that do are trained."""

import pytest
import torch
from torch import nn

import bathymetry as bm
from bathymetry.core.errors import InputError
from bathymetry.training import Cosine, EvaluationSet, Measurement, Step, StopWhen, train
from training import cases
from training.test_train import alone

GENERATOR = torch.Generator().manual_seed(5)
X, Y = torch.randn(20, 3, generator=GENERATOR), torch.randn(20, 2, generator=GENERATOR)
CLASSES = torch.randint(0, 2, (20,), generator=GENERATOR)


def made(x, y, x_test=None, y_test=None) -> bm.Data:
    test = bm.Examples(x if x_test is None else x_test, y if y_test is None else y_test)
    return bm.Data("made", bm.Examples(x, y), test, source="")


class Words(nn.Module):
    """The mean of five words' vectors, then two outputs."""

    def __init__(self):
        super().__init__()
        self.vectors, self.last = nn.Embedding(9, 4), nn.Linear(4, 2)

    def forward(self, words):
        return self.last(self.vectors(words).mean(1))


@pytest.mark.parametrize("batch_size", [None, 7])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_whole_numbers_reach_an_embedding_as_they_are(batch_size, dtype):
    words = torch.randint(0, 9, (20, 5), generator=torch.Generator().manual_seed(2)).to(dtype)
    data = made(words, CLASSES)
    trained = train(Words, data, members=2, loss="cross_entropy", steps=12, batch_size=batch_size, dtype=torch.float64)
    twin = alone_on_words(data, 1, 12, batch_size)
    for mine, other in zip(trained.model(1).parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-10)
    surface = bm.LossSurface(trained.model(1), "cross_entropy", data)
    assert float(surface.loss()) == pytest.approx(float(trained.record.loss.sel(split="train")[1, -1]))


def alone_on_words(data, member, steps, batch_size):
    class Twin(Words):
        def forward(self, words):
            return super().forward(words.long())  # the twin's loop hands out floats

    return alone(Twin, data, lambda p: torch.optim.Adam(p), nn.CrossEntropyLoss(), member, steps, batch_size)


def test_a_class_at_every_place_is_judged_as_by_pytorch():
    data = made(torch.randn(9, 3, 4, generator=GENERATOR), torch.randint(0, 5, (9, 4), generator=GENERATOR))
    trained = train(lambda: nn.Conv1d(3, 5, 1), data, members=2, loss="cross_entropy", epochs=2, dtype=torch.float64)
    outputs = trained.model(1)(data.x_train.double())
    assert float(trained.record.loss.sel(split="test")[1, -1]) == pytest.approx(
        nn.functional.cross_entropy(outputs, data.y_train).item()
    )
    right = (outputs.argmax(1) == data.y_train).double().mean().item()
    assert float(trained.record.accuracy.sel(split="train")[1, -1]) == pytest.approx(right)


def test_a_perceptron_takes_inputs_of_more_axes_as_pytorch_does():
    data = made(torch.randn(9, 4, 3, generator=GENERATOR), torch.randn(9, 4, 2, generator=GENERATOR))
    trained = train(cases.perceptron, data, members=2, epochs=2, dtype=torch.float64)
    expected = nn.functional.mse_loss(trained.model(0)(data.x_train.double()), data.y_train.double()).item()
    assert float(trained.record.loss.sel(split="train")[0, -1]) == pytest.approx(expected)


def test_counts_are_targets_of_a_loss_of_ones_own():
    """Poisson's loss takes whole numbers that are no classes: there is a loss and no accuracy."""
    data = made(X, torch.randint(0, 4, (20, 2), generator=GENERATOR))
    trained = train(cases.perceptron, data, members=2, epochs=1, loss=nn.PoissonNLLLoss())
    assert "accuracy" not in trained.record
    assert bool(trained.record.loss.sel(split="train").notnull().all())


DATA = {
    "targets without an axis": ((X, Y[:, 0]), "mse", r"y_train = float32 of shape \(20,\), .* gives \(20, 2\)"),
    "targets that PyTorch would broadcast": ((X, Y[:, :1]), "mse", "y_train = .* of the same shape"),
    "classes as values": ((X, CLASSES), "mse", 'y_train = int64 .* loss="cross_entropy" if they are classes'),
    "values as classes": ((X, Y), "cross_entropy", 'y_train = .* loss="mse" for values'),
    "classes with an axis": ((X, CLASSES[:, None]), "cross_entropy", r"y_train = int64 of shape \(20, 1\)"),
    "classes as truth": ((X, CLASSES.bool()), "cross_entropy", "y_train = bool"),
    "a class too many": ((X, CLASSES + 1), "cross_entropy", "y_train = classes from 1 to 2"),
    "a negative class": ((X, CLASSES - 100), "cross_entropy", "y_train = classes from -100 to -99"),
    "inputs that are no numbers": ((X / 0, Y), "mse", "x_train = 60 numbers of 60 that are NaN or infinite"),
    "targets that are no numbers": ((X, Y * float("nan")), "mse", "y_train = 40 numbers of 40"),
    "a test input that is no number": ((X, Y, X.log(), Y), "mse", "x_test = "),
    "no examples": ((X[:0], Y[:0]), "mse", "x_train = no example"),
    "no test examples": ((X, Y, X[:0], Y[:0]), "mse", "x_test = no example"),
    "inputs too narrow": ((X[:, :2], Y), "mse", r"x_train = float32 of shape \(20, 2\): the network can't take them"),
    "test inputs too narrow": ((X, Y, X[:, :2], Y), "mse", "x_test = .* the network can't take them"),
    "inputs without an axis": ((X[:, 0], Y), "mse", "x_train = .* the network can't take them"),
    "whole numbers": ((X.long(), Y), "mse", "x_train = int64 .* as floats unless it embeds"),
    "targets for a loss of one's own": ((X, Y[:, :1]), nn.MSELoss(), "loss = MSELoss.*can't judge y_train"),
    "classes for a loss of one's own": ((X, CLASSES), nn.BCEWithLogitsLoss(), "loss = BCEWithLogitsLoss"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "loss", "words"), DATA.values(), ids=DATA)
@pytest.mark.parametrize("backend", ["auto", "vmap"])
def test_what_does_not_fit_is_named(given, loss, words, backend, unchecked):
    with pytest.raises(InputError, match=words):
        train(cases.perceptron, made(*given), members=2, epochs=1, loss=loss, backend=backend)


def test_a_word_beyond_the_vocabulary_is_named_wherever_it_stands(unchecked):
    words = torch.zeros(20, 5, dtype=torch.int64)
    words[13, 2] = 9
    with pytest.raises(InputError, match="x_train = int64"):
        train(Words, made(words, CLASSES), members=2, epochs=1, loss="cross_entropy")


@pytest.mark.parametrize(
    ("inputs", "targets", "field"),
    [
        (X.numpy(), Y, "inputs = ndarray"),
        ([[1.0]], Y, "inputs = list"),
        (X, Y[:19], "targets = 19 rows"),
        (X + 0j, Y, "inputs = torch.complex64"),
        (torch.tensor(1.0), Y, "inputs = a single number"),
    ],
)
def test_examples_are_tensors_with_a_target_for_each_input(inputs, targets, field, unchecked):
    with pytest.raises(InputError, match=field):
        bm.Examples(inputs, targets)


class Several(nn.Linear):
    def forward(self, x):
        return super().forward(x), x


@pytest.mark.parametrize(
    ("build", "given", "words"),
    [
        (lambda: Several(3, 2), {}, "build = a network that gives a tuple"),
        (lambda: nn.LazyLinear(2), {}, "build = weight that is not initialised: its lazy layers"),
        (lambda: nn.Sequential(nn.Linear(3, 2), nn.Flatten(0)), {}, r"build = a network that gives \(16,\) for 8"),
        (None, {}, "build = None"),
        ("mlp", {}, "build = mlp"),
        (cases.normalised, {"batch_size": 19}, "batch_size = 19: a batch has a single example"),
        (cases.normalised, {"batch_size": 1}, "batch_size = 1: a batch has a single example"),
    ],
)  # fmt: skip
def test_a_network_that_can_not_be_trained_is_named(build, given, words, unchecked):
    with pytest.raises(InputError, match=words):
        train(build, made(X, Y), members=2, epochs=1, **given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"members": True}, "members = True"),
        ({"epochs": True}, "epochs = True"),
        ({"seed": True}, "seed = True"),
        ({"record_at": 5}, "record_at = 5: expected a list"),
        ({"record_at": [0.5]}, "record_at = 0.5"),
        ({"snapshots": None}, "snapshots = None"),
        ({"measurements": [1]}, "measurements = a list of 1"),
        ({"measurements": {"a": 1}}, r"measurements\[a\] = 1"),
        ({"measurements": {"a": lambda moment: None}}, r"measurements\[a\] = a NoneType"),
        ({"measurements": {"train_loss": lambda moment: moment.batch_loss}}, "recorded anyway"),
        ({"measurements": {"a": Measurement(lambda moment: moment.batch_loss, axes=("z",))}}, "2 members, then z"),
        ({"measurements": {"a": Measurement(lambda moment: moment.batch_loss, (7,))}}, r"\.epochs = 7"),
        ({"evaluate_on": [X]}, "evaluate_on = a list of 1"),
        ({"evaluate_on": {"a": (X, Y)}}, r"evaluate_on\[a\] = a tuple of 2"),
        ({"evaluate_on": {"a": bm.Examples(X, Y[:, 0])}}, r"evaluate_on\[a\]\.targets = "),
        ({"evaluate_on": {"a": EvaluationSet(bm.Examples(X, Y), torch.zeros(3, 20, 2))}}, r"evaluate_on\[a\] = shape"),
        ({"targets": Y.numpy()}, "targets = ndarray"),
        ({"targets": torch.zeros(2, 20, 5)}, r"targets = float32 of shape \(20, 5\)"),
        ({"loss": nn.MSELoss}, r"loss = MSELoss: .* expected MSELoss\(\)"),
        ({"device": 3.5}, "device = 3.5"),
        ({"progress": 3}, "progress = 3"),
        ({"checkpoint": 3}, "checkpoint = 3"),
        ({"checkpoint_every": "a"}, "checkpoint_every = a"),
        ({"resume": "x"}, "resume = x"),
        ({"data": (X, Y, X)}, r"data = a tuple of 3: .* \(x, y, x_test, y_test\)"),
        ({"data": 3}, "data = 3: expected what"),
    ],
)  # fmt: skip
def test_an_argument_of_another_kind_is_named(given, words, unchecked):
    settings = {"data": made(X, Y), "members": 2, "epochs": 1} | given
    with pytest.raises(InputError, match=words):
        train(cases.perceptron, **settings)


@pytest.mark.parametrize(
    "make",
    [
        lambda: bm.Adam(lr="a"),
        lambda: bm.Adam(lr=None),
        lambda: bm.Adam(lr=torch.tensor([0.1, 0.2])),
        lambda: bm.SGD(momentum=True),
        lambda: Cosine("a"),
        lambda: Step(0.5),
        lambda: Step(("a",)),
        lambda: Step(by=None),
        lambda: StopWhen("train_loss", at_least="a"),
        lambda: StopWhen("train_loss", at_most=float("nan")),
    ],
)
def test_a_number_that_is_none_is_named(make, unchecked):
    with pytest.raises(InputError):
        make()


def test_tensors_of_ones_own_are_data():
    data = bm.Data("mine", bm.Examples(X, Y), bm.Examples(X + 1, Y))
    assert data.digest == bm.Data("other", bm.Examples(X, Y), bm.Examples(X + 1, Y)).digest
    assert data.digest != bm.Data("mine", bm.Examples(X, 2 * Y), bm.Examples(X + 1, Y)).digest
    named = train(cases.perceptron, data, members=2, epochs=2)
    given = train(cases.perceptron, (X, Y, X + 1, Y), members=2, epochs=2)
    assert given.record.identical(named.record)
    alone_ = train(cases.perceptron, (X, Y), members=2, epochs=2)
    assert alone_.record.loss.sel(split="train").identical(named.record.loss.sel(split="train"))
    assert alone_.record.split.values.tolist() == ["train"]


def test_numpys_whole_numbers_are_whole_numbers(unchecked):
    numbers = torch.tensor([2, 1]).numpy()
    counted = train(cases.perceptron, made(X, Y), members=numbers[0], epochs=numbers[1], seed=numbers[1])
    assert counted.record.identical(train(cases.perceptron, made(X, Y), members=2, epochs=1, seed=1).record)


def test_trying_out_leaves_random_state_and_a_networks_own_counts_alone():
    before = torch.get_rng_state()
    trained = train(cases.normalised, cases.regression(24), members=1, epochs=3)
    (layer,) = (one for one in trained.model(0).modules() if isinstance(one, nn.BatchNorm1d))
    assert int(layer.num_batches_tracked) == 3
    assert torch.equal(before, torch.get_rng_state())


def test_a_long_value_is_cut_off_in_its_sentence(unchecked):
    with pytest.raises(InputError) as refused:
        train(cases.perceptron, made(X, Y), members=2, epochs=1, seed=torch.zeros(100, 100))
    assert len(str(refused.value)) < 100


@pytest.mark.parametrize(
    ("build", "data", "loss"),
    [
        (cases.normalised, cases.regression(20), "mse"),
        (cases.perceptron, cases.regression(20), "smooth_l1"),
    ],
)
def test_the_stacked_backend_of_what_is_no_plain_perceptron_is_refused(build, data, loss, unchecked):
    loss = nn.SmoothL1Loss() if loss == "smooth_l1" else loss
    with pytest.raises(InputError, match="backend = stacked: only a plain multilayer perceptron on rows of numbers"):
        train(build, data, members=2, epochs=1, loss=loss, backend="stacked")
