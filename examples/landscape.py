"""Along the eigenvector of the largest eigenvalue λ a parabola is ½λs², s the true distance."""

import torch

import bathymetry as bm

model = torch.nn.Linear(4, 1, bias=False).double()
torch.nn.init.zeros_(model.weight)
x = torch.randn(30, 4, dtype=torch.float64)
surface = bm.LossSurface(model, "mse", (x, torch.zeros(30, 1, dtype=torch.float64)))

line = bm.probes.landscape(surface, directions="eigenvectors", dimensions=1, radius=2.0, points=9)

largest = bm.probes.eigenvalues(surface, k=1).values[0]
assert torch.allclose(line.loss, largest / 2 * line.axes[0].square(), rtol=1e-4)
