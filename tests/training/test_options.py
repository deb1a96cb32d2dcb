"""Optimizers, schedules and losses of PyTorch, clipping, and the two forms of `train`, against plain loops."""

import functools
import json
import math

import pytest
import torch
from torch import nn

import bathymetry as bm
from bathymetry.core.errors import InputError
from bathymetry.core.randomness import stream, stream_seed
from bathymetry.training import SGD, Adam, Cosine, EvaluationSet, Measurement, TrainingConfig, train
from bathymetry.training.checkpoint import Checkpoint
from training import cases
from training.test_train import alone

DATA = cases.regression()
GIVEN = {"members": 3, "steps": 40, "batch_size": 5, "dtype": torch.float64}
schedulers = torch.optim.lr_scheduler


def assert_equal_to(trained, twin, member):
    for mine, other in zip(trained.model(member).parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-10)


def momentum(parameters):
    return torch.optim.SGD(parameters, lr=1e-2, momentum=0.8, nesterov=True)


OPTIMIZERS = {
    "RMSprop": functools.partial(torch.optim.RMSprop, lr=1e-3, momentum=0.5),
    "a class": torch.optim.Adagrad,
    "NAdam": functools.partial(torch.optim.NAdam, lr=1e-2),
    "a function": momentum,
    "Rprop": torch.optim.Rprop,
}


@pytest.mark.parametrize("build", [cases.perceptron, cases.normalised])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_any_optimizer_of_pytorch_trains_each_member_as_alone(name, build):
    data = cases.regression(20)
    trained = train(build, data, optimizer=OPTIMIZERS[name], **GIVEN)
    assert trained.backend == trained.record.attrs["backend"] == "loop"
    assert "has no stacked form: members were trained one by one" in trained.note
    assert trained.record.attrs["note"] == trained.note
    assert_equal_to(trained, alone(build, data, OPTIMIZERS[name], nn.MSELoss(), 2, 40, 5), 2)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)), "can't batch BatchNorm1d, which"),
        (lambda: nn.Sequential(nn.Linear(2, 4), nn.Dropout(0.5), nn.Linear(4, 1)), "can't batch Dropout, which"),
        (lambda: nn.Sequential(nn.Linear(2, 4), nn.LayerNorm(4), nn.Linear(4, 1)), ""),
    ],
)
def test_a_training_says_why_members_were_trained_one_by_one(build, words):
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    trained = train(build, (x, x[:, :1]), members=2, epochs=1, batch_size=5)
    assert words in trained.note
    assert bool(trained.note) == bool(words) == (trained.backend == "loop")


def plain_loop(build, data, make_optimizer, member, steps, batch_size, make_scheduler=None, clip=None):
    """A loop over one member in float64 with everything that a user adds to it."""
    with torch.random.fork_rng():
        torch.manual_seed(stream_seed(0, member, "initialisation"))
        module = build().double()
    optimizer = make_optimizer(list(module.parameters()))
    scheduler = make_scheduler(optimizer) if make_scheduler else None
    x, y = data.x_train.double(), data.y_train.double()
    epochs = range(steps)
    orders = (torch.randperm(len(x), generator=stream(0, member, "data order", epoch)) for epoch in epochs)
    batches = [rows for order in orders for rows in order.split(batch_size or len(x))][:steps]
    for rows in batches:

        def closure(rows=rows):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(module(x[rows]), y[rows])
            loss.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(module.parameters(), clip)
            return loss

        optimizer.step(closure)
        if scheduler is not None:
            scheduler.step()
    return module


@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("batch_size", [None, 5])
def test_lbfgs_evaluates_a_member_again_within_a_step(batch_size, clip):
    make = functools.partial(torch.optim.LBFGS, lr=0.1, max_iter=3, history_size=4)
    steps = 3 if clip else 6  # clipped gradients make it unstable
    given = {**GIVEN, "steps": steps, "batch_size": batch_size, "clip_norm": clip}
    trained = train(cases.perceptron, DATA, optimizer=make, **given)
    assert_equal_to(trained, plain_loop(cases.perceptron, DATA, make, 1, steps, batch_size, clip=clip), 1)


SCHEDULERS = {
    "StepLR": functools.partial(schedulers.StepLR, step_size=7, gamma=0.5),
    "OneCycleLR": functools.partial(schedulers.OneCycleLR, max_lr=0.05, total_steps=41),
    "a function of optimizer": lambda optimizer: schedulers.SequentialLR(
        optimizer, [schedulers.LinearLR(optimizer, 0.1, 1.0, 10), schedulers.ExponentialLR(optimizer, 0.9)], [10]
    ),
}


@pytest.mark.parametrize(
    "optimizer", [Adam(lr=1e-2), functools.partial(torch.optim.RMSprop, lr=1e-3)], ids=["Adam", "RMSprop"]
)
@pytest.mark.parametrize("name", SCHEDULERS)
def test_any_scheduler_of_pytorch_is_stepped_after_every_step(name, optimizer):
    make = functools.partial(torch.optim.Adam, lr=1e-2) if isinstance(optimizer, Adam) else optimizer
    if name == "OneCycleLR" and not isinstance(optimizer, Adam):
        pytest.skip("it cycles a momentum that RMSprop does not have")
    trained = train(cases.perceptron, DATA, optimizer=optimizer, schedule=SCHEDULERS[name], **GIVEN)
    assert trained.backend == ("stacked" if isinstance(optimizer, Adam) else "loop")
    twin = plain_loop(cases.perceptron, DATA, make, 2, 40, 5, SCHEDULERS[name])
    assert_equal_to(trained, twin, 2)


def half_cosine(progress):
    return 0.2 + 0.8 * (1 + math.cos(math.pi * progress)) / 2


def test_a_function_of_the_progress_is_a_schedule():
    for optimizer in (SGD(lr=0.1), functools.partial(torch.optim.SGD, lr=0.1)):
        own = train(cases.perceptron, DATA, optimizer=optimizer, schedule=half_cosine, **GIVEN)
        cosine = train(cases.perceptron, DATA, optimizer=optimizer, schedule=Cosine(0.2), **GIVEN)
        torch.testing.assert_close(own.theta, cosine.theta, rtol=1e-14, atol=0)


@pytest.mark.parametrize("batch_size", [None, 5])
@pytest.mark.parametrize("backend", ["stacked", "vmap", "loop"])
def test_each_members_gradient_is_clipped_as_by_pytorch(backend, batch_size):
    given = {**GIVEN, "batch_size": batch_size, "backend": backend, "clip_norm": 0.3}
    seen = {}

    def norms(state):
        seen[state.epoch] = state.gradients.vectors().norm(dim=1)
        return seen[state.epoch]

    trained = train(cases.perceptron, DATA, optimizer=SGD(lr=0.05), measurements={"norm": norms}, **given)
    make = functools.partial(torch.optim.SGD, lr=0.05)
    for member in (0, 2):
        assert_equal_to(trained, plain_loop(cases.perceptron, DATA, make, member, 40, batch_size, clip=0.3), member)
    assert max(one.max() for one in seen.values()) > 0.3  # measurements read the gradient before clipping


@pytest.mark.parametrize("batch_size", [None, 8])
@pytest.mark.parametrize(
    ("name", "loss", "make_data"),
    [
        ("mse", nn.MSELoss(), cases.regression),
        ("mse", nn.functional.mse_loss, cases.regression),
        ("cross_entropy", nn.CrossEntropyLoss(), cases.classification),
        ("cross_entropy", nn.functional.cross_entropy, cases.classification),
    ],
)
def test_the_plain_losses_of_pytorch_are_those_by_name_bit_for_bit(name, loss, make_data, batch_size):
    for build in (cases.perceptron, cases.convolution):
        given = {"members": 2, "epochs": 4, "batch_size": batch_size}
        by_name = train(build, make_data(24), loss=name, **given)
        own = train(build, make_data(24), loss=loss, **given)
        assert own.backend == by_name.backend == ("stacked" if build is cases.perceptron else "vmap")
        assert own.record.identical(by_name.record)
        assert torch.equal(own.theta, by_name.theta)


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(label_smoothing=0.1), nn.MSELoss(reduction="sum")])
def test_other_options_of_a_loss_are_not_those_by_name(loss):
    data = cases.classification() if isinstance(loss, nn.CrossEntropyLoss) else cases.regression()
    assert train(cases.perceptron, data, members=2, epochs=1, loss=loss).backend == "vmap"


@pytest.mark.parametrize(
    "given",
    [
        {"optimizer": torch.optim.Adadelta},
        {"optimizer": functools.partial(torch.optim.LBFGS, max_iter=2)},
        {"optimizer": functools.partial(torch.optim.RMSprop, lr=1e-3), "schedule": SCHEDULERS["StepLR"]},
        {"schedule": SCHEDULERS["OneCycleLR"]},
        {"clip_norm": 0.1},
    ],
    ids=str,
)
@pytest.mark.parametrize("stop_after", [1, 7])
def test_a_resumed_training_with_any_option_is_the_uninterrupted_one(given, stop_after):
    settings = {"members": 2, "steps": 12, "batch_size": 5, "snapshots": (1,), **given}
    kept = []
    whole = train(cases.perceptron, DATA, checkpoint=kept.append, checkpoint_every=0.0, **settings)
    left = Checkpoint(kept[stop_after].tensors, json.loads(json.dumps(kept[stop_after].state)))
    resumed = train(cases.perceptron, DATA, resume=left, **settings)
    assert resumed.record.identical(whole.record)
    assert torch.equal(resumed.theta, whole.theta)


def fresh(parameters):
    return torch.optim.Adamax(parameters)


class OwnOptimizer(torch.optim.SGD):
    pass


def test_configs_with_pytorchs_optimizers_are_described_by_name_and_keywords():
    def described(**given):
        return TrainingConfig(bm.MLPConfig((3, 2)), DATA, epochs=1, **given).description()

    one = described(optimizer=functools.partial(torch.optim.RMSprop, lr=1e-3))
    assert "RMSprop" in json.dumps(one)
    assert one != described(optimizer=functools.partial(torch.optim.RMSprop, lr=1e-2))
    assert described(optimizer=torch.optim.Adagrad) != described(optimizer=torch.optim.Adadelta)
    assert described(schedule=SCHEDULERS["StepLR"]) != described(schedule=SCHEDULERS["OneCycleLR"])
    assert "fresh" in json.dumps(described(optimizer=fresh))
    assert described(loss=nn.MSELoss()) == described(loss="mse") == described()
    assert described(clip_norm=1.0) != described()
    with pytest.raises(InputError, match="optimizer = OwnOptimizer: its source is not part of the config"):
        described(optimizer=OwnOptimizer)
    with pytest.raises(InputError, match=r"lr = \(0\.1, 0\.2\): .* one value for all members"):
        described(optimizer=SGD(lr=(0.1, 0.2)))
    with pytest.raises(InputError, match=r"targets = a tensor: .* a function of their numbers"):
        described(targets=torch.zeros(2, 23, 2))
    own = {"a": EvaluationSet(DATA.train, torch.zeros(2, 23, 2))}
    with pytest.raises(InputError, match=r"evaluate_on\[a\] = targets of certain members"):
        described(evaluate_on=own)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"optimizer": torch.optim.RMSprop, "backend": "vmap"}, "backend = vmap: this optimizer steps one network"),
        (
            {"optimizer": torch.optim.SparseAdam},
            r"optimizer = SparseAdam: it can't step a network \(SparseAdam does not",
        ),
        ({"optimizer": lambda parameters: 3}, "optimizer = a function that returns an int"),
        ({"optimizer": functools.partial(torch.optim.RMSprop, rate=1)}, "optimizer = .*unexpected keyword"),
        (
            {"optimizer": torch.optim.SGD([torch.zeros(1)])},
            r"optimizer = SGD\(…\): it already holds parameters; expected",
        ),
        ({"schedule": schedulers.ReduceLROnPlateau}, "schedule = ReduceLROnPlateau: expected"),
        ({"schedule": schedulers.StepLR}, "schedule = StepLR: it fails when it is called"),
        ({"schedule": lambda progress: "high"}, "schedule = a function that returns a str"),
        ({"schedule": int}, "schedule = int: expected"),
        ({"clip_norm": 0}, "clip_norm = 0"),
        ({"clip_norm": "1"}, "clip_norm = 1"),
        ({"learning_rate": 0.1}, "learning_rate"),
    ],
)
def test_options_that_can_not_be_are_named(given, words, unchecked):
    with pytest.raises((InputError, TypeError), match=words):
        train(cases.perceptron, DATA, members=2, epochs=1, **given)


def test_a_config_trains_as_its_fields_do():
    fields = {"epochs": 3, "batch_size": 7, "seed": 4, "snapshots": (1,), "clip_norm": 1.0}
    fields["measurements"] = {"norm": Measurement(lambda state: state.batch_loss, (0, 2), "norm_epoch")}
    config = TrainingConfig(bm.MLPConfig((3, 5, 2)), DATA, **fields)
    one, other = train(config, members=3), train(bm.MLPConfig((3, 5, 2)), DATA, members=3, **fields)
    assert one.record.identical(other.record)
    with pytest.raises(InputError, match=r"seed = an argument next to a config: .* dataclasses\.replace"):
        train(config, members=3, seed=5)


def test_functions_of_the_members_numbers_give_each_its_own_targets():
    own = torch.randn(9, 23, 2, generator=torch.Generator().manual_seed(3))
    sets = {"own": lambda members: EvaluationSet(DATA.train, own[members.start : members.stop])}
    config = TrainingConfig(
        bm.MLPConfig((3, 5, 2)), DATA, epochs=2, targets=lambda members: own[list(members)], evaluate_on=sets
    )
    part, whole = train(config, members=range(4, 6)), train(config, members=9)
    assert part.record.loss.sel(split="own").values == pytest.approx(
        whole.record.loss.sel(split="own", member=[4, 5]).values, rel=1e-5
    )


def test_training_takes_no_digest_of_the_data(monkeypatch):
    def refuse(data):
        raise AssertionError("a digest is taken")

    monkeypatch.setattr(bm.Data, "digest", property(refuse))
    train(cases.perceptron, (DATA.x_train, DATA.y_train, DATA.x_test, DATA.y_test), members=2, epochs=1)
    config = TrainingConfig(cases.perceptron, (DATA.x_train, DATA.y_train), epochs=1)
    train(config, members=2)
    with pytest.raises(AssertionError, match="a digest"):
        config.description()


@pytest.mark.parametrize(("examples_per_batch", "backend"), [(2, "vmap"), (200, "loop")])
def test_large_batches_of_a_general_network_train_in_a_loop(examples_per_batch, backend):
    """8,192 input numbers per batch are the limit of the documented rule; an MLP is stacked whatever its batch."""
    x = torch.randn(200, 1, 8, 8)
    data = (x, torch.randint(0, 2, (200,)))
    given = {"members": 2, "steps": 1, "batch_size": examples_per_batch, "loss": "cross_entropy"}

    def network():
        return nn.Sequential(nn.Conv2d(1, 2, 3), nn.GroupNorm(1, 2), nn.Flatten(), nn.Linear(72, 2))

    assert train(network, data, **given).backend == backend
    assert train(lambda: bm.mlp([64, 2]), (x.flatten(1), data[1]), **given).backend == "stacked"
