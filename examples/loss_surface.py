"""The Hessian of linear regression is 2XᵀX/n, however the data are cut into batches."""

import torch

import bathymetry as bm

x, y = torch.randn(100, 4, dtype=torch.float64), torch.randn(100, 1, dtype=torch.float64)
batches = list(zip(x.split(32), y.split(32), strict=True))  # 32, 32, 32 and 4

surface = bm.LossSurface(torch.nn.Linear(4, 1, bias=False).double(), torch.nn.MSELoss(), batches)

assert torch.allclose(surface.hessian(), 2 / 100 * x.T @ x)
