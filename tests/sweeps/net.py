"""A network of the user's, in a file that a specification names."""

import os

import torch
from torch import nn


def build(inputs, outputs, width, slope=0.1):
    return nn.Sequential(nn.Linear(inputs, width), nn.LeakyReLU(slope), nn.Linear(width, outputs))


def broken_above_4(inputs, outputs, width):
    if width > 4:
        return nn.Sequential(nn.Linear(inputs, width), Fails(), nn.Linear(width, outputs))
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, outputs))


class Fails(nn.Module):
    """Fails in training, once the networks have been built and tried."""

    def forward(self, x):
        if len(x) > 8 and "HEALED" not in os.environ:  # more than the few examples of the trial
            raise ArithmeticError("this layer fails")
        return torch.relu(x)
