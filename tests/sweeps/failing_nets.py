"""Functions that make no network that can be trained, each in its own way."""

import torch
from torch import nn


def drop(inputs, outputs, p):
    return nn.Sequential(nn.Linear(inputs, 3), nn.Dropout(p), nn.Linear(3, outputs))


class _Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, inputs):
        ctx.save_for_backward(inputs)
        return inputs.sin()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return gradient * ctx.saved_tensors[0].cos()


class _OnceLayer(nn.Module):
    def forward(self, inputs):
        return _Once.apply(inputs)


def once(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs, 3), _OnceLayer(), nn.Linear(3, outputs))


def random_features(inputs, outputs):
    features = nn.Linear(inputs, 8).requires_grad_(False)
    return nn.Sequential(features, nn.Tanh(), nn.Linear(8, outputs))


def dropping(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs, 3), nn.BatchNorm1d(3), nn.Dropout(0.2), nn.Linear(3, outputs))


def boom():
    raise RuntimeError("boom")


def nothing():
    return None


def flat():
    return nn.Flatten()


def zeros(inputs, outputs):
    made = nn.Linear(inputs, outputs)
    nn.init.zeros_(made.weight)
    nn.init.zeros_(made.bias)
    return made


def sizes(inputs, outputs):
    return nn.Linear(inputs, outputs)


class _Two(nn.Linear):
    def forward(self, x):
        return super().forward(x), 3


def two(inputs, outputs):
    return _Two(inputs, outputs)


class _NoGradient(nn.Linear):
    def forward(self, x):
        return super().forward(x).detach()


def no_gradient(inputs, outputs):
    return _NoGradient(inputs, outputs)


def warns_and_fails(inputs, h):
    made = nn.Sequential(nn.Linear(inputs, h[0]), nn.Linear(h[0], h[1]))
    return made(torch.zeros(1, inputs + 1))


def normalised(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs, 4), nn.BatchNorm1d(4), nn.Linear(4, outputs))
