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


class Refuses(nn.Module):
    """Fails whenever it is called."""

    def forward(self, x):
        raise RuntimeError("out of cake")


def refuses_above_8(inputs, outputs, width):
    network = build(inputs, outputs, width)
    return nn.Sequential(network, Refuses()) if width > 8 else network


def of_other_inputs_above_8(inputs, outputs, width):
    return build(inputs + (width > 8), outputs, width)
