"""What a user's functions draw from global generators depends on seed, member and step alone."""

import random
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import bathymetry as bm

X = torch.linspace(-1, 1, 32)[:, None]
DATA = (X, X**2)


def plain():
    return nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))


class Langevin(torch.optim.SGD):
    """SGD with noise."""

    def step(self, closure=None):
        super().step(closure)
        with torch.no_grad():
            for one in self.param_groups[0]["params"]:
                one += 1e-2 * torch.randn_like(one) + 1e-3 * random.gauss(0, 1)


class NoisyLoss(nn.Module):
    def forward(self, outputs, targets):
        return ((outputs - targets - 0.1 * torch.randn_like(targets)) ** 2).mean()


class NumpyLoss(nn.Module):
    def forward(self, outputs, targets):
        return ((outputs - targets - float(np.random.rand())) ** 2).mean()


class Noisy(nn.Module):
    def __init__(self, draw):
        super().__init__()
        self.linear, self.draw = nn.Linear(1, 1), draw

    def forward(self, inputs):
        return self.linear(inputs) + 0.1 * self.draw()


def started(draw):
    made = plain()
    nn.init.constant_(made[0].weight, draw())
    return made


CASES = {
    "weights of NumPy": {"build": partial(started, np.random.rand)},
    "weights of Python": {"build": partial(started, random.random)},
    "a layer of PyTorch": {"build": lambda: Noisy(lambda: torch.rand(()))},
    "a layer of NumPy": {"build": lambda: Noisy(lambda: np.random.rand())},
    "a layer of Python": {"build": lambda: Noisy(lambda: random.random())},
    "an optimizer": {"optimizer": partial(Langevin, lr=1e-2)},
    "a loss": {"loss": NoisyLoss()},
    "a loss of NumPy": {"loss": NumpyLoss()},
}


def train(members, build=plain, **fields):
    trained = bm.train(build, DATA, members=members, epochs=3, batch_size=8, seed=0, **fields)
    return trained.record["loss"].transpose("member", ...).values, list(trained.theta)


@pytest.mark.parametrize("case", CASES)
def test_a_training_is_the_same_again_and_a_member_the_same_alone(case):
    losses, weights = train(3, **CASES[case])
    torch.rand(3), np.random.rand(3), random.random()
    again, same = train(3, **CASES[case])
    np.testing.assert_array_equal(again, losses)
    assert all(map(torch.equal, same, weights))
    alone, [own] = train(range(1, 2), **CASES[case])
    np.testing.assert_allclose(alone[0], losses[1], rtol=1e-5)  # vmap rounds differently for one member
    torch.testing.assert_close(own, weights[1], rtol=1e-5, atol=1e-6)
    assert len({float(one.sum()) for one in weights}) == 3


def test_a_measurement_is_the_same_again():
    def drawn(state):
        return torch.rand(len(state.members)) + float(np.random.rand()) + random.random()

    one, other = (
        bm.train(plain, DATA, members=2, epochs=2, measurements={"drawn": drawn}).record["drawn"].values
        for _ in range(2)
    )
    np.testing.assert_array_equal(one, other)
    assert len(np.unique(one)) == one.size


@pytest.mark.usefixtures("unchecked")  # checks of types draw random numbers themselves
def test_generators_are_left_as_they_were():
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    train(2, **CASES["an optimizer"])
    assert torch.equal(states[0], torch.get_rng_state())
    np.testing.assert_array_equal(states[1], np.random.get_state()[1])
    assert states[2] == random.getstate()
