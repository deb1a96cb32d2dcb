"""The loss that training records is the loss of the whole set, however many members train and however it is cut."""

import pytest
import torch
from torch import nn

import bathymetry as bm
from bathymetry.core.errors import InputError
from bathymetry.training import EvaluationSet, records, train

N = 2_300
GENERATOR = torch.Generator().manual_seed(11)
X = torch.randn(N, 4, generator=GENERATOR)
LABELS = (X[:, 0] > 0.8).long() + (X[:, 1] > 1).long()
SORTED = LABELS.argsort()  # by class, as a data set read from folders is
SIZES = torch.rand(N, generator=GENERATOR)  # of what some labels are ignored by
WEIGHT = torch.tensor([1.0, 10.0, 0.3])


def ignoring(label):
    return torch.where((SIZES < 0.4) | (torch.arange(N) < 500), label, LABELS[SORTED])


def weighted_error(outputs, targets):
    weights = 1.0 + 5.0 * (targets > 0)
    return (weights * (outputs - targets) ** 2).sum() / weights.sum()


def sum_and_count(outputs, targets):
    weights = 1.0 + 5.0 * (targets > 0)
    return (weights * (outputs - targets) ** 2).sum(), weights.sum()


def contrast(outputs, targets):
    return (outputs - outputs.mean(0)).square().mean() + (outputs * targets).mean().square()


VALUES = torch.randn(N, 3, generator=GENERATOR).sort(0).values
LOSSES = {
    "by class": (nn.CrossEntropyLoss(weight=WEIGHT), LABELS[SORTED]),
    "with smoothing": (nn.CrossEntropyLoss(weight=WEIGHT, label_smoothing=0.2), LABELS[SORTED]),
    "ignoring 255": (nn.CrossEntropyLoss(ignore_index=255), ignoring(255)),
    "ignoring 255 by class": (nn.CrossEntropyLoss(weight=WEIGHT, ignore_index=255), ignoring(255)),
    "ignoring -100 by name": ("cross_entropy", ignoring(-100)),
    "ignoring a class": (nn.CrossEntropyLoss(ignore_index=1), LABELS[SORTED]),
    "a sum": (nn.CrossEntropyLoss(reduction="sum"), LABELS[SORTED]),
    "a sum of squares": (nn.MSELoss(reduction="sum"), VALUES),
    "probabilities": (nn.CrossEntropyLoss(weight=WEIGHT), VALUES.softmax(1)),
    "binary": (nn.BCEWithLogitsLoss(pos_weight=WEIGHT), (VALUES > 0).float()),
    "binary by output": (nn.BCEWithLogitsLoss(weight=WEIGHT), (VALUES > 0).float()),
    "Huber": (nn.HuberLoss(delta=0.5), VALUES),
    "absolute": (nn.L1Loss(), VALUES),
    "Poisson": (nn.PoissonNLLLoss(), VALUES.abs().round()),
    "divergence": (nn.KLDivLoss(reduction="batchmean"), VALUES.softmax(1)),
    "a function": (weighted_error, VALUES),
    "a function of all examples": (contrast, VALUES),
    "a sum and a count": (sum_and_count, VALUES),
    "by name": ("cross_entropy", LABELS[SORTED]),
    "squares by name": ("mse", VALUES),
}


def truth(loss, outputs, targets):
    named = {"mse": nn.MSELoss(), "cross_entropy": nn.CrossEntropyLoss()}
    value = (named.get(loss, loss) if isinstance(loss, str) else loss)(outputs, targets)
    return value[0] / value[1] if isinstance(value, tuple) else value


@pytest.mark.parametrize("members", [1, 3, 10])
@pytest.mark.parametrize("name", LOSSES)
def test_the_recorded_loss_is_that_of_the_whole_set(name, members, monkeypatch):
    monkeypatch.setattr(records, "_PASS_NUMBERS", records._FEWEST_NUMBERS * 271)  # passes of 271 examples
    loss, targets = LOSSES[name]
    loss = loss.double() if isinstance(loss, nn.Module) else loss
    data = (X[SORTED].double(), targets.double() if targets.is_floating_point() else targets)
    trained = train(
        lambda: bm.mlp([4, 5, 3], "tanh"), data, members=members, loss=loss, steps=2, batch_size=1_900,
        optimizer=bm.SGD(lr=1e-5), dtype=torch.float64,
    )  # fmt: skip
    for member in {0, members - 1}:
        model = trained.model(member)
        expected = truth(loss, model(data[0]), data[1]).item()
        assert float(trained.record.loss.sel(split="train")[member, -1]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", [name for name in LOSSES if not name.startswith("a function")])
def test_the_loss_surface_has_the_loss_that_was_recorded(name):
    loss, targets = LOSSES[name]
    loss = loss.double() if isinstance(loss, nn.Module) else loss
    data = (X[SORTED].double(), targets.double() if targets.is_floating_point() else targets)
    trained = train(lambda: bm.mlp([4, 5, 3]), data, members=2, loss=loss, steps=1, dtype=torch.float64)
    batches = list(zip(data[0].split(700), data[1].split(700), strict=True))
    surface = bm.LossSurface(trained.model(1), loss, batches, dtype=torch.float64)
    assert float(surface.loss()) == pytest.approx(float(trained.record.loss.sel(split="train")[1, -1]), rel=1e-12)


@pytest.mark.parametrize("batch_size", [None, 500])
@pytest.mark.parametrize("build", [lambda: bm.mlp([4, 5, 3]), lambda: nn.Sequential(nn.Dropout(0.1), nn.Linear(4, 3))])
@pytest.mark.parametrize(
    ("loss", "label"), [("cross_entropy", -100), (nn.CrossEntropyLoss(ignore_index=255), 255), (nn.NLLLoss(), -100)]
)
def test_accuracy_is_the_share_of_the_labels_that_count(loss, label, build, batch_size):
    data = (X[SORTED], ignoring(label))
    trained = train(build, data, members=2, loss=loss, epochs=1, batch_size=batch_size)
    counted = data[1] != label
    right = (trained.model(1)(data[0]).argmax(1) == data[1])[counted]
    assert float(trained.record.accuracy.sel(split="train")[1, -1]) == pytest.approx(
        right.double().mean().item(), rel=1e-12
    )


def test_ignored_places_of_an_image_train_as_by_pytorch():
    pixels = torch.randn(30, 2, 4, 4, generator=GENERATOR)
    labels = torch.randint(0, 3, (30, 4, 4), generator=GENERATOR)
    labels[:, 0], labels[:7] = 255, 255
    loss = nn.CrossEntropyLoss(weight=WEIGHT.double(), ignore_index=255)
    trained = train(
        lambda: nn.Conv2d(2, 3, 1), (pixels, labels), members=3, loss=loss, steps=4, dtype=torch.float64,
        optimizer=bm.SGD(lr=0.1),
    )  # fmt: skip
    start = train(lambda: nn.Conv2d(2, 3, 1), (pixels, labels), members=3, loss=loss, steps=1, dtype=torch.float64,
                  snapshots=(0,), optimizer=bm.SGD(lr=0.1))  # fmt: skip
    twin = nn.Conv2d(2, 3, 1).double()
    with torch.no_grad():
        for name, parameter in twin.named_parameters():
            parameter.copy_(start.snapshots[0][name][2])
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1)
    for _ in range(4):
        optimizer.zero_grad()
        loss(twin(pixels.double()), labels).backward()
        optimizer.step()
    torch.testing.assert_close(trained.parameters["weight"][2], twin.weight.detach(), rtol=1e-10, atol=1e-12)
    counted = labels != 255
    right = (twin(pixels.double()).argmax(1) == labels)[counted].double().mean().item()
    assert float(trained.record.accuracy.sel(split="train")[2, -1]) == pytest.approx(right)


@pytest.mark.parametrize(
    ("loss", "targets", "words"),
    [
        ("cross_entropy", ignoring(255), r"y_train = classes from 0 to 255.*\(ignore_index=255\)"),
        (nn.CrossEntropyLoss(), ignoring(255), r"y_train = classes from 0 to 255.*\(ignore_index=255\)"),
        (nn.CrossEntropyLoss(ignore_index=255), ignoring(-100), r"y_train = classes from -100 .*\(ignore_index=-100\)"),
        ("cross_entropy", torch.full((N,), -100), "y_train = 2300 labels that the loss ignores"),
        (nn.NLLLoss(), LABELS + 1, "y_train = classes from 1 to 3"),
    ],
)
def test_labels_that_the_loss_does_not_ignore_are_named(loss, targets, words, unchecked):
    with pytest.raises(InputError, match=words):
        train(lambda: bm.mlp([4, 3]), (X, targets), members=2, loss=loss, epochs=1)


def squared(outputs, targets):
    return ((outputs - targets) ** 2).mean()


@pytest.mark.parametrize("loss", [squared, nn.PoissonNLLLoss(), nn.SoftMarginLoss(), nn.MSELoss()])
@pytest.mark.parametrize("shape", [(N,), (N, 1)])
def test_a_loss_that_compares_every_output_with_every_target_is_refused(loss, shape, unchecked):
    build = (lambda: nn.Linear(4, 1)) if len(shape) == 1 else (lambda: nn.Sequential(nn.Linear(4, 1), nn.Flatten(0)))
    with pytest.raises(InputError, match=r"loss = .*(shape|size)"):
        train(build, (X, X[:, :1].sign().reshape(shape)), members=2, loss=loss, epochs=1)


def model_error(model, batch):
    return (model(batch[0]) - batch[1]).square().mean()


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (model_error, r"loss = model_error: a loss of \(model, batch\) is for surfaces"),
        (lambda output, targets: (output - targets).square(), r"loss = gives shape \(8, 3\)"),
        (lambda output, targets: 1.0, "loss = gives a float"),
        (lambda output, targets: (output.sum(), "many"), "loss = gives a str as count"),
    ],
)
def test_what_is_no_loss_of_outputs_and_targets_is_named(loss, words, unchecked):
    with pytest.raises(InputError, match=words):
        train(lambda: bm.mlp([4, 3]), (X, VALUES), members=2, loss=loss, epochs=1)


def test_a_loss_that_fits_the_shapes_itself_is_taken():
    given = {"members": 2, "epochs": 2, "dtype": torch.float64}
    flat = train(lambda: nn.Linear(4, 1), (X, X[:, 0]), loss=lambda o, t: squared(o.squeeze(1), t), **given)
    full = train(lambda: nn.Linear(4, 1), (X, X[:, :1]), loss="mse", **given)
    assert flat.record.loss.sel(split="train").values == pytest.approx(
        full.record.loss.sel(split="train").values, rel=1e-12
    )


def test_each_member_is_judged_by_labels_of_its_own():
    own = torch.stack([LABELS, ignoring(-100)[SORTED.argsort()]])
    own[0, :100] = -100
    sets = {"own": EvaluationSet(bm.Examples(X, LABELS), own)}
    trained = train(
        lambda: bm.mlp([4, 5, 3]), (X, LABELS), members=2, loss="cross_entropy", epochs=1, evaluate_on=sets,
        dtype=torch.float64,
    )  # fmt: skip
    for member in (0, 1):
        outputs = trained.model(member)(X.double())
        expected = nn.functional.cross_entropy(outputs, own[member]).item()
        assert float(trained.record.loss.sel(split="own")[member, -1]) == pytest.approx(expected, rel=1e-12)
