"""Within ε of a parabola's bottom the loss rises by ½ε²λ, λ the largest eigenvalue."""

import torch

import bathymetry as bm

model = torch.nn.Linear(10, 1, bias=False).double()
torch.nn.init.zeros_(model.weight)
x = torch.randn(40, 10, dtype=torch.float64)
surface = bm.LossSurface(model, "mse", (x, torch.zeros(40, 1, dtype=torch.float64)))

largest = bm.probes.eigenvalues(surface, k=1).values[0]
rise = bm.probes.sharpness(surface, kind="ball", epsilon=0.1).value

assert torch.allclose(rise, 0.1**2 / 2 * largest, rtol=1e-4)
