"""Linear regression with inputs of rank 3 among 7 has three directions that bend, and four that lie flat."""

import torch

import bathymetry as bm

x = torch.randn(40, 3, dtype=torch.float64) @ torch.randn(3, 7, dtype=torch.float64)
surface = bm.LossSurface(torch.nn.Linear(7, 1, bias=False).double(), "mse", (x, torch.randn(40, 1).double()))
index = bm.probes.curvature_index(surface)

assert (index.positive, index.zero, index.negative) == (3, 4, 0)
assert index.minimal_ratio == 3 / 7
