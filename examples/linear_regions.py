"""|x| = relu(x) + relu(−x) has two linear pieces."""

import torch

import bathymetry as bm

model = bm.mlp([1, 2, 1])
model[0].weight.data, model[0].bias.data = torch.tensor([[1.0], [-1.0]]), torch.zeros(2)
model[2].weight.data, model[2].bias.data = torch.ones(1, 2), torch.zeros(1)

assert bm.probes.linear_regions(model).count.item() == 2
