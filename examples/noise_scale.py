"""Linear regression with Gaussian inputs has the noise scale (d + 1) + dσ²/‖Δ‖², Δ the distance to the truth."""

import torch

import bathymetry as bm

generator = torch.Generator().manual_seed(0)
d, examples, noise = 5, 20_000, 2.0
x = torch.randn(examples, d, generator=generator, dtype=torch.float64)
y = x.sum(1, keepdim=True) + noise * torch.randn(examples, 1, generator=generator, dtype=torch.float64)
model = torch.nn.Linear(d, 1, bias=False).double()
torch.nn.init.zeros_(model.weight)  # the truth is 1 everywhere, so ‖Δ‖² = d

measured = bm.probes.noise_scale(bm.LossSurface(model, "mse", (x, y)))

assert abs(measured.value - ((d + 1) + d * noise**2 / d)) < 4 * measured.standard_error < 2
