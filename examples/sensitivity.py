"""A linear model that fits every example has no gradient left, and is as sensitive to its input as ever: ‖W‖."""

import torch

import bathymetry as bm

model = torch.nn.Linear(3, 2, bias=False).double()
x = torch.randn(30, 3, dtype=torch.float64)
surface = bm.LossSurface(model, "mse", (x, model(x).detach()))

assert bm.probes.gradient_norm(surface).value == 0
assert torch.allclose(bm.probes.sensitivity(surface, of="logits").value, model.weight.norm())
