"""A training that is interrupted and goes on is bit for bit the one that was not."""

import json
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from bathymetry.core.errors import InputError
from bathymetry.training import SGD, Adam, AdamW, Cosine, Measurement, StopWhen, train
from bathymetry.training.checkpoint import Checkpoint, packed, unpacked
from training import cases
from training.test_options import assert_equal_to, plain_loop


class InterruptedTraining(Exception):  # noqa: N818 - it is no error
    pass


def interrupted_after(checkpoints, **settings):
    """Train until the given number of checkpoints, one after each step, then stop as a killed process would."""
    kept = []

    def keep(checkpoint):
        kept.append(checkpoint)
        if len(kept) == checkpoints:
            raise InterruptedTraining

    with pytest.raises(InterruptedTraining):
        train(**settings, checkpoint=keep, checkpoint_every=0.0)
    return Checkpoint(kept[-1].tensors, json.loads(json.dumps(kept[-1].state)))


@pytest.mark.parametrize("batch_size", [None, 5])
@pytest.mark.parametrize("steps_done", [1, 4, 5, 7, 12])
@pytest.mark.parametrize("build", [cases.perceptron, cases.convolution, cases.normalised, cases.with_dropout])
@pytest.mark.parametrize(
    "optimizer", [Adam(lr=1e-2), AdamW(), SGD(lr=1e-2, momentum=0.9)], ids=["Adam", "AdamW", "SGD"]
)
def test_a_resumed_training_is_the_uninterrupted_one(build, optimizer, batch_size, steps_done):
    settings = {
        "build": build,
        "data": cases.regression(),
        "members": range(2, 5),
        "optimizer": optimizer,
        "steps": 13,
        "batch_size": batch_size,
        "snapshots": (0, 1, 2),
        "measurements": {
            "norm": lambda moment: moment.gradients.vectors().norm(dim=1),
            "early": Measurement(lambda moment: moment.batch_loss, epochs=(0, 1), dimension="early_epoch"),
        },
    }
    whole = train(**settings)
    resumed = train(**settings, resume=interrupted_after(steps_done, **settings))
    assert resumed.record.identical(whole.record)
    assert resumed.snapshots.keys() == whole.snapshots.keys()
    for epoch, snapshot in whole.snapshots.items():
        assert all(torch.equal(resumed.snapshots[epoch][name], values) for name, values in snapshot.items())
    for member in whole.members:
        ends = zip(resumed.model(member).state_dict().values(), whole.model(member).state_dict().values(), strict=True)
        assert all(torch.equal(one, other) for one, other in ends)


def test_members_that_had_stopped_stay_where_they_stopped():
    settings = {
        "build": cases.perceptron,
        "data": cases.regression(),
        "members": 4,
        "optimizer": Adam(lr=3e-2),
        "epochs": 40,
        "stop": StopWhen("train_loss", at_most=0.7),
    }
    whole = train(**settings)
    stopped = sorted(int(one) for one in whole.record["stopped_at"].values if one >= 0)
    assert stopped
    resumed = train(**settings, resume=interrupted_after(stopped[0] + 2, **settings))
    assert resumed.record.identical(whole.record)


def test_a_member_is_the_same_alone_in_a_stack_and_after_a_resume():
    settings = {"build": cases.perceptron, "data": cases.regression(), "steps": 20, "batch_size": 5}
    settings["dtype"] = torch.float64
    stack = train(**settings, members=10)
    alone = train(**settings, members=range(3, 4))
    resumed = train(**settings, members=10, resume=interrupted_after(7, **settings, members=10))
    for name, values in stack.parameters.items():
        assert torch.equal(resumed.parameters[name], values)
        torch.testing.assert_close(alone.parameters[name][0], values[3], rtol=0, atol=1e-10)


def test_a_checkpoint_of_other_members_is_refused():
    settings = {"build": cases.perceptron, "data": cases.regression(), "steps": 5}
    checkpoint = interrupted_after(2, **settings, members=3)
    with pytest.raises(InputError, match="this very training"):
        train(**settings, members=range(3, 6), resume=checkpoint)


def test_progress_rises_to_the_share_that_is_done():
    shares = []
    train(cases.with_dropout, cases.regression(), members=6, epochs=150, batch_size=2, progress=shares.append)
    assert shares
    assert shares == sorted(shares)
    assert shares[0] > 0
    assert shares[-1] <= 1


def test_the_training_loss_at_hand_is_the_loss_of_a_second_look():
    data = cases.regression()
    sets = {"train": data.train, "test": data.test}
    taken = train(cases.perceptron, data, members=3, epochs=9, dtype=torch.float64).record
    looked = train(cases.perceptron, data, members=3, epochs=9, dtype=torch.float64, evaluate_on=sets).record
    torch.testing.assert_close(
        torch.tensor(taken["loss"].sel(split="train").values),
        torch.tensor(looked["loss"].sel(split="train").values),
        rtol=1e-12,
        atol=0,
    )


def test_snapshots_come_in_order_whatever_the_order_in_which_a_checkpoint_lists_them():
    settings = {"build": cases.perceptron, "data": cases.regression(), "members": 2, "epochs": 11}
    settings["snapshots"] = range(0, 11, 2)
    whole = train(**settings)
    left = interrupted_after(11, **settings)
    alphabetical = Checkpoint(dict(sorted(left.tensors.items())), left.state)
    resumed = train(**settings, resume=alphabetical)
    assert list(resumed.snapshots) == [0, 2, 4, 6, 8, 10, 11]
    assert torch.equal(resumed.trajectory, whole.trajectory)


class DecayingSGD(torch.optim.SGD):
    """It keeps its rate among the hyperparameters and its count in an attribute."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, lr=lr)
        self.count = 0

    def step(self, closure=None):
        self.count += 1
        for group in self.param_groups:
            group["lr"] *= 0.97
            group["betas"] = (0.9, 1 / self.count)
            group["weight_decay"] = 0.1 * group["betas"][1]
        return super().step(closure)


class Counting(nn.Module):
    """Outputs depend on a number, a tensor and a list that passes in training mode change."""

    def __init__(self):
        super().__init__()
        self.layer, self._passes, self.scale, self.history = nn.Linear(3, 2), 0, torch.ones(()), []

    def forward(self, x):
        if self.training:
            self._passes += 1
            self.scale = 0.9 * self.scale + 0.1 * x.detach().square().mean()
            self.history.append((self._passes, 1 / self._passes))
        return self.layer(x) * self.scale * (1 + self._passes % 3) * (1 + sum(one for _, one in self.history))


class Switched(nn.Module):
    """A batch reaches one of two layers."""

    def __init__(self):
        super().__init__()
        self.either = nn.ModuleList([nn.Linear(3, 2), nn.Linear(3, 2)])

    def forward(self, x):
        return self.either[int(x[0, 0] > 0)](x)


@pytest.mark.parametrize("batch_size", [None, 5])
@pytest.mark.parametrize("steps_done", [1, 7])
@pytest.mark.parametrize(
    "own",
    [
        {"optimizer": partial(DecayingSGD, lr=0.1)},
        {"optimizer": partial(torch.optim.RMSprop, lr=1e-2), "schedule": Cosine()},
        {"build": Counting},
        {"build": Switched, "optimizer": AdamW(lr=1e-2, weight_decay=0.5)},
        {"build": Switched, "optimizer": AdamW(lr=(1e-2, 1e-3, 1e-2))},
    ],
    ids=[
        "rates that a step changes",
        "a function as schedule",
        "a network that counts",
        "gradients that are missing",
        "rates",
    ],
)
def test_what_is_kept_in_no_tensor_of_pytorch_is_resumed_too(own, steps_done, batch_size):
    settings = {"build": cases.perceptron, "data": cases.regression(), "members": 3, "steps": 13, **own}
    settings["batch_size"] = batch_size
    whole = train(**settings)
    resumed = train(**settings, resume=interrupted_after(steps_done, **settings))
    assert resumed.record.identical(whole.record)
    assert all(torch.equal(resumed.parameters[name], values) for name, values in whole.parameters.items())


def test_an_optimizer_that_changes_its_rate_keeps_it():
    settings = {"members": 2, "steps": 13, "batch_size": 5, "dtype": torch.float64}
    make = partial(DecayingSGD, lr=0.1)
    trained = train(cases.perceptron, cases.regression(), optimizer=make, **settings)
    for member in (0, 1):
        assert_equal_to(trained, plain_loop(cases.perceptron, cases.regression(), make, member, 13, 5), member)


class CountingInAnObject(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.counts = nn.Linear(3, 2), SimpleNamespace(passes=0)

    def forward(self, x):
        self.counts.passes += self.training
        return self.layer(x) / (1 + self.counts.passes)


def test_a_network_that_changes_what_a_checkpoint_can_not_hold_is_refused():
    settings = {"build": CountingInAnObject, "data": cases.regression(), "members": 2, "steps": 3}
    words = "build = CountingInAnObject whose attribute counts changes: a checkpoint holds numbers, texts and tensors"
    with pytest.raises(InputError, match=words):
        train(**settings, checkpoint=lambda checkpoint: None, checkpoint_every=0.0)
    assert train(**settings).backend == "loop"


class Averaging(nn.Module):
    """Its buffer is another tensor after each pass, and it counts passes."""

    def __init__(self):
        super().__init__()
        self.layer, self.passes = nn.Linear(3, 2), 0
        self.register_buffer("mean", torch.zeros(2))

    def forward(self, x):
        outputs = self.layer(x)
        if self.training:
            self.passes += 1
            self.mean = 0.9 * self.mean + 0.1 * outputs.detach().mean(0)
        return outputs - self.mean / self.passes


@pytest.mark.parametrize("batch_size", [None, 5])
def test_a_member_that_stopped_keeps_its_buffers_and_counts(batch_size):
    settings = {"members": 4, "optimizer": Adam(lr=3e-2), "epochs": 12, "batch_size": batch_size}
    first = train(Averaging, cases.regression(), **settings).record.loss.sel(split="train").values
    stop = StopWhen("train_loss", at_most=float(sorted(first[:, 4])[1]))
    record = train(Averaging, cases.regression(), stop=stop, **settings).record
    stopped = {member: int(epoch) for member, epoch in enumerate(record.stopped_at.values) if 0 <= epoch < 12}
    assert stopped
    for member, epoch in stopped.items():
        losses = record.loss.sel(split="train").values[member, epoch:]
        assert (losses == losses[0]).all()


def without_loss(state):
    del state["parts"]["0"]["rows"]["train_loss"]


def without_measurement(state):
    del state["parts"]["0"]["rows"]["norm"]
    del state["parts"]["0"]["epochs"]["norm"]


def with_a_stranger(state):
    state["parts"]["0"]["epochs"]["other"] = state["parts"]["0"]["epochs"]["train_loss"]


def with_a_tensor_of_its_own(state):
    state["parts"]["0"]["rows"]["other"] = state["parts"]["0"]["rows"]["train_loss"].clone()


def at_one_epoch(state):
    state["parts"]["0"]["epochs"]["test_accuracy"] = [9] * len(state["parts"]["0"]["epochs"]["test_accuracy"])


def at_late_epochs(state):
    state["parts"]["0"]["epochs"]["early"] = [7]


def without_snapshot(state):
    del state["parts"]["0"]["snapshots"][1]


def at_another_epoch(state):
    state["parts"]["0"]["rows"]["norm"] = state["parts"]["0"]["rows"]["norm"][:, :2]


def after_another_step(state):
    state["step"] += 1


def of_another_network(state):
    state["parameters"]["0.weight"] = state["parameters"]["0.weight"].flatten(1)


def without_gradients(state):
    del state["gradients"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without_loss, r"with part 0 rows train_loss None instead of \[2, 3\]"),
        (with_a_stranger, r"with part 0 epochs other \[0, 1, 2\] instead of None"),
        (with_a_tensor_of_its_own, r"with part 0 rows other \[2, 3\] instead of None"),
        (without_measurement, r"with part 0 epochs norm None instead of \[0, 1, 2\]"),
        (at_one_epoch, r"with part 0 epochs test_accuracy \[9, 9, 9\] instead of \[0, 1, 2\]"),
        (at_another_epoch, r"with part 0 rows norm \[2, 2\] instead of \[2, 3\]"),
        (at_late_epochs, r"with part 0 epochs early \[7\] instead of \[1\]"),
        (without_snapshot, r"with part 0 snapshots 1 0.weight None instead of \(2, 7, 3\)"),
        (after_another_step, "at step 13 after 2 batches of epoch 2"),
        (of_another_network, r"with parameters 0.weight \(2, 21\) torch.float32 instead of \(2, 7, 3\)"),
        (without_gradients, "that can't be read .*gradients"),
    ],
)
def test_a_checkpoint_that_differs_from_the_training_is_refused(change, words):
    settings = {
        "build": cases.perceptron,
        "data": cases.classification(),
        "loss": "cross_entropy",
        "members": 2,
        "steps": 20,
        "batch_size": 5,
        "snapshots": (0, 1),
        "measurements": {
            "norm": lambda moment: moment.gradients.vectors().norm(dim=1),
            "early": Measurement(lambda moment: moment.batch_loss, epochs=(1,), dimension="early_epoch"),
        },
    }
    checkpoint = interrupted_after(12, **settings)
    state = unpacked(checkpoint)
    assert train(**settings, resume=packed(state)).record.identical(train(**settings).record)
    change(state)
    with pytest.raises(InputError, match=f"resume = a checkpoint {words}.*this very training"):
        train(**settings, resume=packed(state))


def test_a_checkpoint_without_one_of_its_tensors_is_refused():
    settings = {"build": cases.perceptron, "data": cases.regression(), "members": 2, "steps": 5}
    checkpoint = interrupted_after(2, **settings)
    tensors = {name: one for name, one in checkpoint.tensors.items() if name != "parts/0/rows/train_loss"}
    with pytest.raises(InputError, match=r"resume = a checkpoint that can't be read .*parts/0/rows/train_loss"):
        train(**settings, resume=Checkpoint(tensors, checkpoint.state))
