"""A training that is interrupted and goes on is bit for bit the one that was not."""

import json

import pytest
import torch

from bathymetry.core.errors import InputError
from bathymetry.training import SGD, Adam, AdamW, Measurement, StopWhen, train
from bathymetry.training.checkpoint import Checkpoint, packed, unpacked
from training import cases


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


def without_loss(state):
    del state["rows"]["train_loss"]


def without_measurement(state):
    del state["rows"]["norm"]
    del state["epochs"]["norm"]


def with_a_stranger(state):
    state["epochs"]["other"] = state["epochs"]["train_loss"]


def with_a_tensor_of_its_own(state):
    state["rows"]["other"] = state["rows"]["train_loss"].clone()


def at_one_epoch(state):
    state["epochs"]["test_accuracy"] = [9] * len(state["epochs"]["test_accuracy"])


def at_late_epochs(state):
    state["epochs"]["early"] = [7]


def without_snapshot(state):
    del state["snapshots"][1]


def at_another_epoch(state):
    state["rows"]["norm"] = state["rows"]["norm"][:, :2]


def after_another_step(state):
    state["step"] += 1


def of_another_network(state):
    state["parameters"]["0.weight"] = state["parameters"]["0.weight"].flatten(1)


def without_gradients(state):
    del state["gradients"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without_loss, r"with rows train_loss None instead of \[2, 3\]"),
        (with_a_stranger, r"with epochs other \[0, 1, 2\] instead of None"),
        (with_a_tensor_of_its_own, r"with rows other \[2, 3\] instead of None"),
        (without_measurement, r"with epochs norm None instead of \[0, 1, 2\]"),
        (at_one_epoch, r"with epochs test_accuracy \[9, 9, 9\] instead of \[0, 1, 2\]"),
        (at_another_epoch, r"with rows norm \[2, 2\] instead of \[2, 3\]"),
        (at_late_epochs, r"with epochs early \[7\] instead of \[1\]"),
        (without_snapshot, r"with snapshots 1 0.weight None instead of \(2, 7, 3\)"),
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
    tensors = {name: one for name, one in checkpoint.tensors.items() if name != "rows/train_loss"}
    with pytest.raises(InputError, match=r"resume = a checkpoint that can't be read .*rows/train_loss"):
        train(**settings, resume=Checkpoint(tensors, checkpoint.state))
