"""Configs that train as one stack have, bit for bit, the results that each has alone."""

from dataclasses import replace

import pytest
import torch

import bathymetry as bm
from bathymetry.core.errors import InputError
from bathymetry.training.loop import train
from bathymetry.training.optimizers import Cosine
from bathymetry.training.together import stack_key, train_together

X = torch.linspace(-1, 1, 61)[:, None]
DATA = (X, torch.sin(3 * X), X[::3], torch.sin(3 * X[::3]))


def noisy(members: range) -> torch.Tensor:
    """Targets of every member with noise of its own."""
    return torch.stack([torch.sin(3 * X) + torch.randn(61, 1, generator=generator(k)) for k in members])


def generator(member: int) -> torch.Generator:
    return torch.Generator().manual_seed(member)


def gradient_norm(state):
    return state.gradients.vectors().norm(dim=1)


def largest_output(state):
    return state.outputs(X).flatten(1).amax(1) + state.seed


def parts(**fields):
    """Points of a sweep: learning rates, weight decays, seeds and label noise."""
    config = bm.TrainingConfig(bm.MLPConfig((1, 9, 5, 1), "tanh"), DATA, **{"steps": 14, **fields})
    rates = [(1e-2, 0.0, 0, None), (1e-2, 0.1, 0, None), (3e-3, 0.1, 7, noisy), (0.3, 0.0, 1, noisy)]
    return [
        (replace(config, optimizer=bm.AdamW(rate, decay), seed=seed, targets=targets), range(k, k + 3 + k % 2))
        for k, (rate, decay, seed, targets) in enumerate(rates)
    ]


def assert_same(together, alone) -> None:
    assert together.record.identical(alone.record)
    assert (together.members, together.backend, together.note) == (alone.members, alone.backend, alone.note)
    assert together.snapshots.keys() == alone.snapshots.keys()
    stacks = [(together.parameters, alone.parameters)]
    stacks += [(together.snapshots[epoch], alone.snapshots[epoch]) for epoch in alone.snapshots]
    for one, other in stacks:
        assert one.keys() == other.keys()
        for name in other:
            torch.testing.assert_close(one[name], other[name], rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"batch_size": 7, "clip_norm": 0.5},
        {"dtype": torch.float64, "snapshots": [0, 5]},
        {"batch_size": 10, "stop": bm.StopWhen("train_loss", at_most=0.4), "epochs": 6, "steps": None},
        {"stop": bm.StopWhen("test_loss", at_most=0.6), "snapshots": [14]},
        {"measurements": {"norm": gradient_norm, "largest": largest_output}},
        {"schedule": Cosine()},
    ],
    ids=["full batch", "batches", "float64", "stop in batches", "stop", "measurements", "schedule"],
)
def test_each_part_is_what_it_is_alone(fields):
    together = parts(**fields)
    for (config, members), trained in zip(together, train_together(together), strict=True):
        assert_same(trained, train(config, members=members))


def test_forty_points_are_what_each_is_alone():
    config = parts()[0][0]
    points = [
        (replace(config, seed=k % 3, optimizer=bm.Adam(10 ** (-1 - k / 20), weight_decay=k % 2 * 1e-3)), range(2))
        for k in range(40)
    ]
    for (one, members), trained in zip(points, train_together(points), strict=True):
        assert_same(trained, train(one, members=members))


@pytest.mark.parametrize("batch_size", [None, 20])
@pytest.mark.parametrize("after", [1, 9])
def test_a_stack_goes_on_from_a_checkpoint(after, batch_size):
    together = parts(batch_size=batch_size, stop=bm.StopWhen("train_loss", at_most=0.45), snapshots=[1])
    taken = []

    class KilledError(Exception):
        pass

    def keep(checkpoint):
        taken.append(checkpoint)
        if len(taken) == after:
            raise KilledError

    with pytest.raises(KilledError):
        train_together(together, checkpoint=keep, checkpoint_every=0)
    for resumed, whole in zip(train_together(together, resume=taken[-1]), train_together(together), strict=True):
        assert_same(resumed, whole)


def test_what_may_differ_has_the_same_key():
    assert len({stack_key(config) for config, _ in parts()}) == 1
    config = parts()[0][0]
    others = [
        replace(config, network=bm.MLPConfig((1, 9, 6, 1), "tanh")),
        replace(config, steps=15),
        replace(config, batch_size=3),
        replace(config, optimizer=bm.Adam()),
        replace(config, data=(X, X)),
        replace(config, measurements={"norm": gradient_norm}),
    ]
    assert len({stack_key(one) for one in (config, *others)}) == 7


def test_what_has_no_stack_has_no_key_and_is_refused():
    config = parts()[0][0]
    for alone in (replace(config, network=bm.MLPConfig((1, 4, 1), "gelu")), replace(config, optimizer=torch.optim.SGD)):
        assert stack_key(alone) is None
        with pytest.raises(InputError, match="expected configs with the same stack_key"):
            train_together([(alone, range(2))])
