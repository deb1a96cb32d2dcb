"""The trace of linear regression's Hessian is 2 Σ‖x‖²/n, within its standard error."""

import torch

import bathymetry as bm

x, y = torch.randn(200, 100, dtype=torch.float64), torch.randn(200, 1, dtype=torch.float64)
surface = bm.LossSurface(torch.nn.Linear(100, 1, bias=False).double(), "mse", (x, y))
trace, diagonal = bm.probes.trace(surface, num_matvecs=30), bm.probes.diagonal(surface, num_matvecs=100)

assert abs(trace.value - float(2 * x.square().sum() / 200)) < 5 * trace.standard_error
assert torch.allclose(diagonal.value, 2 * x.square().mean(0))  # as many products as parameters: exact
