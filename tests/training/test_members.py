"""Members are networks of their own that differ; what is no such thing is named, with the way on."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, default_collate

import bathymetry as bm
from bathymetry.core import system
from bathymetry.core.errors import InputError
from bathymetry.training import TrainingConfig, ensemble, train
from training import cases

DATA = cases.classification(24)
LOSS = nn.functional.cross_entropy
START = cases.perceptron()
NORMALISED = cases.normalised()
BODY = nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6), nn.ReLU())


def seeded():
    torch.manual_seed(0)
    return cases.perceptron()


def zeros():
    network = nn.Linear(3, 2)
    nn.init.zeros_(network.weight)
    nn.init.zeros_(network.bias)
    return network


def every_other():
    """Two networks in turn."""
    networks = (cases.perceptron(), cases.perceptron())
    place = [0]

    def build():
        place[0] += 1
        return networks[place[0] % 2]

    return build


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: START, "networks 0 and 1 share 0.weight"),
        (lambda: NORMALISED, "networks 0 and 1 share 0.weight"),
        (lambda: copy.deepcopy(START), "networks 0 and 1 begin with equal parameters"),
        (seeded, "networks 0 and 1 begin with equal parameters"),
        (zeros, "networks 0 and 1 begin with equal parameters"),
        (every_other(), "networks 0 and 2 share 0.weight"),
        (lambda: nn.Sequential(BODY, nn.Linear(6, 2)), "networks 0 and 1 share 0.0.weight"),
    ],
    ids=["one network", "one with BatchNorm", "copies", "a seed inside", "zeros", "two in turn", "a shared layer"],
)
def test_members_that_do_not_differ_are_refused_with_the_way_on(build, words, unchecked):
    with pytest.raises(InputError, match=rf"build = a function whose {words}: .*same_start=True"):
        train(build, DATA, members=3, epochs=1, loss="cross_entropy")


@pytest.mark.parametrize("one", [START, NORMALISED], ids=["plain", "BatchNorm"])
def test_copies_of_one_start_train_each_for_itself_where_that_is_meant(one):
    before = copy.deepcopy(one.state_dict())
    given = {"members": 3, "epochs": 4, "batch_size": 6, "loss": "cross_entropy", "dtype": torch.float64}
    trained = train(lambda: one, DATA, same_start=True, **given)
    first = trained.record.loss.sel(split="train").sel(epoch=0).values
    assert first.max() - first.min() < 1e-12
    last = trained.record.loss.sel(split="train").isel(epoch=-1).values
    models = [LOSS(trained.model(member)(DATA.x_train.double()), DATA.y_train).item() for member in range(3)]
    assert last == pytest.approx(models, rel=1e-9)
    assert len(set(models)) == 3  # by the order of their batches
    assert all(torch.equal(one.state_dict()[name], values) for name, values in before.items())


def test_a_layer_that_all_share_and_none_trains_stays_as_it_is():
    body = copy.deepcopy(BODY).requires_grad_(False)
    before = copy.deepcopy(body.state_dict())
    trained = train(
        lambda: nn.Sequential(body, nn.Linear(6, 2)), DATA, members=2, epochs=3, batch_size=8, loss="cross_entropy",
        dtype=torch.float64,
    )  # fmt: skip
    assert all(torch.equal(body.state_dict()[name], values) for name, values in before.items())
    for member in (0, 1):
        model = trained.model(member)
        assert float(trained.record.loss.sel(split="train")[member, -1]) == pytest.approx(
            LOSS(model(DATA.x_train.double()), DATA.y_train).item(), rel=1e-9
        )
        assert int(model[0][1].num_batches_tracked) == 9


def test_a_network_that_a_function_keeps_is_left_as_it_was():
    kept = cases.with_dropout().eval()
    before = copy.deepcopy(kept.state_dict())
    train(lambda: kept, cases.regression(), members=1, epochs=2, dtype=torch.float64)
    assert not kept.training
    assert all(torch.equal(kept.state_dict()[name], values) for name, values in before.items())


class Fourier(nn.Module):
    """Random features in an attribute, which is neither a parameter nor a buffer."""

    def __init__(self):
        super().__init__()
        self.directions, self.gate, self.last = torch.randn(3, 8), nn.Parameter(torch.zeros(())), nn.Linear(8, 2)

    def forward(self, x):
        return self.last((x @ self.directions.to(x.dtype)).cos() * self.gate)


def one_of_two():
    activation = nn.ReLU if torch.rand(()) < 0.5 else nn.Tanh
    return nn.Sequential(nn.Linear(3, 5), activation(), nn.Linear(5, 2))


@pytest.mark.parametrize("build", [Fourier, one_of_two])
def test_what_differs_besides_the_parameters_is_each_members_own(build):
    trained = train(build, DATA, members=6, epochs=3, loss="cross_entropy", dtype=torch.float64)
    for member in range(6):
        expected = LOSS(trained.model(member)(DATA.x_train.double()), DATA.y_train).item()
        assert float(trained.record.loss.sel(split="train")[member, -1]) == pytest.approx(expected, rel=1e-9)


def fails():
    raise FileNotFoundError("weights.pt is not there")


class LazyNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.last = nn.LazyBatchNorm1d(affine=False), nn.Linear(3, 2)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: nn.DataParallel(nn.Linear(3, 2)), r"build = a DataParallel: .* `\.module`"),
        (lambda: torch.compile(nn.Linear(3, 2)), r"build = an OptimizedModule: .* `\._orig_mod`"),
        (lambda: torch.jit.script(nn.Linear(3, 2)), "build = a RecursiveScriptModule: "),
        (lambda: nn.Linear(3, 2, device="meta"), "build = weight on the meta device"),
        (
            lambda: nn.Sequential(nn.LazyLinear(4), nn.Linear(4, 2)),
            r"build = 0\.weight that is not initialised: its lazy layers",
        ),
        (LazyNorm, r"build = norm\.running_mean that is not initialised: its lazy layers"),
        (fails, r"build = fails: it fails .*weights\.pt is not there"),
        (nn.Linear, "build = Linear: it fails when it is called without arguments"),
        (lambda: nn.Linear(3, 2).state_dict(), "build = a function that returns an OrderedDict"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_is_no_plain_network_is_named_with_the_way_on(build, words, unchecked):
    with pytest.raises(InputError, match=words):
        train(build, cases.regression(), members=2, epochs=1)


class Heavy(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1).expand(10**12))  # claims 4 TB and takes 4 bytes


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"members": 10**9}, r"members = 1000000000: networks of \d+ parameters take about .* expected at most"),
        ({"members": 10**30}, "members = 10+: expected at most"),
        ({"members": range(10**12)}, "members = 1000000000000: networks of"),
        ({"build": Heavy}, "members = 2: networks of 1,000,000,000,000 parameters .* a smaller network"),
        ({"epochs": 10**13}, "record_at = 10,000,000,000,001 epochs"),
        ({"epochs": 10**30}, "epochs = 10+: expected at most"),
        ({"epochs": 10**13, "record_at": (), "snapshots": range(10**13)}, "snapshots = 10,000,000,000,000 epochs"),
        ({"record_at": range(10**12)}, "record_at = 999999999999: expected epochs from 0 to 1"),
        ({"steps": 10**14, "epochs": None}, "record_at = "),
    ],
)
def test_what_no_machine_can_hold_is_refused_before_it_is_allocated(given, words, unchecked):
    settings = {"build": cases.perceptron, "members": 2, "epochs": 1, **given}
    with pytest.raises(InputError, match=words):
        train(data=cases.regression(), **settings)


def test_what_an_ensemble_takes_is_compared_with_what_is_free(monkeypatch, unchecked):
    for module in (ensemble, system):
        monkeypatch.setattr(module, "free_bytes", lambda: 1_000_000)
    train(cases.perceptron, cases.regression(), members=2, epochs=1)
    with pytest.raises(InputError, match=r"members = 100: networks of 80 parameters take about 4 MB and .* 1 MB"):
        train(cases.perceptron, cases.regression(), members=100, epochs=1)


@pytest.mark.parametrize("data", [DataLoader, lambda one: one], ids=["a loader", "a data set"])
def test_a_loader_is_answered_with_a_way_that_works(data, unchecked):
    pairs = TensorDataset(DATA.x_train, DATA.y_train)
    given = {"members": 2, "epochs": 1, "loss": "cross_entropy"}
    with pytest.raises(InputError, match=r"data = \w+: .*default_collate\(list\(loader\.dataset\)\)"):
        train(cases.perceptron, data(pairs), **given)
    loader = DataLoader(pairs, batch_size=5)
    collected = train(cases.perceptron, default_collate(list(loader.dataset)), **given)
    plain = train(cases.perceptron, (DATA.x_train, DATA.y_train), **given)
    assert collected.record.identical(plain.record)


ODD = {
    "a network": nn.Linear(3, 2), "a text": "a", "an object": object(), "nan": float("nan"), "infinity": float("inf"),
    "bytes": b"a", "a complex number": 1j, "a tensor": torch.zeros(3), "a set": {"a"},
    "an array": torch.ones(3).numpy(),
    "nothing on meta": torch.zeros(2, 23, 2, device="meta"), "sparse": torch.zeros(2, 23, 2).to_sparse(),
    "a class": int, "a mapping": {"a": 1},
}  # fmt: skip
NONE_IS_FINE = {
    "steps", "optimizer", "batch_size", "schedule", "stop", "targets", "evaluate_on", "record_at", "measurements",
    "progress", "checkpoint", "resume",
}  # fmt: skip
FINE = {("progress", "a network"), ("checkpoint", "a network"), ("checkpoint_every", "infinity"),
        ("loss", "a network")}  # fmt: skip
ARGUMENTS = [
    "build", "data", "members", "seed", "same_start", "optimizer", "loss", "epochs", "steps", "batch_size", "schedule",
    "stop", "targets", "evaluate_on", "record_at", "measurements", "snapshots", "dtype", "device", "backend",
    "progress", "checkpoint", "checkpoint_every", "resume",
]  # fmt: skip


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_every_odd_argument_is_answered_in_one_sentence(argument, unchecked):
    for kind, value in {**ODD, "None": None}.items():
        if (argument, kind) in FINE or (kind == "None" and argument in NONE_IS_FINE):
            continue
        settings = {"build": cases.perceptron, "data": cases.regression(), "members": 2, "epochs": 1, argument: value}
        if argument == "steps" and kind != "None":
            del settings["epochs"]
        with pytest.raises(InputError) as refused:
            train(**settings)
        assert "\n" not in str(refused.value), kind


def test_a_setting_says_same_start_only_where_it_is_so():
    given = {"network": bm.MLPConfig((3, 2)), "data": cases.regression(), "epochs": 1}
    assert "same_start" not in TrainingConfig(**given).description()
    assert TrainingConfig(**given, same_start=True).description()["same_start"] is True
