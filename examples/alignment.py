"""A network whose hidden units were shuffled is found again, and nothing lies between the two."""

import copy

import torch

import bathymetry as bm

a = bm.mlp([4, 16, 16, 3])
b = copy.deepcopy(a)
for layer in (0, 2):
    order = torch.randperm(16)
    b[layer].weight.data, b[layer].bias.data = b[layer].weight.data[order], b[layer].bias.data[order]
    b[layer + 2].weight.data = b[layer + 2].weight.data[:, order]

found = bm.align(a, b)

x = torch.randn(20, 4)
assert torch.allclose(found(x), b(x), atol=1e-6)
assert all(torch.equal(one, other) for one, other in zip(a.parameters(), found.parameters(), strict=True))
