"""A ReLU unit with a large negative bias is zero for every input."""

import torch

import bathymetry as bm

model = bm.mlp([2, 4, 1])
model[0].bias.data = torch.tensor([0.0, 0.0, 0.0, -100.0])
found = bm.probes.dead_units(model, torch.randn(500, 2))

assert found.share.item() == 1 / 4
