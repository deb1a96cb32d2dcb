"""Between two linear models squared error is a parabola: (1−α)L₀ + αL₁ − α(1−α)‖X(θ₀−θ₁)‖²/n."""

import torch

import bathymetry as bm

x, y = torch.randn(50, 3, dtype=torch.float64), torch.randn(50, 1, dtype=torch.float64)
surface = bm.LossSurface(torch.nn.Linear(3, 1, bias=False).double(), "mse", (x, y))
a, b = torch.randn(3, dtype=torch.float64), torch.randn(3, dtype=torch.float64)

line = bm.probes.interpolate(surface, a, b, [-1.0, 0.0, 0.5, 1.0, 2.0])

ends = (1 - line.alpha) * surface.loss(a) + line.alpha * surface.loss(b)
sag = line.alpha * (1 - line.alpha) * (x @ (a - b)).square().mean()
assert torch.allclose(line.loss, ends - sag)
