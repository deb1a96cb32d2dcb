"""Networks and data that the training tests share."""

import torch
from torch import nn

from bathymetry.data.examples import Data, Examples


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 7), nn.ReLU(), nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 2))


def convolution() -> nn.Module:
    return nn.Sequential(nn.Unflatten(1, (1, 3)), nn.Conv1d(1, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))


def normalised() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2))


def with_dropout() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 20), nn.Dropout(0.5), nn.ReLU(), nn.Linear(20, 2))


def regression(examples: int = 23) -> Data:
    return _data(torch.randn(examples, 2, generator=torch.Generator().manual_seed(1)), None)


def classification(examples: int = 23) -> Data:
    return _data(torch.randint(0, 2, (examples,), generator=torch.Generator().manual_seed(1)), 2)


def _data(targets: torch.Tensor, classes: int | None) -> Data:
    inputs = torch.randn(len(targets), 3, generator=torch.Generator().manual_seed(2))
    examples = Examples(inputs, targets)
    return Data("made", examples, examples, source="made here", classes=classes)
