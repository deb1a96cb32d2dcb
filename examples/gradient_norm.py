"""An example's gradient norm in linear regression: ‖2(w·x − y)x‖."""

import torch

import bathymetry as bm

x, y = torch.randn(50, 3, dtype=torch.float64), torch.randn(50, 1, dtype=torch.float64)
model = torch.nn.Linear(3, 1, bias=False).double()

norms = bm.probes.example_gradient_norms(bm.LossSurface(model, "mse", (x, y))).value

assert torch.allclose(norms, (2 * (model(x) - y) * x).norm(dim=1))
