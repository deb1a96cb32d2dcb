"""Loss surfaces whose derivatives are known in closed form."""

import torch
from torch import nn

from bathymetry import LossSurface

ONE = torch.ones(1, 1, dtype=torch.float64)


class Formula(nn.Module):
    """A network whose output is a function of its parameters alone; the loss is that output."""

    def __init__(self, function, *at):
        super().__init__()
        self.function = function
        self.weights = nn.Parameter(torch.tensor(at, dtype=torch.float64))

    def forward(self, x):
        return x * self.function(self.weights)


def surface_of(function, *at, dtype=None):
    return LossSurface(Formula(function, *at), lambda output, target: output.mean(), (ONE, ONE), dtype=dtype)


def quadratic(matrix, at=None):
    """½ θᵀAθ."""
    start = torch.zeros(len(matrix)) if at is None else at
    return surface_of(lambda w: w @ matrix @ w / 2, *start.tolist())


def linear_regression(examples=40, features=4, rank=4):
    chance = torch.Generator().manual_seed(1)
    x = torch.randn(examples, rank, generator=chance).double() @ torch.randn(rank, features, generator=chance).double()
    y = torch.randn(examples, 1, generator=chance).double()
    return LossSurface(nn.Linear(features, 1, bias=False).double(), "mse", (x, y)), x, y


def softmax_regression(examples=9):
    """A linear layer under cross-entropy, with its inputs and classes."""
    torch.manual_seed(0)
    x, y = torch.randn(examples, 4).double(), torch.randint(0, 3, (examples,))
    model = nn.Linear(4, 3).double()
    return model, LossSurface(model, "cross_entropy", [(x[:2], y[:2]), (x[2:], y[2:])]), x, y
